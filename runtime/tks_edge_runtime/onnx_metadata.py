"""Read the `metadata_props` of an ONNX file without the onnx package, skipping over the graph and its weights.

An ONNX file is one protobuf message, `ModelProto`. Only field 14, `metadata_props` (a `StringStringEntryProto`:
key = 1, value = 2), is looked into, so that listing a folder of large models reads a few kilobytes of each.

Source: onnx.proto3 of ONNX 1.18.
"""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from tks_edge_runtime.errors import ArtifactError, nearest_beside
from tks_edge_runtime.protobuf import content, fields, file_fields

_METADATA_PROPS = 14
_LARGEST_ENTRY = 16 << 20


def read_metadata(path: Path | str) -> dict[str, str]:
    """The metadata of the ONNX file at `path`, as a dictionary of strings.

    Raises:
        ArtifactError: the file is missing, is no ONNX file, or is truncated.
    """
    found = {}
    with opened(Path(path)) as (file, size):
        for field in file_fields(file, 0, size):
            if field.number != _METADATA_PROPS:
                continue
            if field.length > _LARGEST_ENTRY:
                raise ValueError(f"a metadata entry of {field.length} bytes")
            key, value = _entry(content(file, field))
            if key in found:
                raise ValueError(f"it has the metadata entry {key[:80]!r} twice")
            found[key] = value
    return found


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open an ONNX file, with its size in bytes; a ValueError in the block says what is wrong with it.

    Raises:
        ArtifactError: it is missing or no ordinary file, or the block raised a ValueError.
    """
    try:
        # Asked before it is opened: opening a pipe waits for somebody to write to it.
        if not path.is_dir() and not stat.S_ISREG(path.stat().st_mode):
            raise ValueError("it is a device or a pipe")
        with path.open("rb") as file:
            yield file, path.stat().st_size
    except OSError as error:
        near = nearest_beside(path, lambda one: one.suffix == ".onnx")
        raise ArtifactError(f"cannot read {path}: {error.strerror}.{near}") from error
    except ValueError as error:
        raise ArtifactError(f"{path} is not an ONNX file, or is damaged: {error}. Copy or export it again.") from error


def _entry(message: bytes) -> tuple[str, str]:
    """One `StringStringEntryProto` as (key, value)."""
    texts = {1: "", 2: ""}
    for number, value in fields(message):
        if number not in texts or not isinstance(value, bytes):
            raise ValueError("a metadata entry is malformed")
        texts[number] = value.decode("utf-8")
    return texts[1], texts[2]
