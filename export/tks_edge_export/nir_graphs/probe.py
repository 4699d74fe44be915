"""Reads a whole HDF5 file, in a process of its own: on a damaged one the library may not raise but crash.

Run with the file, the most bytes that an array of it may have, and where to import from.
"""

from __future__ import annotations

import sys
from typing import Any

NO_LIBRARY = 3
"""The exit code where the library cannot be imported."""


def walk(group: Any, depth: int, room: int) -> None:
    """Look at everything in a group as the reader does."""
    import h5py

    for name in group:
        if depth > 24 or not isinstance(group.get(name, getlink=True), h5py.HardLink):
            continue
        entry = group[name]
        if isinstance(entry, h5py.Group):
            walk(entry, depth + 1, room)
        elif isinstance(entry, h5py.Dataset) and not (entry.is_virtual or entry.external) and entry.nbytes <= room:
            entry[()]


if __name__ == "__main__":
    sys.path += sys.argv[3:]
    try:
        import h5py
    except ImportError:
        sys.exit(NO_LIBRARY)

    with h5py.File(sys.argv[1], "r") as file:
        walk(file, 0, int(sys.argv[2]))
