"""`doctor`: what this machine has and can run, and what to do about the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.options import DEFAULT_BACKEND

if TYPE_CHECKING:
    from tks_edge_runtime.doctor import Finding

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]", "absent": "[dim]-[/]"}


def doctor(as_json: JsonFlag = False, debug: DebugFlag = False) -> None:
    """Examine this machine: what it has and can run, and what to do about the rest."""
    with running(as_json, debug) as out:
        import dataclasses

        from tks_edge_runtime.doctor import examine
        from tks_edge_runtime.errors import MissingError

        examination = examine()
        _show(examination.findings, out)
        out.document(dataclasses.asdict(examination))
        if not examination.backends:
            raise MissingError("no backend can run on this machine. Install one: pip install onnxruntime")
        chosen = [] if DEFAULT_BACKEND in examination.backends else ["--backend", examination.backends[0]]
        out.next("report", "artifacts/", *chosen)


def _show(findings: tuple[Finding, ...], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "what")
    table.add_column("found", overflow="fold")
    table.add_column("advice", overflow="fold")
    for finding in findings:
        advice = escape(finding.advice) if finding.advice else ""
        table.add_row(_MARKS[finding.status], finding.subject, escape(finding.found), advice)
    out.console.print(table)
