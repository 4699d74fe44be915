"""Protobuf messages, field by field: in memory, or in a file, where what nobody asks for is stepped over.

A message is a run of fields, each a key (field number and wire type) and a value. What is malformed is a ValueError.

Source: the protobuf encoding guide.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10


class FileField(NamedTuple):
    """A field of a message in a file: its number, its value where that is an integer, and where its bytes are."""

    number: int
    value: int | None
    start: int
    length: int

    @property
    def end(self) -> int:
        """Where the field after it begins."""
        return self.start + self.length


def file_fields(file: BinaryIO, start: int, end: int) -> Iterator[FileField]:
    """The fields of the message that lies between `start` and `end`; whoever takes them may move in the file."""
    position = start
    while position < end:
        file.seek(position)
        number, wire_type = _key(_file_varint(file))
        if wire_type == _VARINT:
            field = FileField(number, _file_varint(file), file.tell(), 0)
        else:
            length = _FIXED[wire_type] if wire_type in _FIXED else _file_varint(file)
            field = FileField(number, None, file.tell(), length)
        if field.end > end:
            raise ValueError("it ends in the middle of a field (truncated)")
        yield field
        position = field.end


def content(file: BinaryIO, field: FileField) -> bytes:
    """The bytes of a field."""
    file.seek(field.start)
    data = file.read(field.length)
    if len(data) < field.length:
        raise ValueError("it ends in the middle of a field (truncated)")
    return data


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a message in memory: number, and an integer or bytes."""
    position, end = 0, len(message)
    while position < end:
        key, position = varint(message, position)
        number, wire_type = _key(key)
        if wire_type == _VARINT:
            value, position = varint(message, position)
            yield number, value
            continue
        if wire_type in _FIXED:
            length = _FIXED[wire_type]
        else:
            length, position = varint(message, position)
        if position + length > end:
            raise ValueError("it ends in the middle of a field (truncated)")
        yield number, message[position : position + length]
        position += length


def integers(value: int | bytes) -> list[int]:
    """The numbers of a repeated field of signed integers: one of them, or many packed into bytes."""
    if isinstance(value, int):
        return [signed(value)]
    numbers, position = [], 0
    while position < len(value):
        number, position = varint(value, position)
        numbers.append(signed(number))
    return numbers


def signed(value: int) -> int:
    """An `int64` as protobuf writes it: a negative one as its complement of 2 to the 64th."""
    return value - (1 << 64) if value >> 63 else value


def varint(data: bytes, position: int) -> tuple[int, int]:
    """The integer at `position`, and where what follows it begins."""
    value = shift = 0
    for position in range(position, min(position + _LONGEST_VARINT, len(data))):  # noqa: B020 - it goes on from here
        byte = data[position]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (1 << 64) - 1, position + 1
        shift += 7
    raise ValueError("a malformed number")


def _key(key: int) -> tuple[int, int]:
    number, wire_type = key >> 3, key & 7
    if number == 0:
        raise ValueError("a field has the number 0")
    if wire_type not in (_VARINT, _FIXED64, _BYTES, _FIXED32):
        raise ValueError(f"wire type {wire_type} does not exist in ONNX")
    return number, wire_type


def _file_varint(file: BinaryIO) -> int:
    data = b""
    while len(data) < _LONGEST_VARINT:
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number (truncated)")
        data += byte
        if byte[0] < 0x80:
            return varint(data, 0)[0]
    raise ValueError("a number of more than ten bytes")
