"""The int8 graph fires exactly the spikes of the PyTorch network with the same weights, in every engine there is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from tests.export.conftest import Prepare
from tests.export.lowering import Lowered, Prepared, each_network
from tks_edge_export import Comparison, Options, Reference
from tks_edge_export.reference import FLOAT32
from tks_edge_export.replay import Replayed
from tks_edge_models import LIF

FIRST = "body.0"
"""The one LIF layer behind the float first layer; the currents of all others are sums of int8 weights."""


def show_rates(name: str, options: Options, comparison: Comparison) -> None:
    """What `pytest -s` shows: which layer fires how often, and how many spikes were compared."""
    header = f"\n{name} int8 {options.target} {options.form} T={options.timesteps}: "
    rates = " ".join(f"{layer.path}={layer.total.fire_rate:.3f}" for layer in comparison.layers)
    total = comparison.total
    sys.stdout.write(f"{header}{total.differing} of {total.decisions} decisions differ; fire rates: {rates}\n")


def check_exact(name: str, prepared: Prepared, lowered: Lowered) -> Comparison:
    comparison = lowered.compared(prepared.inputs)
    show_rates(name, lowered.options, comparison)
    layers = {path for path, module in prepared.network.named_modules() if isinstance(module, LIF)}
    assert {layer.path for layer in comparison.layers} == layers
    assert {layer.path for layer in comparison.layers if layer.exact} == layers - {FIRST}
    assert lowered.compiled.reference.exact == layers - {FIRST}
    for layer in comparison.layers:
        assert len(layer.steps) == lowered.options.timesteps
        assert 0.0 < layer.total.fire_rate < 1.0, layer.path
        assert not layer.exact or layer.total.differing == 0, layer.path
    assert comparison.problem() is None
    return comparison


@pytest.mark.xdist_group("tiny")
@pytest.mark.parametrize("timesteps", [1, 2, 4])
@pytest.mark.parametrize("form", ["static", "step"])
@pytest.mark.parametrize("target", ["generic", "tensorrt", "openvino"])
def test_tiny_is_exact_in_every_form(tiny: Prepared, target: str, form: str, timesteps: int, tmp_path: Path) -> None:
    check_exact("tiny", tiny, tiny.lower(Options(timesteps, form=form, precision="int8", target=target), tmp_path))


@each_network("sew_resnet18", "resnet19", "vggsnn")
@pytest.mark.parametrize(
    ("target", "form", "timesteps"),
    [("generic", "static", 4), ("openvino", "static", 1), ("openvino", "static", 2), ("generic", "step", 4)],
)
def test_every_family_is_exact(
    name: str, prepare: Prepare, target: str, form: str, timesteps: int, tmp_path: Path
) -> None:
    prepared = prepare(name)
    options = Options(timesteps, form=form, precision="int8", target=target)
    comparison = check_exact(name, prepared, prepared.lower(options, tmp_path))
    assert comparison.agreement == 1.0


@each_network("tiny", "sew_resnet18")
@pytest.mark.parametrize("form", ["static", "step"])
def test_tensorrt_gets_the_graph_that_runs_everywhere(name: str, prepare: Prepare, form: str) -> None:
    generic, tensorrt = (
        prepare(name).compiler.compile(Options(2, form=form, precision="int8", target=target))
        for target in ("generic", "tensorrt")
    )
    assert ir.to_proto(generic.model).SerializeToString() == ir.to_proto(tensorrt.model).SerializeToString()


@each_network("tiny", "sew_resnet18")
@pytest.mark.parametrize("form", ["static", "step"])
def test_openvino_fires_the_same_spikes_to_the_bit(name: str, prepare: Prepare, form: str, tmp_path: Path) -> None:
    """With tau = 2, halving a membrane is exact, so it does not matter whether an engine fuses product and sum."""
    prepared = prepare(name)
    options = Options(4, form=form, precision="int8", target="openvino")
    lowered = prepared.lower(options, tmp_path).with_spikes(tmp_path / "watched.onnx")
    ours, theirs = (lowered.run(backend, prepared.inputs[:2]) for backend in ("onnxruntime", "openvino"))
    spikes = [key for key in ours if key.endswith(".spikes")]
    assert len(spikes) == len(lowered.compiled.reference.exact) + 1
    for key in spikes:
        if key == f"{FIRST}.spikes":  # behind the float first layer, whose sums each engine takes in its own order
            assert np.mean(ours[key] != theirs[key]) < 1e-3
    behind = [key for key in ours if key != "logits" and FIRST not in key]
    assert np.array_equal(ours[f"{FIRST}.spikes"], theirs[f"{FIRST}.spikes"])
    for key in behind:
        np.testing.assert_array_equal(ours[key], theirs[key], err_msg=key)
    tolerance = FLOAT32.logits * max(1.0, float(np.abs(ours["logits"]).max()))  # the classifier is in float
    np.testing.assert_allclose(theirs["logits"], ours["logits"], rtol=0, atol=tolerance)


@each_network("resnet19", "vggsnn")
def test_openvino_fires_the_same_spikes_up_to_rounding(name: str, prepare: Prepare, tmp_path: Path) -> None:
    """With tau = 3, OpenVINO rounds `d v + x` once and ONNX Runtime twice: only a borderline spike may differ."""
    prepared = prepare(name)
    lowered = prepared.lower(Options(4, precision="int8", target="openvino"), tmp_path)
    found = lowered.with_spikes(tmp_path / "watched.onnx").run("openvino", prepared.inputs[:2])
    replayed = Replayed(Reference(lowered.compiled.reference.network), 4)
    spikes = {path: found[f"{path}.spikes"].reshape(4, 2, -1) for path in replayed.paths}
    expected = replayed.run(prepared.inputs[:2], spikes, 2).mean(0)
    layers = replayed.results()
    assert [layer.path for layer in layers if layer.first_fault is not None] == []
    assert sum(layer.total.differing for layer in layers) <= 1e-5 * sum(layer.total.decisions for layer in layers)
    np.testing.assert_allclose(found["logits"], expected, rtol=0, atol=FLOAT32.logits * max(1, np.abs(expected).max()))
