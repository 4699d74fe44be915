"""Rows that cannot stand together: two trainings under one name, or accuracies of different evaluation sets."""

from __future__ import annotations

from collections.abc import Iterable

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.reporting.row import Row


def check_trainings(rows: Iterable[Row]) -> None:
    """Refuse rows of one name whose weights differ.

    Raises:
        InputError: one name stands for two trainings.
    """
    weights: dict[str, tuple[str, str]] = {}
    for row in rows:
        if row.weights_sha256 is not None:
            other, file = weights.setdefault(row.name, (row.weights_sha256, row.file))
            if other != row.weights_sha256:
                raise InputError(
                    f"{file} and {row.file} are both called {row.name} and come from two trainings (weights "
                    f"{other[:12]} and {row.weights_sha256[:12]}). Export each under a name of its own (--name), into "
                    "a folder of its own."
                )


def compares(rows: Iterable[Row]) -> bool:
    """Whether the accuracies of all rows were taken on one evaluation set."""
    return len(_sets(rows)) <= 1


def check_sets(rows: Iterable[Row], advice: str = "Measure networks of one data set.") -> None:
    """Refuse rows whose accuracies do not compare.

    Args:
        rows: those that are to be compared.
        advice: what to do about it, a sentence.

    Raises:
        InputError: they were taken on different evaluation sets.
    """
    sets = _sets(rows)
    if len(sets) > 1:
        raise InputError(
            f"these accuracies do not compare, since they are of different sets: {'; '.join(sets.values())}. {advice}"
        )


def _sets(rows: Iterable[Row]) -> dict[str, str]:
    """What each evaluation set is, in words, with the network of the first row that has it."""
    found: dict[str, str] = {}
    for row in rows:
        one = row.evaluation
        if one is not None:
            words = f"{row.name} on {one.dataset} {one.split} ({one.samples} samples, {one.identity[:12]})"
            found.setdefault(one.identity, words)
    return found
