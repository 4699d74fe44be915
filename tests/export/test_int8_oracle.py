"""The int8 graph of `tiny` against NumPy: integer convolutions, and the neuron's equations in float64.

Nothing here is the exporter's: the integers are read out of the ONNX file, their sums are taken in int64, and the
membrane follows the equations of `tks_edge_models.lif` in the constants that the network was built with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import numpy_helper
from torch import nn

from tests.export.lowering import Prepared
from tks_edge_export import Options
from tks_edge_models import Network

Array = npt.NDArray[Any]
STRIDES = {"body.1.0": 1, "body.3.0": 2, "body.5.0": 1, "body.7.0": 2}


@dataclass(frozen=True)
class Convolution:
    """What the file holds of one layer and of the neuron behind it.

    Whole weights `[O, I, 3, 3]`; for each O a scale, a bias and a threshold, in float32. The threshold is that of the
    current itself, which a neuron of time constant tau meets with a potential of 1/tau of it.
    """

    codes: Array
    scale: Array
    bias: Array
    threshold: Array
    stride: int

    def currents(self, spikes: Array) -> Array:
        """`[N, O, H, W]` in float64 for spikes 0 or 1; the sums of products are taken in int64."""
        padded = np.pad(spikes.astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
        windows = windows[:, :, :: self.stride, :: self.stride]
        sums = np.einsum("nihwyx,oiyx->nohw", windows, self.codes.astype(np.int64), optimize=True)
        column = (-1, 1, 1)
        currents: Array = sums * self.scale.astype(np.float64).reshape(column)
        return currents + self.bias.astype(np.float64).reshape(column)


def fired(currents: Array, tau: float, threshold: Array) -> Array:
    """The spikes `[T, ...]` of neurons with a scaled input and a hard reset to 0; a threshold for each channel."""
    membrane = np.zeros_like(currents[0])
    spikes = []
    for current in currents:
        membrane = membrane + (current - membrane) / tau
        spikes.append(membrane >= threshold)
        membrane = np.where(spikes[-1], 0.0, membrane)
    return np.stack(spikes)


def layers_of(path: Path) -> dict[str, Convolution]:
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    found = {
        layer: Convolution(
            held[f"{layer}.weight.rounded.codes"],
            held[f"{layer}.weight.rounded.scale"],
            held[f"{layer}.bias.rounded"],
            held[f"{neuron_behind(layer)}.thresholds"],
            stride,
        )
        for layer, stride in STRIDES.items()
    }
    for layer in found.values():
        assert layer.codes.dtype == np.int8
        assert np.array_equal(np.exp2(np.rint(np.log2(layer.scale))), layer.scale)
        assert layer.threshold.shape == (len(layer.codes), 1, 1)
    return found


def neuron_behind(layer: str) -> str:
    return f"body.{int(layer.split('.')[1]) + 1}"


def folded(network: Network, layer: str) -> tuple[Array, Array]:
    """The trained weight and bias with their batch norm, in float64."""
    convolution, norm = (network.get_submodule(path) for path in (layer, f"{layer[:-1]}1"))
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight, gamma, beta, mean, variance = (
        tensor.detach().numpy().astype(np.float64)
        for tensor in (convolution.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var)
    )
    factor = gamma / np.sqrt(variance + norm.eps)
    return weight * factor.reshape(-1, 1, 1, 1), beta - mean * factor


@pytest.mark.parametrize("target", ["generic", "openvino"])
def test_the_weights_in_the_file_are_the_trained_ones_rounded(tiny: Prepared, target: str, tmp_path: Path) -> None:
    lowered = tiny.lower(Options(2, precision="int8", target=target), tmp_path)
    assert isinstance(tiny.network, Network)
    assert tiny.network.lif is not None
    for path, layer in layers_of(lowered.path).items():
        weight, bias = folded(tiny.network, path)
        # A channel is measured in the unit in which its threshold is what the file holds.
        units = layer.threshold.astype(np.float64).reshape(-1) * tiny.network.lif.gain / tiny.network.lif.v_threshold
        scale = (layer.scale / units).reshape(-1, 1, 1, 1)
        # Half a step, and the float32 in which the folded weight was held before.
        assert np.all(np.abs(layer.codes * scale - weight) <= scale * (0.5 + 1e-4))
        assert np.array_equal(np.abs(layer.codes).max(axis=(1, 2, 3)), np.full(len(units), 127))
        np.testing.assert_allclose(layer.bias / units, bias, rtol=0, atol=float(scale.max()) / 8)


@pytest.mark.parametrize(("target", "timesteps"), [("generic", 4), ("openvino", 1), ("tensorrt", 2)])
def test_every_spike_is_what_integer_arithmetic_gives(
    tiny: Prepared, target: str, timesteps: int, tmp_path: Path
) -> None:
    lowered = tiny.lower(Options(timesteps, precision="int8", target=target), tmp_path)
    graph = lowered.with_spikes(tmp_path / "watched.onnx").run("onnxruntime", tiny.inputs[:2])
    spikes = {name: value.reshape(timesteps, 2, *value.shape[1:]) for name, value in graph.items() if name != "logits"}
    assert isinstance(tiny.network, Network)
    assert tiny.network.lif is not None
    params = tiny.network.lif
    before = spikes["body.0.spikes"]  # behind the float first layer: taken as it is
    assert 0.05 < before.mean() < 0.95
    for path, layer in layers_of(lowered.path).items():
        currents = np.stack([layer.currents(step) for step in before])
        expected = fired(currents, params.tau, layer.threshold.astype(np.float64) / params.tau)
        before = spikes[f"{neuron_behind(path)}.spikes"]
        assert 0.05 < before.mean() < 0.95
        np.testing.assert_array_equal(before, expected.astype(before.dtype), err_msg=path)
    head = tiny.network.get_submodule("body.9.2")
    assert isinstance(head, nn.Linear)
    features = before.astype(np.float64).mean(axis=(0, 3, 4))
    logits = features @ head.weight.detach().numpy().astype(np.float64).T + head.bias.detach().numpy()
    np.testing.assert_allclose(graph["logits"], logits, rtol=0, atol=1e-5)  # float32 sums of 64 products
