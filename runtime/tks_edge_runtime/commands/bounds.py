"""The bounds of `pick` and `sweep`, from their options."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tks_edge_runtime.quantities import millijoules, milliseconds, percentage

if TYPE_CHECKING:
    from tks_edge_runtime.reporting.bounds import Bounds


def asked_bounds(
    max_latency: str | None,
    min_accuracy: str | None,
    max_energy: str | None,
    percentile: str | None,
    prefer: str | None,
) -> Bounds:
    """What was asked for.

    Raises:
        InputError: a quantity does not parse, or there is no such percentile or preference.
    """
    from tks_edge_runtime.reporting.bounds import Bounds

    return Bounds(
        None if max_latency is None else milliseconds(max_latency, "--max-latency"),
        None if min_accuracy is None else percentage(min_accuracy, "--min-accuracy"),
        None if max_energy is None else millijoules(max_energy, "--max-energy"),
        percentile,
        prefer,
    )
