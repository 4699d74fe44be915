"""Networks as people build them in the other libraries, small, with weights that make them fire.

Each is a `Case`: how it is built, and how its library runs it on frames. A library is imported when a case is built.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

CHANNELS, SIZE, CLASSES = 2, 8, 10
_FEATURES = 8 * (SIZE // 2) ** 2


@dataclass(frozen=True)
class Case:
    """A network of a library.

    Attributes:
        make: builds it.
        axes: "B" where a call is one timestep; "TB" and "BT" where it is a sequence; "N", batch and time in one; "loop"
            and "held" where a call is a still image that it shows T times itself, its neurons called T times or once;
            "frames" where it takes `[T, B, ...]` apart.
        shape: of a sample at one timestep.
        gain: by which fresh weights are multiplied, so that the neurons fire.
    """

    make: Callable[[int], nn.Module]
    axes: str
    shape: tuple[int, ...] = (CHANNELS, SIZE, SIZE)
    gain: float = 6.0

    def network(self, timesteps: int = 8, seed: int = 0) -> nn.Module:
        """The network with fresh weights, in evaluation mode."""
        torch.manual_seed(seed)
        module = self.make(timesteps).eval()
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, (nn.Conv2d, nn.Linear)):
                    layer.weight.mul_(self.gain)
                if (
                    isinstance(layer, nn.BatchNorm2d)
                    and layer.running_mean is not None
                    and layer.running_var is not None
                ):
                    nn.init.uniform_(layer.weight, 0.8, 1.5)
                    nn.init.uniform_(layer.bias, -0.2, 0.5)
                    nn.init.normal_(layer.running_mean, 0.0, 0.1)
                    nn.init.uniform_(layer.running_var, 0.5, 1.5)
        return module

    def frames(self, timesteps: int, batch: int, seed: int = 1) -> Tensor:
        """Inputs `[T, B, ...]`; the same at every timestep where the network shows a still image itself."""
        x = torch.rand(timesteps, batch, *self.shape, generator=torch.Generator().manual_seed(seed))
        return x[:1].expand_as(x) if self.axes in ("loop", "held") else x

    def example(self, frames: Tensor) -> Tensor:
        """What the module's forward takes for these frames, or for the first of them."""
        return {
            "B": lambda: frames[0],
            "loop": lambda: frames[0],
            "held": lambda: frames[0],
            "TB": lambda: frames,
            "frames": lambda: frames,
            "BT": lambda: frames.transpose(0, 1),
            "N": lambda: frames.transpose(0, 1).flatten(0, 1),
        }[self.axes]()

    def run(self, module: nn.Module, frames: Tensor, neurons: Sequence[str]) -> dict[str, Tensor]:
        """The spikes `[T, B, ...]` that the library's own code gives, by module path of the neuron."""
        found: dict[str, list[Tensor]] = {path: [] for path in neurons}
        handles = [
            module.get_submodule(path).register_forward_hook(
                lambda _m, _i, out, path=path: found[path].append(first(out))
            )
            for path in neurons
        ]
        state: Any = None
        try:
            with torch.no_grad():
                for x in frames if self.axes == "B" else [self.example(frames)]:
                    output = module(x, state) if takes_state(module) else module(x)
                    state = output[1] if takes_state(module) else None
        finally:
            for handle in handles:
                handle.remove()
        timesteps, batch = frames.shape[:2]
        return {path: self._over_time(spikes, timesteps, batch) for path, spikes in found.items()}

    def readout(self, output: Any, timesteps: int) -> Any:
        """The mean over T of what a call over all timesteps gives, as an array or a tensor."""
        if self.axes == "N":
            output = output.reshape(-1, timesteps, output.shape[-1])
        if self.axes in ("held",):
            return output
        return output.mean(1 if self.axes in ("BT", "N") else 0)

    def _over_time(self, spikes: list[Tensor], timesteps: int, batch: int) -> Tensor:
        if self.axes in ("B", "loop", "frames"):
            return torch.stack(spikes)
        (whole,) = spikes
        if self.axes == "N":
            whole = whole.reshape(batch, timesteps, *whole.shape[1:])
        return whole if self.axes in ("TB", "held") else whole.transpose(0, 1)


def first(output: Any) -> Tensor:
    """The spikes of what a neuron gives."""
    spikes: Tensor = output[0] if isinstance(output, tuple) else output
    return spikes.detach().clone()


def logits(case: Case, module: nn.Module, frames: Tensor) -> Tensor:
    """The mean over T of what a network gives, in its library's own code, from rest."""
    state: Any = None
    results = []
    with torch.no_grad():
        for x in frames if case.axes == "B" else [case.example(frames)]:
            output = module(x, state) if takes_state(module) else module(x)
            state = output[1] if takes_state(module) else None
            results.append(output[0] if isinstance(output, tuple) else output)
    if case.axes == "B":
        return torch.stack(results).mean(0)
    whole: Tensor = case.readout(results[0], len(frames))
    return whole


def reset(module: nn.Module) -> None:
    """Let the neurons that keep their state start at rest again."""
    for layer in module.modules():
        for name in ("reset_mem", "reset_states"):
            if hasattr(layer, name):
                getattr(layer, name)()
                break
        else:
            method = getattr(layer, "reset", None)
            if callable(method):
                method()


def takes_state(module: nn.Module) -> bool:
    """Whether a call takes the states, and gives them: Norse's SequentialState."""
    return type(module).__name__ == "SequentialState"


def _spikingjelly(step_mode: str, name: str, **options: Any) -> Callable[[int], nn.Module]:
    def make(_timesteps: int) -> nn.Module:
        from spikingjelly.activation_based import functional, layer, neuron

        def spiking() -> Any:
            return getattr(neuron, name)(**options)

        module = nn.Sequential(
            layer.Conv2d(CHANNELS, 8, 3, padding=1, bias=False),
            layer.BatchNorm2d(8),
            spiking(),
            layer.MaxPool2d(2),
            layer.Dropout(0.5),
            layer.Flatten(),
            layer.Linear(_FEATURES, CLASSES),
            spiking(),
        )
        functional.set_step_mode(module, step_mode)
        return module

    return make


def _sew_resnet18(step_mode: str, connect: str) -> Callable[[int], nn.Module]:
    def make(_timesteps: int) -> nn.Module:
        from spikingjelly.activation_based import functional, neuron
        from spikingjelly.activation_based.model.sew_resnet import sew_resnet18

        module: nn.Module = sew_resnet18(cnf=connect, spiking_neuron=neuron.IFNode, num_classes=CLASSES)
        functional.set_step_mode(module, step_mode)
        return module

    return make


def _held(timesteps: int) -> nn.Module:
    """A still image, its first layer run once and repeated: SpikingJelly's way for static images."""
    from spikingjelly.activation_based import functional, layer, neuron

    class Held(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Conv2d(CHANNELS, 8, 3, padding=1), nn.BatchNorm2d(8))
            self.rest = nn.Sequential(
                neuron.LIFNode(),
                layer.AvgPool2d(2),
                layer.Flatten(),
                layer.Linear(_FEATURES, 20),
                neuron.LIFNode(),
                layer.VotingLayer(2),
            )
            functional.set_step_mode(self.rest, "m")

        def forward(self, x: Tensor) -> Tensor:
            spikes: Tensor = self.rest(self.first(x).unsqueeze(0).repeat(timesteps, 1, 1, 1, 1))
            return spikes.mean(0)

    return Held()


def _snntorch(loop: str, **options: Any) -> Callable[[int], nn.Module]:
    def make(timesteps: int) -> nn.Module:
        import snntorch

        class Explicit(nn.Module):
            """States in the hands of forward, as in snnTorch's tutorials."""

            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(CHANNELS, 8, 3, padding=1)
                self.lif1 = snntorch.Leaky(**options)
                self.fc = nn.Linear(_FEATURES, CLASSES)
                self.lif2 = snntorch.Leaky(**options)

            def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
                mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
                spikes, membranes = [], []
                for t in range(timesteps):
                    current = self.conv(x if loop == "loop" else x[t])
                    spk1, mem1 = self.lif1(current, mem1)
                    pooled = nn.functional.max_pool2d(spk1, 2)
                    spk2, mem2 = self.lif2(self.fc(pooled.flatten(1)), mem2)
                    spikes.append(spk2)
                    membranes.append(mem2)
                return torch.stack(spikes), torch.stack(membranes)

        return Explicit()

    return make


def _snntorch_hidden(**options: Any) -> Callable[[int], nn.Module]:
    def make(_timesteps: int) -> nn.Module:
        import snntorch

        return nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3, padding=1),
            snntorch.Leaky(init_hidden=True, **options),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(_FEATURES, CLASSES),
            snntorch.Leaky(init_hidden=True, output=True, **options),
        )

    return make


def _norse_cells(_timesteps: int) -> nn.Module:
    import norse.torch as norse

    current = norse.LIFParameters(
        tau_mem_inv=torch.tensor(300.0), tau_syn_inv=torch.tensor(400.0), v_th=torch.tensor(0.3)
    )
    box = norse.LIFBoxParameters(tau_mem_inv=torch.tensor(450.0), v_th=torch.tensor(0.25))
    layers = [nn.Conv2d(CHANNELS, 8, 3, padding=1), norse.LIFCell(p=current), nn.MaxPool2d(2), nn.Flatten()]
    module: nn.Module = norse.SequentialState(*layers, nn.Linear(_FEATURES, CLASSES), norse.LIFBoxCell(p=box))
    return module


def _norse_sequences(_timesteps: int) -> nn.Module:
    import norse.torch as norse

    leaks = norse.LIFParameters(v_th=torch.tensor(0.2), v_leak=torch.tensor(0.05), v_reset=torch.tensor(-0.1))
    layers = [norse.Lift(nn.Conv2d(CHANNELS, 8, 3, padding=1)), norse.LIF(p=leaks), nn.Flatten(2)]
    module: nn.Module = norse.SequentialState(*layers, nn.Linear(8 * SIZE * SIZE, CLASSES), norse.IAF())
    return module


def _sinabs(squeezed: bool) -> Callable[[int], nn.Module]:
    def make(timesteps: int) -> nn.Module:
        import sinabs.layers as layers
        from sinabs.activation import MembraneReset, SingleSpike

        if not squeezed:
            return nn.Sequential(
                layers.Repeat(nn.Conv2d(CHANNELS, 8, 3, padding=1)),
                layers.LIF(tau_mem=4.0, spike_fn=SingleSpike),
                nn.Flatten(2),
                nn.Linear(8 * SIZE * SIZE, CLASSES),
                layers.IAF(spike_fn=SingleSpike, reset_fn=MembraneReset()),
            )
        return nn.Sequential(
            nn.Conv2d(CHANNELS, 8, 3, padding=1),
            layers.IAFSqueeze(num_timesteps=timesteps, spike_fn=SingleSpike),
            layers.SumPool2d(2),
            nn.Flatten(),
            nn.Linear(_FEATURES, CLASSES),
            layers.LIFSqueeze(num_timesteps=timesteps, tau_mem=3.0, spike_fn=SingleSpike, norm_input=False),
        )

    return make


CASES = {
    "spikingjelly LIFNode, one step": Case(_spikingjelly("s", "LIFNode"), "B"),
    "spikingjelly LIFNode, soft reset, no decay_input": Case(
        _spikingjelly("m", "LIFNode", tau=3.0, decay_input=False, v_reset=None), "TB"
    ),
    "spikingjelly ParametricLIFNode": Case(_spikingjelly("m", "ParametricLIFNode", init_tau=1.7, v_reset=-0.2), "TB"),
    "spikingjelly IFNode, soft reset": Case(_spikingjelly("s", "IFNode", v_reset=None), "B"),
    "spikingjelly, repeated by itself": Case(_held, "held"),
    "spikingjelly sew_resnet18": Case(_sew_resnet18("m", "ADD"), "TB", (3, 32, 32), gain=1.5),
    "spikingjelly sew_resnet18, IAND, one step": Case(_sew_resnet18("s", "IAND"), "B", (3, 32, 32), gain=1.5),
    "snntorch, subtract with delay": Case(_snntorch("loop", beta=0.9), "loop"),
    "snntorch, subtract without delay": Case(_snntorch("frames", beta=0.8, reset_delay=False), "frames"),
    "snntorch, zero": Case(_snntorch("loop", beta=0.7, reset_mechanism="zero"), "loop"),
    "snntorch, none": Case(_snntorch("loop", beta=0.5, threshold=1.5, reset_mechanism="none"), "loop"),
    "snntorch, learnt, hidden states": Case(
        _snntorch_hidden(beta=0.6, threshold=0.7, learn_beta=True, learn_threshold=True), "B"
    ),
    "snntorch, zero without delay, hidden": Case(
        _snntorch_hidden(beta=0.9, reset_mechanism="zero", reset_delay=False), "B"
    ),
    "norse, cells": Case(_norse_cells, "B"),
    "norse, sequences": Case(_norse_sequences, "TB"),
    "sinabs": Case(_sinabs(squeezed=False), "BT"),
    "sinabs, squeezed": Case(_sinabs(squeezed=True), "N"),
}
