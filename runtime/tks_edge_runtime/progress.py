"""Progress bars: on standard error, gone when the work is done, and not there at all where nobody watches."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


def bars(*columns: ProgressColumn) -> Progress:
    """Bars with these columns behind the description; silent where standard error is no terminal that can draw them.

    What is printed meanwhile appears above the bars. Standard output that goes elsewhere is left alone.
    """
    console = Console(stderr=True)
    # FORCE_COLOR makes a terminal of a file in rich's eyes, TERM=dumb is one that cannot move its cursor.
    watched = sys.stderr.isatty() and console.is_interactive
    return Progress(
        TextColumn("{task.description}", markup=False),  # names of files, brackets and all
        BarColumn(),
        *columns,
        console=console,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
        disable=not watched,
    )


def counting_bars() -> Progress:
    """Bars of work that is counted, with the time that is left."""
    return bars(MofNCompleteColumn(), TimeRemainingColumn())


def waiting_bars() -> Progress:
    """Bars of work that does not say how far it is, with the time that it has taken."""
    return bars(TimeElapsedColumn())
