"""From a run directory to what the exporter needs: real samples, and the accuracy of the network on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tks_edge.accuracy import evaluate_views
from tks_edge.checkpoint import Run
from tks_edge.data.dataset import Dataset, Split
from tks_edge.evaluation import Evaluation
from tks_edge.norms import network_for
from tks_edge.views import View, views
from tks_edge_export import Samples, Source
from tks_edge_runtime.artifact import Accuracy, Artifact
from tks_edge_runtime.errors import CheckError, InputError


@dataclass(frozen=True)
class Wanted:
    """What of a run is made ready to export.

    Attributes:
        samples: how many test samples to take at most, evenly spaced over the split.
        calibration: how many training samples to take at most, evenly spaced, for int8 to look at.
        name: what the artifacts are called after; the run's own name when not given.
        data: where the data set lies, if it was moved.
        device: where the accuracy is computed, a name that torch knows.
    """

    samples: int
    calibration: int
    name: str | None = None
    data: Path | None = None
    device: str = "cpu"


def sources_of(
    run: Run, shown: Sequence[View], wanted: Wanted, after_batch: Callable[[int], None] | None = None
) -> list[tuple[tuple[int, ...], Source]]:
    """Make a run ready to export: a source, and the T that it is for.

    Still images are the same at every T, and one source serves them all; recordings are shown in other frames at each.

    Args:
        run: the trained network; it is moved to the CPU.
        shown: the samples at each T that it will be unrolled at; the accuracy is taken at these and at the trained T.
        wanted: how much of it.
        after_batch: called with the number of samples of each batch evaluated.

    Raises:
        InputError: a name that cannot be a file's, or data that cannot be read.
        MissingError: the data set is not there.
    """
    name = artifact_name(run, wanted.name)
    dataset = run.dataset(wanted.data)
    split = dataset.test.evenly_spaced(wanted.samples)
    run.network.to(wanted.device)
    try:
        evaluation = _evaluated(run, dataset, split, shown, after_batch)
    finally:
        run.network.cpu()
    accuracies = tuple(evaluation.accuracies())
    if shown[0].frames is None:
        together = tuple(view.timesteps for view in shown)
        return [(together, _source(run, shown[0], name, dataset, split, wanted.calibration, accuracies))]
    return [
        ((view.timesteps,), _source(run, view, called(name, view), dataset, split, wanted.calibration, accuracies))
        for view in shown
    ]


def artifact_name(run: Run, asked: str | None) -> str:
    """What the artifacts of a run are called after: what was asked for, or its own name.

    Raises:
        InputError: it cannot be a file's name.
    """
    name = asked if asked is not None else run.name
    if not name or Path(name).name != name:
        raise InputError(f"artifacts cannot be called {name!r}; give a plain name without slashes.")
    return name


def _of_view(accuracies: tuple[Accuracy, ...], view: View, trained_at: int) -> tuple[Accuracy, ...]:
    """At its own T, and at T of the training: at another, recordings are shown otherwise."""
    return tuple(entry for entry in accuracies if entry.timesteps in (view.timesteps, trained_at))


def called(name: str, view: View) -> str:
    """Frames of the whole recording make another network of it than the first frames, with a name of its own."""
    return f"{name}-rebin" if view.is_restated else name


def _evaluated(
    run: Run, dataset: Dataset, split: Split, wanted: Sequence[View], after_batch: Callable[[int], None] | None
) -> Evaluation:
    """The accuracy at each view, and at T of the training."""
    trained_at = run.config.train.timesteps
    there = [] if any(view.timesteps == trained_at for view in wanted) else views(run, [trained_at])
    return evaluate_views(run, dataset, split, [*wanted, *there], after_batch=after_batch)


def _source(
    run: Run, view: View, name: str, dataset: Dataset, split: Split, calibration: int, accuracies: tuple[Accuracy, ...]
) -> Source:
    inputs, labels = view.stacked(split)
    seen, _ = view.stacked(dataset.train.evenly_spaced(calibration))
    recordings = None if view.frames is None else split.record()["sha256"]
    return Source(
        name=name,
        network=network_for(run, view, dataset),
        train_timesteps=run.config.train.timesteps,
        classes=dataset.classes,
        preprocessing=dataset.preprocessing,
        weights_sha256=run.weights_sha256(),
        samples=Samples(dataset.name, "test", inputs, labels, recordings),
        accuracies=accuracies if view.frames is None else _of_view(accuracies, view, run.config.train.timesteps),
        calibration=seen,
        frames=view.frames,
    )


def check_origin(artifact: Artifact, run: Run) -> None:
    """CheckError where an artifact was exported from other weights than a run's."""
    if artifact.manifest.weights_sha256 != run.weights_sha256():
        raise CheckError(
            f"{artifact.path} was exported from other weights than those in {run.path} (it was trained again, or is "
            f"another run). Export it again: tks-edge export {run.path}"
        )
