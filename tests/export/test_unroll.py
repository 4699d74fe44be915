"""The unrolled graph: its contract, and the LIF layer to the bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.conftest import MakeSource
from tks_edge_export import ExportError, export_graph
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import emit_lif, spikes_name
from tks_edge_export.passes.reshape_chain import static_shape
from tks_edge_models import LIF, LIFParameters

parameters = st.builds(
    LIFParameters,
    tau=st.floats(1.0, 16.0),
    v_threshold=st.floats(0.125, 2.0),
    v_reset=st.one_of(st.none(), st.floats(-1.0, 0.0)),
    decay_input=st.booleans(),
)


@settings(deadline=None, max_examples=60)
@given(params=parameters, timesteps=st.integers(1, 8), still=st.booleans(), seed=st.integers(0, 2**31))
def test_an_unrolled_layer_fires_the_same_spikes_to_the_bit(
    params: LIFParameters, timesteps: int, still: bool, seed: int
) -> None:
    shape = (2, 33)
    count = 1 if still else timesteps
    builder = GraphBuilder(18)
    inputs = [
        ir.Value(name=f"x{t}", shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT)) for t in range(count)
    ]
    spikes = emit_lif(builder, "layer", inputs * (timesteps if still else 1), params)
    graph = ir.Model(builder.graph(inputs, spikes, "g"), ir_version=10)
    session = onnxruntime.InferenceSession(ir.to_proto(graph).SerializeToString(), providers=["CPUExecutionProvider"])

    x = np.random.default_rng(seed).normal(0.6, 1.5, (count, *shape)).astype(np.float32)
    x[:, 0, 0] = params.v_threshold / params.gain  # at the threshold itself
    got = np.stack(session.run(None, {f"x{t}": x[t] for t in range(count)}))
    expected = LIF(params)(torch.from_numpy(x).expand(timesteps, *shape)).numpy()
    np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def graphs(make_source: MakeSource) -> dict[int, ir.Model]:
    source = make_source("sew_resnet18")
    example = torch.from_numpy(source.samples.inputs[:2])
    return {t: export_graph(source.network, example, t, per_step=True)[0] for t in (1, 3)}


def test_the_graph_keeps_its_contract(graphs: dict[int, ir.Model], tmp_path: Path) -> None:
    for timesteps, model in graphs.items():
        ir.save(model, tmp_path / "graph.onnx")
        onnx.checker.check_model(tmp_path / "graph.onnx", full_check=True)
        assert model.ir_version <= 10
        assert dict(model.opset_imports) == {"": 18}
        (pixels,) = model.graph.inputs
        assert (pixels.name, pixels.dtype) == ("input", ir.DataType.UINT8)
        assert static_shape(pixels) == (2, 2, 16, 16)
        assert {value.name: static_shape(value) for value in model.graph.outputs} == {
            "logits": (2, 4),
            "logits_per_step": (timesteps, 2, 4),
        }
        assert not {"Loop", "Scan", "If", "BatchNormalization"} & {node.op_type for node in model.graph}
        assert all(node.domain == "" for node in model.graph)


def test_weights_are_stored_once_and_the_stem_runs_once(graphs: dict[int, ir.Model]) -> None:
    sizes = {
        t: sum(v.const_value.size for v in m.graph.initializers.values() if v.const_value) for t, m in graphs.items()
    }
    assert sizes[3] - sizes[1] < 32  # scalars such as the decay, which one step does not need
    convolutions = {t: Counter(n.op_type for n in m.graph)["Conv"] for t, m in graphs.items()}
    assert convolutions[3] - 1 == 3 * (convolutions[1] - 1)
    assert Counter(n.op_type for n in graphs[3].graph)["Where"] == 2 * 20  # 20 layers; the last step is not reset


def test_every_spike_can_be_found_by_its_layer_and_timestep(graphs: dict[int, ir.Model]) -> None:
    names = {value.name for node in graphs[3].graph for value in node.outputs}
    assert {spikes_name("body.1.branch.1", t) for t in range(3)} <= names


def test_no_reshape_is_left_around_the_neurons(graphs: dict[int, ir.Model]) -> None:
    for timesteps, model in graphs.items():
        # One flattening a step before the classifier, one a step for logits_per_step.
        assert Counter(n.op_type for n in model.graph)["Reshape"] <= 2 * timesteps


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        twice: Tensor = self.lif(self.lif(x.float().unsqueeze(0)))
        return twice


class Plain(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.float().sum() > 0 else -x.float()


@pytest.mark.parametrize(
    ("module", "timesteps", "message"),
    [
        (Shared(), 2, "'lif' runs more than once a timestep"),
        (Plain(), 2, "no LIF layer: it runs one pass"),
        (Branching(), 1, "cannot be captured as a static graph"),
        (Plain(), 0, "timesteps is 0; a static graph is made for 1 to 64"),
        (Plain(), 1000, "timesteps is 1000"),
    ],
)
def test_what_cannot_be_unrolled_is_refused(module: nn.Module, timesteps: int, message: str) -> None:
    with pytest.raises(ExportError) as error:
        export_graph(module, torch.ones(1, 4), timesteps)
    assert message in str(error.value)
