"""Images in files: which there are below a folder, and how one is read."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

import numpy as np
from torch import Tensor
from torchvision.datasets.folder import IMG_EXTENSIONS
from torchvision.transforms.v2 import functional as tv

from tks_edge_runtime.artifact import Preprocessing
from tks_edge_runtime.images import fit, open_image


class Names(Sequence[str]):
    """Many names in one piece of memory: a million paths take their bytes and 8 more each.

    A list would take three times as much, and each process that loads samples would come to have a copy of its own:
    Python counts the references to a string in the string itself.
    """

    def __init__(self, names: Sequence[str]) -> None:
        encoded = [os.fsencode(name) for name in names]
        self._ends = np.cumsum([len(name) for name in encoded], dtype=np.int64)
        self._bytes = b"".join(encoded)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Names: ...
    def __getitem__(self, index: int | slice) -> str | Names:
        if isinstance(index, slice):
            return Names([self[i] for i in range(*index.indices(len(self)))])
        position = range(len(self))[index]
        begin = int(self._ends[position - 1]) if position else 0
        return os.fsdecode(self._bytes[begin : int(self._ends[position])])


class FileImages:
    """Images in files below `root`, read when they are asked for.

    Args:
        root: the folder of the data set.
        names: the path of each image below it, with forward slashes.
        preprocessing: how an image file becomes an input.
    """

    def __init__(self, root: Path, names: Sequence[str], preprocessing: Preprocessing) -> None:
        self._root = root
        self._names = Names(names)
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return len(self._names)

    def original(self, index: int) -> Tensor:
        """Image `index` in its own size, uint8 `[3, H, W]`."""
        image: Tensor = tv.pil_to_tensor(open_image(self._root / self._names[index], self._preprocessing.mode))
        return image

    def prepared(self, index: int) -> Tensor:
        """Image `index`, resized and cropped, uint8 `[3, S, S]`."""
        image = fit(open_image(self._root / self._names[index], self._preprocessing.mode), self._preprocessing)
        pixels: Tensor = tv.pil_to_tensor(image)
        return pixels

    def name(self, index: int) -> str:
        """The path below the data set's folder, with forward slashes."""
        return self._names[index]


def file_names(root: Path, below: str, endings: Sequence[str] = IMG_EXTENSIONS) -> list[str]:
    """The path below `root` of every file with one of these endings in its folder `below`, at any depth, in order.

    Endings are in lower case, paths have forward slashes. It looks at names alone: a million of them take seconds.
    """
    found = [name for name in _walked(f"{root / below}", below) if name.lower().endswith(tuple(endings))]
    # Folder by folder, as paths are ordered: "a/b" before "a.b".
    return sorted(found, key=lambda name: name.split("/"))


def _walked(folder: str, name: str) -> Iterator[str]:
    with os.scandir(folder) as entries:
        for entry in entries:
            inner = f"{name}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                yield from _walked(entry.path, inner)
            else:
                yield inner
