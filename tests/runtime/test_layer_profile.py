"""Per-layer times of small graphs, on FakeTensorRT too, and through the command; what cannot be profiled is refused."""

from __future__ import annotations

import pytest

from tests.runtime.command_line import document, fails, invoke
from tests.runtime.conftest import CPU_BACKENDS, Build, BuildSpiking
from tests.runtime.fake_gpu import FakeGpu
from tests.runtime.spiking import LAYER_SPECS, LAYERS
from tks_edge_runtime.artifact import ANALOGUE, FRAMES, STATIC, STEP, WEIGHTS, LayerSpec
from tks_edge_runtime.backends import BACKENDS, NodeTime, open_engine
from tks_edge_runtime.backends.onnxruntime_profile import runs_of
from tks_edge_runtime.backends.tensorrt_profile import _made_of
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.layer_profile import CLOCKS, OTHER, profile_layers
from tks_edge_runtime.onnx_graph import Graph, Node
from tks_edge_runtime.presets import PRESETS


@pytest.mark.parametrize(("form", "encoding"), [(STATIC, "direct"), (STEP, "direct"), (STEP, FRAMES)])
def test_tensorrt_reports_every_layer(gpu: FakeGpu, build_spiking: BuildSpiking, form: str, encoding: str) -> None:
    built = build_spiking(form=form, encoding=encoding, layers=LAYER_SPECS)
    found = profile_layers(built.path, "tensorrt")
    assert [time.path for time in found.layers] == [*LAYERS, OTHER]
    assert all(time.nodes and time.ms > 0 for time in found.layers)
    assert all(node.layers == (time.path,) for time in found.layers[:-1] for node in time.nodes)
    # Layer number i takes i/8 ms in each call: see FakeContext.
    count, calls = sum(len(time.nodes) for time in found.layers), 4 if form == STEP else 1
    assert found.sum_ms == pytest.approx(found.run_ms) == pytest.approx(calls * count * (count + 1) / 16)
    assert found.device == "cuda"


def test_an_inspector_that_names_layers_alone_is_enough(gpu: FakeGpu, build_spiking: BuildSpiking) -> None:
    built = build_spiking(form=STATIC, timesteps=1, layers=LAYER_SPECS)
    gpu.trt.details = False
    assert all(time.nodes for time in profile_layers(built.path, "tensorrt").layers)
    assert _made_of("") == _made_of('{"Layers": ["a"]}') == {}


def test_a_recorded_launch_cannot_be_profiled(gpu: FakeGpu, build: Build) -> None:
    with pytest.raises(InputError, match="profile without --cuda-graph"):
        open_engine(build().path, "tensorrt", cuda_graph=True, profiled=True)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize(("form", "encoding"), [(STATIC, "direct"), (STEP, FRAMES)])
def test_the_command_shows_where_the_time_goes(
    build_spiking: BuildSpiking, form: str, encoding: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "quick", 0.001)
    path = build_spiking(form=form, encoding=encoding, layers=LAYER_SPECS, batch=2).path
    arguments = ("profile", path, "--backend", backend, "--threads", "1", "--per-layer")
    text = invoke(*arguments).stdout
    assert "a run without the profiler" in text
    assert all(name in text for name in (*LAYERS, OTHER, "0.500", "100.0%", "medians of 30 runs"))
    layers = document(invoke(*arguments, "--json"))["layers"]
    assert [time["path"] for time in layers["layers"]] == [*LAYERS, OTHER]
    assert sum(time["ms"] for time in layers["layers"]) == pytest.approx(layers["sum_ms"])
    assert layers["layers"][0]["layer"]["fire_rate"] == 0.5
    assert layers["unprofiled_ms"] > 0
    assert "layers" not in document(invoke(*arguments[:-1], "--json"))


def test_an_artifact_without_layers_is_refused_before_anything_is_measured(build: Build) -> None:
    built = build()
    fails(invoke("profile", built.path, "--per-layer"), 2, "does not say which layers it has", "Export it again")
    with pytest.raises(ArtifactError, match="does not say which layers"):
        profile_layers(built.path)


def test_info_shows_the_layers_and_the_estimate(build: Build) -> None:
    layers = (LayerSpec("stem.0", WEIGHTS, 36_864, ANALOGUE, 0.875), *LAYER_SPECS)
    path = build(layers=layers).path
    text = invoke("info", path).stdout
    for words in ("stem.0", "36.9 k", "analogue", "0.875", "0.500", "estimated energy: 0.00017 mJ", "4.6 pJ"):
        assert words in text
    found = document(invoke("info", path, "--json"))
    assert found["estimated_energy"]["mj"] == pytest.approx(36_864 * 4.6e-9)
    assert found["manifest"]["layers"][0]["path"] == "stem.0"


def test_info_of_an_older_artifact_guesses_nothing(build: Build) -> None:
    path = build().path
    assert "estimated energy" not in invoke("info", path).stdout
    assert document(invoke("info", path, "--json"))["estimated_energy"] is None


def test_every_profiler_is_described() -> None:
    assert CLOCKS.keys() == {(name, device) for name, backend in BACKENDS.items() for device in backend.devices}


def test_a_trace_is_cut_into_its_runs() -> None:
    def event(category: str, name: str, us: int) -> dict[str, object]:
        return {"cat": category, "name": name, "dur": us, "ts": 0, "args": {"op_name": "Exp"}}

    events = [
        event("Session", "session_initialization", 900),
        event("Node", "a_kernel_time", 5),
        event("Node", "a_fence_before", 1),
        event("Node", "b_kernel_time", 7),
        event("Session", "SequentialExecutor::Execute", 20),
        event("Session", "model_run", 30),
        event("Node", "a_kernel_time", 6),
        event("Session", "model_run", 30),
    ]
    assert runs_of(events, Graph()) == [[NodeTime("a", 5000), NodeTime("b", 7000)], [NodeTime("a", 6000)]]


@pytest.mark.parametrize(
    ("name", "operator", "made_of"),
    [
        ("a.conv_nchwc", "Conv", ()),
        ("a.relu_nchwc", "Conv", ("a.conv", "a.relu")),
        ("a.relu_token_3", "QLinearConv", ("a.conv", "a.relu")),
        ("a.relu", "Relu", ()),
        ("b.add", "FusedConv", ("b.conv", "b.add")),  # the nearest of two
        ("b.relu", "Conv", ("b.conv", "b.add", "b.relu")),
        ("fused logits", "FusedGemm", ()),
        ("logits", "Gemm", ()),
        ("nothing", "Conv", ()),
    ],
)
def test_a_fused_convolution_is_found_in_the_graph(name: str, operator: str, made_of: tuple[str, ...]) -> None:
    nodes = [
        Node("Conv", ("input", "w"), ("a.conv",)),
        Node("Relu", ("a.conv",), ("a.relu",)),
        Node("Conv", ("a.relu", "w"), ("b.conv",)),
        Node("Add", ("a.relu", "b.conv"), ("b.add",)),
        Node("Relu", ("b.add",), ("b.relu",)),
        Node("Gemm", ("b.relu", "v"), ("logits",)),
    ]
    event = {"cat": "Node", "name": f"{name}_kernel_time", "dur": 1, "args": {"op_name": operator}}
    runs = runs_of([event, {"cat": "Session", "name": "model_run"}], Graph(nodes))
    assert runs == [[NodeTime(name, 1000, made_of)]]
