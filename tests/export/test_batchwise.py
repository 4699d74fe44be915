"""T timesteps as one: whatever a rule accepts computes the same as one node a step, and the rest has its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.export.lowering import Prepared
from tests.export.ordinary_layers import attentions, attentions_of_parts
from tests.export.passes.graphs import outputs
from tests.export.random_nodes import OPSET, Array, Case, cases, integers, normal
from tks_edge_export import Compiler, Options
from tks_edge_export.batchwise import append_merged, merging
from tks_edge_export.graph_builder import GraphBuilder
from tks_edge_export.merging import Merging
from tks_edge_export.over_time import OverTime
from tks_edge_models import LIF, LIFParameters


def laid_out(
    node: ir.Node, axes: list[int | None], shapes: dict[str, tuple[int, ...]], timesteps: int, merged: Merging
) -> ir.Model:
    """The node once for all timesteps, from inputs that are joined along `axes` to every output at every step."""
    builder = GraphBuilder(OPSET)
    operands: list[OverTime | None] = []
    graph_inputs: list[ir.Value] = []
    for value, axis in zip(node.inputs, axes, strict=True):
        if value is None:
            operands.append(None)
        elif value.name not in shapes:
            operands.append(OverTime.of_still(builder, timesteps, builder.weight(value)))
        else:
            new = ir.Value(name=value.name, shape=ir.Shape(shapes[value.name]), type=value.type)
            graph_inputs.append(new)
            still = OverTime.of_still(builder, timesteps, new)
            operands.append(still if axis is None else OverTime.of_merged(builder, timesteps, new, axis))
    merged_values = append_merged(builder, node, operands, timesteps, merged)
    steps = [step for value in node.outputs for step in merged_values[value].steps()]
    return ir.Model(builder.graph(graph_inputs, steps, "g"), ir_version=10)


def axes_of(shape: tuple[int, ...]) -> st.SearchStrategy[int | None]:
    axes = st.integers(0, max(0, len(shape) - 1))
    return st.one_of(axes, axes, axes, st.none()) if shape else st.none()


@settings(deadline=None, max_examples=400)
@given(case=cases, timesteps=st.integers(1, 3), data=st.data())
def test_what_is_merged_computes_the_same_as_one_node_a_step(case: Case, timesteps: int, data: st.DataObject) -> None:
    shapes = {f"x{index}": operand for index, operand in enumerate(case.operands) if isinstance(operand, tuple)}
    joined = {name: data.draw(axes_of(shape)) for name, shape in shapes.items()}
    assume(any(axis is not None for axis in joined.values()))
    single = ir.from_proto(case.model())
    (node,) = single.graph
    axes = [None if value is None else joined.get(str(value.name)) for value in node.inputs]
    merged = merging(node, axes)
    event(f"{case.operator}: {merged if isinstance(merged, str) else 'merged'}")
    if isinstance(merged, str):
        return
    generator = np.random.default_rng(data.draw(st.integers(0, 99)))
    values: dict[str, Array] = {
        name: generator.normal(size=(timesteps, *shape)).astype(np.float32) for name, shape in shapes.items()
    }
    if case.places and "x1" in values:
        values["x1"] = generator.integers(0, case.places, values["x1"].shape)
    steps = [
        {name: value[t if joined[name] is not None else 0, ...] for name, value in values.items()}
        for t in range(timesteps)
    ]
    fed = {name: value[0, ...] for name, value in values.items()}
    fed |= {name: np.concatenate(list(values[name]), axis) for name, axis in joined.items() if axis is not None}
    whole = laid_out(node, axes, {name: value.shape for name, value in fed.items()}, timesteps, merged)
    results = list(outputs(whole, optimize=True, **fed).values())
    expected = [list(outputs(single, optimize=True, **step).values()) for step in steps]
    for index in range(case.outputs):
        for t in range(timesteps):
            # Sums of at most twenty products, in an order of the engine's choice.
            np.testing.assert_allclose(results[index * timesteps + t], expected[t][index], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("case", "axes", "expected"),
    [
        (Case("Conv", [(2, 3, 8, 8), normal(4, 3, 3, 3)]), (0, None), 0),
        (Case("Conv", [(2, 3, 8, 8), (4, 3, 3, 3)]), (0, 0), "an operand other than the first changes over time"),
        (Case("Conv", [(2, 3, 8, 8), normal(4, 3, 3, 3)]), (1, None), "it mixes values along the joined axis"),
        (Case("MaxPool", [(2, 3, 8, 8)], {"kernel_shape": [2, 2]}, outputs=2), (0,), "MaxPool has 2 outputs"),
        (Case("Gemm", [(2, 3), normal(3, 4), normal(4)]), (0, None, None), 0),
        (Case("Gemm", [(3, 3), normal(3, 4)], {"transA": 1}), (0, None), "it sums over the joined axis"),
        (Case("Gemm", [(2, 3), normal(3, 4), normal(2, 4)]), (0, None, None), "the bias has rows of its own"),
        (Case("Gemm", [(2, 3), normal(3, 4), (4,)]), (0, None, 0), "an operand other than the first changes over time"),
        (Case("Mul", [(2, 3), normal(3)]), (0, None), 0),
        (Case("Mul", [(2, 3), normal(2, 3)]), (0, None), 0),
        (Case("Mul", [(2, 3), (1, 3)]), (0, 0), "an operand is broadcast along the joined axis"),
        (Case("Mul", [(2, 3), (3,)]), (0, 0), "its operands are joined along different axes"),
        (Case("MatMul", [(2, 5, 3), normal(3, 4)]), (0, None), 0),
        (Case("MatMul", [(2, 5, 3), normal(3, 4)]), (2, None), "it sums over the joined axis"),
        (Case("MatMul", [(2, 5, 3), normal(2, 3, 4)]), (0, None), "the weight has a batch of its own"),
        (Case("MatMul", [(2, 5, 3), (2, 3, 4)]), (0, 0), 0),
        (Case("MatMul", [(2, 5, 3), (1, 3, 4)]), (0, 0), "an operand is broadcast along the joined axis"),
        (Case("MatMul", [(3, 3), (3, 3)]), (0, 0), "its operands are joined along different axes"),
        (Case("MatMul", [(3,), normal(3, 3)]), (0, None), "an operand is a vector"),
        (Case("ReduceMean", [(2, 3, 4), integers(1)], {"keepdims": 0}), (2, None), 1),
        (Case("ReduceMean", [(2, 3), integers(0)]), (0, None), "it mixes values along the joined axis"),
        (Case("ReduceMean", [(2, 3)]), (0,), "it mixes values along the joined axis"),
        (Case("Reshape", [(2, 3, 4), integers(6, 4)]), (0, None), 0),
        (Case("Reshape", [(2, 3, 4), integers(6, 4)]), (1, None), "it takes the joined axis apart"),
        (Case("Unsqueeze", [(2, 3), integers(0)]), (1, None), 2),
        (Case("Transpose", [(2, 3, 4)], {"perm": [2, 0, 1]}), (0,), 1),
        (Case("Concat", [(2, 3), normal(2, 1)], {"axis": 1}), (0, None), 0),
        (Case("Concat", [(2, 3), (2, 3)], {"axis": 0}), (0, 0), "it mixes values along the joined axis"),
        (Case("Softmax", [(2, 3)], {"axis": 0}), (0,), "it mixes values along the joined axis"),
        (Case("Resize", [(2, 3, 4, 4), None, None, integers(2, 3, 8, 8)]), (0, None, None, None), 0),
        (Case("Expand", [(1, 3), integers(2, 3)]), (0, None), "it broadcasts the joined axis"),
        (Case("Einsum", [(2, 3), (2, 3)], {"equation": "ij,ij->j"}), (0, 0), "it sums over the joined axis"),
        (
            Case("ReduceMean", [(3,), integers(0)], {"keepdims": 0}),
            (0, None),
            "an output has no axis, or no static shape",
        ),
        (Case("Det", [(2, 3, 3)]), (0,), "nothing is known about Det"),
    ],
    ids=lambda value: value.operator if isinstance(value, Case) else None,
)
def test_the_joined_axis_is_followed_or_refused_with_a_reason(
    case: Case, axes: tuple[int | None, ...], expected: int | str
) -> None:
    (node,) = ir.from_proto(case.model()).graph
    merged = merging(node, axes)
    assert (merged.outputs[0] if isinstance(merged, Merging) else merged) == expected


def of_neighbours(attend: Callable[..., Tensor]) -> Callable[[Tensor], Tensor]:
    return lambda spikes: attend(spikes, spikes.roll(1, 1), spikes.roll(1, -1))


ATTENTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    **{attend.__name__: of_neighbours(attend) for attend in attentions(2)},
    **{attend.__name__: attend for attend in attentions_of_parts(2)},
}


class Attending(nn.Module):
    """Neurons, attention over what they fire, and neurons again."""

    def __init__(self, *names: str) -> None:
        super().__init__()
        self.before, self.after = LIF(), LIF(LIFParameters(v_threshold=0.2))
        self.names = names

    def forward(self, x: Tensor) -> Tensor:
        spikes = self.before(x)
        fired: Tensor = self.after(torch.cat([ATTENTIONS[name](spikes) for name in self.names], -1))
        return fired.mean(1)


def counted(model: ir.Model) -> Counter[str]:
    return Counter(node.op_type for node in model.graph)


def test_attention_runs_once_for_all_timesteps() -> None:
    compiler = Compiler(Attending(*ATTENTIONS).eval(), torch.rand(2, 5, 12))
    once, merged = (counted(compiler.compile(Options(timesteps)).model) for timesteps in (1, 3))
    for operator in ("MatMul", "Transpose", "Softmax", "Slice"):
        assert merged[operator] == once[operator] > 0
    repeated = compiler.compile(Options(3, skip=frozenset({"merge_time"}))).model
    assert counted(repeated)["MatMul"] == 3 * once["MatMul"]


@pytest.mark.parametrize("name", ATTENTIONS)
@pytest.mark.parametrize("timesteps", [2, 3])
def test_attention_in_any_way_it_is_written_gives_the_same_logits(name: str, timesteps: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, batch = Attending(name).eval(), 3 * torch.rand(2, 5, 12)
    lowered = Prepared(module, Compiler(module, batch), batch.numpy()).lower(Options(timesteps), tmp_path)
    comparison = lowered.compared(batch.numpy())
    assert comparison.problem() is None
    assert all(layer.total.fired > 0 for layer in comparison.layers)
