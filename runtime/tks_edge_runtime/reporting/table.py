"""The report's table on a terminal: as many columns as its width holds, and the warnings under it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from tks_edge_runtime.reporting.columns import Column, columns_of
from tks_edge_runtime.reporting.document import Answer, ReportDocument
from tks_edge_runtime.reporting.ranking import twin_of
from tks_edge_runtime.reporting.row import OK, Row
from tks_edge_runtime.reporting.wording import unstable_rows
from tks_edge_runtime.tables import print_whole

_LEAST_NAME, _FAIR_NAME = 8, 16
_GAP, _EDGE = 2, 1
"""What a column takes beside its texts, and the table beside its columns."""
_FEW_WARNINGS = 2
"""A kind that so many rows have is printed for each; of more, one stands for all."""
_SHORTER: dict[str, Callable[[str], str]] = {
    "marks": lambda cell: cell.replace(", ", ",\n"),
    "accuracy": lambda cell: cell.partition(" (")[0],
}
"""How the cells of a column are written where the whole ones do not fit, in this order."""


def print_report(document: ReportDocument, console: Console) -> None:
    """Print the table, the warnings of its rows, and the conclusions."""
    unstable = unstable_rows(document)
    if unstable is not None:
        console.print(f"[bold yellow]{escape(unstable)}[/]", highlight=False)
    _print_table(document.rows, console)
    for rows, warning in _warnings(document.rows):
        console.print(f"[yellow]{escape(rows)}:[/] {escape(warning)}", highlight=False)
    for row in document.rows:
        if row.reason is not None:
            console.print(f"[red]{escape(row.label)}:[/] {escape(row.reason)}", highlight=False)
    if document.answer is not None:
        print_answer(document.answer, console)
    for conclusion in document.conclusions:
        _print_sentences(conclusion.headline, conclusion.sentences, console)


def _warnings(rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Each warning with its row; of one kind that many rows have, the first, and how many there are."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        for warning in row.warnings:
            kind = re.sub(r"\d[\d.]*", "#", warning).partition(":")[0]
            kinds.setdefault(kind, []).append((row.label, warning))
    for found in kinds.values():
        labels = {label for label, _ in found}
        if len(labels) <= _FEW_WARNINGS:
            yield from found
        else:
            label, warning = found[0]
            yield f"{len(labels)} of {len(rows)} rows", f"{warning} ({label}; report.md has the others)"


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
    """Each row on one line, but for its notes: a name that does not fit is cut in its middle, and given in full below.

    Where the terminal is too narrow, notes stand one below the other, and then accuracies are without their intervals.
    What is wider even so is printed as wide as it is: a number is never cut.
    """
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    columns = _fitting(rows, console.width)
    cells = {column.key: [column.cell(row) for row in rows] for column in columns}
    for key, shorten in _SHORTER.items():
        if key in cells and _taken(columns, cells, _FAIR_NAME) > console.width:
            cells[key] = [shorten(cell) for cell in cells[key]]
    short = shortened(cells["name"], max(_LEAST_NAME, console.width - _taken(columns, cells, 0)))
    cells["name"] = [short[name] for name in cells["name"]]
    for column in columns:
        justify: JustifyMethod = "right" if column.numeric else "left"
        table.add_column(_header(column, cells[column.key]), justify=justify, no_wrap=True)
    for row, texts in zip(rows, zip(*cells.values(), strict=True), strict=True):
        table.add_row(*map(escape, texts), style=_style(row))
    print_whole(table, console)
    for name, cut in short.items():
        if cut != name:
            console.print(f"[dim]{escape(cut)}:[/] {escape(name)}", highlight=False)
    _print_unit(rows, console)


def _print_unit(rows: tuple[Row, ...], console: Console) -> None:
    """Say what the ratios are taken to."""
    twins = {twin.label for row in rows if (twin := twin_of(row, rows)) is not None}
    if not twins:
        return
    named = twins.pop() if len(twins) == 1 else "the network's own ReLU twin"
    expected = " (of early exit, the expected one)" if any(row.early_exit is not None for row in rows) else ""
    unit = f"\N{MULTIPLICATION SIGN} twin: latency{expected} over that of {named}"
    console.print(f"[dim]{escape(unit)}[/]", highlight=False)


def _taken(columns: Sequence[Column], cells: dict[str, list[str]], most_of_name: int) -> int:
    """Characters that the table takes, with a name of at most so many."""
    widths = {column.key: _width(column, cells[column.key]) for column in columns}
    widths["name"] = min(widths["name"], most_of_name)
    return _EDGE + sum(width + _GAP for width in widths.values())


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
    lines = (line for cell in cells for line in cell.split("\n"))
    return "\n".join(textwrap.wrap(column.header, max(map(cell_len, (*lines, *column.header.split())))))


def _width(column: Column, cells: Sequence[str]) -> int:
    return max(cell_len(line) for text in (*cells, _header(column, cells)) for line in text.split("\n"))


def shortened(names: Iterable[str], room: int) -> dict[str, str]:
    """Each name with a text of at most `room` columns, no two the same: cut in the middle, numbered if need be."""
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        tail = (room - 1) // 2
        cut = name if cell_len(name) <= room else f"{_begin(name, room - 1 - tail)}…{_begin(name[::-1], tail)[::-1]}"
        if cut in found.values():
            number = str(len(found) + 1)
            cut = f"{_begin(name, room - 1 - len(number))}…{number}"
        found[name] = cut
    return found


def _begin(text: str, columns: int) -> str:
    """As much of a text as so many columns of a terminal hold; a wide character takes two."""
    return set_cell_size(text, columns).rstrip() if cell_len(text) > columns else text


def _style(row: Row) -> str:
    if row.status != OK:
        return "red"
    if row.unstable:
        return "yellow"
    return "bold" if row.recommended else ""
