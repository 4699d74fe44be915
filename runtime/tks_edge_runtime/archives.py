"""Read `.npz` archives of which the shapes are known before: nothing is unpacked that does not have them.

A few kilobytes may unpack to gigabytes, and a header may claim any shape; what is read here is compared with what the
manifest says first.
"""

from __future__ import annotations

import math
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.errors import ArtifactError, MissingError
from tks_edge_runtime.memory import room

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.generic]

_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""What NumPy writes; others may take gigabytes for their dictionaries."""
_NUMBERS = "biuf"
_LARGEST_ITEM = 8


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """Read the arrays of these names and shapes, of finite numbers, from the archive at `path`.

    Raises:
        ArtifactError: the file is missing or damaged, or holds something else.
        MissingError: there is too little memory for them.
    """
    needed = _LARGEST_ITEM * sum(map(math.prod, shapes.values()))
    if needed > (found := room() or needed):
        raise MissingError(
            f"{path} needs up to {needed / 1e9:.1f} GB of memory; {found / 1e9:.1f} GB can be had here. "
            "Close other programs, or export with fewer --eval-samples."
        )
    try:
        check_ordinary(path)
        with zipfile.ZipFile(path) as archive:
            return {name: _array(archive, name, shape) for name, shape in shapes.items()}
    except FileNotFoundError as error:
        raise ArtifactError(
            f"{path} is missing. It belongs beside the artifact; copy it there or export again."
        ) from error
    except Exception as error:  # a damaged archive can raise anything in zipfile, the decompressors and NumPy
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise ArtifactError(f"{path} is damaged ({reason}). Copy it again or export again.") from error


def check_ordinary(path: Path) -> None:
    """ValueError where `path` is a folder, a device or a pipe: reading those may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is no ordinary file")


def _array(archive: zipfile.ZipFile, name: str, shape: tuple[int, ...]) -> Array:
    import numpy as np  # here, so that the command line, which knows the manifest, starts without it

    info = archive.getinfo(f"{name}.npy")
    if info.compress_type not in _COMPRESSIONS:
        raise ValueError(f"{name} is compressed in another way than NumPy does")
    with archive.open(info) as file:
        # A header of a later version may be gigabytes long.
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError(f"{name} has a header of another version than NumPy writes")
        found, _, dtype = np.lib.format.read_array_header_1_0(file)
    _check(name, found, dtype, shape)
    with archive.open(info) as file:
        array: Any = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):
            raise ValueError(f"behind {name} there is more")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds numbers that are not finite")
    return array  # type: ignore[no-any-return]


def _check(name: str, found: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    if dtype.kind not in _NUMBERS or dtype.itemsize > _LARGEST_ITEM or dtype.hasobject:
        raise ValueError(f"{name} is {str(dtype)[:40]}, which are no numbers")
    if tuple(found) != tuple(shape):
        raise ValueError(f"{name} has the shape {str(list(found))[:80]}, not {list(shape)}")
