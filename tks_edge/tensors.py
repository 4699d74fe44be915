"""Named tensors and a JSON document in one safetensors file, written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import replacing

_KEY = "tks_edge"
"""The one entry of the file's metadata; a single one, because the order of several is not fixed."""


def write_tensors(path: Path, tensors: Mapping[str, Tensor], document: dict[str, Any]) -> None:
    """Write `tensors` and `document` (JSON-able) to `path`."""
    metadata = {_KEY: json.dumps(document, allow_nan=False)}
    data = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, metadata)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote; the tensors are on the CPU.

    Raises:
        InputError: the file is missing, damaged, or not written by `write_tensors`.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}.") from error
    except safetensors.SafetensorError as error:
        raise InputError(
            f"{path} is damaged or no safetensors file ({error}). Restore it, or make it again."
        ) from error
    try:
        document = json.loads(metadata[_KEY])
    except (KeyError, ValueError):
        document = None
    if not isinstance(document, dict):
        raise InputError(f"{path} was not written by `tks-edge train` or `import`. Give a run directory that was.")
    return tensors, document
