"""A file of NIR, looked over before anything of it is read: what it may hold, and how much.

HDF5 can declare arrays of any size in a few bytes, and point to other files. So the shapes are looked at first.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tks_edge_export.nir_graphs.errors import NirError
from tks_edge_export.nir_graphs.nir_library import require
from tks_edge_export.nir_graphs.probe import NO_LIBRARY
from tks_edge_runtime.errors import MissingError

_LARGEST = 8 << 30
"""Bytes of all arrays together."""
_SMALL = 64 << 20
_DEFLATED = 1100
"""What deflate makes smaller at the most, about 1030 times, and room for the rest."""
_PROGRAM = Path(__file__).with_name("probe.py")
_PATIENCE = 600
"""Seconds until a file is given up that is still being read."""
_OBJECTS = 100_000
_DEPTH = 24


def load(path: Path) -> Any:
    """The `nir.NIRGraph` in a file, its types unchecked.

    Raises:
        NirError: it is no file of NIR, is damaged, or declares more than such a file or this machine can hold.
        MissingError: the library is not installed.
    """
    nir, h5py = require("nir"), require("h5py")
    if not path.is_file():
        raise NirError(f"there is no file {path}. Give one that a library wrote with nir.write.")
    if not h5py.is_hdf5(path):
        what = "is empty" if not path.stat().st_size else "is no HDF5 file"
        raise NirError(f"{path} {what}, and a file of NIR is one. Give one that a library wrote with nir.write.")
    _check_readable(path)
    try:
        with h5py.File(path, "r") as file:
            _Survey(nir, h5py, path).made(file)
        graph = nir.read(path, type_check=False)
    except NirError:
        raise
    except Exception as error:  # whatever the library meets in a foreign file
        named = _culprit(path, nir, h5py)
        place, why = named if named is not None else ("", error)
        raise NirError(
            f"{path} cannot be read as NIR{place}: {_reason(why)}. Write it again with nir.write."
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise NirError(f"{path} holds a single {type(graph).__name__}, and no graph of nodes and edges.")
    return graph


def _check_readable(path: Path) -> None:
    """Refuse a file that the library crashes on: it must not take this process with it."""
    # Isolated, and with the same places to import from: the library may lie outside of the environment.
    command = [sys.executable, "-I", str(_PROGRAM), str(path.resolve()), str(_room(path)), *sys.path]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_PATIENCE)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise NirError(f"{path} could not be read in {_PATIENCE} seconds. Write it again with nir.write.") from error
    if done.returncode == NO_LIBRARY:
        raise MissingError(f"{path} cannot be looked over: {sys.executable} does not find h5py. Install it there.")
    if done.returncode == -signal.SIGKILL:
        raise NirError(f"{path} could not be read: the system ended the process, as it does when memory runs out.")
    if done.returncode < 0:
        raise NirError(f"{path} is damaged: the library that reads HDF5 crashes on it. Write it again with nir.write.")


def _room(path: Path) -> int:
    """The most bytes that the arrays of a file may have."""
    return min(_LARGEST, _memory() // 2, max(_SMALL, _DEFLATED * path.stat().st_size))


def _culprit(path: Path, nir: Any, h5py: Any) -> tuple[str, Exception] | None:
    """The node that the library fails on, in words, and how; it names none itself."""
    name = ""
    try:
        with h5py.File(path, "r") as file:
            for each, node in file["node/nodes"].items():
                name = each
                nir.dict2NIRNode(nir.serialization.hdf2dict(node))
    except Exception as error:
        return (f", at the node {name!r}", error) if name else None
    return None


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason is given'}"


def _memory() -> int:
    """Bytes of memory of this machine."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


class _Survey:
    """One walk over everything in a file."""

    def __init__(self, nir: Any, h5py: Any, path: Path) -> None:
        self._nir = nir
        self._h5py = h5py
        self._path = path
        self._objects = 0
        self._bytes = 0
        self._room = _room(path)

    def made(self, file: Any) -> None:
        self._group(file, "", 0)
        if "node" not in file or not isinstance(file["node"], self._h5py.Group) or "type" not in file["node"]:
            raise NirError(f"{self._path} is HDF5, but no file of NIR: it holds no node. Give one of nir.write.")
        self._graph(file["node"], "")

    def _group(self, group: Any, where: str, depth: int) -> None:
        if depth > _DEPTH:
            raise NirError(f"{self._path} is nested deeper than {_DEPTH} at {where[:80]!r}.")
        for name in group:
            place = f"{where}/{name}"
            self._objects += 1
            if self._objects > _OBJECTS:
                raise NirError(f"{self._path} holds more than {_OBJECTS:,} entries.")
            if not isinstance(group.get(name, getlink=True), self._h5py.HardLink):
                raise NirError(f"{self._path} links to something else at {place!r}; what it holds must be in it.")
            entry = group[name]
            if isinstance(entry, self._h5py.Group):
                self._group(entry, place, depth + 1)
            elif isinstance(entry, self._h5py.Dataset):
                self._array(entry, place)

    def _array(self, dataset: Any, place: str) -> None:
        if dataset.is_virtual or dataset.external:
            raise NirError(f"{self._path} keeps {place!r} in another file; what it holds must be in it.")
        if dataset.dtype.kind not in "iufbSO" or dataset.shape is None:
            raise NirError(f"{self._path} has values of the type {dataset.dtype} at {place!r}; numbers are needed.")
        self._bytes += math.prod(dataset.shape) * dataset.dtype.itemsize
        if self._bytes > self._room:
            raise NirError(
                f"{self._path} declares {list(dataset.shape)} values at {place!r}, more than a file of its size can "
                f"hold ({self._room >> 20:,} MiB of arrays). It is damaged, or made to fill the memory."
            )

    def _graph(self, group: Any, where: str) -> None:
        """Refuse edges to nodes that are not there: the library would only say that a key is missing."""
        if group["type"][()] != b"NIRGraph":
            return
        nodes = group["nodes"]
        for name, node in nodes.items():
            kind = node["type"][()].decode("utf8") if "type" in node else ""
            if kind not in self._nir.ir.__all__:
                raise NirError(
                    f"{self._path} has the node {name!r}{where} of the type {kind!r}, which nir does not know."
                )
        for edge in group["edges"][()].tolist() if len(group["edges"]) else []:
            names = [end.decode("utf8") for end in edge]
            if missing := [name for name in names if name not in nodes]:
                raise NirError(
                    f"{self._path} has the edge {' -> '.join(names)}{where}, and no node {missing[0]!r} there. Nodes: "
                    f"{', '.join(list(nodes)[:20])}."
                )
        for name in nodes:
            self._graph(nodes[name], f" in the graph {name!r}")
