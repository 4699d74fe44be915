"""Tables on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

_WIDEST = 10_000


def print_whole(table: Table, console: Console) -> None:
    """Print a table as wide as it is: where the terminal is narrower its lines break, but no number is ever cut."""
    table.width = Measurement.get(console, console.options.update(max_width=_WIDEST), table).maximum
    console.print(table, crop=False)
