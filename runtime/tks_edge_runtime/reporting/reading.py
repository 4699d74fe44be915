"""Read a report.json back: whole, of this version, and its traces readable; or one clear error."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tks_edge_runtime.documents import parse
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json
from tks_edge_runtime.reporting.document import SCHEMA_VERSION, ReportDocument

_PROFILE = {"artifact", "preset", "latency"}
"""Fields that tell what `profile --output` writes."""


def read_report(path: Path | str, *, traces: bool = True) -> ReportDocument:
    """Read the report.json at `path`.

    Fields that a later version may have added are passed over.

    Args:
        path: the file.
        traces: whether every trace is unpacked to see that it is whole, which takes longer than all else.

    Raises:
        InputError: the file is missing, damaged, no report, or of another schema.
    """
    document = read_json(path)
    found = document.get("schema_version") if isinstance(document, dict) else None
    if not isinstance(document, dict) or type(found) is not int or "rows" not in document:
        raise InputError(f"{path} is {_what(document)}. Give the report.json that `tks-edge report` wrote.")
    if found < SCHEMA_VERSION:
        raise InputError(
            f"{path} is a report of schema {found}, without what is compared here; this version reads schema "
            f"{SCHEMA_VERSION}. Measure again: {document.get('command', 'tks-edge report')}"
        )
    if found > SCHEMA_VERSION:
        raise InputError(
            f"{path} is a report of schema {found}; this version reads schema {SCHEMA_VERSION}. Update tks-edge."
        )
    try:
        report = parse(ReportDocument, _without_nan(document), "report", exact=False)
        for row in report.rows if traces else ():
            _check_trace(row.trace_ms, row.latency.n if row.latency is not None else 0)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} is a damaged report ({error}). Copy it again, or measure again.") from error
    return report


def _what(document: Any) -> str:
    if isinstance(document, dict) and document.keys() >= _PROFILE:
        return "the output of `profile`, which holds one artifact and no accuracy"
    return "no report of tks-edge"


def _without_nan(document: dict[str, Any]) -> dict[str, Any]:
    """The document without self-tests whose difference was no finite number, for which JSON has no word."""
    for row in document["rows"] if isinstance(document["rows"], list) else ():
        test = row.get("self_test") if isinstance(row, dict) else None
        if isinstance(test, dict) and test.get("max_difference", 0) is None:
            row["self_test"] = None
    return document


def _check_trace(trace: Sequence[float], runs: int) -> None:
    """A report that was printed by `--json` holds no traces."""
    if len(trace) not in (0, runs):
        raise ValueError(f"a trace holds {len(trace)} runs, its row says {runs}")
