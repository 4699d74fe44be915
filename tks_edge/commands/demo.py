"""`tks-edge demo`: the whole way on digits, still or as events, as the commands a user would type, one process each."""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from tks_edge.data.facts import FACTS
from tks_edge_runtime import completion as shared
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.completion import one_of
from tks_edge_runtime.dry_run import DryRunFlag, Intent, show_intent, written
from tks_edge_runtime.errors import CheckError, InputError, TksEdgeError, unknown
from tks_edge_runtime.program import INTERRUPTED

_TIMESTEPS = (1, 2, 4, 8)
_DATASETS = ("digits", "digits-dvs")
_EPOCHS = {"digits-dvs": 30}
"""Of the spiking network, where that is not the recipe's: a random T costs half, so it trains twice as long."""

_KEPT = "what is finished is kept; the same command goes on from there."


def demo(
    dataset: Annotated[
        str,
        typer.Option(
            help=f"{' or '.join(_DATASETS)} (the digits before a simulated event camera).",
            autocompletion=one_of(_DATASETS),
        ),
    ] = _DATASETS[0],
    output: Annotated[
        Path | None,
        typer.Option(help="The folder for the runs, the artifacts and the report. (default: demo, or demo-digits-dvs)"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each training. (default: train's own)")] = None,
    seed: Annotated[int, typer.Option(help="Of both trainings.")] = 0,
    preset: Annotated[
        str,
        typer.Option(help="How long the report measures: quick, standard, long, mlperf.", autocompletion=shared.preset),
    ] = "quick",
    dry_run: DryRunFlag = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train at T=8, export at T=1, 2, 4, 8, verify, report next to the plain ReLU network, and pick what to ship.

    Also as one timestep with its states, which stops early; on recordings also with their first frames alone.

    Run again, it goes on where it stopped, and does not train a finished run twice.
    """
    with running(as_json, debug, kept=_KEPT) as out:
        if dataset not in _DATASETS:
            raise unknown("dataset of the demo:", dataset, _DATASETS)
        from tks_edge_runtime.presets import preset_seconds

        preset_seconds(preset)
        output = output if output is not None else Path("demo" if dataset == _DATASETS[0] else f"demo-{dataset}")
        if output.exists() and not output.is_dir():
            raise InputError(f"{output} is a file. Choose another --output for the demo's folder.")
        network, twin = output / "runs" / dataset, output / "runs" / f"{dataset}-relu"
        artifacts, report = output / "artifacts", output / "report"
        steps = [
            *_trainings(network, twin, dataset, seed, epochs),
            _Step(["eval", str(network), "--timesteps", ",".join(map(str, _TIMESTEPS))]),
            *_exports(network, twin, artifacts, events=FACTS[dataset].events),
            _Step(["report", str(artifacts), "--preset", preset, "--output", str(report)]),
        ]
        if dry_run:
            folders = written((twin, network), kept=True) + written((artifacts, report))
            show_intent(Intent(writes=folders, runs=[str(step) for step in steps]), out)
            return
        for step in steps:
            _run(step, out)
        picked = _picked(report)
        page = report / "report.html"
        out.say(f"\nThe demo is done. The pick: {picked or 'none'}. Open {page} in a browser.")
        runs = [str(network), str(twin)]
        out.document({"runs": runs, "artifacts": str(artifacts), "report": str(page), "pick": picked})
        out.next("pick", str(report), "--max-latency", "1ms")


def _asked(seed: int, epochs: int | None) -> list[str]:
    return ["--seed", str(seed), *(["--epochs", str(epochs)] if epochs is not None else [])]


@dataclass(frozen=True)
class _Step:
    """One command of ours: its arguments, and an exit code that it may end with beside 0."""

    arguments: list[str]
    tolerated: int = 0

    def __str__(self) -> str:
        return f"tks-edge {shlex.join(self.arguments)}"


def _trainings(network: Path, twin: Path, dataset: str, seed: int, epochs: int | None) -> Iterator[_Step]:
    """Train the twin and then the network, or go on where an earlier demo stopped; a finished run is left as it is."""
    learning = ["--timesteps", str(max(_TIMESTEPS)), "--loss", "tks"]
    if FACTS[dataset].events:
        # What kept the most at small T in trials on the validation split.
        learning += ["--frames", "rebin", "--sample-timesteps", "--teacher", str(twin), "--teacher-weight", "1"]
    asked = (
        (twin, ["--neuron", "relu", *_asked(seed, epochs)]),
        (network, [*learning, *_asked(seed, epochs or _EPOCHS.get(dataset))]),
    )
    for run, options in asked:
        resume = ["--resume"] if (run / "config.json").is_file() else []
        yield _Step(["train", "--dataset", dataset, "--model", "tiny", *options, "--output", str(run), *resume])


def _exports(network: Path, twin: Path, artifacts: Path, *, events: bool) -> Iterator[_Step]:
    """Export the network at each T and by step, of recordings also their first frames alone, then the twin; verify."""
    largest, shorter = str(_TIMESTEPS[-1]), ",".join(map(str, _TIMESTEPS[:-1]))
    stepped = ["--form", "step", "--timesteps", largest]
    asked = [["--timesteps", f"{shorter},{largest}"], stepped]
    if events:
        # A camera that streams gives its first frames first: that is what stops early.
        asked = [asked[0], ["--frames", "first", "--timesteps", shorter], ["--frames", "first", *stepped]]
    for options in asked:
        yield _Step(["export", str(network), *options, "--output", str(artifacts)])
    stepped_file = artifacts / f"{network.name}-step-fp32.onnx"
    # A network that was hardly trained may never be sure enough to stop: the demo goes on without early exit.
    yield _Step(["calibrate-exit", str(stepped_file), "--run", str(network)], tolerated=CheckError.exit_code)
    yield _Step(["export", str(twin), "--timesteps", "1", "--output", str(artifacts)])
    shipped = artifacts / f"{network.name}{'-rebin' if events else ''}-t2-fp32.onnx"
    yield _Step(["verify", str(shipped), "--against", str(network)])


def _picked(report: Path) -> str | None:
    """What the report says is to be shipped, in words."""
    from tks_edge_runtime.reporting.reading import read_report

    document = read_report(report / "report.json")
    place = document.answer.row if document.answer is not None else None
    return None if place is None else f"{document.rows[place].title} ({document.rows[place].file})"


def _run(step: _Step, out: Output) -> None:
    """Run one command of ours in a process of its own, as the user would, and show it.

    Raises:
        StepError: it ended with an exit code that is not tolerated.
        KeyboardInterrupt: it was interrupted, and has saved what it had.
    """
    out.console.print(f"\n[bold]$ {escape(str(step))}[/]", highlight=False, soft_wrap=True)
    # Its text goes where ours goes, so that --json keeps standard output for the one document.
    stdout = sys.stderr if out.as_json else None
    command = [sys.executable, "-m", "tks_edge", *step.arguments]
    process = subprocess.Popen(command, stdout=stdout)  # noqa: S603 - our own program
    while process.poll() is None:
        # Ctrl-C reaches the step as well, which saves what it has; it is given the time.
        with contextlib.suppress(KeyboardInterrupt):
            process.wait()
    if process.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if process.returncode not in (0, step.tolerated):
        raise StepError(step.arguments[0], process.returncode)


class StepError(TksEdgeError):
    """A step of the demo failed; it said why, and its exit code becomes the demo's."""

    def __init__(self, step: str, exit_code: int) -> None:
        super().__init__(f"the demo stopped: `tks-edge {step}` failed (see above).")
        self.exit_code = exit_code
