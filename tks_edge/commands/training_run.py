"""What a training shows, begun by `train` or by `finetune`: one voice for all processes, a bar, what comes next."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import Progress

from tks_edge.distributed.launch import Launch
from tks_edge.interrupt import leave_time_for_last_words
from tks_edge_runtime.command import Output

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run

KEPT = "a run that has begun keeps its state after the last step; --resume goes on from there."


def given_of(options: dict[str, Any]) -> dict[str, Any] | None:
    """Those of a group of options that were given; None where none was."""
    return {name: value for name, value in options.items() if value is not None} or None


@contextlib.contextmanager
def one_for_all(out: Output) -> Iterator[Output]:
    """Where several processes train, show the output of the first of them, and of the errors they end with one."""
    launch = Launch.here()
    if launch.world > 1:
        leave_time_for_last_words()
    try:
        yield out if launch.is_first else dataclasses.replace(out, console=Console(quiet=True), as_json=False)
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if launch.may_report():
            raise
        raise typer.Exit(getattr(error, "exit_code", 1)) from error


def bar(out: Output, launch: Launch) -> contextlib.AbstractContextManager[Progress]:
    """The progress of the first process; the others show none."""
    return out.progress() if launch.is_first else Progress(disable=True)


@contextlib.contextmanager
def naming_the_next(path: Path, out: Output) -> Iterator[None]:
    """After Ctrl-C, name the command that goes on."""
    from tks_edge.runs import is_run

    try:
        yield
    except KeyboardInterrupt:
        if is_run(path):
            out.next("train", "--resume", "--output", str(path))
        raise


def conclude(out: Output, run: Run) -> None:
    """Say what was reached on the validation split (the test split is for `eval`) and what comes next."""
    best, steps = run.best, run.config.train.timesteps
    out.say(f"{run.path}: best epoch {best.epoch}, validation accuracy {best.validation_accuracy:.2%} at T={steps}")
    out.document(
        {
            "run": str(run.path),
            "best_epoch": best.epoch,
            "epochs": run.config.train.epochs,
            "timesteps": steps,
            "validation_accuracy": best.validation_accuracy,
            "validation_accuracy_by_timesteps": list(best.validation_accuracy_by_timesteps),
            "weights_sha256": run.weights_sha256(),
        }
    )
    out.next("eval", str(run.path))
