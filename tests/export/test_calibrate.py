"""What int8 rounds that is no spike: where samples are needed, what is found on them, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn

from tests.export.conftest import calibrated
from tests.export.lowering import Prepared
from tests.export.plain_networks import Deeper
from tks_edge_export import Calibration, Compiler, ExportError, Options
from tks_edge_export.calibrate import Wanted, calibrate
from tks_edge_export.codes import Code, CodedLIF
from tks_edge_export.passes.normalize_neurons import normalized
from tks_edge_models import LIF, LIFParameters

CODED = ("body.2", "body.4", "body.6", "body.8")
"""The LIF layers of `tiny` whose currents come out of int8 layers."""


def plain(count: int = 40) -> Prepared:
    torch.manual_seed(2)
    module, inputs = Deeper().eval(), torch.randn(count, 6) * 2
    with torch.no_grad():
        module.middle.weight *= 3
    return Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())


@pytest.fixture(scope="module")
def small() -> Prepared:
    return plain()


@pytest.fixture(scope="module")
def twin() -> Prepared:
    network = calibrated("tiny", neuron="relu")
    inputs = np.random.default_rng(5).integers(0, 256, (4, 2, 16, 16), dtype=np.uint8)
    return Prepared(network, Compiler(network, torch.from_numpy(inputs[:2])), inputs)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        (Options(2, precision="int8", target="onnxruntime-cpu"), "body.2"),
        (Options(2, precision="int8", quantize_ends=True), "stem.0"),
        (Options(2, precision="int8", target="openvino", quantize_ends=True), "stem.0"),
    ],
)
def test_without_samples_it_says_what_they_are_needed_for(tiny: Prepared, options: Options, where: str) -> None:
    with pytest.raises(ExportError) as error:
        tiny.compiler.compile(options)
    message = f"int8 for the target {options.target} rounds values at {where} whose range depends on the data. "
    assert str(error.value) == message + "Hand in samples to calibrate with."
    with pytest.raises(ExportError, match="no samples to calibrate with; hand in at least one"):
        tiny.compiler.compile(options, [])


def test_where_nothing_is_rounded_no_sample_is_looked_at(tiny: Prepared) -> None:
    samples = iter([tiny.inputs])
    assert tiny.compiler.compile(Options(2, precision="int8"), samples).calibration == Calibration()
    assert len(list(samples)) == 1


def test_a_twin_is_rounded_and_needs_samples(twin: Prepared, tmp_path: Path) -> None:
    for target in ("generic", "openvino", "onnxruntime-cpu"):
        options = Options(1, precision="int8", target=target)
        with pytest.raises(ExportError, match="whose range depends on the data"):
            twin.compiler.compile(options)
        lowered = twin.lower(options, tmp_path)
        assert {"body.1.0", "body.3.0", "body.5.0", "body.7.0"} == {*lowered.compiled.calibration.inputs}
        assert lowered.compared(twin.inputs).problem() is None
        found = lowered.run("onnxruntime", twin.inputs[:2])["logits"]
        with torch.inference_mode():
            wanted = twin.network(torch.from_numpy(twin.inputs[:2])).squeeze(0).numpy()
        assert np.array_equal(found.argmax(1), wanted.argmax(1))
        assert np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max()  # 8 bits in each of five layers


@pytest.mark.parametrize("target", ["generic", "openvino", "onnxruntime-cpu"])
@pytest.mark.parametrize("form", ["static", "step"])
def test_the_ends_are_quantized_on_request(tiny: Prepared, target: str, form: str, tmp_path: Path) -> None:
    options = Options(2, form=form, precision="int8", target=target, quantize_ends=True)
    lowered = tiny.lower(options, tmp_path)
    calibration = lowered.compiled.calibration
    assert {*calibration.inputs} == {"stem.0"}  # the classifier reads sixteenths of spikes, which 8 bits hold
    weights = {name for name in lowered.compiled.model.graph.initializers if name.endswith(".weight.rounded.codes")}
    assert weights == {
        f"{path}.weight.rounded.codes" for path in ("stem.0", *(f"body.{i}.0" for i in (1, 3, 5, 7)), "body.9.2")
    }
    exact = {"generic": {*CODED}, "openvino": {*CODED}, "onnxruntime-cpu": set()}[target]
    assert lowered.compiled.reference.exact == exact
    comparison = lowered.compared(tiny.inputs)
    assert comparison.problem() is None
    assert all(layer.total.differing == 0 for layer in comparison.layers if layer.exact)
    assert all(layer.total.fired > 0 for layer in comparison.layers)


@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize("form", ["static", "step"])
def test_membranes_as_codes_are_the_network_with_such_membranes(
    tiny: Prepared, form: str, timesteps: int, tmp_path: Path
) -> None:
    options = Options(timesteps, form=form, precision="int8", target="onnxruntime-cpu")
    lowered = tiny.lower(options, tmp_path)
    assert [*lowered.compiled.calibration.zeros] == [*CODED]
    assert not lowered.compiled.calibration.inputs
    assert not lowered.compiled.calibration.currents
    for path in CODED:
        assert isinstance(lowered.compiled.reference.network.get_submodule(path), CodedLIF)
    comparison = lowered.compared(tiny.inputs)
    assert comparison.problem() is None
    # A current lies between two codes to within float32 once in tens of thousands, and then seldom decides a spike.
    assert comparison.total.differing <= 1e-5 * comparison.total.decisions
    assert comparison.total.fire_rate > 0.1


class Joined(Deeper):
    """Two currents are added up before the second neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.other = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.neuron(self.first(x))
        logits: Tensor = self.last(self.second(self.middle(spikes) * 2 + self.other(spikes)))
        return logits


def test_currents_that_are_added_are_codes_too(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, inputs = Joined().eval(), torch.randn(32, 6) * 2
    prepared = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(Options(2, precision="int8", target="onnxruntime-cpu"), tmp_path)
    assert {*lowered.compiled.calibration.currents} == {"middle", "other"}
    assert lowered.compared(prepared.inputs).problem() is None


def test_a_layer_may_stay_in_float(tiny: Prepared, tmp_path: Path) -> None:
    for target, layers in (("generic", {"body.2", "body.6", "body.8"}), ("onnxruntime-cpu", set())):
        options = Options(2, precision="int8", target=target, keep_float=("body.3.0",))
        lowered = tiny.lower(options, tmp_path)
        names = lowered.compiled.model.graph.initializers.keys()
        assert "body.1.0.weight.rounded.codes" in names
        assert "body.3.0.weight.rounded.codes" not in names
        assert lowered.compiled.reference.exact == layers
        assert "body.4" not in lowered.compiled.calibration.zeros
        assert lowered.compared(tiny.inputs).problem() is None


def test_the_same_samples_give_the_same_file(small: Prepared, tmp_path: Path) -> None:
    options = Options(2, precision="int8", target="onnxruntime-cpu", quantize_ends=True)
    first, second = (small.compiler.compile(options, [small.inputs]) for _ in range(2))
    again = small.compiler.compile(options, first.calibration)
    files = [ir.to_proto(made.model).SerializeToString() for made in (first, second, again)]
    assert files[0] == files[1] == files[2]
    assert first.calibration == second.calibration == again.calibration


def test_batches_of_any_size_are_looked_at(small: Prepared) -> None:
    options = Options(3, precision="int8", target="onnxruntime-cpu")
    whole = small.compiler.compile(options, [small.inputs]).calibration
    parts = [small.inputs[:32], small.inputs[32:]]
    assert small.compiler.compile(options, parts).calibration == whole
    assert small.compiler.compile(options, iter(parts)).calibration == whole


def test_ranges_are_those_of_the_samples_and_the_best_zero_is_chosen(small: Prepared) -> None:
    params = normalized(LIFParameters())
    wanted = Wanted(["first"], {"middle": "middle"}, {"second": params}, signed=True)
    found = calibrate(small.network, [small.inputs], 2, wanted, frames=False)
    assert found.inputs == {"first": Code.of_range(0.0, float(np.abs(small.inputs).max()), signed=True)}
    seen: list[Tensor] = []
    network = Deeper().eval()
    network.load_state_dict(small.network.state_dict())
    with torch.no_grad():
        spikes = network.neuron(network.first(torch.from_numpy(small.inputs)).expand(2, -1, -1))
        seen = [network.middle(step) for step in spikes]
    currents = torch.stack(seen)
    assert found.currents == {"middle": Code.of_range(float(currents.min()), float(currents.max()))}
    exact = LIF(params)(currents)
    flips = {zero: int((CodedLIF(params, zero)(currents) != exact).sum()) for zero in range(16, 122, 8)}
    chosen = int((CodedLIF(params, found.zeros["second"])(currents) != exact).sum())
    assert chosen <= min(flips.values())
    assert found.zeros["second"] % 2 == 0


@pytest.mark.parametrize("order", [1, -1], ids=["largest first", "largest last"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_range_is_that_of_all_batches(small: Prepared, order: int, sign: int) -> None:
    """The largest value, and the most negative one, may come in any batch."""
    ordinary = np.abs(small.inputs) * sign
    wanted = Wanted(["first"], {"first": "first"}, {}, signed=False)
    found = calibrate(small.network, [ordinary * 4, ordinary][::order], 2, wanted, frames=False)
    largest = float(np.abs(ordinary).max()) * 4
    assert found.inputs["first"] == Code.of_range(-largest if sign < 0 else 0.0, largest if sign > 0 else 0.0)
    with torch.no_grad():
        outputs = small.network.get_submodule("first")(torch.from_numpy(np.concatenate([ordinary, ordinary * 4])))
    assert found.currents["first"] == Code.of_range(float(outputs.min()), float(outputs.max()))


def test_frames_are_looked_at_one_by_one(tmp_path: Path) -> None:
    torch.manual_seed(2)
    module, frames = Deeper().eval(), torch.randn(20, 3, 6) * 2
    prepared = Prepared(module, Compiler(module, frames[:2, 0]), frames.numpy())
    for target, ends in (("onnxruntime-cpu", False), ("generic", True)):
        options = Options(3, precision="int8", target=target, frames=True, quantize_ends=ends)
        lowered = prepared.lower(options, tmp_path)
        assert lowered.compared(prepared.inputs).problem() is None
    largest = float(frames.abs().max())
    assert lowered.compiled.calibration.inputs["first"] == Code.of_range(-largest, largest, signed=True)
