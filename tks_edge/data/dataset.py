"""What every data set gives: three splits of labelled samples, and a record of what was drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from tks_edge_runtime.artifact import Preprocessing


class Transform(Protocol):
    """Makes a sample from a sample: uint8 `[C, H, W]` to uint8 `[C, H, W]`, or all frames `[T, C, H, W]` alike."""

    def __call__(self, sample: Tensor, /) -> Tensor:
        """The sample that is made of `sample`."""
        ...


class Samples(Protocol):
    """Where the samples of a split come from: still images `[C, H, W]`, or recordings as frames `[T, C, H, W]`."""

    def __len__(self) -> int: ...

    def original(self, index: int, /) -> Tensor:
        """Sample `index` as an augmentation gets it, uint8; images in their own size."""
        ...

    def prepared(self, index: int, /) -> Tensor:
        """Sample `index` as it is evaluated: uint8, of the data set's size."""
        ...

    def name(self, index: int, /) -> str:
        """What sample `index` is called in the record of a split, the same on every machine."""
        ...


@runtime_checkable
class Recordings(Samples, Protocol):
    """Samples that were cut from recordings, and can be cut anew."""

    def rebinned(self, timesteps: int, /) -> Recordings:
        """The same recordings, each as a whole in this many frames."""
        ...


class Split(TorchDataset[tuple[Tensor, int]]):
    """A labelled part of a data set: `split[i]` is the i-th sample, uint8 `[C, H, W]` or `[T, C, H, W]`, and its class.

    Args:
        samples: where the samples come from.
        labels: the class of each of these samples, by its index.
        indices: which of them this split holds, in this order.
        folder: the folder of the data set that it was taken from, where the data set came divided.
    """

    def __init__(
        self,
        samples: Samples,
        labels: Mapping[int, int] | Sequence[int],
        indices: Sequence[int],
        folder: str | None = None,
    ) -> None:
        self.samples = samples
        self.folder = folder
        self.indices = tuple(indices)
        self.labels = tuple(int(labels[index]) for index in self.indices)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.samples.prepared(self.indices[index]), self.labels[index]

    def evenly_spaced(self, count: int) -> Split:
        """At most `count` samples of this split, evenly spaced, so that sorted classes all have their share."""
        positions = np.linspace(0, len(self) - 1, min(count, len(self)), dtype=int)
        labels = dict(zip(self.indices, self.labels, strict=True))
        return Split(self.samples, labels, [self.indices[position] for position in positions], self.folder)

    def shard(self, rank: int, world: int) -> Split:
        """Every `world`-th sample from the one at `rank` on; the shards of all ranks are the split."""
        labels = dict(zip(self.indices, self.labels, strict=True))
        return Split(self.samples, labels, self.indices[rank::world], self.folder)

    def original(self, index: int) -> Tensor:
        """The i-th sample as an augmentation gets it."""
        return self.samples.original(self.indices[index])

    def rebinned(self, timesteps: int) -> Split:
        """The same recordings, each as a whole in this many frames.

        Raises:
            TypeError: these are no recordings.
        """
        if not isinstance(self.samples, Recordings):
            raise TypeError("still images have no frames")
        labels = dict(zip(self.indices, self.labels, strict=True))
        return Split(self.samples.rebinned(timesteps), labels, self.indices, self.folder)

    def stacked(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Every sample, uint8 `[M, C, H, W]` or `[M, T, C, H, W]`, and every class, int64 `[M]`."""
        samples = np.stack([self[position][0].numpy() for position in range(len(self))])
        return samples, np.asarray(self.labels, dtype=np.int64)

    def record(self) -> dict[str, Any]:
        """Which samples these are: how many, the SHA-256 of their names and classes in order, and from which folder."""
        digest = hashlib.sha256()
        for index, label in zip(self.indices, self.labels, strict=True):
            digest.update(f"{self.samples.name(index)} {label}\n".encode("utf-8", "surrogateescape"))
        record = {"samples": len(self), "sha256": digest.hexdigest()}
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
        in_channels: 1 or 3; 2 for the polarities of events.
        image_size: height and width in pixels.
        mean: per channel, in units of the full pixel range (0..1).
        std: per channel, likewise.
        preprocessing: how an image file becomes an input; None for recordings.
        split_seed: what the splits were drawn with.
        timesteps: how many frames each recording was cut into; None for still images.
        cut: what its frames share evenly, one of `settings.frames.CUTS`; None for still images.
        notes: what is worth knowing before it is used, such as the room that it will take on the disk.
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
    preprocessing: Preprocessing | None
    split_seed: int
    timesteps: int | None = None
    cut: str | None = None
    notes: tuple[str, ...] = ()

    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}
