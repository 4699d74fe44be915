"""`run`: what a network sees in image files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.commands.opening import opened
from tks_edge_runtime.commands.options import (
    DEFAULT_BACKEND,
    ArtifactArgument,
    BackendOption,
    CudaGraphFlag,
    DeviceOption,
    StepsOption,
    ThreadsOption,
)

if TYPE_CHECKING:
    from tks_edge_runtime.session import Prediction


def run(
    artifact: ArtifactArgument,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE", help="Image files.", show_default=False)],
    top_k: Annotated[int, typer.Option("--top-k", help="How many classes to show; all where there are fewer.")] = 3,
    backend: BackendOption = DEFAULT_BACKEND,
    device: DeviceOption = None,
    cuda_graph: CudaGraphFlag = False,
    threads: ThreadsOption = None,
    steps: StepsOption = None,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Classify image files: class names and confidence."""
    with running(as_json, debug) as out:
        import dataclasses

        import numpy as np

        from tks_edge_runtime.images import read_image

        with opened(
            out, artifact, backend, device=device, threads=threads, cuda_graph=cuda_graph, steps=steps
        ) as using:
            session, chosen = using.session, using.chosen
            manifest, timesteps = session.manifest, session.timesteps
            read = []
            for number, path in enumerate(images):
                using.show("reading the images", number / len(images))
                read.append(read_image(path, manifest.preprocessing, manifest.input))
            using.show("reading the images", 1.0)
            samples = np.stack(read)
            predictions = session.predict(samples, min(top_k, len(manifest.classes)))
        _show(images, predictions, out)
        out.document(
            {
                "artifact": str(artifact),
                "backend": chosen.backend,
                "choice": dataclasses.asdict(chosen),
                "cuda_graph": cuda_graph,
                "form": manifest.form,
                "target": manifest.target,
                "timesteps": timesteps,
                "predictions": [
                    {"image": str(image), "classes": [dataclasses.asdict(prediction) for prediction in best]}
                    for image, best in zip(images, predictions, strict=True)
                ],
            }
        )
        out.next("profile", str(artifact))


def _show(images: list[Path], predictions: list[list[Prediction]], out: Output) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table()
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("index", justify="right")
    table.add_column("confidence", justify="right")
    for image, best in zip(images, predictions, strict=True):
        for place, prediction in enumerate(best):
            name = escape(str(image)) if place == 0 else ""
            table.add_row(name, escape(prediction.label), str(prediction.index), f"{prediction.confidence:.1%}")
    out.console.print(table)
