"""The comparison passes for a faithful graph and names the layer and timestep of a fault."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.export.conftest import MakeSource, write
from tks_edge_export import ExportError, Reference, Source, VerificationError, compare
from tks_edge_export.replay import Replayed
from tks_edge_export.watched import WatchedGraph
from tks_edge_models import LIFParameters
from tks_edge_runtime.errors import TksEdgeError


@pytest.fixture(scope="module")
def source(make_source: MakeSource) -> Source:
    return make_source()


@pytest.fixture(scope="module")
def graph(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(source, 3, tmp_path_factory.mktemp("graph")).artifact.path


def test_a_faithful_graph_passes_and_every_layer_fires(graph: Path, source: Source) -> None:
    comparison = compare(graph, Reference(source.network), source.samples.inputs, 3)
    assert comparison.problem() is None
    assert comparison.samples == 12
    assert [layer.path for layer in comparison.layers] == ["body.0", "body.2", "body.4", "body.6", "body.8"]
    assert comparison.total.decisions == 12 * 3 * (2 * 16 * 256 + 2 * 32 * 64 + 64 * 16)
    assert all(0.05 < layer.total.fire_rate < 0.5 for layer in comparison.layers)
    assert comparison.predictions_differing == 0


@pytest.mark.parametrize("name", ["sew_resnet18", "resnet19", "vggsnn"])
def test_every_family_passes_at_other_constants(name: str, make_source: MakeSource, tmp_path: Path) -> None:
    lif = LIFParameters(tau=3.0, v_reset=None if name == "resnet19" else -0.1, decay_input=name != "vggsnn")
    exported = write(make_source(name, lif=lif), 2, tmp_path, verify_samples=3, batch_size=2)
    assert exported.comparison.problem() is None
    assert exported.comparison.samples == 3
    assert all(layer.total.fire_rate > 0.02 for layer in exported.comparison.layers)


def test_the_twin_passes(make_source: MakeSource, tmp_path: Path) -> None:
    source = make_source(neuron="relu")
    with pytest.raises(ExportError, match="compared on 0 samples"):
        write(source, 1, tmp_path, verify_samples=0)
    exported = write(source, 1, tmp_path, verify_samples=4)
    assert exported.comparison.layers == ()
    assert exported.artifact.manifest.is_twin
    assert exported.artifact.manifest.neuron is None


@pytest.mark.parametrize(
    ("output", "layer", "timestep"),
    [("body.4.t1.decayed", "body.4", 2), ("body.6.t2.decayed", "body.6", 3), ("body.0.t0.rests", "body.0", 1)],
)
def test_a_wrong_constant_is_found_where_it_is(
    graph: Path, source: Source, tmp_path: Path, output: str, layer: str, timestep: int
) -> None:
    model = onnx.load(graph)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(0.45), "wrong"))
    (node,) = [n for n in model.graph.node if n.output[0] == output]
    node.input[1] = "wrong"
    onnx.save(model, tmp_path / "wrong.onnx")
    comparison = compare(tmp_path / "wrong.onnx", Reference(source.network), source.samples.inputs, 3)
    with pytest.raises(VerificationError, match=rf"first in layer '{layer}' at timestep {timestep}"):
        comparison.check("wrong.onnx")
    assert [found.path for found in comparison.layers if found.total.faults] == [layer]


def test_a_lost_state_is_found(graph: Path, source: Source, tmp_path: Path) -> None:
    model = onnx.load(graph)
    (node,) = [n for n in model.graph.node if n.output[0] == "body.2.t1.h"]
    node.op_type, kept = "Identity", node.input[1]
    del node.input[:]
    node.input.append(kept)
    onnx.save(model, tmp_path / "lost.onnx")
    comparison = compare(tmp_path / "lost.onnx", Reference(source.network), source.samples.inputs, 3)
    assert "layer 'body.2' at timestep 2" in str(comparison.problem())


def test_a_wrong_classifier_is_found_behind_the_last_layer(graph: Path, source: Source, tmp_path: Path) -> None:
    model = onnx.load(graph)
    for weight in model.graph.initializer:
        if weight.name.endswith("9.2.bias"):
            weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(1e-3), weight.name))
    onnx.save(model, tmp_path / "bias.onnx")
    comparison = compare(tmp_path / "bias.onnx", Reference(source.network), source.samples.inputs, 3)
    assert "the fault lies behind the last LIF layer" in str(comparison.problem())


def test_a_graph_of_another_t_is_refused(graph: Path, source: Source) -> None:
    with pytest.raises(VerificationError, match=r"'body.0.spikes' laid out at T=3, and says that its T is 4"):
        compare(graph, Reference(source.network), source.samples.inputs, 4)


def test_a_graph_of_another_network_is_refused(graph: Path, make_source: MakeSource) -> None:
    resnet, twin = make_source("resnet19"), make_source(neuron="relu")
    for other, timesteps in ((resnet, 3), (twin, 1)):
        with pytest.raises(VerificationError, match=r"has 'body.\d.spikes', a LIF layer that the network has not"):
            compare(graph, Reference(other.network), other.samples.inputs, timesteps)


@pytest.fixture(scope="module")
def graph_with_steps(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(source, 2, tmp_path_factory.mktemp("steps"), per_step=True).artifact.path


def behind(model: onnx.ModelProto, output: str, operator: str, *constants: float) -> None:
    """Put an operator between a graph output and what gave it."""
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == output:
                node.output[index] = f"{output}.before"
        for index, name in enumerate(node.input):
            if name == output:
                node.input[index] = f"{output}.before"
    names = [f"{output}.constant{index}" for index in range(len(constants))]
    for name, constant in zip(names, constants, strict=True):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(constant), name))
    model.graph.node.append(onnx.helper.make_node(operator, [f"{output}.before", *names], [output]))


@pytest.mark.parametrize(("operator", "constants"), [("Neg", ()), ("Mul", (float("nan"),)), ("Mul", (float("inf"),))])
@pytest.mark.parametrize("output", ["logits", "logits_per_step"])
def test_wrong_logits_are_found_in_either_output(
    graph_with_steps: Path, source: Source, tmp_path: Path, output: str, operator: str, constants: tuple[float, ...]
) -> None:
    model = onnx.load(graph_with_steps)
    behind(model, output, operator, *constants)
    onnx.save(model, tmp_path / "wrong.onnx")
    comparison = compare(tmp_path / "wrong.onnx", Reference(source.network), source.samples.inputs, 2)
    assert "the fault lies behind the last LIF layer" in str(comparison.problem())


def test_a_spike_that_is_not_one_is_found(graph: Path, source: Source, tmp_path: Path) -> None:
    model = onnx.load(graph)
    model.graph.initializer.append(numpy_helper.from_array(np.float32(1.001), "amplitude"))
    (cast,) = [node for node in model.graph.node if node.output[0] == "body.8.spikes"]
    cast.output[0] = "body.8.exact"
    position = list(model.graph.node).index(cast) + 1
    model.graph.node.insert(position, onnx.helper.make_node("Mul", ["body.8.exact", "amplitude"], ["body.8.spikes"]))
    onnx.save(model, tmp_path / "loud.onnx")
    comparison = compare(tmp_path / "loud.onnx", Reference(source.network), source.samples.inputs, 3)
    assert "first in layer 'body.8' at timestep 1" in str(comparison.problem())


def test_an_engine_that_changes_the_graph_as_shipped_is_found(
    graph: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Watched, the graph is right: what an engine fuses where nobody looks stands between."""
    as_shipped = WatchedGraph.run_as_shipped
    monkeypatch.setattr(WatchedGraph, "run_as_shipped", lambda self, batch: as_shipped(self, batch) + np.float32(1e-2))
    comparison = compare(graph, Reference(source.network), source.samples.inputs[:2], 3)
    assert comparison.max_watched_difference == pytest.approx(1e-2, rel=1e-3)  # logits of a few units, in float32
    with pytest.raises(VerificationError, match=r"computes other logits when its spikes are not watched, by 0\.01"):
        comparison.check("graph.onnx")


def test_a_prediction_that_nothing_explains_is_found(
    graph: Path, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    freely = Replayed.run_freely
    monkeypatch.setattr(Replayed, "run_freely", lambda self, batch: -freely(self, batch))
    comparison = compare(graph, Reference(source.network), source.samples.inputs[:3], 3)
    assert comparison.total.differing == 0
    assert comparison.predictions_unexplained == 3
    with pytest.raises(VerificationError, match="3 of 3 predictions differ where no spike is borderline"):
        comparison.check("graph.onnx")


def test_a_damaged_file_is_refused(graph: Path, source: Source, tmp_path: Path) -> None:
    content = graph.read_bytes()
    for index in (2, 10, 30):
        (tmp_path / "damaged.onnx").write_bytes(content[:index] + b"\xff\xff" + content[index + 2 :])
        with pytest.raises(TksEdgeError) as error:
            compare(tmp_path / "damaged.onnx", Reference(source.network), source.samples.inputs, 3).check(
                "damaged.onnx"
            )
        assert len(str(error.value).splitlines()) == 1
