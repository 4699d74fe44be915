"""The report's table on a terminal: as many columns as its width holds, every warning under it."""

from __future__ import annotations

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tks_edge_runtime.report.columns import columns_of
from tks_edge_runtime.report.document import FAILED, ReportDocument, Row

_WHOLE = ("timesteps", "precision", "graph", "accuracy", "p50", "ratio")
"""Columns that are never broken over two lines."""


def print_report(document: ReportDocument, console: Console) -> None:
    """Print the table, the warnings of its rows, and the conclusions."""
    console.print(_table(document.rows, console.width))
    for row in document.rows:
        for warning in row.warnings:
            console.print(f"[yellow]{escape(row.file)}:[/] {escape(warning)}", highlight=False)
        if row.reason is not None:
            console.print(f"[red]{escape(row.file)}:[/] {escape(row.reason)}", highlight=False)
    for conclusion in document.conclusions:
        console.print(f"\n[bold]{escape(conclusion.headline)}[/]", highlight=False)
        for sentence in conclusion.sentences:
            console.print(Padding(escape(sentence), (0, 0, 0, 2)), highlight=False)


def _table(rows: tuple[Row, ...], width: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown = columns_of(rows)
    # What is not usual takes the room of what a terminal of this width otherwise has room for.
    room = width - sum(max(len(column.cell(row)) for row in rows) for column in shown if column.usual is not None)
    columns = [column for column in shown if column.width is not None and (column.width <= room or column.width == 0)]
    for column in columns:
        justify: JustifyMethod = "right" if column.numeric else "left"
        table.add_column(column.header, justify=justify, overflow="fold", no_wrap=column.key in _WHOLE)
    for row in rows:
        table.add_row(*(escape(column.cell(row)) for column in columns), style=_style(row))
    return table


def _style(row: Row) -> str:
    if row.status == FAILED:
        return "red"
    if row.unstable:
        return "yellow"
    return "bold" if row.recommended else ""
