"""Small files that ask for more memory than there is: each grows the logits of a whole graph by some operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from tests.fuzz.case import Case, Damage

Bomb = Callable[["Writer", str, int], str]
"""Grows a tensor `[1, K]` about `factor` times, and returns the name of the large one."""


class Writer:
    """Adds nodes and constants in front of the logits of a graph."""

    def __init__(self, model: ModelProto) -> None:
        self.model = model
        self._count = 0

    def constant(self, *values: int, dtype: type = np.int64) -> str:
        self._count += 1
        name = f"bomb.c{self._count}"
        self.model.graph.initializer.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        self._count += 1
        name = f"bomb.{self._count}"
        made: NodeProto = helper.make_node(operator, inputs, [name], **attributes)
        self.model.graph.node.append(made)
        return name


def tile(writer: Writer, logits: str, factor: int) -> str:
    return writer.node("Tile", [logits, writer.constant(1, factor)])


def expand(writer: Writer, logits: str, factor: int) -> str:
    return writer.node("Expand", [logits, writer.constant(factor, 1, 1)])


def constant_of_shape(writer: Writer, logits: str, factor: int) -> str:
    """No input at all: a library that folds constants makes it before the graph is ever run."""
    return writer.node("ConstantOfShape", [writer.constant(factor)])


def pad(writer: Writer, logits: str, factor: int) -> str:
    return writer.node("Pad", [logits, writer.constant(0, 0, 0, 3 * factor)])


def resize(writer: Writer, logits: str, factor: int) -> str:
    return writer.node("Resize", [logits, "", "", writer.constant(1, 3 * factor)], mode="nearest")


def range_(writer: Writer, logits: str, factor: int) -> str:
    ends = [writer.constant(value) for value in (0, factor, 1)]
    return writer.node("Range", [writer.node("Squeeze", [end]) for end in ends])


def one_hot(writer: Writer, logits: str, factor: int) -> str:
    values = writer.node("Cast", [writer.constant(0, 1)], to=TensorProto.FLOAT)
    index = writer.node("Cast", [logits], to=TensorProto.INT64)
    return writer.node("OneHot", [index, writer.constant(factor), values])


def random_numbers(writer: Writer, logits: str, factor: int) -> str:
    return writer.node("RandomUniform", [], shape=[1, factor])


def doubled_often(writer: Writer, logits: str, factor: int) -> str:
    """Each node only doubles what it is given."""
    for _ in range(factor.bit_length()):
        logits = writer.node("Concat", [logits, logits], axis=1)
    return logits


def outer_product(writer: Writer, logits: str, factor: int) -> str:
    """Two long and thin tensors, of which every pair is added."""
    side = int(factor**0.5)
    across = writer.node("Tile", [logits, writer.constant(1, side)])
    down = writer.node("Reshape", [across, writer.constant(-1, 1)])
    return writer.node("Add", [across, down])


def padded_convolution(writer: Writer, logits: str, factor: int) -> str:
    image = writer.node("Reshape", [logits, writer.constant(1, 1, 1, -1)])
    kernel = writer.node("Cast", [writer.node("Reshape", [writer.constant(1), writer.constant(1, 1, 1, 1)])], to=1)
    return writer.node("Conv", [image, kernel], pads=[0, factor, 0, factor])


def computed_shape(writer: Writer, logits: str, factor: int) -> str:
    """A shape that no one can read off the file: it is computed from the image."""
    index = writer.node("Cast", [logits], to=TensorProto.INT64)
    nothing = writer.node("Mul", [index, writer.constant(0)])
    largest = writer.node("ReduceMax", [nothing, writer.constant(0, 1)], keepdims=1)
    shape = writer.node("Add", [writer.node("Reshape", [largest, writer.constant(1)]), writer.constant(factor)])
    return writer.node("Expand", [writer.node("ReduceMax", [logits, writer.constant(1)], keepdims=1), shape])


def many_at_once(writer: Writer, logits: str, factor: int) -> str:
    """None is too large, but all of them are needed at the end."""
    count = max(1, min(factor >> 20, 2000))
    kept = [writer.node("Tile", [logits, writer.constant(1, 1 << 20)]) for _ in range(count)]
    return writer.node("Sum", kept)


BOMBS: tuple[Bomb, ...] = (
    tile,
    expand,
    constant_of_shape,
    pad,
    resize,
    range_,
    one_hot,
    random_numbers,
    doubled_often,
    outer_product,
    padded_convolution,
    computed_shape,
    many_at_once,
)


def planted(model: ModelProto, bomb: Bomb, factor: int, *, declared: str) -> None:
    """Let the logits depend on a tensor that `bomb` makes.

    `declared` says what the file states about the shapes of the new tensors: "truly", "nothing", or "falsely", a few
    bytes each.
    """
    graph, writer = model.graph, Writer(model)
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "bomb.logits"
    before = len(graph.node)
    large = bomb(writer, "bomb.logits", factor)
    flat = writer.node("Reshape", [writer.node("Cast", [large], to=1), writer.constant(-1)])
    least = writer.node("ReduceMin", [flat], keepdims=1)
    nothing = writer.node("Mul", [least, writer.node("Cast", [writer.constant(0)], to=1)])
    graph.node.append(helper.make_node("Add", ["bomb.logits", nothing], ["logits"]))
    if declared == "truly":
        model.CopyFrom(shape_inference.infer_shapes(model))
    elif declared == "falsely":
        inferred = {info.name: info for info in shape_inference.infer_shapes(model).graph.value_info}
        (stated,) = (port for port in graph.output if port.name == "logits")
        graph.value_info.add(name="bomb.logits", type=stated.type)
        for node in graph.node[before:-1]:
            kind = inferred[node.output[0]].type.tensor_type if node.output[0] in inferred else None
            rank = len(kind.shape.dim) if kind is not None else 1
            element = kind.elem_type if kind is not None else TensorProto.FLOAT
            graph.value_info.append(helper.make_tensor_value_info(node.output[0], element, [1] * rank))


def _damage(bomb: Bomb) -> Damage:
    def damage(case: Case) -> None:
        model, chance = onnx.load(case.path), case.chance
        factor = 1 << chance.choice((20, 29, 30, 33, 36, 40))
        planted(model, bomb, factor, declared=chance.choice(("truly", "nothing", "falsely")))
        onnx.save(model, case.path)

    damage.__name__ = bomb.__name__
    return damage


DAMAGES: tuple[Damage, ...] = tuple(map(_damage, BOMBS))
