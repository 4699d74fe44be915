"""`doctor`: what this machine has and can run, and what to do about the rest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge_runtime.doctor import Finding

_MARKS = {"ok": "[green]ok[/]", "warning": "[yellow]warning[/]", "missing": "[red]missing[/]", "absent": "[dim]-[/]"}


def doctor(
    root: Annotated[
        Path,
        typer.Option("--root", help="Examine the recorded files of another machine below this folder."),
    ] = Path("/"),
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Examine this machine: what it has and can run, and what to do about the rest."""
    with running(as_json, debug) as out:
        import dataclasses

        from tks_edge_runtime.doctor import examine
        from tks_edge_runtime.errors import InputError, MissingError

        if not root.is_dir():
            raise InputError(f"{root} is no folder. Give one that holds a machine's /proc, /sys and /etc with --root.")
        with out.waiting("examining this machine"):
            examination = examine(root)
        _show(examination.findings, out)
        out.document(dataclasses.asdict(examination))
        if not examination.next:
            raise MissingError(
                examination.refusal or "no backend can run on this machine. Install one: pip install onnxruntime"
            )
        if root.resolve() != Path("/"):
            out.console.print("on that machine:", style="dim")
        out.next(*examination.next)


def _show(findings: tuple[Finding, ...], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    # Without lines, and with the advice below what was found: so it is read at the 80 columns of a remote terminal.
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        advice = f"\n[dim]{escape(finding.advice)}[/]" if finding.advice else ""
        table.add_row(_MARKS[finding.status], finding.subject, escape(finding.found) + advice)
    out.console.print(table)
