"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_BACKEND = "onnxruntime"
DEFAULT_PRESET = "quick"

ArtifactArgument = Annotated[
    Path, typer.Argument(metavar="ARTIFACT", help="An .onnx file written by `tks-edge export`.", show_default=False)
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend", help="What runs the graph: onnxruntime, openvino or tensorrt; auto chooses, and says why."
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where it computes: cpu; with onnxruntime also cuda and tensorrt, with openvino gpu; with tensorrt cuda.",
        show_default="the backend's first",
    ),
]
CudaGraphFlag = Annotated[
    bool, typer.Option("--cuda-graph", help="Record the launches of a run once, and replay them as one.")
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", help="Threads inside one operator.", show_default="the backend's own choice")
]
StepsOption = Annotated[
    int | None,
    typer.Option(
        "--steps", help="Timesteps to run a step artifact for.", show_default="as many as it was exported for"
    ),
]
PresetOption = Annotated[
    str,
    typer.Option("--preset", help="Measuring time per artifact: quick 3 s, standard 10 s, long 60 s, mlperf 600 s."),
]
