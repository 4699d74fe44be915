"""`tks-edge eval`: the accuracy of a trained network at each T, on the test split."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tks_edge.commands.options import DataOption, RunArgument, TimestepsOption
from tks_edge.settings import RUNS
from tks_edge.timesteps import parse_timesteps, powers_of_two
from tks_edge_runtime.command import DebugFlag, JsonFlag, running


def evaluate(
    run: RunArgument = None,
    timesteps: TimestepsOption = None,
    data: DataOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Samples a pass; it changes no result. (default: that of the training)"),
    ] = None,
    workers: Annotated[int, typer.Option(min=0, help="Processes that load samples.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda.")] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Measure the accuracy of a trained network at each T, on the test split."""
    with running(as_json, debug) as out:
        steps = parse_timesteps(timesteps) if timesteps is not None else None
        from tks_edge.checkpoint import latest_run, load_run
        from tks_edge.device import choose_device
        from tks_edge.evaluate import evaluate as measure
        from tks_edge_runtime.statistics import wilson

        if run is None:
            run = latest_run(RUNS)
            out.console.print(f"evaluating {run}, the newest run", highlight=False)
        chosen = choose_device(device)
        trained = load_run(run)
        network = trained.network.to(chosen)
        trained_at = trained.config.train.timesteps
        steps = steps if steps is not None else powers_of_two(trained_at)
        dataset = trained.dataset(data)
        with out.progress() as bar:
            task = bar.add_task("evaluating", total=len(dataset.test))
            result = measure(
                network,
                dataset.test,
                steps,
                batch_size=batch_size if batch_size is not None else trained.config.train.batch_size,
                workers=workers,
                after_batch=lambda samples: bar.advance(task, samples),
            )
        split = f"the test split of {dataset.name}" + (f" ({dataset.test.folder}/)" if dataset.test.folder else "")
        table = Table(title=f"{trained.name} on {split}", title_justify="left")
        for column in ("T", "accuracy", "95 % interval", "correct"):
            table.add_column(column, justify="right")
        rows = []
        for entry in result.accuracies():
            low, high = wilson(entry.correct, entry.total)
            share = entry.correct / entry.total
            table.add_row(
                str(entry.timesteps), f"{share:.2%}", f"{low:.2%} to {high:.2%}", f"{entry.correct}/{entry.total}"
            )
            rows.append(
                {
                    "timesteps": entry.timesteps,
                    "correct": entry.correct,
                    "total": entry.total,
                    "accuracy": share,
                    "interval": [low, high],
                }
            )
        out.console.print(table)
        out.document(
            {
                "run": str(run),
                "dataset": dataset.name,
                "split": "test",
                "trained_at": trained_at,
                "weights_sha256": trained.weights_sha256(),
                "accuracies": rows,
            }
        )
        out.next("export", str(run), "--timesteps", ",".join(map(str, steps)))
