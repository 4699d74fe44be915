"""Batches that depend on the seed, the epoch and the sample alone, not on who loads them or where one began."""

from __future__ import annotations

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
from tks_edge_runtime.errors import InputError

Batch: TypeAlias = tuple[Tensor, Tensor]
"""Samples, uint8 `[B, C, H, W]` or `[B, T, C, H, W]`, and labels, int64 `[B]`."""
_Sample: TypeAlias = tuple[Tensor, int] | InputError
_Key: TypeAlias = tuple[int, int]
"""An epoch and an index into the training split."""


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
    shard: tuple[int, int] = (0, 1),
) -> Iterator[Batch]:
    """Augmented batches of the training split, from step `start[1]` of epoch `start[0]` to the end of the last epoch.

    An epoch has `steps_per_epoch` batches; its order comes from (seed, epoch), a sample's augmentation from (seed,
    epoch, sample). `shard`, (r, n), gives process r of n its part of each: every n-th sample from position r on.

    Raises:
        InputError: a sample cannot be read.
    """
    order = _Order(len(split), seed, batch_size, epochs, start, shard)
    return _load(_Augmented(split, augment, seed), order, workers)


def evaluation_batches(split: Split, batch_size: int, workers: int = 0) -> Iterator[Batch]:
    """Every sample of a split in order, as it is evaluated.

    Raises:
        InputError: an image cannot be read.
    """
    indices = range(len(split))
    keys = [list(indices[first : first + batch_size]) for first in range(0, len(split), batch_size)]
    return _load(_Plain(split), keys, workers)


@dataclass(frozen=True)
class _Order:
    """The keys of every batch to come, drawn up an epoch at a time."""

    samples: int
    seed: int
    batch_size: int
    epochs: int
    start: tuple[int, int]
    shard: tuple[int, int]

    def __iter__(self) -> Iterator[list[_Key]]:
        for epoch in range(self.start[0], self.epochs):
            generator = torch.Generator().manual_seed(_derived(self.seed, epoch))
            order: list[int] = torch.randperm(self.samples, generator=generator).tolist()
            first = self.start[1] if epoch == self.start[0] else 0
            for step in range(first, steps_per_epoch(self.samples, self.batch_size)):
                begin = step * self.batch_size
                batch = order[begin : begin + self.batch_size]
                yield [(epoch, index) for index in batch[self.shard[0] :: self.shard[1]]]


class _Augmented(TorchDataset[_Sample]):
    """The training split, augmented; indexed by epoch and sample."""

    def __init__(self, split: Split, augment: Transform, seed: int) -> None:
        self._split = split
        self._augment = augment
        self._seed = seed

    def __getitem__(self, key: _Key) -> _Sample:
        epoch, index = key
        try:
            original = self._split.original(index)
        except InputError as error:
            return error
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(_derived(self._seed, epoch, index))
            return self._augment(original), self._split.labels[index]


class _Plain(TorchDataset[_Sample]):
    def __init__(self, split: Split) -> None:
        self._split = split

    def __getitem__(self, index: int) -> _Sample:
        try:
            return self._split[index]
        except InputError as error:
            return error


def _load(
    dataset: TorchDataset[_Sample], keys: Iterable[list[_Key]] | Iterable[list[int]], workers: int
) -> Iterator[Batch]:
    # A generator of its own: the loader draws from it, and the global one must not depend on how often a run resumed.
    loader: DataLoader[_Sample] = DataLoader(
        dataset,
        batch_sampler=keys,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_ignore_interrupts,
        generator=torch.Generator().manual_seed(0),
    )
    for batch in loader:
        # An error comes as a value: raised in a worker it would arrive as text with a traceback in it.
        if isinstance(batch, InputError):
            raise batch
        yield batch


def _collate(samples: Sequence[_Sample]) -> Batch | InputError:
    images: list[Tensor] = []
    labels: list[int] = []
    for sample in samples:
        if isinstance(sample, InputError):
            return sample
        images.append(sample[0])
        labels.append(sample[1])
    return torch.stack(images), torch.tensor(labels)


def _ignore_interrupts(_: int) -> None:
    """Ctrl-C reaches every process of the terminal; the one that trains decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _derived(*numbers: int) -> int:
    """A seed of 63 bits that differs between any two sequences of numbers."""
    digest = hashlib.blake2b(repr(numbers).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
