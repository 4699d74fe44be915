"""The unrolled graph: its contract, and the LIF layer to the bit."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.conftest import MakeSource
from tests.export.lowering import export_graph
from tests.export.neurons import neurons
from tests.export.passes.graphs import run
from tks_edge_export import ExportError
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.lif_steps import emit_lif, spikes_name
from tks_edge_export.over_time import OverTime
from tks_edge_export.values import static_shape
from tks_edge_models import LIF, LIFParameters, step


@settings(deadline=None, max_examples=60)
@given(params=neurons(), timesteps=st.integers(1, 8), still=st.booleans(), seed=st.integers(0, 2**31))
def test_an_unrolled_layer_fires_the_same_spikes_to_the_bit(
    params: LIFParameters, timesteps: int, still: bool, seed: int
) -> None:
    shape = (2, 33)
    count = 1 if still else timesteps
    builder = GraphBuilder(18)
    current = ir.Value(name="x", shape=ir.Shape((count * 2, 33)), type=ir.TensorType(ir.DataType.FLOAT))
    form = OverTime.of_still if still else OverTime.of_merged
    spikes, _ = emit_lif(builder, "layer", form(builder, timesteps, current), params)
    graph = ir.Model(builder.graph([current], [spikes.merged()], "g"), ir_version=10)
    x = np.random.default_rng(seed).normal(0.6, 1.5, (count, *shape)).astype(np.float32)
    x[:, 0, 0] = params.v_threshold / params.gain  # at the threshold itself
    got = run(graph, x=x.reshape(-1, 33)).reshape(timesteps, *shape)
    expected = LIF(params)(torch.from_numpy(x).expand(timesteps, *shape)).numpy()
    np.testing.assert_array_equal(got, expected)


@pytest.fixture(scope="module")
def graphs(make_source: MakeSource) -> dict[int, ir.Model]:
    source = make_source("sew_resnet18")
    example = torch.from_numpy(source.samples.inputs[:2])
    return {t: export_graph(source.network, example, t, per_step=True) for t in (1, 3)}


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
    convolutions = {t: [n for n in m.graph if n.op_type == "Conv"] for t, m in graphs.items()}
    assert len(convolutions[3]) == len(convolutions[1])
    batches = [(static_shape(n.outputs[0]) or (0,))[0] for n in convolutions[3]]
    assert batches == [2, *[3 * 2] * (len(batches) - 1)]
    resets = [n for n in graphs[3].graph if str(n.outputs[0].name).endswith(".v")]
    assert len(resets) == 2 * 20  # 20 layers; the last step is not reset


def test_the_spikes_of_every_layer_can_be_found_by_its_path(graphs: dict[int, ir.Model]) -> None:
    values = {value.name: value for node in graphs[3].graph for value in node.outputs}
    assert static_shape(values[spikes_name("body.1.branch.1")]) == (3 * 2, 64, 16, 16)


def test_no_reshape_is_left_around_the_neurons(graphs: dict[int, ir.Model]) -> None:
    for model in graphs.values():
        # One flattens before the classifier, one gives the logits their time axis.
        assert Counter(n.op_type for n in model.graph)["Reshape"] == 2


class OverBatch(nn.Module):
    """Between its neurons an operator that mixes the samples of a batch: T must not be merged there."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = LIF(), LIF(), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.first(x.float().unsqueeze(0) / 100)
        mixed = spikes + spikes.flip(1).cumsum(1)
        logits: Tensor = self.last(self.second(mixed)).squeeze(0)
        return logits


def test_an_operator_that_mixes_samples_is_repeated_once_a_step() -> None:
    torch.manual_seed(0)
    module, x = OverBatch().eval(), torch.randint(0, 256, (4, 5), dtype=torch.uint8)
    model = export_graph(module, x, 3)
    logits = run(model, input=x.numpy())

    params, states, expected = LIFParameters(), [None, None], []
    for _ in range(3):
        with torch.no_grad():
            first, states[0] = step(x.float() / 100, states[0], params)  # type: ignore[call-overload]
            second, states[1] = step(first + first.flip(0).cumsum(0), states[1], params)  # type: ignore[call-overload]
            expected.append(module.last(second))
    np.testing.assert_allclose(logits, torch.stack(expected).mean(0).numpy(), rtol=0, atol=1e-6)


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lif = LIF()

    def forward(self, x: Tensor) -> Tensor:
        twice: Tensor = self.lif(self.lif(x.float().unsqueeze(0)))
        return twice


class Stateless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class Branching(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.float() if x.float().sum() > 0 else -x.float()


@pytest.mark.parametrize(
    ("module", "timesteps", "message"),
    [
        (Shared(), 2, "'lif' runs more than once a timestep"),
        (Stateless(), 2, "no LIF layer: it runs one pass"),
        (Branching(), 1, "cannot be captured as a static graph"),
        (Stateless(), 0, "timesteps is 0; a static graph is made for 1 to 64"),
        (Stateless(), 1000, "timesteps is 1000"),
    ],
)
def test_what_cannot_be_unrolled_is_refused(module: nn.Module, timesteps: int, message: str) -> None:
    with pytest.raises(ExportError) as error:
        export_graph(module, torch.ones(1, 4), timesteps)
    assert message in str(error.value)
