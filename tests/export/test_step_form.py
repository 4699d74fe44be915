"""One timestep with its states: driven T times it is the static graph, in the graph itself and through a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.export.conftest import MakeSource, write
from tests.export.lowering import Prepared
from tests.export.plain_networks import Deeper
from tks_edge_export import Compiler, Exported, ExportError, Options, Source, export
from tks_edge_export.lif_steps import state_name
from tks_edge_models import LIFParameters, create
from tks_edge_runtime.artifact import StateSpec
from tks_edge_runtime.session import load

T = 4
LAYERS = ("body.0", "body.2", "body.4", "body.6", "body.8")
KINDS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "fp16": {"precision": "fp16"},
    "fp16 membranes": {"precision": "fp16", "membrane": "fp16"},
    "int8": {"precision": "int8"},
    "int8 openvino": {"precision": "int8", "target": "openvino"},
    "int8 onnxruntime-cpu": {"precision": "int8", "target": "onnxruntime-cpu"},
}


IN_HALVES = "fp16 membranes"
"""Both engines compute these in float32 and round where a half leaves the graph, so the step form rounds more often."""


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != IN_HALVES])
def test_driven_steps_give_the_static_graph_to_the_bit(tiny: Prepared, kind: str, tmp_path: Path) -> None:
    options = KINDS[kind]
    static = tiny.lower(Options(T, per_step=True, **options), tmp_path).with_spikes(tmp_path / "static.onnx")
    whole = static.run("onnxruntime", tiny.inputs[:2])
    step = tiny.lower(Options(T, form="step", **options), tmp_path).with_spikes(tmp_path / "step.onnx")
    driven = step.run("onnxruntime", tiny.inputs[:2])
    for layer in LAYERS:
        spikes = driven[f"{layer}.spikes"]
        np.testing.assert_array_equal(spikes, whole[f"{layer}.spikes"].reshape(spikes.shape), err_msg=layer)
        assert 0 < spikes[-1].astype(np.float32).mean() < 1
    np.testing.assert_array_equal(driven["logits"], whole["logits_per_step"])
    np.testing.assert_array_equal(driven["logits"].mean(0), whole["logits"])


@pytest.fixture(scope="module")
def source(make_source: MakeSource) -> Source:
    made = make_source()
    return Source(**{**vars(made), "calibration": made.samples.inputs})


WRITTEN = ("fp32", "int8", "int8 onnxruntime-cpu")
ON_ENGINES = [
    *((kind, backend) for kind in ("fp32", "int8") for backend in ("onnxruntime", "openvino")),
    ("int8 onnxruntime-cpu", "onnxruntime"),
]
"""Every artifact on the engines that it is for."""


@pytest.fixture(scope="module")
def both(
    request: pytest.FixtureRequest, source: Source, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Exported, Exported]:
    """The static artifact and the step artifact of one network."""
    folder, options = tmp_path_factory.mktemp("artifacts"), KINDS[request.param]
    return (
        write(source, T, folder, verify_samples=4, **options),
        write(source, T, folder, verify_samples=4, form="step", **options),
    )


@pytest.mark.parametrize("form", ["static", "step"])
def test_membranes_in_halves_are_their_network_in_both_forms(tiny: Prepared, form: str, tmp_path: Path) -> None:
    comparison = tiny.lower(Options(T, form=form, **KINDS[IN_HALVES]), tmp_path).compared(tiny.inputs)
    assert comparison.problem() is None
    assert all(step.fired > 0 for layer in comparison.layers for step in layer.steps[1:])


@pytest.mark.parametrize(("both", "backend"), ON_ENGINES, indirect=["both"])
def test_a_stream_of_steps_is_the_static_artifact(
    both: tuple[Exported, Exported], source: Source, backend: str
) -> None:
    static, step = (made.artifact for made in both)
    pixels, golden = static.golden()
    with load(static.path, backend, threads=1) as whole, load(step.path, backend, threads=1) as session:
        expected = whole.run_batch(pixels)
        with session.stream() as stream:
            first = None
            for _ in range(2):
                for t in range(T):
                    logits = stream.step(pixels if t == 0 else None)
                    assert logits.shape == expected.shape
                assert stream.steps == T
                # The static graph takes the mean before the classifier, a sum of 64 products, and the stream behind it.
                np.testing.assert_allclose(stream.mean, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
                first = stream.mean if first is None else first
                np.testing.assert_array_equal(stream.mean, first)
                stream.reset()
        np.testing.assert_array_equal(session.run_batch(pixels), first)
    assert golden.argmax(1) == expected.argmax(1)


@pytest.mark.parametrize("both", WRITTEN, indirect=True)
def test_the_manifest_names_every_state_and_its_zero(both: tuple[Exported, Exported]) -> None:
    static, step = (made.artifact.manifest for made in both)
    assert static.states == ()
    assert (step.form, step.timesteps) == ("step", T)
    assert [state.name for state in step.states] == [*LAYERS]
    calibration = step.calibration
    coded = {} if calibration is None else calibration.zeros
    for state in step.states:
        name = state_name(state.name)
        code = state.name in coded
        expected = ("uint8", coded[state.name]) if code else ("float32", 0)
        assert state == StateSpec(state.name, name, f"{name}.out", state.shape, *expected)
        assert state.shape[0] == 1
    assert {*coded} == ({*LAYERS[1:]} if step.target == "onnxruntime-cpu" else set())
    assert [spec.name for spec in step.outputs] == ["logits"]
    assert step.outputs[0].meaning == "logits of this timestep"
    assert step.input == static.input


def test_the_states_themselves_are_the_membranes(tiny: Prepared, tmp_path: Path) -> None:
    driven = tiny.lower(Options(T, form="step"), tmp_path).run("onnxruntime", tiny.inputs[:2])
    static = tiny.compiler.compile(Options(T)).model
    names = {str(node.name) for node in static.graph}
    assert "body.4.t2.v" in names
    assert "body.4.t3.v" not in names  # a static graph has no use for the last
    for layer in LAYERS:
        membranes = driven[f"{state_name(layer)}.out"]
        assert membranes.shape[:2] == (T, 2)
        assert np.isfinite(membranes).all()
        assert (membranes[0] != membranes[-1]).any()


def test_frames_come_one_by_one(tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, frames = Deeper(LIFParameters(v_reset=None)).eval(), torch.randn(3, T, 6) * 2
    made = {
        form: export(module, frames[:1], T, frames=True, form=form, samples=frames, output=tmp_path)
        for form in ("static", "step")
    }
    manifest = made["step"].artifact.manifest
    assert (manifest.encoding, manifest.input.shape, manifest.batch.shape) == ("frames", (1, 6), (1, T, 6))
    assert made["static"].artifact.manifest.input.shape == (1, T, 6)
    batch = frames[:1].numpy()
    with load(made["step"].artifact.path) as session, session.stream() as stream:
        logits = [stream.step(np.ascontiguousarray(batch[:, t])) for t in range(T)]
        assert any((logits[t] != logits[0]).any() for t in range(1, T))
        with load(made["static"].artifact.path) as whole:
            np.testing.assert_allclose(stream.mean, whole.run_batch(batch), rtol=0, atol=1e-6)  # a mean before or after


@pytest.mark.parametrize("batch", [1, 2])
def test_frames_of_raw_counts_are_cast_first(batch: int, tmp_path: Path) -> None:
    """TensorRT takes an input of uint8 and does nothing with it but cast it; the lint of generic graphs asks for it."""
    torch.manual_seed(1)
    network = create("tiny", num_classes=5, in_channels=2, image_size=8, mean=(0, 0), std=(1 / 255, 1 / 255)).eval()
    counts = torch.randint(0, 9, (4, T, 2, 8, 8), dtype=torch.uint8)
    made = export(network, counts[:batch], T, frames=True, samples=counts, output=tmp_path)
    model = ir.load(made.artifact.path)
    (frames,) = model.graph.inputs
    assert frames.shape is not None
    assert (list(frames.shape), frames.dtype) == ([batch, T, 2, 8, 8], ir.DataType.UINT8)
    assert [node.op_type for node in frames.consumers()] == ["Cast"]
    assert made.comparison.problem() is None
    assert made.comparison.total.fired > 0


@pytest.mark.parametrize(
    "params", [LIFParameters(v_reset=None), LIFParameters(v_reset=-0.25, tau=3.0), LIFParameters(tau=1.0)]
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_kind_of_reset_keeps_its_state(params: LIFParameters, precision: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    module, inputs = Deeper(params).eval(), torch.randn(16, 6) * 2
    prepared = Prepared(module, Compiler(module, inputs[:2]), inputs.numpy())
    lowered = prepared.lower(Options(T, form="step", precision=precision), tmp_path)
    comparison = lowered.compared(prepared.inputs)
    assert comparison.problem() is None
    assert comparison.total.fired > 0


@pytest.mark.parametrize(("form", "steps"), [("static", 2), ("step", 1)])
def test_a_network_without_neurons_has_no_steps(form: str, steps: int) -> None:
    module = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3)).eval()
    with pytest.raises(ExportError, match="no LIF layer: it runs one pass"):
        Compiler(module, torch.rand(2, 6)).compile(Options(steps, form=form))


@pytest.mark.parametrize("both", WRITTEN, indirect=True)
def test_a_step_artifact_is_named_without_a_number(both: tuple[Exported, Exported]) -> None:
    static, step = (made.artifact.path.name for made in both)
    assert static.startswith("net-t4-")
    assert step.startswith("net-step-")
