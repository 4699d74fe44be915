"""A network run without state, to see what it does: its neurons are stood in for by a function of one timestep.

The function is smooth, so that rounding stays rounding, and it may differ from step to step, so that a network that
mixes timesteps gives itself away.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from tks_edge_export.errors import ExportError
from tks_edge_models import LIF, Neuron

TIMESTEPS = "timesteps"
"""The parameter of `forward` that says for how many timesteps a still image is shown."""
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class TimeAxisError(ExportError):
    """A LIF layer does not get several timesteps along axis 0."""


class ForwardError(ExportError):
    """The network fails on its input."""


class Probe:
    """A copy of a network on the CPU, in the mode it is in, whose LIF layers do what they are told.

    Attributes:
        network: the copy.
        layers: its layers of neurons by module path.
        currents: the shape of the last input of every such layer.

    Raises:
        ExportError: the network cannot be copied, or has a layer of neurons with a forward of its own.
    """

    def __init__(self, module: nn.Module) -> None:
        self.network = _copied(module)
        self.layers = {path: layer for path, layer in self.network.named_modules() if isinstance(layer, Neuron)}
        self.currents: dict[str, tuple[int, ...]] = {}
        for path, layer in self.layers.items():
            if type(layer).forward not in (LIF.forward, Neuron.forward) or "forward" in vars(layer):
                raise ExportError(
                    f"{self.name(path)} is a layer of neurons with a forward of its own, which the exporter does not "
                    "know; use tks_edge_models.LIF itself, or give your subclass of Neuron its equations in step()."
                )

    def name(self, path: str) -> str:
        """The module at this path as messages name it; of a module that runs again, `path@1`, its path."""
        path = path.partition("@")[0]
        return named(path, self.network.get_submodule(path))

    @property
    def takes_timesteps(self) -> bool:
        """Whether `forward` is told T."""
        return TIMESTEPS in inspect.signature(type(self.network).forward).parameters

    def run(
        self,
        x: Tensor,
        *,
        timesteps: int | None = 1,
        gains: Sequence[float] = (1.0,),
        seed: int = 0,
        told: Mapping[str, object] | None = None,
    ) -> object:
        """Run the network.

        Args:
            x: the input.
            timesteps: T, where `forward` takes it and this is not None.
            gains: the factor on the output of every LIF layer: one for all, or one for each timestep along axis 0.
            seed: of the random numbers that it should not draw.
            told: what its `forward` gets beside these, by name.

        Raises:
            ExportError: it fails, or a LIF layer gets something else than currents.
        """
        self.currents = {}
        self.replace_layers(lambda path: self._stand_in(path, gains))
        options = dict(told or {})
        if self.takes_timesteps and timesteps is not None:
            options[TIMESTEPS] = timesteps
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            try:
                return self.network(x.clone(), **options)
            except ExportError:
                raise
            except Exception as error:
                raise ForwardError(
                    f"{self.name(raised_in(error, self.network))} fails on the example of shape {list(x.shape)} and "
                    f"type {x.dtype}: {reason(error)}"
                ) from error

    def replace_layers(self, make: Callable[[str], Callable[[Tensor], Tensor]]) -> None:
        """Let every LIF layer compute what `make` gives for its path; one under several names stays one layer."""
        for path, layer in self.layers.items():
            layer.forward = make(path)  # type: ignore[method-assign, assignment]

    def _stand_in(self, path: str, gains: Sequence[float]) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            if not isinstance(x, Tensor) or x.dtype != torch.float32 or x.ndim == 0:
                got = f"{x.dtype} of shape {list(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
                raise ExportError(f"{self.name(path)} gets {got}; currents [N, ...] in float32 are needed.")
            self.currents[path] = tuple(x.shape)
            factors = x.new_tensor(gains)
            if len(gains) > 1:
                if x.shape[0] != len(gains):
                    raise TimeAxisError(
                        f"{self.name(path)} gets currents of shape {list(x.shape)} at {len(gains)} timesteps; "
                        "time must be axis 0."
                    )
                factors = factors.reshape(-1, *[1] * (x.ndim - 1))
            return factors * (0.5 + 0.5 * x / (1.0 + x.abs()))

        return forward


def named(path: str, layer: nn.Module) -> str:
    """A module as messages name it: by its path and its class."""
    kind = type(layer).__name__
    return f"the module {path!r} ({kind})" if path else f"the network itself ({kind})"


def probing_input(example: Tensor) -> Tensor:
    """The example on the CPU; random values of its kind where all of its own are the same and would show nothing."""
    x = example.detach().cpu()
    if bool((x != x.flatten()[0]).any()):
        return x
    generator = torch.Generator().manual_seed(0)
    if x.is_floating_point():
        return torch.rand(x.shape, generator=generator, dtype=x.dtype)
    return torch.randint(256, x.shape, generator=generator, dtype=x.dtype) if x.dtype == torch.uint8 else x


@contextmanager
def values_recorded(probe: Probe) -> Iterator[list[tuple[str, Tensor]]]:
    """Collect what every module gets and gives, in the order of execution, as (path of who made it, tensor).

    What a module gets is made by the module that calls it.
    """
    found: list[tuple[str, Tensor]] = []
    running: list[str] = []
    handles = []
    for path, layer in probe.network.named_modules():

        def enter(_layer: nn.Module, inputs: object, options: object, path: str = path) -> None:
            caller = running[-1] if running else ""
            found.extend((caller, value.detach().clone()) for value in tensors_in([inputs, options]))
            running.append(path)

        def leave(_layer: nn.Module, _inputs: object, output: object) -> None:
            path = running.pop()
            found.extend((path, value.detach().clone()) for value in tensors_in(output))

        handles.append(layer.register_forward_pre_hook(enter, with_kwargs=True))
        handles.append(layer.register_forward_hook(leave))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def tensors_in(value: object) -> list[Tensor]:
    """The tensors of a value, where it is one or a tuple, list or dictionary of them."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for each in value for tensor in tensors_in(each)] if isinstance(value, (tuple, list)) else []


def raised_in(error: BaseException, network: nn.Module) -> str:
    """The path of the innermost module that an error passed through; of a copy of `network`, if need be."""
    running: list[nn.Module] = []
    traceback = error.__traceback__
    while traceback is not None:
        owner = traceback.tb_frame.f_locals.get("self")
        if isinstance(owner, nn.Module) and (running or type(owner) is type(network)):
            running.append(owner)
        traceback = traceback.tb_next
    if not running:
        return ""
    paths = {id(layer): path for path, layer in running[0].named_modules()}
    return next((paths[id(layer)] for layer in reversed(running) if id(layer) in paths), "")


def reason(error: BaseException) -> str:
    """The first line of an error's message, or its kind where it has none; for the tracer's errors, of their cause."""
    while isinstance(error, torch.onnx.OnnxExporterError) and (cause := error.__cause__ or error.__context__):
        error = cause
    return next(iter(_COLOURS.sub("", str(error)).strip().splitlines()), type(error).__name__)


def _copied(module: nn.Module) -> nn.Module:
    for path, layer in module.named_modules():
        if hasattr(layer, "_orig_mod") or isinstance(layer, torch.jit.ScriptModule):
            raise ExportError(f"{named(path, layer)} is compiled; give the module that it was compiled from.")
    try:
        return copy.deepcopy(module).cpu()
    except Exception as error:
        for path, layer in module.named_modules():
            for name, value in vars(layer).items():
                if any(not tensor.is_leaf for tensor in tensors_in(value)):
                    raise ExportError(
                        f"{named(path, layer)} keeps {name!r} from an earlier call, a state that a graph would lose; "
                        "use tks_edge_models.LIF for neurons."
                    ) from error
        raise ExportError(f"the network cannot be copied: {reason(error)}") from error
