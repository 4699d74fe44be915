"""What every data set gives: three splits of labelled images, their augmentation, and a record of what was drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from tks_edge_runtime.artifact import Preprocessing


class Transform(Protocol):
    """Makes an image from an image: uint8 `[C, H, W]` to uint8 `[C, H, W]`."""

    def __call__(self, image: Tensor, /) -> Tensor:
        """The image that is made of `image`."""
        ...


class Images(Protocol):
    """Where the images of a split come from."""

    def __len__(self) -> int: ...

    def original(self, index: int, /) -> Tensor:
        """Image `index` as it is stored, uint8 `[C, H, W]`."""
        ...

    def prepared(self, index: int, /) -> Tensor:
        """Image `index` as it is evaluated: uint8 `[C, H, W]` of the data set's size."""
        ...

    def name(self, index: int, /) -> str:
        """What image `index` is called in the record of a split, the same on every machine."""
        ...


class Split(TorchDataset[tuple[Tensor, int]]):
    """A labelled part of a data set: `split[i]` is the i-th image, uint8 `[C, H, W]`, and its class.

    Args:
        images: where the images come from.
        labels: the class of each of these images, by its index.
        indices: which of them this split holds, in this order.
        folder: the folder of the data set that it was taken from, where the data set came divided.
    """

    def __init__(
        self,
        images: Images,
        labels: Mapping[int, int] | Sequence[int],
        indices: Sequence[int],
        folder: str | None = None,
    ) -> None:
        self.images = images
        self.folder = folder
        self.indices = tuple(indices)
        self.labels = tuple(int(labels[index]) for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images.prepared(self.indices[index]), self.labels[index]

    def evenly_spaced(self, count: int) -> Split:
        """At most `count` samples of this split, evenly spaced, so that sorted classes all have their share."""
        positions = np.linspace(0, len(self) - 1, min(count, len(self)), dtype=int)
        labels = dict(zip(self.indices, self.labels, strict=True))
        return Split(self.images, labels, [self.indices[position] for position in positions], self.folder)

    def original(self, index: int) -> Tensor:
        """The i-th image as it is stored, for an augmentation to work on."""
        return self.images.original(self.indices[index])

    def stacked(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Every image, uint8 `[M, C, H, W]`, and every class, int64 `[M]`."""
        images = np.stack([self[position][0].numpy() for position in range(len(self))])
        return images, np.asarray(self.labels, dtype=np.int64)

    def record(self) -> dict[str, Any]:
        """Which samples these are: how many, the SHA-256 of their names and classes in order, and from which folder."""
        lines = (f"{self.images.name(index)} {label}\n" for index, label in zip(self.indices, self.labels, strict=True))
        record = {"samples": len(self), "sha256": hashlib.sha256("".join(lines).encode()).hexdigest()}
        return record | ({"folder": self.folder} if self.folder is not None else {})


@dataclass(frozen=True)
class Dataset:
    """A data set, opened.

    Attributes:
        name: its name in the registry.
        root: the folder it was read from; None for an embedded set.
        train: what the weights are fitted to.
        validation: what chooses the checkpoint.
        test: what is only ever reported.
        classes: the name of each class.
        in_channels: 1 or 3.
        image_size: height and width in pixels.
        mean: per channel, in units of the full pixel range (0..1).
        std: per channel, likewise.
        preprocessing: how an image file becomes an input.
        augment: what training does to each original image; its result has the size of an input.
        split_seed: what the splits were drawn with.
    """

    name: str
    root: str | None
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    in_channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    preprocessing: Preprocessing
    augment: Transform
    split_seed: int

    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
