"""The row to ship of a report that was written: read, narrowed down, and chosen within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tks_edge_runtime.errors import InputError
from tks_edge_runtime.reporting.bounds import Bounds
from tks_edge_runtime.reporting.document import Answer
from tks_edge_runtime.reporting.pick import pick as choose
from tks_edge_runtime.reporting.pick import selected
from tks_edge_runtime.reporting.reading import read_report
from tks_edge_runtime.reporting.row import Row
from tks_edge_runtime.reporting.turns import FOLDER, turns_since


@dataclass(frozen=True)
class Picked:
    """The artifact to ship.

    Attributes:
        file: the report that it was chosen from.
        answer: why it is the one, what comes second, and what the nearest misses need, in sentences.
        row: what to ship: `row.file`, `row.backend`, `row.device` and its numbers; None where nothing keeps the bounds.
        runner_up: the next best row that keeps them; None where there is none.
        unfinished: names of turns that a sweep measured and the report does not know of, since the sweep did not end.
    """

    file: Path
    answer: Answer
    row: Row | None
    runner_up: Row | None
    unfinished: tuple[str, ...]


def pick(
    report: Path | str = "sweep",
    *,
    max_latency: float | None = None,
    min_accuracy: float | None = None,
    max_energy: float | None = None,
    percentile: str | None = None,
    prefer: str | None = None,
    network: str | None = None,
    spiking_only: bool = False,
) -> Picked:
    """Choose the one artifact of a report or a sweep to ship; the ReLU twin is a candidate like any other.

    Args:
        report: the folder of a report or a sweep, or its report.json.
        max_latency: in ms, end to end, of the `percentile`.
        min_accuracy: in percent. Where nothing is bounded, it is within one point of that at T of the training.
        max_energy: in mJ of one inference, measured.
        percentile: of the latency: "p50", "p90", "p95", "p99", "p999"; None for the median, of early exit the expected
            latency.
        prefer: what is best among those that keep the bounds: "latency", "accuracy" or "energy"; None for latency, and
            accuracy where only latency or energy is bounded.
        network: only rows of this network, by the name it was exported under, and the ReLU twins.
        spiking_only: whether the ReLU twins are no candidates.

    Raises:
        InputError: there is no report there, it is damaged, or a name or a bound is not allowed.
    """
    bounds = Bounds(max_latency, min_accuracy, max_energy, percentile, prefer)
    return picked(report, bounds, network=network, spiking_only=spiking_only)


def picked(report: Path | str, bounds: Bounds, *, network: str | None = None, spiking_only: bool = False) -> Picked:
    """As `pick`, with the bounds in one."""
    file = _report_file(Path(report))
    document = read_report(file, traces=False)
    rows = selected(document.rows, network=network)
    answer = choose(rows, bounds, spiking_only=spiking_only)
    first, second = (None if place is None else rows[place] for place in (answer.row, answer.runner_up))
    return Picked(file, answer, first, second, tuple(turns_since(document, file.parent / FOLDER)))


def _report_file(path: Path) -> Path:
    """The report of a folder.

    Raises:
        InputError: the folder is that of a sweep that did not end.
    """
    if not path.is_dir():
        return path
    file = path / "report.json"
    if not file.exists() and (path / FOLDER).is_dir():
        raise InputError(
            f"{path} has no report.json yet: its sweep did not end. Run the sweep again with the same options and "
            f"--output {path}; what is measured is kept."
        )
    return file
