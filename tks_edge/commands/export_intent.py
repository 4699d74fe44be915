"""What `tks-edge export` and `tks-edge sweep` would write, with `--dry-run`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tks_edge.artifacts import Wanted, artifact_name, called
from tks_edge.checkpoint import Run
from tks_edge.graphs import Writing
from tks_edge.views import View
from tks_edge_export import Options, stem_of
from tks_edge_runtime.artifact import artifact_stem
from tks_edge_runtime.dry_run import Intent, Written, show_intent, written

if TYPE_CHECKING:
    from tks_edge.commands.export_engine import Engines
    from tks_edge.data.dataset import Dataset
    from tks_edge_runtime.command import Output


def show_export_intent(
    run: Run,
    shown: Sequence[View],
    graphs: Sequence[Options],
    how: Writing,
    wanted: Wanted,
    engines: Engines | None,
    out: Output,
    *,
    is_program: bool,
) -> None:
    """Say what an export would compute and write.

    Raises:
        InputError: a name that cannot be a file's, or data that cannot be read.
        MissingError: the data set is not there.
    """
    name = artifact_name(run, wanted.name)
    with out.waiting("opening the data"):
        dataset = run.dataset(wanted.data)
    if is_program:
        stems = [artifact_stem(called(name, view), view.timesteps, "fp32", target="torch-trt") for view in shown]
        paths = [how.folder / f"{stem}{ending}" for stem in stems for ending in (".pt2", ".golden.npz", ".json")]
    else:
        by_timesteps = {view.timesteps: view for view in shown}
        paths = []
        for options in graphs:
            view = by_timesteps[options.timesteps]
            graph = how.folder / f"{stem_of(called(name, view), view.frames, options)}.onnx"
            paths += [graph, graph.with_suffix(".golden.npz"), *(engines.files(graph) if engines is not None else ())]
    verified = [path.name for path in paths if path.suffix in (".onnx", ".pt2")]
    computes = [accuracy_of(run, shown, dataset, wanted), f"lower and verify {', '.join(verified)}"]
    show_intent(Intent(computes, [*written(paths), *evaluation_sets(dataset, how)]), out)


def accuracy_of(run: Run, shown: Sequence[View], dataset: Dataset, wanted: Wanted) -> str:
    """The accuracy that an export begins with, in words."""
    steps = ", ".join(str(view.timesteps) for view in shown)
    samples = min(wanted.samples, len(dataset.test))
    return f"take the accuracy of {run.path} at T={steps} on {samples:,} test samples of {dataset.name}"


def evaluation_sets(dataset: Dataset, how: Writing) -> Iterator[Written]:
    """The file of test samples beside the artifacts, which is called after its content."""
    if not how.evaluation_set:
        return
    pattern = f"{dataset.name}-test-*.eval.npz"
    there = sorted(how.folder.glob(pattern)) if how.folder.is_dir() else []
    # Whether it is the same is known once the samples are read: one of other samples gets another name.
    yield from written(there, kept=True) if there else [Written(str(Path(how.folder, pattern)), "new")]
