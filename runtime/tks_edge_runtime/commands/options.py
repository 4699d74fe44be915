"""Arguments and options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge_runtime import completion

DEFAULT_BACKEND = "onnxruntime"
DEFAULT_PRESET = "quick"

ArtifactArgument = Annotated[
    Path,
    typer.Argument(
        metavar="ARTIFACT",
        help="An .onnx file written by `tks-edge export`.",
        show_default=False,
        autocompletion=completion.artifact,
    ),
]
FolderArgument = Annotated[
    Path,
    typer.Argument(
        metavar="FOLDER",
        help="The folder that `tks-edge export` wrote to.",
        show_default=False,
        autocompletion=completion.artifact_folder,
    ),
]
BackendOption = Annotated[
    str,
    typer.Option(
        "--backend",
        help="What runs the graph: onnxruntime, openvino or tensorrt; auto chooses, and says why.",
        autocompletion=completion.backend,
    ),
]
BackendsOption = Annotated[
    str,
    typer.Option(
        "--backend",
        help="What runs the graphs, by commas, each with its device where it has several: "
        "onnxruntime,openvino,onnxruntime:cuda; auto chooses.",
        autocompletion=completion.backends,
    ),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Where it computes: cpu; with onnxruntime also cuda and tensorrt, with openvino gpu; with tensorrt cuda.",
        show_default="the backend's first",
        autocompletion=completion.backend_device,
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
    typer.Option(
        "--preset",
        help="Measuring time per artifact: quick 3 s, standard 10 s, long 60 s, mlperf 600 s.",
        autocompletion=completion.preset,
    ),
]
MaxLatencyOption = Annotated[
    str | None,
    typer.Option("--max-latency", help="End to end, with its unit: 5ms, 0.005s, 800us.", show_default="no bound"),
]
MinAccuracyOption = Annotated[
    str | None,
    typer.Option("--min-accuracy", help="In percent: 97.5.", show_default="within a point of T of the training"),
]
MaxEnergyOption = Annotated[
    str | None,
    typer.Option("--max-energy", help="Measured, of one inference: 20mJ, 0.02J, 800uJ.", show_default="no bound"),
]
PercentileOption = Annotated[
    str | None,
    typer.Option(
        "--percentile",
        help="Of the latency that is bounded and compared: p50, p90, p95, p99, p999.",
        show_default="the median; of early exit the expected latency",
        autocompletion=completion.percentile,
    ),
]
PreferOption = Annotated[
    str | None,
    typer.Option(
        "--prefer",
        help="What is best among those that keep the bounds: latency, accuracy or energy.",
        show_default="latency; accuracy where only latency or energy is bounded",
        autocompletion=completion.preference,
    ),
]
