"""How numbers are written in a report: one place, so that the terminal, the page and the Markdown agree."""

from __future__ import annotations

import math

from tks_edge_runtime.energy import EnergyUse
from tks_edge_runtime.reporting.document import ReportDocument
from tks_edge_runtime.reporting.row import OK, MeasuredAccuracy, Row
from tks_edge_runtime.statistics import LatencySummary, needed

NONE = "\N{EN DASH}"


def milliseconds(value: float | None) -> str:
    """A time in ms, or an energy in mJ, with three digits, never in exponent form: `0.0523`, `1.20`, `134`."""
    if value is None:
        return NONE
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3 if value >= 0.1 else 4
    return f"{value:.{decimals}f}"


def small(value: float) -> str:
    """A number with three digits, however small, never in exponent form: `0.000873`."""
    if value <= 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


_PERCENTILES = {"p50": 50.0, "p90": 90.0, "p95": 95.0, "p99": 99.0, "p999": 99.9}


def percentile(latency: LatencySummary | None, name: str) -> str:
    """A percentile (`p50` to `p999`) in ms, or how many samples it would need."""
    if latency is None:
        return NONE
    value: float | None = getattr(latency, name)
    return milliseconds(value) if value is not None else f"n/a (needs {needed(_PERCENTILES[name])})"


def energy(use: EnergyUse | None) -> str:
    """The energy of one run in mJ, with its standard deviation over the blocks: `12.3 ±0.41`."""
    if use is None:
        return NONE
    spread = "" if use.spread_mj is None else f" ±{milliseconds(use.spread_mj)}"
    text = milliseconds(abs(use.mj))
    return f"{'-' if use.mj < 0 and float(text) else ''}{text}{spread}"


def accuracy(value: MeasuredAccuracy | None) -> str:
    """An accuracy and its interval in percent: `98.33 (96.95–99.09)`."""
    return NONE if value is None else f"{value.percent:.2f} ({interval(value)})"


def interval(value: MeasuredAccuracy) -> str:
    """A 95 % interval in percent: `96.95–99.09`."""
    return f"{value.low:.2f}\N{EN DASH}{value.high:.2f}"


def factor(value: float) -> str:
    """A ratio: `0.47`, `12.3`, `134`."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def times(value: float | None) -> str:
    """A ratio with its sign: `0.47×`."""
    return NONE if value is None else f"{factor(value)}\N{MULTIPLICATION SIGN}"


def rate(value: float) -> str:
    """A number in a second with at least three significant digits: `0.47`, `47.3`, `10 473`."""
    return factor(value) if value < 100 else f"{value:,.0f}".replace(",", " ")


def size(value: int) -> str:
    """A file size in kB or MB (powers of ten)."""
    return f"{value / 1e6:.1f} MB" if value >= 1e6 else f"{value / 1e3:.1f} kB"


def marks(row: Row) -> list[str]:
    """What a reader should see at a glance about a row, most important first."""
    found = []
    if row.status != OK:
        found.append("FAILED")
    if row.unstable:
        found.append("UNSTABLE")
    if row.accuracy_as_trained is False:
        found.append("accuracy differs from training")
    if row.recommended:
        found.append("best T")
    if row.pareto:
        found.append("front")
    return found


def unstable_rows(document: ReportDocument) -> str | None:
    """The sentence that stands over a report some of whose rows are UNSTABLE; None where none is."""
    rows = document.unstable
    if not rows:
        return None
    return (
        f"UNSTABLE: the machine was throttled or slowed down while {len(rows)} of {len(document.rows)} rows were "
        f"measured ({', '.join(row.label for row in rows)}). Do not rely on these times; measure again."
    )
