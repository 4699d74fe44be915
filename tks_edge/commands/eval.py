"""`tks-edge eval`: the accuracy of a trained network at each T, on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from tks_edge.commands import completion
from tks_edge.commands.options import DataOption, FramesOption, RunArgument, SkipCorruptOption, TimestepsOption
from tks_edge.settings import RUNS
from tks_edge.settings.frames import FIRST, REBIN
from tks_edge.timesteps import parse_timesteps
from tks_edge_runtime.command import DebugFlag, JsonFlag, running

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.views import View
    from tks_edge_runtime.artifact import Accuracy


def evaluate(
    run: RunArgument = None,
    timesteps: TimestepsOption = None,
    frames: FramesOption = None,
    skip_corrupt: SkipCorruptOption = False,
    data: DataOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Samples a pass; it changes no result. (default: that of the training)"),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load samples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.", autocompletion=completion.device)] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure the accuracy of a trained network at each T, on the test split."""
    with running(as_json, debug) as out:
        steps = parse_timesteps(timesteps) if timesteps is not None else None
        with out.waiting("loading PyTorch"):
            from tks_edge.accuracy import evaluate_views, passes
            from tks_edge.checkpoint import load_run
            from tks_edge.data.skipping import Skipped
            from tks_edge.device import choose_device
            from tks_edge.runs import latest_run
            from tks_edge.views import steps_of

        if run is None:
            run = latest_run(RUNS)
            out.say(f"evaluating {run}, the newest run")
        chosen = choose_device(device)
        trained = load_run(run)
        steps = steps_of(trained, steps)
        ways = _ways(trained, steps, frames)
        with out.waiting("opening the data"):
            dataset = trained.dataset(data)
        trained.network.to(chosen)
        rows: list[dict[str, Any]] = []
        skipped = Skipped(out.warn) if skip_corrupt else None
        with out.progress() as bar:
            task = bar.add_task("evaluating", total=len(dataset.test) * sum(map(passes, ways.values())))
            for way, shown in ways.items():
                result = evaluate_views(
                    trained,
                    dataset,
                    dataset.test,
                    shown,
                    batch_size=batch_size,
                    workers=workers,
                    skipped=skipped,
                    after_batch=lambda samples: bar.advance(task, samples),
                )
                rows += [_row(entry, way) for entry in result.accuracies()]
        split = f"the test split of {dataset.name}" + (f" ({dataset.test.folder}/)" if dataset.test.folder else "")
        out.console.print(_table(f"{trained.name} on {split}", rows))
        if skipped:
            out.warn(str(skipped))
        out.document(
            {
                "run": str(run),
                "dataset": dataset.name,
                "split": "test",
                "trained_at": trained.config.train.timesteps,
                "weights_sha256": trained.weights_sha256(),
                "accuracies": rows,
            }
            | ({} if skipped is None else {"skipped": skipped.to_json()})
        )
        out.next("export", str(run), "--timesteps", ",".join(map(str, steps)))


def _ways(run: Run, steps: Sequence[int], asked: str | None) -> dict[str | None, list[View]]:
    """How recordings are shown, by its name: as asked, or both ways where they can differ."""
    from tks_edge.views import views

    still = run.config.train.frames is None
    ways = (None,) if still else (FIRST, REBIN) if run.network.is_spiking else (FIRST,)
    return {way: views(run, steps, way) for way in (ways if asked is None else (asked,))}


def _row(entry: Accuracy, way: str | None) -> dict[str, Any]:
    from tks_edge_runtime.statistics import wilson

    return {
        "timesteps": entry.timesteps,
        "frames": way,
        "correct": entry.correct,
        "total": entry.total,
        "accuracy": entry.correct / entry.total,
        "interval": list(wilson(entry.correct, entry.total)),
    }


def _table(title: str, rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title=escape(title), title_justify="left")
    of_frames = any(row["frames"] is not None for row in rows)
    for column in ("T", *(["frames"] if of_frames else []), "accuracy", "95 % interval", "correct"):
        table.add_column(column, justify="left" if column == "frames" else "right")
    for row in rows:
        low, high = row["interval"]
        table.add_row(
            str(row["timesteps"]),
            *([row["frames"]] if of_frames else []),
            f"{row['accuracy']:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{row['correct']}/{row['total']}",
        )
    return table
