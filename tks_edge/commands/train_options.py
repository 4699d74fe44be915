"""The options of `tks-edge train`. None stands for the default, or, with --resume, for what the run was begun with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tks_edge.settings import RECIPES, RESETS

_DIGITS, _CIFAR = RECIPES["digits"], RECIPES["cifar10"]


def _option(panel: str, text: str, *names: str) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel)


_TASK = "What is trained"
Dataset = Annotated[str | None, _option(_TASK, f"{', '.join(RECIPES)} (default: digits).")]
Data = Annotated[Path | None, _option(_TASK, "The folder of the data set; for CIFAR data/ is the default.")]
Download = Annotated[bool, _option(_TASK, "Fetch CIFAR where it is not there.", "--download")]
ImageSize = Annotated[int | None, _option(_TASK, "Of --dataset folder, pixels a side (default: 32).")]
Model = Annotated[
    str | None,
    _option(_TASK, "tiny, sew_resnet18, sew_resnet34, resnet19, vggsnn (default: by data set; tiny for digits)."),
]
Neuron = Annotated[
    str | None,
    _option(_TASK, "lif or relu (default: lif); relu is the twin: the same network, one pass."),
]
Timesteps = Annotated[int | None, _option(_TASK, "T (default: 8).")]
LossName = Annotated[str | None, _option(_TASK, "mean, tet, tks, tks-published (default: tks; mean with relu).")]
LossOption = Annotated[
    list[str] | None,
    _option(
        _TASK,
        "KEY=VALUE, as often as needed. tks: tau=3, alpha=0.7, reduce=mean or sum, detach=yes or no, "
        "none_correct=uniform or skip, student_temperature=1 or tau; tks-published: tau, alpha; "
        "tet: lam=0.001, target=1.",
    ),
]

_NEURON = "The LIF neuron"
Tau = Annotated[float | None, _option(_NEURON, "Membrane time constant, in timesteps (default: 2).")]
Threshold = Annotated[float | None, _option(_NEURON, "The potential at which it fires (default: 0.5).")]
Reset = Annotated[str | None, _option(_NEURON, f"{' (to 0) or '.join(RESETS)} (by subtraction; default: hard).")]
Surrogate = Annotated[str | None, _option(_NEURON, "quadratic, atan, sigmoid, triangle (default: quadratic).")]

_HOW = "How it is trained"
Epochs = Annotated[int | None, _option(_HOW, f"Passes (default: by data set; {_DIGITS.epochs} for digits).")]
WarmupEpochs = Annotated[
    int | None, _option(_HOW, "Epochs of them in which the learning rate rises (default: a tenth, at most 5).")
]
BatchSize = Annotated[
    int | None, _option(_HOW, f"Images a step (default: by data set; {_DIGITS.batch_size} for digits).")
]
LearningRate = Annotated[
    float | None,
    _option(
        _HOW,
        f"Of AdamW, the highest (default: {_CIFAR.lr_per_1024} x batch size / 1024; "
        f"for digits {_DIGITS.lr_per_1024} x).",
    ),
]
WeightDecay = Annotated[float | None, _option(_HOW, "Of AdamW (default: 0.01).")]
ClipNorm = Annotated[float | None, _option(_HOW, "Largest norm of a step's gradient (default: not clipped).")]
Seed = Annotated[int | None, _option(_HOW, "Of weights, order and augmentation (default: 0).")]
Threads = Annotated[
    int | None, _option(_HOW, "Of the CPU (default: torch's own number; 1 for digits, too small to share out).")
]

_WHERE = "Where and with what"
OutputPath = Annotated[
    Path | None, _option(_WHERE, "The run directory (default: runs/DATASET, or the next free name).", "--output")
]
Resume = Annotated[
    bool,
    _option(
        _WHERE, "Continue the run in --output (or the newest unfinished one in runs/) as it was begun.", "--resume"
    ),
]
Overwrite = Annotated[bool, _option(_WHERE, "Replace the run in --output.", "--overwrite")]
Device = Annotated[str, _option(_WHERE, "auto, cpu, cuda.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that load images; they change no result.", rich_help_panel=_WHERE)
]
TensorBoard = Annotated[
    bool | None,
    _option(
        _WHERE,
        "Also write TensorBoard's files (default: where it is installed).",
        "--tensorboard/--no-tensorboard",
    ),
]
