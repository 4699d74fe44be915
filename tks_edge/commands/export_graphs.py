"""The ONNX files of `tks-edge export`, one after the other, each with its engine where one is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge.commands.export_rows import artifact_row, show_row
from tks_edge_runtime.errors import TksEdgeError, unknown

if TYPE_CHECKING:
    from tks_edge.commands.export_engine import Engines
    from tks_edge_export import Exported, Exporter, Options, Source
    from tks_edge_runtime.artifact import EvaluationSpec
    from tks_edge_runtime.command import Output


@dataclass(frozen=True)
class Writing:
    """How files are written, whatever is in them.

    Attributes:
        folder: where they go.
        batch_size: N; it is static.
        input_dtype: of the raw pixels.
        verify_samples: how many test samples are compared.
        evaluation_set: whether the test samples are written beside them.

    Raises:
        InputError: no such dtype.
    """

    folder: Path
    batch_size: int
    input_dtype: str
    verify_samples: int
    evaluation_set: bool

    def __post_init__(self) -> None:
        from tks_edge_export.artifact import INPUT_DTYPES

        if self.input_dtype not in INPUT_DTYPES:
            raise unknown("input dtype", self.input_dtype, INPUT_DTYPES)


def write_graphs(
    source: Source,
    graphs: Sequence[Options],
    engines: Engines | None,
    how: Writing,
    out: Output,
    on_failure: Callable[[Options, TksEdgeError], None] | None = None,
) -> list[dict[str, Any]]:
    """Lower, compare and write each graph; returns their rows of the JSON document.

    With `on_failure`, which is told of it, a graph that fails does not keep the others from being written.

    Raises:
        ExportError: the network cannot be exported so.
        VerificationError: a graph is not the network.
    """
    from tks_edge_export import Exporter, record_evaluation_set

    with out.waiting("capturing the network"):
        exporter = Exporter(
            source, batch_size=how.batch_size, input_dtype=how.input_dtype, frames=source.frames is not None
        )
    evaluation = record_evaluation_set(source.samples, how.folder, write=how.evaluation_set)
    rows = []
    for options in graphs:
        _say_what_is_replaced(how.folder, options, source, out)
        try:
            exported = _written(exporter, options, evaluation, how, out)
        except TksEdgeError as error:
            if on_failure is None:
                raise
            on_failure(options, error)
            continue
        rows.append(artifact_row(exported, source))
        show_row(rows[-1], out)
        if engines is not None:
            rows[-1] |= engines.build(exported.artifact, out)
    return rows


def _written(exporter: Exporter, options: Options, evaluation: EvaluationSpec, how: Writing, out: Output) -> Exported:
    with out.progress() as bar:
        what = f"{options.precision} {options.form} T={options.timesteps}: lowering, then comparing spikes"
        task = bar.add_task(what, total=min(how.verify_samples, evaluation.samples))
        return exporter.write(
            options,
            how.folder,
            verify_samples=how.verify_samples,
            evaluation=evaluation,
            on_progress=lambda done: bar.update(task, completed=done),
        )


def _say_what_is_replaced(output: Path, options: Options, source: Source, out: Output) -> None:
    """Two runs of one name export to the same files; the second one's user should know."""
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.errors import ArtifactError

    path = output / f"{source.stem(options)}.onnx"
    if not path.is_file():
        return
    with contextlib.suppress(ArtifactError):
        if Artifact.open(path).manifest.weights_sha256 != source.weights_sha256:
            out.console.print(
                f"{path} was exported from other weights and is replaced (--name keeps both)", markup=False
            )
