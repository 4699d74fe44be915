"""Random operators on small random operands, so small that axes often agree in size by chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from hypothesis import strategies as st
from onnx import helper, numpy_helper

Array = npt.NDArray[Any]
OPSET = 18


@dataclass(frozen=True)
class Case:
    """An operator on its operands: a shape is a value of the network, an array a constant, None is left out.

    `places` is not 0 where the second operand holds indices, which are below it.
    """

    operator: str
    operands: Sequence[tuple[int, ...] | Array | None]
    attributes: dict[str, Any] = field(default_factory=dict)
    outputs: int = 1
    places: int = 0

    def model(self) -> onnx.ModelProto:
        """A graph of this node alone, with the shapes that ONNX infers; operands are `x0`, `x1`, ..."""
        names = ["" if operand is None else f"x{index}" for index, operand in enumerate(self.operands)]
        results = [f"y{index}" for index in range(self.outputs)]
        inputs, weights = [], []
        for name, operand in zip(names, self.operands, strict=True):
            if isinstance(operand, tuple):
                dtype = onnx.TensorProto.INT64 if self.places and name == "x1" else onnx.TensorProto.FLOAT
                inputs.append(helper.make_tensor_value_info(name, dtype, operand))
            elif operand is not None:
                weights.append(numpy_helper.from_array(operand, name))
        graph = helper.make_graph(
            [helper.make_node(self.operator, names, results, **self.attributes)],
            "g",
            inputs,
            [helper.make_empty_tensor_value_info(name) for name in results],
            weights,
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
        return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)


size = st.integers(1, 3)


def shape(rank: int | None = None, low: int = 1) -> st.SearchStrategy[tuple[int, ...]]:
    ranks = st.integers(low, 4) if rank is None else st.just(rank)
    return ranks.flatmap(lambda count: st.tuples(*[size] * count))


def normal(*dimensions: int) -> Array:
    return np.random.default_rng(0).normal(size=dimensions).astype(np.float32)


def integers(*numbers: int) -> Array:
    return np.array(numbers, dtype=np.int64)


Draw = st.DrawFn


@st.composite
def elementwise(draw: Draw) -> Case:
    base = draw(shape())

    def operand() -> tuple[int, ...] | Array:
        kept = base[draw(st.integers(0, len(base))) :]
        broadcast = tuple(draw(st.sampled_from((1, n))) for n in kept)
        return broadcast if draw(st.booleans()) else normal(*broadcast)

    return Case(
        draw(st.sampled_from(("Add", "Sub", "Mul", "Max"))), [base, operand()][:: draw(st.sampled_from((1, -1)))]
    )


@st.composite
def convolution(draw: Draw) -> Case:
    batch, channels, *image = draw(st.tuples(size, size, st.just(3), st.just(3)))
    if draw(st.booleans()):
        return Case(
            draw(st.sampled_from(("MaxPool", "AveragePool"))), [(batch, channels, 3, 3)], {"kernel_shape": [2, 2]}
        )
    filters = draw(size)
    transposed = draw(st.booleans())
    weight = (channels, filters, 2, 2) if transposed else (filters, channels, 2, 2)
    kernel: tuple[int, ...] | Array = weight if draw(st.booleans()) else normal(*weight)
    return Case("ConvTranspose" if transposed else "Conv", [(batch, channels, *image), kernel, normal(filters)])


@st.composite
def normalization(draw: Draw) -> Case:
    operator = draw(st.sampled_from(("BatchNormalization", "LayerNormalization", "InstanceNormalization")))
    x = draw(shape(low=3 if operator == "InstanceNormalization" else 2))
    if operator == "LayerNormalization":
        axis = draw(st.integers(0, len(x) - 1))
        return Case(operator, [x, normal(*x[axis:]), normal(*x[axis:])], {"axis": axis})
    ones = [np.abs(normal(x[1])) + 1 for _ in range(4 if operator == "BatchNormalization" else 2)]
    return Case(operator, [x, *ones])


@st.composite
def along_axis(draw: Draw) -> Case:
    x = draw(shape())
    axis = draw(st.integers(-len(x), len(x) - 1))
    operator = draw(st.sampled_from(("Softmax", "CumSum", "TopK", "Split", "Concat", "Slice", "ReduceMean", "ArgMax")))
    one, two = integers(axis), tuple(n + (a == axis % len(x)) for a, n in enumerate(x))
    cases: dict[str, Callable[[], Case]] = {
        "CumSum": lambda: Case("CumSum", [x, np.array(axis)]),
        "TopK": lambda: Case("TopK", [x, integers(1)], {"axis": axis}, outputs=2),
        "Split": lambda: Case("Split", [two, integers(1, two[axis] - 1)], {"axis": axis}, outputs=2),
        "Concat": lambda: Case("Concat", [x, two] if draw(st.booleans()) else [x, normal(*x)], {"axis": axis}),
        "Slice": lambda: Case("Slice", [two, integers(1), integers(two[axis]), one]),
        "ReduceMean": lambda: Case("ReduceMean", [x, one], {"keepdims": draw(st.integers(0, 1))}),
        "ArgMax": lambda: Case("ArgMax", [x], {"axis": axis, "keepdims": draw(st.integers(0, 1))}),
    }
    return cases[operator]() if operator in cases else Case(operator, [x], {"axis": axis})


@st.composite
def product(draw: Draw) -> Case:
    rows, inner, columns = draw(st.tuples(size, size, size))
    batch = draw(shape(draw(st.integers(0, 2))))

    def lead() -> tuple[int, ...]:
        kept = batch[draw(st.sampled_from((0, 0, len(batch)))) :]
        return tuple(draw(st.sampled_from((n, n, 1))) for n in kept)

    left, right = (*lead(), rows, inner), (*lead(), inner, columns)
    which = draw(st.sampled_from(("both", "left", "right")))
    return Case("MatMul", [left if which != "right" else normal(*left), right if which != "left" else normal(*right)])


@st.composite
def gemm(draw: Draw) -> Case:
    rows, inner, columns, transposed = draw(st.tuples(size, size, size, st.integers(0, 1)))
    bias = draw(st.sampled_from(((), (columns,), (1, columns), (rows, columns), (rows, 1))))
    left = (inner, rows) if transposed else (rows, inner)
    weight: tuple[int, ...] | Array = (inner, columns) if draw(st.booleans()) else normal(inner, columns)
    return Case("Gemm", [left, weight, bias if draw(st.booleans()) else normal(*bias)], {"transA": transposed})


@st.composite
def einsum(draw: Draw) -> Case:
    sizes = {letter: draw(size) for letter in "bij"}
    terms = [draw(st.lists(st.sampled_from("bij"), min_size=1, max_size=3)) for _ in range(2)]
    left, right = (tuple(sizes[letter] for letter in term) for term in terms)
    letters = draw(st.permutations(sorted({letter for term in terms for letter in term})))
    result = letters[: draw(st.integers(1, 3))]
    equation = f"{''.join(terms[0])},{''.join(terms[1])}->{''.join(result)}"
    return Case("Einsum", [left, right if draw(st.booleans()) else normal(*right)], {"equation": equation})


@st.composite
def reshape(draw: Draw) -> Case:
    x = draw(shape())
    operator = draw(st.sampled_from(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Expand", "Tile", "Pad")))
    axis = draw(st.integers(0, len(x) - 1))
    split = [n for size in x for n in draw(st.sampled_from(((size,), (1, size), (size, 1))))]
    merged = [*x[:axis], int(np.prod(x[axis : axis + 2])), *x[axis + 2 :]]
    target = draw(st.sampled_from((split, merged, [int(np.prod(x))], list(reversed(x)))))
    larger = [n if n > 1 else draw(size) for n in x]
    if operator == "Squeeze":
        return Case(operator, [(*x[:axis], 1, *x[axis:]), integers(axis)])
    cases = {
        "Reshape": Case(operator, [x, integers(*target)]),
        "Flatten": Case(operator, [x], {"axis": axis}),
        "Unsqueeze": Case(operator, [x, integers(axis)]),
        "Expand": Case(operator, [x, integers(*[2] * draw(st.integers(0, 1)), *larger)]),
        "Tile": Case(operator, [x, integers(*[draw(st.integers(1, 2)) for _ in x])]),
        "Pad": Case(operator, [x, integers(*[draw(st.integers(0, 1)) for _ in (*x, *x)])]),
    }
    return cases[operator]


@st.composite
def transpose(draw: Draw) -> Case:
    x = draw(shape(low=2))
    return Case("Transpose", [x], {"perm": draw(st.permutations(range(len(x))))} if draw(st.booleans()) else {})


@st.composite
def gather(draw: Draw) -> Case:
    x = draw(shape())
    axis = draw(st.integers(-len(x), len(x) - 1))
    indices = draw(st.sampled_from((np.array(0), integers(0), np.zeros((2, 1), np.int64))))
    if draw(st.booleans()):
        depth = draw(st.integers(1, len(x)))
        return Case("GatherND", [x, np.zeros((*indices.shape, depth), np.int64)])
    if draw(st.booleans()):
        table = normal(*x) if draw(st.booleans()) else x
        return Case("Gather", [table, draw(shape(low=1))[:2]], {"axis": axis}, places=x[axis])
    return Case("Gather", [x, indices], {"axis": axis})


@st.composite
def image(draw: Draw) -> Case:
    n, c = draw(size), draw(st.sampled_from((4, 8)))
    kind = draw(st.sampled_from(("DepthToSpace", "SpaceToDepth", "scales", "sizes")))
    if kind == "scales":
        scales = np.array([draw(st.sampled_from((1, 1.2))), draw(st.sampled_from((1, 2))), 2, 2], np.float32)
        return Case("Resize", [(n, c, 2, 2), None, scales], {"mode": "nearest"})
    if kind == "sizes":
        mode = draw(st.sampled_from(("nearest", "linear")))
        grown = n + draw(st.integers(0, int(mode == "nearest")))
        return Case("Resize", [(n, c, 2, 2), None, None, integers(grown, c, 3, 5)], {"mode": mode})
    return Case(kind, [(n, c, 2, 2)], {"blocksize": 2})


cases = st.one_of(
    elementwise(),
    convolution(),
    normalization(),
    along_axis(),
    product(),
    gemm(),
    einsum(),
    reshape(),
    transpose(),
    gather(),
    image(),
)
