"""Stratified splits that depend on a seed and the samples' names, and on no library's random numbers."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

SPLIT_SEED = 0
"""The splits are part of a data set: every run uses the same, whatever its own seed."""


def stratified(names: Sequence[str], labels: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Deal the samples into parts of these `sizes`, each with every class in proportion, to within one sample.

    Within a class the samples are ordered by a hash of the seed and their name; merging the classes by relative rank
    gives one order of which every stretch is stratified, and the parts are cut from it one after the other.

    Args:
        names: what tells the samples apart.
        labels: the class of each.
        sizes: samples in each part; together all of them.

    Returns:
        The indices of each part, ascending.
    """
    if sum(sizes) != len(names):
        raise ValueError(f"parts of {list(sizes)} samples cannot be dealt from {len(names)}")
    members: defaultdict[int, list[int]] = defaultdict(list)
    for index, label in enumerate(labels):
        members[label].append(index)
    # Arrays: as tuples, the ranks of a million samples would take a third of a gigabyte.
    rank = np.empty(len(names))
    for indices in members.values():
        ordered = sorted(indices, key=lambda i: _hash(names[i]))
        rank[ordered] = (2 * np.arange(len(ordered)) + 1) / (2 * len(ordered))
    order = np.lexsort((np.asarray(labels), rank))
    return [sorted(part.tolist()) for part in np.split(order, np.cumsum(sizes)[:-1])]


def _hash(name: str) -> bytes:
    return hashlib.sha256(f"{SPLIT_SEED}/{name}".encode("utf-8", "surrogateescape")).digest()
