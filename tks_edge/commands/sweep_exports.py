"""The artifacts of a sweep: what is in its folder already, and what is exported because it is missing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge.artifacts import Wanted, called, sources_of
from tks_edge.checkpoint import MODEL, Run, RunConfig, load_run
from tks_edge.commands.export_graphs import write_graphs
from tks_edge.graphs import Writing
from tks_edge.timesteps import powers_of_two
from tks_edge.views import View, views
from tks_edge_export import Options, stem_of
from tks_edge_runtime.artifact import STATIC, Artifact
from tks_edge_runtime.backends import ENGINES_OF_TARGET
from tks_edge_runtime.errors import InputError, TksEdgeError
from tks_edge_runtime.reporting.row import NOT_EXPORTED, Row
from tks_edge_runtime.version import __version__

if TYPE_CHECKING:
    from tks_edge_runtime.command import Output
    from tks_edge_runtime.reporting.candidates import Engine


@dataclass(frozen=True)
class Grid:
    """What a sweep covers.

    Attributes:
        timesteps: each T; None for the powers of two up to that of the training.
        precisions: "fp32", "fp16", "int8".
        forms: "static", "step".
        engines: what will run them; a graph is lowered for each.
        frames: of recordings, "first" or "rebin"; None for the training's.
    """

    timesteps: tuple[int, ...] | None
    precisions: tuple[str, ...]
    forms: tuple[str, ...]
    engines: tuple[Engine, ...]
    frames: str | None

    def views(self, run: Run) -> list[View]:
        """How the run's samples are shown at each T; the ReLU twin has one pass."""
        steps = self.timesteps or powers_of_two(run.config.train.timesteps)
        return views(run, steps if run.network.is_spiking else (1,), self.frames if run.network.is_spiking else None)

    def graphs(self, run: Run, view: View) -> Iterator[Options]:
        """Every graph of a run at one T."""
        forms = self.forms if run.network.is_spiking else (STATIC,)
        largest = max(each.timesteps for each in self.views(run))
        for target in dict.fromkeys(_target(engine) for engine in self.engines):
            for precision in self.precisions:
                for form in forms:
                    if form == STATIC or view.timesteps == largest or view.is_restated:
                        yield Options(view.timesteps, form=form, precision=precision, target=target)


def _target(engine: Engine) -> str:
    """What a graph is lowered for, for an engine: `generic` for one that has no lowering of its own."""
    own = (target for target, engines in ENGINES_OF_TARGET.items() if engine in engines)
    return next(own, "generic")


def with_twin(runs: Sequence[Run], out: Output) -> list[Run]:
    """The runs, and where no ReLU twin is among them, the newest one of the same network and data beside the first."""
    _check(runs)
    first = next((run for run in runs if run.network.is_spiking), None)
    if first is None or any(not run.network.is_spiking for run in runs):
        return list(runs)
    twins = [file for file in first.path.resolve().parent.glob(f"*/{MODEL}") if _is_twin(file.parent, first.config)]
    if not twins:
        out.warn(
            f"no ReLU twin of {first.name} lies beside it, so whether spiking pays stays open. Train one: "
            f"{_twin(first)}"
        )
        return list(runs)
    twin = load_run(max(twins, key=lambda file: file.stat().st_mtime_ns).parent)
    out.say(f"with the ReLU twin {os.path.relpath(twin.path)}")
    return [*runs, twin]


def _twin(run: Run) -> str:
    """The command that trains the twin of a run."""
    if "graph" in run.network.spec:
        return f"tks-edge finetune {run.path} --neuron relu"
    return f"tks-edge train --dataset {run.config.dataset['name']} --model {run.config.train.model} --neuron relu"


def _is_twin(path: Path, of: RunConfig) -> bool:
    """Whether the run directory `path`, which nobody named and may be damaged, is of the ReLU twin."""
    try:
        config = RunConfig.read(path)
        return config.train.neuron == "relu" and _network(config) == _network(of) and _test_set(config) == _test_set(of)
    except (TksEdgeError, TypeError, KeyError):
        return False


def _network(config: RunConfig) -> tuple[str, object]:
    return config.train.model, config.network.get("graph")


def _test_set(config: RunConfig) -> tuple[str, str]:
    return config.dataset["name"], config.dataset["splits"]["test"]["sha256"]


def _check(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot stand in one report.

    Raises:
        InputError: two have one name, or they were tested on different sets.
    """
    for place, run in enumerate(runs):
        for other in runs[:place]:
            if other.name == run.name:
                raise InputError(f"{other.path} and {run.path} have one name, {run.name}. Rename one of the folders.")
            if _test_set(other.config) != _test_set(run.config):
                raise InputError(
                    f"{other.path} was trained on {other.config.dataset['name']} and {run.path} on "
                    f"{run.config.dataset['name']}, with another test set: their accuracies do not compare. "
                    "Sweep them apart."
                )


@dataclass(frozen=True)
class Exports:
    """The artifacts of a sweep, and the rows of those that could not be exported."""

    artifacts: list[Artifact]
    failed: list[Row]


def export_missing(runs: Sequence[Run], grid: Grid, how: Writing, wanted: Wanted, out: Output) -> Exports:
    """Export what the folder lacks; what cannot be exported becomes a row that says why.

    Raises:
        InputError: the folder holds an artifact of that name from another training, or samples cannot be read.
        MissingError: the data set is not there.
    """
    found = Exports([], [])
    for run in runs:
        shown = grid.views(run)
        asked = {view.timesteps: list(grid.graphs(run, view)) for view in shown}
        there = {t: [one for one in graphs if is_there(run, view, one, how.folder, wanted.samples)]
                 for view, (t, graphs) in zip(shown, asked.items(), strict=True)}  # fmt: skip
        lacking = [view for view in shown if len(there[view.timesteps]) < len(asked[view.timesteps])]
        if lacking:
            _export(run, lacking, asked, there, how, wanted, out, found)
        # Of what failed an older file may lie there: it is not what was asked for.
        failed = {row.file for row in found.failed}
        paths = [graph_path(run, view, options, how.folder) for view in shown for options in asked[view.timesteps]]
        found.artifacts.extend(Artifact.open(path) for path in paths if path.name not in failed)
    return found


def _export(
    run: Run,
    lacking: Sequence[View],
    asked: dict[int, list[Options]],
    there: dict[int, list[Options]],
    how: Writing,
    wanted: Wanted,
    out: Output,
    found: Exports,
) -> None:
    """Export the graphs of the lacking views that are not there."""
    by_timesteps = {view.timesteps: view for view in lacking}

    def fail(options: Options, error: TksEdgeError) -> None:
        out.warn(str(error))
        found.failed.append(_failed(run, by_timesteps[options.timesteps], options, error))

    with out.progress() as bar:
        task = bar.add_task(f"{run.name}: accuracy in PyTorch", total=None)
        sources = sources_of(run, lacking, wanted, lambda samples: bar.advance(task, samples))
    for served, source in sources:
        graphs = [one for t in served for one in asked[t] if one not in there[t]]
        try:
            write_graphs(source, graphs, None, how, out, on_failure=fail)
        except TksEdgeError as error:  # of the network as a whole, before any graph of it
            for options in graphs:
                fail(options, error)


def graph_path(run: Run, view: View, options: Options, folder: Path) -> Path:
    """Where the graph of a run, shown so, belongs."""
    return folder / f"{stem_of(called(run.name, view), view.frames, options)}.onnx"


def is_there(run: Run, view: View, options: Options, folder: Path, samples: int) -> bool:
    """Whether the artifact is in the folder, made by this version, its accuracy to be taken on so many samples at most.

    Raises:
        InputError: what is there under its name comes from another training.
    """
    path = graph_path(run, view, options, folder)
    if not path.is_file():
        return False
    manifest = Artifact.open(path).manifest
    if manifest.weights_sha256 != run.weights_sha256():
        raise InputError(
            f"{path} was exported from another training than {run.path}. Give the sweep another --output, or delete "
            "that folder."
        )
    evaluated = manifest.evaluation.samples if manifest.evaluation is not None else 0
    asked = min(samples, run.config.dataset["splits"]["test"]["samples"])
    return manifest.tools.get("tks-edge") == __version__ and evaluated == asked


def _failed(run: Run, view: View, options: Options, error: TksEdgeError) -> Row:
    """The row of an artifact that could not be exported."""
    settings = run.config.train
    return Row(
        file=graph_path(run, view, options, Path()).name,
        sha256=None,
        name=called(run.name, view),
        model=settings.model,
        neuron=settings.neuron,
        is_twin=not run.network.is_spiking,
        timesteps=options.timesteps,
        train_timesteps=settings.timesteps,
        precision=options.precision,
        form=options.form,
        target=options.target,
        backend="",
        device="",
        cuda_graph=None,
        batch_size=1,
        size_bytes=0,
        parameters=sum(weight.numel() for weight in run.network.parameters()),
        classes=tuple(run.config.dataset["classes"]),
        evaluation=None,
        status=NOT_EXPORTED,
        reason=str(error),
        self_test=None,
        weights_sha256=run.weights_sha256(),
    )
