"""Lists that are published as MATLAB files."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from scipy.io import loadmat

from tks_edge_runtime.errors import InputError


def read_mat(file: Path | IO[bytes], variable: str, *fields: str) -> list[tuple[Any, ...]]:
    """The entries of an array in a .mat file: of its structs these fields, or without fields the values themselves.

    Raises:
        InputError: it is damaged, or lacks the variable or a field.
    """
    name = getattr(file, "name", file)
    try:
        array = np.atleast_1d(loadmat(file, squeeze_me=True, variable_names=[variable])[variable])
        if not fields:
            return [(value,) for value in array.tolist()]
        return [tuple(entry[field] for field in fields) for entry in array]
    except Exception as error:  # scipy raises whatever its parser stumbles over
        wanted = f"{variable} with {', '.join(fields)}" if fields else variable
        raise InputError(
            f"{name} cannot be read as a MATLAB file with {wanted} ({error}). Unpack it again from its archive."
        ) from error
