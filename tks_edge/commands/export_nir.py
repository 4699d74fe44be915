"""`tks-edge export --format nir`: the network as a file in the Neuromorphic Intermediate Representation."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge_runtime.dry_run import Intent, show_intent
from tks_edge_runtime.dry_run import written as written_paths
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge_export.nir_graphs import Written
    from tks_edge_runtime.command import Output

_OF_NIR = frozenset({"run", "format_", "output", "name", "dt", "verify_samples", "data", "dry_run", "as_json", "debug"})
"""The options of `export` that say something about such a file."""


@dataclass(frozen=True)
class NirExport:
    """What is written.

    Attributes:
        output: the folder that the file goes to.
        name: what to call it; the run's name when not given.
        data: where the data set lies now, if it was moved.
        samples: test samples that what is read from the file is compared on.
        dt: seconds a timestep; the default when not given.
    """

    output: Path
    name: str | None
    data: Path | None
    samples: int
    dt: float | None


def check_given(options: Iterable[str]) -> None:
    """Refuse options of `export` that were given and are of graphs or programs; InputError."""
    if odd := [name for name in options if name not in _OF_NIR]:
        raise InputError(
            f"--{odd[0].replace('_', '-')} changes nothing: it is of graphs that are run, and --format nir describes "
            "the network itself, in float32 and for any number of timesteps. Leave it out."
        )


def export_nir(run: Run, wanted: NirExport, out: Output, *, dry_run: bool = False) -> None:
    """Write the file, and say how it is read again; or with `dry_run`, what would be written.

    Raises:
        InputError: the name cannot be a file's, NIR cannot say something of the network, or the data cannot be read.
        CheckError: what is read from the file fires other spikes.
        MissingError: the library nir or the data set is missing.
    """
    import torch

    from tks_edge.artifacts import artifact_name
    from tks_edge_export.nir_graphs import write_nir
    from tks_edge_export.nir_graphs.writing import DT

    path = wanted.output / f"{artifact_name(run, wanted.name)}.nir"
    with out.waiting("opening the data"):
        test = run.dataset(wanted.data).test
    if dry_run:
        compared = f"describe {run.path} in NIR and compare its spikes on {min(wanted.samples, len(test)):,} samples"
        show_intent(Intent([compared], written_paths([path])), out)
        return
    samples, _ = test.evenly_spaced(wanted.samples).stacked()
    shown = torch.from_numpy(samples)
    timesteps = run.config.train.timesteps
    frames = shown.transpose(0, 1) if shown.ndim == 5 else shown.expand(timesteps, *shown.shape)
    with out.waiting("describing the network, then comparing spikes"):
        written = write_nir(run.network, path, frames, dt=DT if wanted.dt is None else wanted.dt)
    _show(run, path, len(samples), written, out)


def _show(run: Run, path: Path, samples: int, written: Written, out: Output) -> None:
    agreement = written.agreement
    told = None if written.told is None else written.told.options()
    again = ["import", str(path), *_task(run)]
    differing = f"except {agreement.differing:,} " if agreement.differing else ""
    folded = f"; {written.norms} batch norms are in the layers before them" if written.norms else ""
    out.say(
        f"{path}  {written.nodes} nodes; read again on {samples:,} samples: {agreement.spikes:,} spikes equal "
        f"{differing}to the network's{folded}"
    )
    out.say(f"It takes normalised input: {shlex.join(_normalization(run))}")
    if told is None:
        out.say("Its neurons are of several kinds; what NIR cannot say of each is in the metadata of its node alone.")
    else:
        out.say(f"What NIR cannot say is in its metadata. Where they are lost, import it with: {shlex.join(told)}")
    document: dict[str, Any] = {
        "run": str(run.path),
        "file": str(path),
        "nodes": written.nodes,
        "folded_norms": written.norms,
        "verified_samples": samples,
        "spikes_compared": agreement.spikes,
        "spikes_differing": agreement.differing,
        "import": again,
        "told": told,
    }
    out.document(document)
    out.next(*again)


def _task(run: Run) -> list[str]:
    settings, root = run.config.train, run.config.dataset["root"]
    found = ["--dataset", settings.dataset, "--timesteps", str(settings.timesteps)]
    found += ["--data", str(root)] if root is not None else []
    found += ["--image-size", str(settings.image_size)] if settings.image_size is not None else []
    found += ["--cut", settings.frames.cut] if settings.frames is not None else []
    return found + _normalization(run)


def _normalization(run: Run) -> list[str]:
    spec = run.network.spec
    if spec["mean"] is None:
        return []
    mean, std = (",".join(map(str, spec[name])) for name in ("mean", "std"))
    return ["--mean", mean, "--std", std]
