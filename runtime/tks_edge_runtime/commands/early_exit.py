"""What `profile --early-exit` adds: what its rule gave, and when the samples stopped."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from tks_edge_runtime.anytime import AnytimeEvaluation
    from tks_edge_runtime.exit_rule import CalibratedRule


def shares(stopped: Sequence[int]) -> str:
    """The steps at which samples stopped, each with its share of them."""
    total = sum(stopped)
    return ", ".join(f"{t}: {count / total:.1%}" for t, count in enumerate(stopped, start=1) if count)


def evaluation_table(kept: CalibratedRule, found: AnytimeEvaluation) -> Table:
    """What the rule gave on the evaluation set, and where it was chosen."""
    from tks_edge_runtime.statistics import wilson

    low, high = wilson(found.correct, found.total)
    table = Table(title="early exit, on the evaluation set", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(justify="right", overflow="fold")
    for row in (
        ("rule", str(kept.rule)),
        (
            "chosen on",
            f"{kept.samples} samples of {kept.dataset}, {kept.split} split, for at most {kept.max_loss:g} points less",
        ),
        (
            "there",
            f"{kept.correct} right in {kept.mean_steps:.3f} steps, {kept.correct_at_timesteps} in {kept.timesteps}",
        ),
        ("accuracy", f"{found.correct / found.total:.2%} ({found.correct} of {found.total})"),
        ("95 % interval", f"{low:.2%} to {high:.2%}"),
        ("mean steps", f"{found.mean_steps:.3f}"),
        ("stop at each step", shares(found.stopped)),
    ):
        table.add_row(*map(escape, row))
    return table


def early_exit_document(kept: CalibratedRule, found: AnytimeEvaluation) -> dict[str, Any]:
    """The same in the command's JSON document."""
    return {
        "rule": dataclasses.asdict(kept),
        "correct": found.correct,
        "total": found.total,
        "mean_steps": found.mean_steps,
        "stopped": list(found.stopped),
    }
