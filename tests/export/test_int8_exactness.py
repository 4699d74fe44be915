"""The int8 graph fires exactly the spikes of the PyTorch network with the same weights, in every engine there is."""

from __future__ import annotations

import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from tests.export.conftest import Prepare
from tests.export.lowering import Lowered, Prepared, each_network
from tks_edge_export import Comparison, Options
from tks_edge_models import LIF

IN_FLOAT = {
    "ms_resnet18": {"body.8", *(f"body.{block}.branch.0" for block in range(8))},
}
"""The LIF layers that read the shortcut's currents, which come from the pixels through float layers."""
FIRST = {"body.0"}
"""In every other network, the one behind the float first layer; the currents of the rest are sums of int8 weights."""


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
    exact = layers - IN_FLOAT.get(name, FIRST)
    assert {layer.path for layer in comparison.layers if layer.exact} == exact
    assert lowered.compiled.reference.exact == exact
    for layer in comparison.layers:
        assert len(layer.steps) == lowered.options.timesteps
        assert 0.0 < layer.total.fire_rate < 1.0, layer.path
        assert not layer.exact or layer.total.differing == 0, layer.path
    assert comparison.problem() is None
    return comparison


@pytest.mark.parametrize("timesteps", [1, 4])
@pytest.mark.parametrize("form", ["static", "step"])
@pytest.mark.parametrize("target", ["generic", "tensorrt", "openvino"])
def test_tiny_is_exact_in_every_form(tiny: Prepared, target: str, form: str, timesteps: int, tmp_path: Path) -> None:
    check_exact("tiny", tiny, tiny.lower(Options(timesteps, form=form, precision="int8", target=target), tmp_path))


def check_family(name: str, prepare: Prepare, options: Options, folder: Path) -> None:
    prepared = prepare(name)
    assert check_exact(name, prepared, prepared.lower(options, folder)).agreement == 1.0


@each_network("sew_resnet18", "resnet19", "vggsnn")
@pytest.mark.parametrize(
    ("target", "form", "timesteps"),
    [("generic", "static", 4), ("openvino", "static", 2), ("generic", "step", 4)],
)
def test_every_family_is_exact(
    name: str, prepare: Prepare, target: str, form: str, timesteps: int, tmp_path: Path
) -> None:
    check_family(name, prepare, Options(timesteps, form=form, precision="int8", target=target), tmp_path)


@each_network("sew_resnet50", "ms_resnet18", "spikformer", "qkformer")
@pytest.mark.parametrize("form", ["static", "step"])
def test_what_stands_between_int8_layers_keeps_them_exact(
    name: str, prepare: Prepare, form: str, tmp_path: Path
) -> None:
    """Bottlenecks, sums of currents, and attention, whose products of spikes are in float and whole numbers."""
    check_family(name, prepare, Options(2, form=form, precision="int8"), tmp_path)


@each_network("tiny", "sew_resnet18")
@pytest.mark.parametrize("form", ["static", "step"])
def test_tensorrt_gets_the_graph_that_runs_everywhere(name: str, prepare: Prepare, form: str) -> None:
    generic, tensorrt = (
        prepare(name).compiler.compile(Options(2, form=form, precision="int8", target=target))
        for target in ("generic", "tensorrt")
    )
    assert ir.to_proto(generic.model).SerializeToString() == ir.to_proto(tensorrt.model).SerializeToString()


@each_network("tiny", "sew_resnet18", "spikformer", "qkformer")
@pytest.mark.parametrize("form", ["static", "step"])
def test_openvino_fires_the_same_spikes_to_the_bit(name: str, prepare: Prepare, form: str, tmp_path: Path) -> None:
    """With tau = 2, halving a membrane is exact, so it does not matter whether an engine fuses product and sum.

    The sums of the float first layer each engine takes in its own order: its spikes may differ where one is borderline.
    """
    prepared = prepare(name)
    options = Options(4, form=form, precision="int8", target="openvino")
    lowered = prepared.lower(options, tmp_path)
    layers, exact = lowered.replayed("openvino", prepared.inputs[:2], tmp_path), lowered.compiled.reference.exact
    assert {layer.path for layer in layers} == exact | FIRST
    assert {layer.path: layer.total.differing for layer in layers if layer.path in exact} == dict.fromkeys(exact, 0)


@each_network("resnet19", "vggsnn")
def test_openvino_fires_the_same_spikes_up_to_rounding(name: str, prepare: Prepare, tmp_path: Path) -> None:
    """With tau = 3, OpenVINO rounds `d v + x` once and ONNX Runtime twice: only a borderline spike may differ."""
    prepared = prepare(name)
    lowered = prepared.lower(Options(4, precision="int8", target="openvino"), tmp_path)
    lowered.replayed("openvino", prepared.inputs[:2], tmp_path)
