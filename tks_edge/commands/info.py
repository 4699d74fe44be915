"""`tks-edge info`: what an artifact or a run directory says about itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run


def info(
    path: Annotated[Path, typer.Argument(help="An .onnx file of ours, or a run directory.")],
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Show what an artifact or a run directory says about itself."""
    with running(as_json, debug) as out:
        if path.is_dir():
            from tks_edge.checkpoint import load_run

            run = load_run(path)
            _show(run, out)
            out.document(_document(run))
            out.next("export", str(path))
        else:
            from tks_edge_runtime.artifact import Artifact
            from tks_edge_runtime.show import artifact_document, show_artifact

            artifact = Artifact.open(path)
            show_artifact(artifact, out.console)
            out.document(artifact_document(artifact))
            out.next("profile", str(path))


def _document(run: Run) -> dict[str, Any]:
    return {
        "run": str(run.path),
        "network": run.config.network,
        "parameters": sum(parameter.numel() for parameter in run.network.parameters()),
        "train": run.config.train.to_json(),
        "dataset": run.config.dataset,
        "best": dataclasses.asdict(run.best),
        "weights_sha256": run.weights_sha256(),
        "versions": run.config.versions,
        "created": run.config.created,
    }


def _show(run: Run, out: Output) -> None:
    document = _document(run)
    table = Table(title=f"run {run.path}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for key in ("network", "train", "dataset", "best", "versions"):
        for name, value in document[key].items():
            table.add_row(f"{key} {name}", str(value))
        table.add_section()
    for key in ("parameters", "weights_sha256", "created"):
        table.add_row(key, str(document[key]))
    out.console.print(table)
