"""Read the `metadata_props` of an ONNX file without the onnx package, skipping over the graph and its weights.

An ONNX file is one protobuf message, `ModelProto`: a run of fields, each a key (field number and wire type) and a
value. Only field 14, `metadata_props` (a `StringStringEntryProto`: key = 1, value = 2), is looked into; the rest is
stepped over, so that listing a folder of large models reads a few kilobytes of each.

Source: the protobuf encoding guide; onnx.proto3 of ONNX 1.18.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tks_edge_runtime.errors import ArtifactError

_METADATA_PROPS = 14
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LARGEST_ENTRY = 16 << 20


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of the ONNX file at `path`, as a dictionary of strings.

    Raises:
        ArtifactError: the file is missing, is no ONNX file, or is truncated.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            entries = dict(_entry(value) for number, value in _fields(file, size) if number == _METADATA_PROPS)
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}.") from error
    except (ValueError, KeyError) as error:
        raise ArtifactError(f"{path} is not an ONNX file, or is damaged: {error}. Copy or export it again.") from error
    return entries


def _fields(file: BinaryIO, end: int) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of the message that ends at `end`; the contents of metadata only, others empty."""
    while file.tell() < end:
        key = _varint(file)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise ValueError("a field has the number 0")
        if wire_type == _VARINT:
            _varint(file)
            continue
        lengths = {_FIXED64: 8, _FIXED32: 4}
        length = _varint(file) if wire_type == _BYTES else lengths.get(wire_type)
        if length is None:
            raise ValueError(f"wire type {wire_type} does not exist in ONNX")
        if file.tell() + length > end:
            raise ValueError("it ends in the middle of a field (truncated)")
        if wire_type == _BYTES and number == _METADATA_PROPS:
            if length > _LARGEST_ENTRY:
                raise ValueError(f"a metadata entry of {length} bytes")
            yield number, file.read(length)
        else:
            file.seek(length, 1)


def _entry(message: bytes) -> tuple[str, str]:
    """One `StringStringEntryProto` as (key, value)."""
    texts = {1: "", 2: ""}
    position = 0
    while position < len(message):
        number, position = message[position] >> 3, position + 1
        length, position = _varint_at(message, position)
        if number not in texts or position + length > len(message):
            raise ValueError("a metadata entry is malformed")
        texts[number] = message[position : position + length].decode("utf-8")
        position += length
    return texts[1], texts[2]


def _varint(file: BinaryIO) -> int:
    data = b""
    while len(data) < 10:
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends in the middle of a number (truncated)")
        data += byte
        if byte[0] < 0x80:
            return _varint_at(data, 0)[0]
    raise ValueError("a number of more than ten bytes")


def _varint_at(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if position >= len(data) or shift > 63:
            raise ValueError("a malformed number")
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
