"""Batches that depend on the seed, the epoch and the sample alone, not on who loads them or where one began."""

from __future__ import annotations

import contextlib
import hashlib
import signal
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from tks_edge.data.dataset import Split, Transform
from tks_edge.data.skipping import Skipped
from tks_edge_runtime.errors import InputError, TksEdgeError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Samples, uint8 `[B, C, H, W]` or `[B, T, C, H, W]`, and labels, int64 `[B]`."""
Shard: TypeAlias = tuple[int, int]
"""A process's rank, from 0, and how many processes share the samples."""
_Key: TypeAlias = tuple[int, int]
"""An epoch and an index into the training split."""
_ALONE: Shard = (0, 1)
_PREFETCH = 4
"""Batches that each process has ready: a slow file must not stop the step."""
_REPLACEMENTS = 100
"""So many unreadable samples in a row are no damage but a wrong folder."""


def steps_per_epoch(samples: int, batch_size: int) -> int:
    """Batches in an epoch: whole ones only, or one with all samples where there are fewer than a batch."""
    return max(1, samples // batch_size)


def training_batches(
    split: Split,
    augment: Transform,
    *,
    seed: int,
    batch_size: int,
    epochs: int,
    start: tuple[int, int] = (0, 0),
    workers: int = 0,
    shard: Shard = _ALONE,
    pin_memory: bool = False,
    skipped: Skipped | None = None,
) -> Feed:
    """Augmented batches of the training split, from step `start[1]` of epoch `start[0]` to the end of the last epoch.

    An epoch has `steps_per_epoch` batches; its order comes from (seed, epoch), a sample's augmentation from (seed,
    epoch, sample). All epochs are one pass of the loader: its workers live, and load ahead, to the end.

    Args:
        split: the training split.
        augment: what is done to each sample.
        seed: of order and augmentation.
        batch_size: samples a step, over all processes.
        epochs: passes over the split.
        start: the epoch and the step in it to begin with.
        workers: processes that load samples.
        shard: of each batch, the part of this process: of W processes the one with rank r gets the r-th of W equal
            parts, so that all together, in the order of their ranks, see what one alone sees.
        pin_memory: whether batches come in page-locked memory, from where a GPU fetches them by itself.
        skipped: takes down a sample that cannot be read, and in its place the batch has the next one of the split that
            can; None: the first such sample is an error.

    Raises:
        InputError: the batch cannot be shared evenly; from the iterator, a sample cannot be read.
    """
    rank, world = shard
    if (size := min(batch_size, len(split))) % world:
        raise InputError(
            f"{world} processes cannot share a batch of {size} samples evenly. Use a --batch-size that {world} divides."
        )
    order = _Order(len(split), seed, batch_size, epochs, start)
    part = slice(rank * size // world, (rank + 1) * size // world)
    keys = order if world == 1 else (batch[part] for batch in order)
    return Feed(_Augmented(split, augment, seed, replace=skipped is not None), keys, workers, pin_memory, skipped)


def evaluation_batches(
    split: Split,
    batch_size: int,
    workers: int = 0,
    *,
    pin_memory: bool = False,
    skipped: Skipped | None = None,
) -> Feed:
    """Every sample of a split in order, as it is evaluated.

    Args:
        split: the samples.
        batch_size: samples a batch.
        workers: as in `training_batches`.
        pin_memory: as in `training_batches`.
        skipped: takes down a sample that cannot be read, and the batch goes without it: it is neither right nor wrong,
            and what is counted is what was read. None: the first such sample is an error.

    Raises:
        InputError: from the iterator, a sample cannot be read, or with `skipped` none of them.
    """
    indices = range(len(split))
    keys = [list(indices[first : first + batch_size]) for first in range(0, len(indices), batch_size)]
    return Feed(_Plain(split), keys, workers, pin_memory, skipped)


@dataclass(frozen=True)
class _Unread:
    """A sample that could not be read: its name, why, and whether that ends the training even where some may lack."""

    name: str
    error: TksEdgeError
    fatal: bool = False

    @classmethod
    def of(cls, split: Split, index: int, error: TksEdgeError) -> _Unread:
        """What a sample of the split failed with; a library or room that is missing fails them all."""
        return cls(split.samples.name(split.indices[index]), error, fatal=not isinstance(error, InputError))


_Loaded: TypeAlias = tuple[tuple[Tensor, int] | None, _Unread | None]
"""A sample for the batch, if there is one, and the one that could not be read, if there is one."""


class Feed(Iterator[Batch]):
    """Batches, one after the other; the first is loaded when it is asked for."""

    def __init__(
        self,
        dataset: TorchDataset[_Loaded],
        keys: Iterable[list[_Key]] | Iterable[list[int]],
        workers: int,
        pin_memory: bool,
        skipped: Skipped | None,
    ) -> None:
        self._skipped = skipped
        self._read = self._unread = 0
        # A generator of its own: the loader draws from it, and the global one must not depend on how often a run
        # resumed.
        self._loader: DataLoader[_Loaded] = DataLoader(
            dataset,
            batch_sampler=keys,
            num_workers=workers,
            prefetch_factor=_PREFETCH if workers else None,
            pin_memory=pin_memory,
            collate_fn=_collate,
            worker_init_fn=_ignore_interrupts,
            generator=torch.Generator().manual_seed(0),
        )
        self._batches: Iterator[tuple[Tensor, Tensor, list[_Unread]]] | None = None

    def __next__(self) -> Batch:
        if self._batches is None:
            self._batches = iter(self._loader)
        for images, labels, unread in self._batches:
            for sample in unread:
                self._take_down(sample)
            if len(labels):
                self._read += len(labels)
                return images, labels
        if self._unread and not self._read:
            raise InputError(f"none of the {self._unread:,} samples can be read. Give the right folder with --data.")
        raise StopIteration

    def _take_down(self, sample: _Unread) -> None:
        # An error comes as a value: raised in a worker it would arrive as text with a traceback in it.
        if self._skipped is None or sample.fatal:
            raise sample.error
        self._unread += 1
        self._skipped.add(sample.name, str(sample.error))


@dataclass(frozen=True)
class _Order:
    """The keys of every batch to come, drawn up an epoch at a time."""

    samples: int
    seed: int
    batch_size: int
    epochs: int
    start: tuple[int, int]

    def __iter__(self) -> Iterator[list[_Key]]:
        for epoch in range(self.start[0], self.epochs):
            generator = torch.Generator().manual_seed(_derived(self.seed, epoch))
            order: list[int] = torch.randperm(self.samples, generator=generator).tolist()
            first = self.start[1] if epoch == self.start[0] else 0
            for step in range(first, steps_per_epoch(self.samples, self.batch_size)):
                begin = step * self.batch_size
                yield [(epoch, index) for index in order[begin : begin + self.batch_size]]


class _Augmented(TorchDataset[_Loaded]):
    """The training split, augmented; indexed by epoch and sample."""

    def __init__(self, split: Split, augment: Transform, seed: int, *, replace: bool) -> None:
        self._split = split
        self._augment = augment
        self._seed = seed
        self._replace = replace

    def __getitem__(self, key: _Key) -> _Loaded:
        epoch, index = key
        try:
            return self._sample(epoch, index), None
        except TksEdgeError as error:
            unread = _Unread.of(self._split, index, error)
        return self._instead(epoch, index, unread) if self._replace and not unread.fatal else (None, unread)

    def _sample(self, epoch: int, index: int) -> tuple[Tensor, int]:
        original = self._split.original(index)
        with torch.random.fork_rng(devices=()):
            # torch.manual_seed also seeds devices that nothing here draws from, and formats a stack trace for each.
            torch.default_generator.manual_seed(_derived(self._seed, epoch, index))
            return self._augment(original), self._split.labels[index]

    def _instead(self, epoch: int, index: int, unread: _Unread) -> _Loaded:
        """The next sample that can be read, as this epoch augments it: no process needs to know what others read."""
        tries = min(_REPLACEMENTS, len(self._split))
        for step in range(1, tries):
            with contextlib.suppress(InputError):
                return self._sample(epoch, (index + step) % len(self._split)), unread
        said = f"{unread.error} Nor can the {tries - 1} after it: give the right folder with --data."
        return None, _Unread(unread.name, InputError(said), fatal=True)


class _Plain(TorchDataset[_Loaded]):
    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, index: int) -> _Loaded:
        try:
            return self._split[index], None
        except TksEdgeError as error:
            return None, _Unread.of(self._split, index, error)


def _collate(loaded: Sequence[_Loaded]) -> tuple[Tensor, Tensor, list[_Unread]]:
    samples = [sample for sample, _ in loaded if sample is not None]
    images = torch.stack([image for image, _ in samples]) if samples else torch.empty(0)
    labels = torch.tensor([label for _, label in samples], dtype=torch.int64)
    return images, labels, [unread for _, unread in loaded if unread is not None]


def _ignore_interrupts(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; the one that trains decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _derived(*numbers: int) -> int:
    """A seed of 63 bits that differs between any two sequences of numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
