"""How long each artifact is measured, by name."""

from __future__ import annotations

from tks_edge_runtime.errors import unknown
from tks_edge_runtime.statistics import needed

PRESETS = {"quick": 3.0, "standard": 10.0, "long": 60.0, "mlperf": 600.0}
"""Seconds of timed inference for each artifact, by name."""

_LOADGEN_SECONDS, _LOADGEN_PERCENTILE = 600.0, 90.0


def preset_seconds(name: str) -> float:
    """Look up how long a preset measures each artifact, in s; InputError with the closest name for an unknown one."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]


def least_runs(seconds: float) -> int:
    """The runs that a measurement of `seconds` has at least, however long they take.

    MLPerf LoadGen's single stream ends after 600 s and as many queries as its 90th percentile needs, whichever comes
    later; a shorter measurement ends with its time, and leaves out the percentiles that it has too few runs for.
    """
    return needed(_LOADGEN_PERCENTILE) if seconds >= _LOADGEN_SECONDS else 1
