"""Weights of 8 bits: what is stored, how far it is from what was trained, and for which layers it is exact."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from tests.export.lowering import Lowered, Prepared
from tests.export.plain_networks import Shape, between
from tks_edge_export import Compiler, ExportError, Options
from tks_edge_export.channel_lif import ChannelLIF

LAYERS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "conv2d": (lambda: nn.Conv2d(4, 6, 3), (2, 6, 6)),
    "conv2d without bias": (lambda: nn.Conv2d(4, 6, 3, bias=False), (2, 6, 6)),
    "conv2d with norm": (lambda: nn.Sequential(nn.Conv2d(4, 6, 3), used(nn.BatchNorm2d(6))), (2, 6, 6)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2), (2, 6, 6)),
    "depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (2, 6, 6)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 6, 3, stride=2), (2, 4, 4)),
    "transposed, grouped": (lambda: nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 4)),
    "transposed, depthwise": (lambda: nn.ConvTranspose2d(4, 4, 3, groups=4), (2, 4, 4)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3), (2, 9)),
    "linear": (lambda: nn.Linear(4, 7), (5,)),
    "linear without bias": (lambda: nn.Linear(4, 7, bias=False), (5,)),
    "linear on tokens": (lambda: nn.Linear(9, 7), (2, 9)),
    "linear on tokens without bias": (lambda: nn.Linear(9, 7, bias=False), (2, 9)),
}


def used(norm: nn.BatchNorm2d) -> nn.BatchNorm2d:
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    nn.init.normal_(norm.bias)
    return norm


def held(lowered: Lowered) -> dict[str, npt.NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(lowered.path).graph.initializer}


def parameter(network: nn.Module, name: str) -> npt.NDArray[np.float32]:
    values: npt.NDArray[np.float32] = network.get_parameter(name).detach().numpy()
    return values


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_of_any_kind_is_rounded_and_exact(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    make, shape = LAYERS[name]
    network = between(make(), shape)
    for target in ("generic", "onnxruntime-cpu", "openvino"):
        lowered = network.lower(Options(2, precision="int8", target=target), tmp_path)
        comparison = lowered.compared(network.inputs)
        assert comparison.problem() is None
        assert {layer.path: layer.total.fired > 0 for layer in comparison.layers} == {"first": True, "second": True}
        exact = {"second"} if target != "onnxruntime-cpu" else set()
        assert lowered.compiled.reference.exact == exact
        check_weights(lowered, network)
    watched = lowered.with_spikes(tmp_path / "watched.onnx")
    ours, theirs = (watched.run(backend, network.inputs[:2]) for backend in ("onnxruntime", "openvino"))
    np.testing.assert_array_equal(ours["first.spikes"], theirs["first.spikes"])
    np.testing.assert_array_equal(ours["second.spikes"], theirs["second.spikes"])


def check_weights(lowered: Lowered, network: Prepared) -> None:
    tensors = held(lowered)
    (name,) = (tensor for tensor in tensors if tensor.endswith(".weight.rounded.codes"))
    path = name.removesuffix(".weight.rounded.codes")
    codes, scale = tensors[name].astype(np.float64), tensors[f"{path}.weight.rounded.scale"].astype(np.float64)
    module, reference = (base.get_submodule(path) for base in (network.network, lowered.compiled.reference.network))
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
    assert isinstance(module, kinds)
    assert tensors[name].dtype == np.int8
    assert np.abs(codes).max() <= 127
    assert np.array_equal(np.exp2(np.rint(np.log2(scale))), scale)
    axis = next(a for a, size in enumerate(codes.shape) if size == len(scale) and is_output(module, a, codes.ndim))
    wide = scale.reshape([-1 if a == axis else 1 for a in range(codes.ndim)])
    others = tuple(a for a in range(codes.ndim) if a != axis)
    units = units_of(lowered, tensors, len(scale))
    # No bit of the range is given away, and none of it at all where the neuron takes up the rest.
    assert np.abs(codes).max(axis=others).min() > 63
    if units is not None:
        assert np.array_equal(np.abs(codes).max(axis=others), np.full(len(scale), 127.0))
    weight = parameter(reference, "weight")
    stored = codes * wide if codes.shape == weight.shape else (codes * wide).T
    np.testing.assert_array_equal(weight, stored.astype(np.float32))
    if not isinstance(network.network.get_submodule("middle"), nn.Sequential):
        trained = np.asarray(module.weight.detach(), np.float64)
        if units is not None:
            trained = trained * units.reshape(-1, *[1] * (trained.ndim - 1))
        half = (wide if codes.shape == weight.shape else wide.T) / 2
        assert np.all(np.abs(stored - trained) <= half * (1 + 1e-6))  # the units were read off float32 thresholds


def units_of(lowered: Lowered, tensors: dict[str, npt.NDArray[Any]], channels: int) -> npt.NDArray[np.float64] | None:
    """What the channels of the middle layer were multiplied by, by the thresholds of the neuron behind it."""
    if "second.thresholds" not in tensors:
        transposed = isinstance(lowered.compiled.reference.network.get_submodule("middle"), nn.ConvTranspose2d)
        assert transposed or lowered.options.codes_currents
        return None
    neuron = lowered.compiled.reference.network.get_submodule("second")
    assert isinstance(neuron, ChannelLIF)
    thresholds = tensors["second.thresholds"].astype(np.float64).reshape(-1)
    units: npt.NDArray[np.float64] = thresholds / neuron.params.v_threshold
    assert units.shape == (channels,)
    assert np.all((units >= 1) & (units < 2))
    return units


def is_output(module: nn.Module, axis: int, rank: int) -> bool:
    if isinstance(module, nn.ConvTranspose2d):
        return axis == 1
    return axis in (0, rank - 1) if isinstance(module, nn.Linear) else axis == 0


class Doubled(nn.Module):
    """A convolution of sums of 2^n spikes."""

    def __init__(self, doublings: int) -> None:
        super().__init__()
        self.convolution, self.doublings = nn.Conv2d(4, 6, 3), doublings

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.doublings):
            x = x + x
        result: Tensor = self.convolution(x)
        return result


@pytest.mark.parametrize(
    ("target", "doublings", "limit"),
    [
        *[("openvino", n, 127) for n in (0, 3, 7)],
        *[("generic", n, limit) for n, limit in ((0, 127), (1, 126), (2, 124), (5, 102), (6, 85))],
    ],
)
def test_two_products_fit_into_16_bits(target: str, doublings: int, limit: int, tmp_path: Path) -> None:
    """Older x86 processors sum them so; signed activations they hold as unsigned ones, 128 higher."""
    torch.manual_seed(3)
    network = between(Doubled(doublings), (2, 5, 5))
    lowered = network.lower(Options(2, precision="int8", target=target), tmp_path)
    codes = held(lowered)["middle.convolution.weight.rounded.codes"].astype(np.int64)
    assert np.array_equal(np.abs(codes).max(axis=(1, 2, 3)), np.full(6, limit))
    highest = 2**doublings + (128 if target == "generic" else 0)
    assert 2 * highest * limit < 2**15
    assert limit == 127 or 2 * highest * (limit + 1) >= 2**15
    assert lowered.compiled.reference.exact == {"second"}
    assert lowered.compared(network.inputs).problem() is None


@pytest.mark.parametrize("target", ["generic", "onnxruntime-cpu", "openvino"])
def test_where_the_input_is_rounded_too_each_channel_fills_what_16_bits_hold(
    target: str, tiny: Prepared, tmp_path: Path
) -> None:
    lowered = tiny.lower(Options(2, precision="int8", target=target, quantize_ends=True), tmp_path)
    tensors = held(lowered)
    codes = tensors["stem.0.weight.rounded.codes"].astype(np.int64)
    scale = tensors["stem.0.weight.rounded.scale"]
    assert np.array_equal(np.abs(codes).max(axis=(1, 2, 3)), np.full(len(scale), 64))
    assert np.unique(np.frexp(scale)[0]).size > 1  # no power of two is asked for where nothing is exact
    weight = parameter(lowered.compiled.reference.network, "stem.0.layer.weight")
    np.testing.assert_array_equal(weight, codes.astype(np.float32) * scale.reshape(-1, 1, 1, 1))


@pytest.mark.parametrize("target", ["generic", "onnxruntime-cpu"])
def test_biases_lie_on_a_grid_on_which_sums_are_exact(target: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    network = between(nn.ConvTranspose2d(4, 6, 3, groups=2), (2, 4, 4))
    tensors = held(network.lower(Options(2, precision="int8", target=target), tmp_path))
    scale = np.tile(tensors["middle.weight.rounded.scale"].astype(np.float64), 2)  # three channels in each group
    trained = parameter(network.network, "middle.bias")
    if target == "onnxruntime-cpu":
        assert tensors["middle.bias.rounded.codes"].dtype == np.int32
        assert np.array_equal(tensors["middle.bias.rounded.scale"], scale)
        bias = tensors["middle.bias.rounded.codes"] * scale
        assert np.all(np.abs(bias - trained) <= scale / 2)
        return
    bias = tensors["middle.bias.rounded"].astype(np.float64)
    assert np.all(np.abs(bias - trained) < scale / 64)  # so fine that it hardly changes
    largest = np.abs(tensors["middle.weight.rounded.codes"].astype(np.int64)).sum(axis=(0, 2, 3))
    finest = np.exp2(np.ceil(np.log2(np.tile(largest, 2) * scale + np.abs(trained)))) / 2**20
    steps = bias / np.minimum(scale, finest)
    np.testing.assert_array_equal(steps, np.rint(steps))


def test_channels_of_nothing_stay_nothing(tmp_path: Path) -> None:
    torch.manual_seed(1)
    layer = nn.Conv2d(4, 6, 3)
    network = between(layer, (2, 6, 6))
    with torch.no_grad():
        layer.weight[0], layer.weight[1], layer.get_parameter("bias")[2] = 0.0, 1e-44, 0.0
    network = Prepared(network.network, Compiler(network.network, torch.from_numpy(network.inputs[:2])), network.inputs)
    lowered = network.lower(Options(2, precision="int8"), tmp_path)
    tensors = held(lowered)
    assert not tensors["middle.weight.rounded.codes"][:2].any()
    smallest = np.finfo(np.float32).tiny
    assert (tensors["middle.weight.rounded.scale"] >= smallest).all()
    assert lowered.compared(network.inputs).problem() is None


def test_each_weight_is_stored_once_as_int8(prepare: Callable[[str], Prepared], tmp_path: Path) -> None:
    network = prepare("sew_resnet18")
    size = {
        options: network.lower(options, tmp_path).path.stat().st_size
        for options in (Options(1), *(Options(timesteps, precision="int8") for timesteps in (1, 4)))
    }
    whole, one, four = size.values()
    assert max(one, four) <= 0.27 * whole
    assert abs(four - one) < 0.01 * whole  # nodes, not weights
    lowered = network.lower(Options(4, precision="int8"), tmp_path)
    floats = [name for name, array in held(lowered).items() if array.dtype == np.float32 and array.size > 2048]
    assert floats == []
    parameters = sum(m.weight.numel() for m in network.network.modules() if isinstance(m, nn.Conv2d))
    first = parameter(network.network, "stem.0.weight").size
    stored = sum(array.size for array in held(lowered).values() if array.dtype == np.int8)
    zeros = sum(len(array) for name, array in held(lowered).items() if name.endswith(".zero"))
    assert stored - zeros - parameters + first <= 1  # and one zero for the spikes


def test_weights_that_are_no_numbers_are_refused() -> None:
    torch.manual_seed(1)
    network = between(nn.Linear(4, 7), (5,))
    network.network.get_parameter("middle.weight").data[0, 0] = torch.nan
    compiler = Compiler(network.network, torch.from_numpy(network.inputs[:2]))
    with pytest.raises(ExportError, match=r"^the weights of middle hold values that are no finite numbers"):
        compiler.compile(Options(2, precision="int8"))


def test_a_layer_to_keep_in_float_has_to_exist() -> None:
    torch.manual_seed(1)
    with pytest.raises(ExportError) as error:
        between(nn.Linear(4, 7), (5,)).compiler.compile(Options(2, precision="int8", keep_float=("midle",)))
    assert str(error.value) == "'midle' is no layer with weights. There are: stem, middle, head."
