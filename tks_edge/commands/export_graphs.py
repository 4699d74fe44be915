"""The ONNX files of `tks-edge export`, one after the other, each with its engine where one is asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge.commands.export_rows import artifact_row, show_row
from tks_edge.graphs import Writer, Writing
from tks_edge_runtime.errors import TksEdgeError

if TYPE_CHECKING:
    from tks_edge.commands.export_engine import Engines
    from tks_edge_export import Exported, Options, Source
    from tks_edge_runtime.command import Output


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
    with out.waiting("capturing the network"):
        writer = Writer(source, how)
    rows = []
    for options in graphs:
        _say_what_is_replaced(how.folder, options, source, out)
        try:
            exported = _written(writer, options, out)
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


def _written(writer: Writer, options: Options, out: Output) -> Exported:
    with out.progress() as bar:
        what = f"{options.precision} {options.form} T={options.timesteps}: lowering, then comparing spikes"
        task = bar.add_task(what, total=writer.compared)
        return writer.write(options, lambda done: bar.update(task, completed=done))


def _say_what_is_replaced(output: Path, options: Options, source: Source, out: Output) -> None:
    """Two runs of one name export to the same files; the second one's user should know."""
    from tks_edge_runtime.artifact import Artifact
    from tks_edge_runtime.errors import ArtifactError

    path = output / f"{source.stem(options)}.onnx"
    if not path.is_file():
        return
    with contextlib.suppress(ArtifactError):
        if Artifact.open(path).manifest.weights_sha256 != source.weights_sha256:
            out.say(f"{path} was exported from other weights and is replaced (--name keeps both)")
