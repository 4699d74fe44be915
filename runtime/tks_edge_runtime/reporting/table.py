"""The report's table on a terminal: as many columns as its width holds, every warning under it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tks_edge_runtime.reporting.columns import Column, columns_of
from tks_edge_runtime.reporting.document import Answer, ReportDocument
from tks_edge_runtime.reporting.row import OK, Row
from tks_edge_runtime.reporting.wording import unstable_rows

_LEAST_NAME, _FAIR_NAME = 8, 16
_GAP, _EDGE = 2, 1
"""What a column takes beside its texts, and the table beside its columns."""


def print_report(document: ReportDocument, console: Console) -> None:
    """Print the table, the warnings of its rows, and the conclusions."""
    unstable = unstable_rows(document)
    if unstable is not None:
        console.print(f"[bold yellow]{escape(unstable)}[/]", highlight=False)
    _print_table(document.rows, console)
    for row in document.rows:
        for warning in row.warnings:
            console.print(f"[yellow]{escape(row.label)}:[/] {escape(warning)}", highlight=False)
        if row.reason is not None:
            console.print(f"[red]{escape(row.label)}:[/] {escape(row.reason)}", highlight=False)
    if document.answer is not None:
        print_answer(document.answer, console)
    for conclusion in document.conclusions:
        _print_sentences(conclusion.headline, conclusion.sentences, console)


def print_answer(answer: Answer, console: Console) -> None:
    """Print what to ship, why, and what the nearest misses need."""
    _print_sentences(answer.headline, answer.sentences, console)
    if answer.misses:
        console.print("  Nearest misses:" if len(answer.misses) > 1 else "  Nearest miss:", highlight=False)
    for miss in answer.misses:
        console.print(Padding(escape(miss), (0, 0, 0, 4)), highlight=False)


def _print_sentences(headline: str, sentences: Sequence[str], console: Console) -> None:
    console.print(f"\n[bold]{escape(headline)}[/]", highlight=False)
    for sentence in sentences:
        console.print(Padding(escape(sentence), (0, 0, 0, 2)), highlight=False)


def _print_table(rows: tuple[Row, ...], console: Console) -> None:
    """Each row on one line: a name that does not fit is cut in its middle, and given in full below."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = _fitting(rows, console.width)
    cells = {column.key: [column.cell(row) for row in rows] for column in columns}
    rest = _EDGE + sum(_width(column, cells[column.key]) + _GAP for column in columns if column.key != "name")
    short = shortened(cells["name"], max(_LEAST_NAME, console.width - rest - _GAP))
    cells["name"] = [short[name] for name in cells["name"]]
    for column in columns:
        justify: JustifyMethod = "right" if column.numeric else "left"
        header = _header(column, cells[column.key])
        table.add_column(header, justify=justify, overflow="fold", no_wrap=column.key != "marks")
    for row, texts in zip(rows, zip(*cells.values(), strict=True), strict=True):
        table.add_row(*map(escape, texts), style=_style(row))
    console.print(table)
    for name, cut in short.items():
        if cut != name:
            console.print(f"[dim]{escape(cut)}:[/] {escape(name)}", highlight=False)


def _fitting(rows: tuple[Row, ...], width: int) -> list[Column]:
    """The columns for a terminal of this width, in their order: those with a small `width` of their own go first."""
    shown = columns_of(rows)
    chosen: set[str] = set()
    room = width - _EDGE
    for column in sorted(shown, key=lambda column: column.width or 0):
        takes = _width(column, [column.cell(row) for row in rows]) + _GAP
        if column.key == "name":
            takes = min(takes, _FAIR_NAME + _GAP)
        if column.width == 0 or (column.width is not None and column.width <= width and takes <= room):
            chosen.add(column.key)
            room -= takes
    return [column for column in shown if column.key in chosen]


def _header(column: Column, cells: Sequence[str]) -> str:
    """The column's header on as many lines as keep it no wider than its cells, or than its longest word."""
    return "\n".join(textwrap.wrap(column.header, max(map(len, (*cells, *column.header.split())))))


def _width(column: Column, cells: Sequence[str]) -> int:
    return max(map(len, (*cells, *_header(column, cells).splitlines())))


def shortened(names: Iterable[str], room: int) -> dict[str, str]:
    """Each name with a text of at most `room` characters, no two the same: cut in the middle, numbered if need be."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        kept = room - 1
        cut = name if len(name) <= room else f"{name[: kept - kept // 2]}…{name[len(name) - kept // 2 :]}"
        if cut in found.values():
            number = str(len(found) + 1)
            cut = f"{name[: room - 1 - len(number)]}…{number}"
        found[name] = cut
    return found


def _style(row: Row) -> str:
    if row.status != OK:
        return "red"
    if row.unstable:
        return "yellow"
    return "bold" if row.recommended else ""
