"""Read the graph of an ONNX file without the onnx package: its nodes and the types and shapes of its tensors.

What a graph of ours never has is refused where it is met: subgraphs (branches and loops), functions, operators of other
domains, sparse tensors, and weights in another file, which could be any file that the user can read. Of every tensor
in the file the shape has to be that of its data.

Source: onnx.proto3 of ONNX 1.18.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tks_edge_runtime.onnx_metadata import opened
from tks_edge_runtime.protobuf import FileField, content, fields, file_fields, integers, signed

_BITS = {
    **dict.fromkeys((2, 3, 9, 17, 18, 19, 20, 24), 8),  # uint8, int8, bool and the 8-bit floats
    **dict.fromkeys((4, 5, 10, 16), 16),  # uint16, int16, float16, bfloat16
    **dict.fromkeys((1, 6, 12), 32),  # float32, int32, uint32
    **dict.fromkeys((7, 11, 13), 64),  # int64, float64, uint64
    **dict.fromkeys((21, 22, 23), 4),  # uint4, int4, float4
}
"""Bits of an element, by its number in `TensorProto.DataType`; strings and complex numbers are in no graph of ours."""

_GRAPH, _OPSETS, _TRAINING, _FUNCTIONS = 7, 8, 20, 25
_NODES, _INITIALIZERS, _INPUTS, _OUTPUTS, _VALUES, _SPARSE = 1, 5, 11, 12, 13, 15
_TYPED_DATA = (4, 5, 7, 10, 11)
_RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION, _SEGMENT, _STRINGS = 9, 13, 14, 3, 6
_DOMAINS = ("", "ai.onnx")
_LARGEST_MESSAGE = 64 << 20
_LONGEST_NAME = 1000


@dataclass(frozen=True)
class Tensor:
    """The type of a tensor, by its number in ONNX, and its shape; None where the file does not state a static one."""

    type: int
    shape: tuple[int, ...] | None

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return 0 if self.shape is None else math.prod(self.shape) * _BITS[self.type] // 8


@dataclass(frozen=True)
class Node:
    """One operator: its name, and those of the tensors that it reads and writes."""

    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A graph as its file states it; tensors by name.

    Attributes:
        nodes: in the order of the file.
        inputs: what is fed.
        outputs: what is given back.
        constants: the initializers.
        values: what is stated about other tensors.
    """

    nodes: list[Node] = field(default_factory=list)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    constants: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Read the graph of the ONNX file at `path`; weights are stepped over.

    Raises:
        ArtifactError: the file is missing or damaged, or its graph is none of ours.
    """
    with opened(path) as (file, size):
        graphs = []
        for part in file_fields(file, 0, size):
            if part.number == _GRAPH:
                graphs.append(_graph(file, part))
            elif part.number in (_TRAINING, _FUNCTIONS):
                raise ValueError("it holds functions or training steps, which no artifact has")
            elif part.number == _OPSETS:
                _check_domain(_texts(content(file, part), 1))
        if len(graphs) != 1:
            raise ValueError(f"it holds {len(graphs)} graphs")
        return graphs[0]


def _graph(file: BinaryIO, message: FileField) -> Graph:
    graph = Graph()
    stated = {_INPUTS: graph.inputs, _OUTPUTS: graph.outputs, _VALUES: graph.values}
    for part in file_fields(file, message.start, message.end):
        if part.number == _INITIALIZERS:
            _add(graph.constants, *_initializer(file, part))
        elif part.number == _NODES:
            graph.nodes.append(_node(_small(file, part)))
        elif part.number in stated:
            _add(stated[part.number], *_value(_small(file, part)))
        elif part.number == _SPARSE:
            raise ValueError("it holds sparse tensors, which no artifact has")
    return graph


def _add(tensors: dict[str, Tensor], name: str, tensor: Tensor) -> None:
    if name in tensors:
        raise ValueError(f"the tensor {name!r} is there twice")
    tensors[name] = tensor


def _small(file: BinaryIO, part: FileField) -> bytes:
    if part.length > _LARGEST_MESSAGE:
        raise ValueError(f"a node or a description of {part.length} bytes")
    return content(file, part)


def _text(value: int | bytes) -> str:
    if isinstance(value, int) or len(value) > _LONGEST_NAME:
        raise ValueError(f"a name is no text of at most {_LONGEST_NAME} bytes")
    return value.decode("utf-8")


def _message(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where a message should")
    return value


def _texts(message: bytes, number: int) -> list[str]:
    return [_text(value) for found, value in fields(message) if found == number]


def _check_domain(domains: list[str]) -> None:
    if foreign := [domain for domain in domains if domain not in _DOMAINS]:
        raise ValueError(f"it needs operators of the domain {foreign[0]!r}; an artifact has standard ones alone")


def _node(message: bytes) -> Node:
    inputs, outputs, operator, domain = [], [], "", []
    for number, value in fields(message):
        if number == 1:
            inputs.append(_text(value))
        elif number == 2:
            outputs.append(_text(value))
        elif number == 4:
            operator = _text(value)
        elif number == 5:
            _check_attribute(_message(value))
        elif number == 7:
            domain.append(_text(value))
    _check_domain(domain)
    return Node(operator, tuple(inputs), tuple(outputs))


def _check_attribute(message: bytes) -> None:
    """Look for what may not be in an attribute: graphs, sparse tensors, and tensors that `_Data` refuses."""
    for number, value in fields(message):
        if number in (6, 11):
            raise ValueError("it has a branch or a loop; an artifact's graph is static")
        if number in (22, 23):
            raise ValueError("it holds sparse tensors, which no artifact has")
        if number in (5, 10):
            data = _Data()
            for part, inner in fields(_message(value)):
                data.add(part, inner, len(inner) if isinstance(inner, bytes) else 1)
            data.tensor()


def _initializer(file: BinaryIO, message: FileField) -> tuple[str, Tensor]:
    name, data = "", _Data()
    for part in file_fields(file, message.start, message.end):
        if part.number == 8:
            name = _text(_small(file, part))
        elif part.value is not None:
            data.add(part.number, part.value, 1)
        else:
            data.add(part.number, _small(file, part) if part.number == 1 else b"", part.length)
    return name, data.tensor()


class _Data:
    """What is collected of one `TensorProto`."""

    def __init__(self) -> None:
        self._type = 0
        self._shape: list[int] = []
        self._raw: int | None = None
        self._typed = 0

    def add(self, number: int, value: int | bytes, length: int) -> None:
        """Take note of a field; `length` counts its bytes, whether or not `value` holds them."""
        if number == 1:
            self._shape += integers(value)
        elif number == 2:
            self._type = value if isinstance(value, int) else 0
        elif number == _RAW_DATA:
            self._raw = length
        elif number in _TYPED_DATA:
            self._typed += length
        elif number == _EXTERNAL_DATA or (number == _DATA_LOCATION and value != 0):
            raise ValueError("its weights lie in another file; an artifact is one file, and no other is ever read")
        elif number in (_SEGMENT, _STRINGS):
            raise ValueError("it holds a tensor of texts or in segments, which no artifact has")

    def tensor(self) -> Tensor:
        """What was collected; ValueError where the shape and the data do not belong together."""
        shape = _static(self._shape, self._type)
        tensor = Tensor(self._type, shape)
        # A number takes one byte at least, in the fields where they are packed.
        fits = math.prod(shape) <= self._typed if self._raw is None else _same(tensor, self._raw)
        if not fits:
            raise ValueError(f"a tensor {list(shape)} comes with {self._raw or self._typed} bytes")
        return tensor


def _same(tensor: Tensor, size: int) -> bool:
    return tensor.bytes <= size <= tensor.bytes + 1  # 4-bit numbers lie two in a byte


def _static(shape: list[int], kind: int) -> tuple[int, ...]:
    if kind not in _BITS:
        raise ValueError(f"a tensor has the type {kind}, which no artifact has")
    if any(size < 0 for size in shape) or math.prod(shape) > 2**62:
        raise ValueError(f"a tensor has the shape {shape[:8]}")
    return tuple(shape)


def _value(message: bytes) -> tuple[str, Tensor]:
    """A `ValueInfoProto`: the name of a tensor, its type, and its shape."""
    name, kind = "", b""
    for number, value in fields(message):
        if number == 1:
            name = _text(value)
        elif number == 2:
            kind = _message(value)
    tensors = [_message(value) for number, value in fields(kind) if number == 1]
    if len(tensors) != 1:
        raise ValueError(f"{name!r} is no tensor")
    element, shapes = 0, []
    for number, value in fields(tensors[0]):
        if number == 1 and isinstance(value, int):
            element = value
        elif number == 2:
            shapes.append(_dimensions(_message(value)))
    if len(shapes) != 1 or shapes[0] is None:
        return name, Tensor(element, None)
    return name, Tensor(element, _static(shapes[0], element))


def _dimensions(message: bytes) -> list[int] | None:
    """A `TensorShapeProto`; None where a dimension is no number."""
    sizes = []
    for _, dimension in fields(message):
        numbers = [value for number, value in fields(_message(dimension)) if number == 1]
        if len(numbers) != 1 or not isinstance(numbers[0], int):
            return None
        sizes.append(signed(numbers[0]))
    return sizes
