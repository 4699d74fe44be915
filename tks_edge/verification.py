"""Is an artifact still the network of a run? Spike by spike, and in the classes that both predict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tks_edge.artifacts import check_origin
from tks_edge.checkpoint import Run
from tks_edge.norms import network_for
from tks_edge.views import view_of
from tks_edge_export import Comparison, compare
from tks_edge_export.agreement import Agreement, top1_agreement
from tks_edge_export.bisect import Culprit, bisect
from tks_edge_export.passes import PASSES
from tks_edge_export.recompile import Recompiled, recompile
from tks_edge_export.values import Array
from tks_edge_models import Network
from tks_edge_runtime.artifact import Artifact

Progress = Callable[[str, float], None]
"""Told which stage is being worked on, in words, and the fraction of it that is done, 0 to 1."""


@dataclass(frozen=True)
class Verified:
    """An artifact beside the run that it was exported from.

    Attributes:
        artifact: the file and its manifest.
        comparison: of every spike, over some test samples.
        agreement: of the predicted classes, over more of them.
    """

    artifact: Artifact
    comparison: Comparison
    agreement: Agreement
    _made: Recompiled = field(repr=False)
    _network: Network = field(repr=False)
    _inputs: Array = field(repr=False)

    @property
    def tries(self) -> int:
        """How often `bisect` lowers the network, at most."""
        return len(PASSES) + len(self._made.options.passes) + 1

    def bisect(self, on_pass: Callable[[str | None], None] | None = None) -> Culprit | None:
        """Lower the network anew with one more pass each time: the first that breaks it, or None where none does."""
        made = self._made
        return bisect(made.compiler, made.options, made.calibration, self._inputs, self._network, on_pass)


def verified(
    artifact: Path,
    run: Run,
    *,
    samples: int = 128,
    eval_samples: int = 10_000,
    data: Path | str | None = None,
    on_progress: Progress | None = None,
) -> Verified:
    """Compare an artifact with the run that it was exported from; `Verified.comparison` says whether it is its network.

    Args:
        artifact: an `.onnx` file.
        run: the trained network.
        samples: test samples to compare every spike on, at most, evenly spaced.
        eval_samples: test samples to compare the predicted classes on, at most.
        data: where the data set lies, if it was moved.
        on_progress: told the stage and how far it is.

    Raises:
        ArtifactError: the file is no artifact, or damaged.
        CheckError: it was exported from other weights.
        InputError: it cannot be of this run, or the data is not that of the run any more.
        MissingError: the data set, or a plugin whose pass it was made with, is not there.
    """
    opened = Artifact.open(artifact)
    check_origin(opened, run)
    manifest = opened.manifest
    show = on_progress or (lambda _stage, _done: None)
    view = view_of(run, manifest.timesteps, manifest.frames, artifact)
    show("opening the data", 0.0)
    dataset = run.dataset(data)
    inputs, everything = (
        view.stacked(dataset.test.evenly_spaced(count))[0].astype(manifest.input.dtype)
        for count in (samples, eval_samples)
    )
    show("opening the data", 1.0)
    show("lowering the network anew", 0.0)
    network = network_for(run, view, dataset)
    made = recompile(manifest, network)
    show("lowering the network anew", 1.0)
    rest = {state.input: float(state.zero) for state in manifest.states}
    comparison = compare(
        artifact,
        made.reference,
        inputs,
        manifest.timesteps,
        trained=network,
        frames=view.frames is not None,
        rest=rest,
        on_progress=lambda done: show("comparing spikes", done / len(inputs)),
    )
    agreement = top1_agreement(
        artifact,
        network,
        everything,
        manifest.timesteps,
        frames=view.frames is not None,
        rest=rest,
        on_progress=lambda done: show("comparing predictions", done / len(everything)),
    )
    return Verified(opened, comparison, agreement, made, network, inputs)
