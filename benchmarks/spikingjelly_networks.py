"""The measured networks in SpikingJelly 2.0, written as its users write them, with the same weights.

A SEW-ResNet is SpikingJelly's own model (with a 3x3 stem and no max-pooling where the image is small), `resnet18` and
`tiny` are sequences of its layers; the transformers are not rebuilt. An image is repeated T times, as in SpikingJelly's
examples, so the stem runs T times too.
"""

from __future__ import annotations

import importlib
from typing import Any

from torch import Tensor, nn

from tks_edge_models import Network
from tks_edge_runtime.errors import MissingError

LIBRARY = "spikingjelly"
_SEW_RESNETS = ("sew_resnet18", "sew_resnet34", "sew_resnet50")
_CHAINS = ("resnet18", "tiny")
_WITH_WEIGHTS = (nn.Conv2d, nn.BatchNorm2d, nn.Linear)


class MultiStep(nn.Module):
    """All T timesteps in one call: pixels `[N, 3, H, W]` to the mean of the logits, `[N, K]`."""

    def __init__(self, network: Network, timesteps: int) -> None:
        super().__init__()
        self.timesteps = timesteps
        self.normalize = network.normalize
        self.network = _same(network, step_mode="m")

    def forward(self, pixels: Tensor) -> Tensor:
        """Run all timesteps; whoever calls it again must call `reset` first."""
        sequence = self.normalize(pixels).unsqueeze(0).repeat(self.timesteps, 1, 1, 1, 1)
        logits: Tensor = self.network(sequence).mean(0)
        return logits

    def reset(self) -> None:
        """Forget the membranes, which SpikingJelly keeps in its layers from call to call."""
        _module("functional").reset_net(self.network)


class SingleStep(nn.Module):
    """One timestep: pixels `[N, 3, H, W]` to its logits, `[N, K]`, from the membranes that the layers hold."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.normalize = network.normalize
        self.network = _same(network, step_mode="s")

    def forward(self, pixels: Tensor) -> Tensor:
        """Run the next timestep."""
        logits: Tensor = self.network(self.normalize(pixels))
        return logits


def _module(name: str) -> Any:
    try:
        return importlib.import_module(f"{LIBRARY}.activation_based.{name}")
    except ImportError as error:
        raise MissingError(
            f"SpikingJelly cannot be used here ({error}). It needs Python 3.11: make PYTHON=python3.11 bench"
        ) from error


def _same(network: Network, step_mode: str) -> nn.Module:
    """The network in SpikingJelly, with its weights and batch-norm statistics."""
    name = network.spec["name"]
    if name not in (*_SEW_RESNETS, *_CHAINS):
        raise MissingError(f"{name} is not rebuilt in SpikingJelly here.")
    same = _sew_resnet(network) if name in _SEW_RESNETS else _chain(network)
    for theirs, ours in zip(_weighted(same), _weighted(network), strict=True):
        theirs.load_state_dict(ours.state_dict())
        if isinstance(theirs, nn.BatchNorm2d) and isinstance(ours, nn.BatchNorm2d):
            theirs.eps = ours.eps
    _module("functional").set_step_mode(same, step_mode)
    return same


def _weighted(network: nn.Module) -> list[nn.Module]:
    """The modules with weights, in the order of their definition, which is the same on both sides."""
    return [module for module in network.modules() if isinstance(module, _WITH_WEIGHTS)]


def _neuron_options(network: Network) -> dict[str, Any]:
    lif = network.lif
    if lif is None:
        raise ValueError("the ReLU twin has no neurons to rebuild in SpikingJelly")
    return {"tau": lif.tau, "decay_input": lif.decay_input, "v_threshold": lif.v_threshold, "v_reset": lif.v_reset}


def _sew_resnet(network: Network) -> nn.Module:
    same: nn.Module = getattr(_module("model.sew_resnet"), network.spec["name"])(
        spiking_neuron=_module("neuron").LIFNode,
        cnf="ADD",
        num_classes=network.spec["num_classes"],
        **_neuron_options(network),
    )
    stem = _weighted(network)[0]
    if isinstance(stem, nn.Conv2d) and stem.kernel_size == (3, 3):
        same.conv1 = _module("layer").Conv2d(3, stem.out_channels, 3, padding=1, bias=False)
        same.maxpool = nn.Identity()
    return same


def _chain(network: Network) -> nn.Module:
    layer, neuron, options = _module("layer"), _module("neuron"), _neuron_options(network)
    layers: list[nn.Module] = []
    for ours in _weighted(network):
        if isinstance(ours, nn.Conv2d):
            channels = ours.in_channels, ours.out_channels
            layers.append(layer.Conv2d(*channels, 3, stride=ours.stride, padding=1, bias=False))
        elif isinstance(ours, nn.BatchNorm2d):
            layers += [layer.BatchNorm2d(ours.num_features), neuron.LIFNode(**options)]
        elif isinstance(ours, nn.Linear):
            layers += [layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(ours.in_features, ours.out_features)]
    return nn.Sequential(*layers)
