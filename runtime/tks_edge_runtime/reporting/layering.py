"""Where the time goes, of the rows that a reader asks about first: what to ship, the next best, their twins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from tks_edge_runtime.errors import TksEdgeError
from tks_edge_runtime.layer_profile import profile_layers
from tks_edge_runtime.reporting.candidates import Candidate
from tks_edge_runtime.reporting.document import ReportDocument
from tks_edge_runtime.reporting.ranking import rival_of
from tks_edge_runtime.reporting.row import Row

LAYERS = "layers"
"""The stage, as those who follow are told it."""


def with_layers(
    document: ReportDocument, candidates: Sequence[Candidate], on_progress: Callable[[str, float], None] | None = None
) -> ReportDocument:
    """The document, with the per-layer latency of a few of its rows, each profiled in a session of its own.

    A row whose artifact does not say which layers it has is left as it is; one that cannot be profiled gets a warning.
    Early exit is not profiled: which layers run how often depends on the sample.

    Args:
        document: everything is measured.
        candidates: what its rows were measured of; each finds its row by the key.
        on_progress: told `LAYERS` and the fraction of it that is done.
    """
    tell = on_progress or (lambda _stage, _fraction: None)
    by_key = {candidate.key: candidate for candidate in candidates}
    wanted = [key for key in dict.fromkeys(row.key for row in _asked_about(document)) if key in by_key]
    rows = []
    for row in document.rows:
        if row.key in wanted:
            tell(LAYERS, wanted.index(row.key) / len(wanted))
            row = _profiled(row, by_key[row.key])
            tell(LAYERS, (wanted.index(row.key) + 1) / len(wanted))
        rows.append(row)
    return replace(document, rows=tuple(rows))


def _asked_about(document: ReportDocument) -> list[Row]:
    answer = document.answer
    places = [place for place in (answer.row, answer.runner_up) if place is not None] if answer is not None else []
    first = [document.rows[place] for place in places]
    # Where the twin is the answer, the reader wants to see the spiking network beside it.
    spiking = [row for row in document.rows if row.recommended] if all(row.is_twin for row in first) else []
    rivals = [rival for row in (*first, *spiking) if (rival := rival_of(row, document.rows)) is not None]
    return [row for row in (*first, *spiking, *rivals) if row.early_exit is None and row.latency is not None]


def _profiled(row: Row, candidate: Candidate) -> Row:
    if not row.layers:
        return row
    part = row.compute if row.compute is not None else row.latency
    try:
        profile = profile_layers(
            candidate.artifact.path,
            candidate.backend,
            candidate.device,
            candidate.threads,
            unprofiled_ms=None if part is None else part.p50,
        )
    except TksEdgeError as error:
        return replace(row, warnings=(*row.warnings, f"its layers could not be timed: {error}"))
    return replace(row, layer_profile=profile)
