"""The libraries that read and write the format, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from tks_edge_runtime.errors import MissingError


def require(name: str) -> Any:
    """The library `nir`, or the `h5py` that it brings.

    Raises:
        MissingError: it is not installed.
    """
    try:
        return import_module("nir") if name == "nir" else import_module("h5py")
    except ModuleNotFoundError as error:
        raise MissingError(
            "NIR needs the package nir, which is not installed. Install it: pip install nir, or in a checkout of "
            "tks-edge: pip install '.[nir]'"
        ) from error
