"""The networks that are measured, their weights, and the photographs that they are shown.

The weights are random. The batch norms have seen the photographs, so every layer fires, and then everything before the
classifier is put on a grid of powers of two on which float32 sums are exact in any order. So whatever computes the same
network fires the same spikes, and its logits show it; otherwise a membrane that is within rounding of its threshold
would fire in one engine and not in the other, and with it most of what follows. The grid of a convolution over spikes
is that of int8 with one scale a channel: rounded to that, the weights stay what they are.

`resnet18` is the chain of seventeen 3x3 convolutions of a ResNet-18 for small images (widths 64, 128, 256, 512, four a
stage, stride 2 at the first of the later stages), each with batch norm and one neuron, without any shortcut: 0.55 GMAC
a timestep at 32x32. Nothing is added up in it, so each of its spikes is 0 or 1. `sew_resnet18` is the one of
`tks_edge_models`.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor, nn

from tks_edge_models import LIF, LIFParameters, Network, create
from tks_edge_models.layers import PixelNormalize, TimeBatched, classifier, conv_norm
from tks_edge_models.network import MakeNeuron, Parts, neuron_factory
from tks_edge_runtime.errors import InputError, unknown

Array = npt.NDArray[Any]
_SEED = 0
_WIDTHS = (64, 128, 256, 512)
_CONVOLUTIONS_A_STAGE = 4
_CALIBRATION_TIMESTEPS = 4
_PIXEL_CENTRE = 128 / 255
"""The mean and the deviation of pixels: pixel / 128 - 1."""
_SPIKE_LEVELS, _PIXEL_LEVELS = 127, 7
"""The largest weight in units of the grid: pixels have 8 bits of their own, and each timestep needs one more."""
_BIAS_GRID = 2.0**-8
_CROP = 320
"""Height and width of a crop of a photograph, in pixels, before it is brought to the network's size."""


@dataclass(frozen=True)
class Measured:
    """A network at one size of image: its name, height and width in pixels, and number of classes."""

    model: str
    size: int
    classes: int

    @property
    def name(self) -> str:
        """What options, tables and files call it."""
        return f"{self.model}@{self.size}"


MEASURED = {
    measured.name: measured
    for measured in (
        Measured("sew_resnet18", 32, 10),
        Measured("resnet18", 32, 10),
        Measured("sew_resnet18", 224, 1000),
        Measured("sew_resnet34", 224, 1000),
        Measured("tiny", 16, 10),
        Measured("sew_resnet50", 32, 10),
        Measured("spikformer", 32, 10),
        Measured("qkformer", 32, 10),
    )
}


def find(name: str) -> Measured:
    """Look up a network; InputError with the closest name for one that is not measured."""
    if name not in MEASURED:
        raise unknown("network", name, MEASURED)
    return MEASURED[name]


def build(measured: Measured, neuron: str = "lif") -> Network:
    """The network with fresh weights, the same ones at every call; `neuron` is "lif", or "relu" for the twin."""
    torch.manual_seed(_SEED)
    if measured.model == "resnet18":
        return _chain(measured, neuron)
    centre = [_PIXEL_CENTRE] * 3
    return create(
        measured.model, num_classes=measured.classes, image_size=measured.size, neuron=neuron, mean=centre, std=centre
    )


def _chain(measured: Measured, neuron: str) -> Network:
    lif, centre = LIFParameters(), [_PIXEL_CENTRE] * 3
    constants = lif if neuron == "lif" else None
    spec = {
        "name": measured.model,
        "num_classes": measured.classes,
        "in_channels": 3,
        "image_size": measured.size,
        "neuron": neuron,
        "lif": dataclasses.asdict(lif),
    }
    return Network(spec, constants, PixelNormalize(centre, centre), plain_resnet18(neuron_factory(constants), measured))


def plain_resnet18(neuron: MakeNeuron, measured: Measured) -> Parts:
    """Build the chain that the module's docstring describes."""
    body: list[nn.Module] = [neuron()]
    inputs = _WIDTHS[0]
    for stage, width in enumerate(_WIDTHS):
        for index in range(_CONVOLUTIONS_A_STAGE):
            body += [conv_norm(inputs, width, stride=2 if stage > 0 and index == 0 else 1), neuron()]
            inputs = width
    body.append(classifier(inputs, measured.classes))
    return Parts(stem=conv_norm(3, _WIDTHS[0]), body=nn.Sequential(*body))


def photographs(size: int, count: int) -> Array:
    """Crops of scikit-learn's two sample photographs, `[count, 3, size, size]`, uint8.

    They are spread evenly over both, so that any few of them differ.
    """
    from sklearn.datasets import load_sample_images  # slow to import, and a worker needs no photographs

    pictures = [Image.fromarray(array) for array in load_sample_images().images]
    crops = []
    for index in range(count):
        picture = pictures[index % len(pictures)]
        across = (index // len(pictures) + 0.5) / (count / len(pictures))
        left, top = round(across * (picture.width - _CROP)), round((1.0 - across) * (picture.height - _CROP))
        crop = picture.crop((left, top, left + _CROP, top + _CROP)).resize((size, size), Image.Resampling.BILINEAR)
        crops.append(np.asarray(crop).transpose(2, 0, 1))
    return np.ascontiguousarray(np.stack(crops))


def calibrate(network: Network, images: Array) -> Network:
    """Give every batch norm the statistics of these images, so that every layer fires; returned in evaluation mode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    network.train()
    with torch.no_grad():
        network(torch.from_numpy(images), _CALIBRATION_TIMESTEPS if network.is_spiking else 1)
    return network.eval()


def save(network: Network, path: Path) -> None:
    """Write the weights of a network, as safetensors; a spiking one is on the grid."""
    safetensors.torch.save_model(network, str(path))


def load(measured: Measured, path: Path, neuron: str = "lif") -> Network:
    """The network that `save` wrote, in evaluation mode; the twin is on no grid."""
    network = build(measured, neuron)
    safetensors.torch.load_model(network, str(path))
    for module in network.modules() if network.is_spiking else ():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0.0
    return network.eval()


@torch.no_grad()
def on_grid(network: Network) -> Network:
    """Fold the batch norms' scales into the convolutions and round both to the grid, in place."""
    for layers in network.modules():
        if isinstance(layers, TimeBatched) and isinstance(layers[0], nn.Conv2d):
            norm = layers[1]
            if not isinstance(norm, nn.BatchNorm2d):
                raise TypeError(f"a convolution is followed by {type(norm).__name__}, not by a batch norm")
            _round(layers[0], norm, _PIXEL_LEVELS if layers is network.stem else _SPIKE_LEVELS)
    return network


def _round(convolution: nn.Conv2d, norm: nn.BatchNorm2d, levels: int) -> None:
    """Leave the norm a bias alone; the largest weight of each channel becomes `levels` times a power of two."""
    if norm.running_mean is None or norm.running_var is None:
        raise TypeError("a batch norm has no statistics to calibrate")
    scale = norm.weight / norm.running_var.sqrt()
    bias = norm.bias - norm.running_mean * scale
    if convolution.bias is not None:
        bias += convolution.bias * scale
        convolution.bias.zero_()
    weight = convolution.weight * scale.reshape(-1, 1, 1, 1)
    largest = weight.abs().amax((1, 2, 3), keepdim=True)
    unit = (largest / levels).log2().ceil().exp2()
    codes = torch.where(weight.abs() == largest, levels * weight.sign(), (weight / unit).round())
    convolution.weight.copy_(codes * unit)
    norm.weight.fill_(1.0)
    norm.bias.copy_((bias / _BIAS_GRID).round() * _BIAS_GRID)
    norm.running_mean.zero_()
    norm.running_var.fill_(1.0)
    norm.eps = 0.0  # it is added to the variance, which would leave the grid; training needs one above 0


def fire_rates(network: Network, images: Array, timesteps: int) -> dict[str, float]:
    """Spikes a neuron and timestep of every LIF layer, by module path.

    Raises:
        InputError: a layer never fires on these images, so that nothing measured on them means anything.
    """
    rates: dict[str, float] = {}

    def record(path: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], spikes: Tensor) -> None:  # noqa: ARG001
            rates[path] = float(spikes.mean())

        return hook

    layers = [(path, layer) for path, layer in network.named_modules() if isinstance(layer, LIF)]
    handles = [layer.register_forward_hook(record(path)) for path, layer in layers]
    with torch.inference_mode():
        network(torch.from_numpy(images), timesteps)
    for handle in handles:
        handle.remove()
    if silent := [path for path, rate in rates.items() if rate == 0.0]:
        raise InputError(f"the layers {', '.join(silent)} never fire on the calibration images; calibrate on others.")
    return rates
