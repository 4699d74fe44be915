"""What `tks-edge calibrate-exit` says of the rules it tried."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from tks_edge_runtime.commands.early_exit import shares

if TYPE_CHECKING:
    from tks_edge_runtime.exit_choice import Outcome
    from tks_edge_runtime.exit_measures import ExitRule


def exit_table(title: str, whole: Outcome, found: Mapping[ExitRule, Outcome], chosen: ExitRule | None) -> Table:
    """A row for running all steps and one for the best threshold of each measure; the one that is kept has a star."""
    table = Table(title=escape(title), title_justify="left")
    for column in ("measure", "threshold", "accuracy", "correct", "mean steps", "stop at each step"):
        table.add_column(column, justify="left" if column in ("measure", "stop at each step") else "right")
    table.add_row("none", "", *_cells(whole))
    for rule, outcome in found.items():
        sign, threshold = str(rule).split()[1:]
        table.add_row(rule.measure + (" *" if rule == chosen else ""), f"{sign} {threshold}", *_cells(outcome))
    return table


def _cells(outcome: Outcome) -> list[str]:
    return [
        f"{outcome.accuracy:.2%}",
        f"{outcome.correct}/{outcome.samples}",
        f"{outcome.mean_steps:.3f}",
        shares(outcome.stopped),
    ]


def exit_row(rule: ExitRule | None, outcome: Outcome) -> dict[str, Any]:
    """The same of one rule, or of none, in the command's JSON document."""
    named = {} if rule is None else {"measure": rule.measure, "threshold": rule.threshold}
    return named | {
        "correct": outcome.correct,
        "total": outcome.samples,
        "mean_steps": outcome.mean_steps,
        "stopped": list(outcome.stopped),
    }
