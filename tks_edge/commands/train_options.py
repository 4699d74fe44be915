"""The options of `tks-edge train`, of which `finetune` has most too.

None stands for the default, or, with --resume, for what the run was begun with.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion, data_options
from tks_edge.commands.completion import LOSSES, MODELS, SURROGATES
from tks_edge.commands.data_options import option
from tks_edge.data.facts import AUGMENTATIONS, DATASETS, FACTS
from tks_edge.recipes import RECIPES
from tks_edge.settings import RESETS
from tks_edge.settings.compute import LIF_KERNELS, PRECISIONS, STRATEGIES
from tks_edge.settings.frames import FEWER

_TASK = "What is trained"
_FETCHED = ", ".join(name for name, facts in FACTS.items() if facts.downloads)
Recipe = Annotated[
    str | None,
    option(
        _TASK,
        f"What everything that is not given here is taken from: {', '.join(RECIPES)}, or a TOML file of your own "
        "(default: that of the data set; see tks-edge recipes).",
        values=completion.recipe,
    ),
]
Dataset = Annotated[
    str | None,
    option(_TASK, f"{', '.join(DATASETS)} (default: the recipe's; digits without one).", values=completion.dataset),
]
Data = Annotated[Path | None, data_options.data(_TASK)]
Download = Annotated[bool, option(_TASK, f"Fetch what is not there, of {_FETCHED}.", "--download")]
ImageSize = Annotated[int | None, data_options.image_size(_TASK)]
Augment = Annotated[
    str | None,
    option(
        _TASK,
        f"{', '.join(AUGMENTATIONS)} (default: by recipe).",
        values=completion.augmentation,
    ),
]
Cut = Annotated[str | None, data_options.cut(_TASK)]
Frames = Annotated[
    str | None,
    option(
        _TASK,
        f"What fewer than T frames are of a recording: {FEWER[0]}, the first ones, or {FEWER[1]}, all of it in fewer "
        "(default: first).",
        values=completion.frames,
    ),
]
Model = Annotated[
    str | None,
    option(
        _TASK,
        f"{', '.join(MODELS)} (default: by recipe; tiny for digits).",
        values=completion.model,
    ),
]
Neuron = Annotated[
    str | None,
    option(
        _TASK, "lif or relu (default: lif); relu is the twin: the same network, one pass.", values=completion.neuron
    ),
]
Timesteps = Annotated[int | None, option(_TASK, "T (default: 8).")]
LossName = Annotated[
    str | None, option(_TASK, f"{', '.join(LOSSES)} (default: by recipe; mean with relu).", values=completion.loss)
]
LossOption = Annotated[
    list[str] | None,
    option(
        _TASK,
        "KEY=VALUE, as often as needed. tks: tau=3, alpha=0.7, reduce=mean or sum, detach=yes or no, "
        "none_correct=uniform or skip, student_temperature=1 or tau; tks-published: tau, alpha; "
        "tet: lam=0.001, target=1; etc: tau=4, weight=1, detach=yes; s2w, w2s: tau=2, weight=1, detach=no, "
        "select=batch or sample.",
        values=completion.loss_option,
    ),
]

_TRICKS = "On top of the loss"
LabelSmoothing = Annotated[
    float | None, option(_TRICKS, "Share of a label that is given to all classes alike (default: 0).")
]
Mixup = Annotated[float | None, option(_TRICKS, "Parameter of the Beta distribution (default: 0, no mixup).")]
SampleTimesteps = Annotated[
    bool | None,
    option(
        _TRICKS,
        "Train each step at a T of its own, from 1 to --timesteps (default: no).",
        "--sample-timesteps/--no-sample-timesteps",
    ),
]
Teacher = Annotated[
    Path | None,
    option(_TRICKS, "The run of a ReLU twin that teaches every timestep (default: none).", values=completion.run),
]
TeacherWeight = Annotated[float | None, option(_TRICKS, "Of the teacher's term (default: 0.2).")]
TeacherTemperature = Annotated[float | None, option(_TRICKS, "Of the teacher's term (default: 3).")]
Ema = Annotated[
    float | None, option(_TRICKS, "Keep a moving average of the weights with this decay (default: the weights).")
]

_NEURON = "The LIF neuron"
Tau = Annotated[float | None, option(_NEURON, "Membrane time constant, in timesteps (default: 2).")]
Threshold = Annotated[float | None, option(_NEURON, "The potential at which it fires (default: 0.5).")]
Reset = Annotated[
    str | None,
    option(_NEURON, f"{' (to 0) or '.join(RESETS)} (by subtraction; default: hard).", values=completion.reset),
]
Surrogate = Annotated[
    str | None, option(_NEURON, f"{', '.join(SURROGATES)} (default: quadratic).", values=completion.surrogate)
]

_HOW = "How it is trained"
Epochs = Annotated[int | None, option(_HOW, "Passes (default: by recipe; 15 for digits).")]
WarmupEpochs = Annotated[
    int | None, option(_HOW, "Epochs of them in which the learning rate rises (default: a tenth, at most 5).")
]
BatchSize = Annotated[int | None, option(_HOW, "Samples a step (default: by recipe; 32 for digits).")]
LearningRate = Annotated[
    float | None,
    option(
        _HOW,
        "Of AdamW, the highest (default: by recipe, growing with the batch size: 0.005 x batch size / 1024, for digits "
        "0.1 x).",
    ),
]
WeightDecay = Annotated[float | None, option(_HOW, "Of AdamW (default: 0.01).")]
ClipNorm = Annotated[float | None, option(_HOW, "Largest norm of a step's gradient (default: not clipped).")]
Seed = Annotated[int | None, option(_HOW, "Of weights, order and augmentation (default: 0).")]
Threads = Annotated[
    int | None, option(_HOW, "Of the CPU (default: torch's own number; 1 for digits, too small to share out).")
]

_COMPUTE = "Speed and size"
Precision = Annotated[
    str | None,
    option(
        _COMPUTE,
        f"{' or '.join(PRECISIONS)}, with weights and membranes in float32 either way (default: 32).",
        values=completion.training_precision,
    ),
]
ChannelsLast = Annotated[
    bool | None,
    option(_COMPUTE, "Images in memory with their channels last (default: no).", "--channels-last/--no-channels-last"),
]
Compile = Annotated[
    bool | None, option(_COMPUTE, "Train through torch.compile (default: no).", "--compile/--no-compile")
]
Accumulate = Annotated[
    int | None, option(_COMPUTE, "Parts a batch is computed in, one after the other, to save memory (default: 1).")
]
Checkpoint = Annotated[
    str | None,
    option(
        _COMPUTE,
        "What the backward pass computes again rather than to have it kept: none; compact, the neurons' currents, with "
        "spikes kept as bytes; blocks, all within a block (default: none).",
        values=completion.checkpoint,
    ),
]
LifKernel = Annotated[
    str | None,
    option(_COMPUTE, f"{', '.join(LIF_KERNELS)} (default: auto, the fastest here).", values=completion.lif_kernel),
]
SyncBatchNorm = Annotated[
    bool | None,
    option(
        _COMPUTE,
        "Batch norm over the batch of all processes (default: each its own).",
        "--sync-batchnorm/--no-sync-batchnorm",
    ),
]
Strategy = Annotated[
    str | None,
    option(
        _COMPUTE,
        f"Of several processes (torchrun): {STRATEGIES[0]}, or {STRATEGIES[1]} to share the weights too "
        f"(default: {STRATEGIES[0]}).",
        values=completion.strategy,
    ),
]

_WHERE = "Where and with what"
OutputPath = Annotated[
    Path | None,
    option(
        _WHERE, "The run directory (default: runs/DATASET, or the next free name).", "--output", values=completion.run
    ),
]
Resume = Annotated[
    bool,
    option(_WHERE, "Continue the run in --output (or the newest unfinished one in runs/) as it was begun.", "--resume"),
]
SaveEvery = Annotated[
    int | None,
    typer.Option(min=1, help="Also save the state every so many steps (default: every epoch).", rich_help_panel=_WHERE),
]
Overwrite = Annotated[bool, option(_WHERE, "Replace the run in --output.", "--overwrite")]
Device = Annotated[str, option(_WHERE, "auto, cpu, cuda.", values=completion.device)]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that load samples; they change no result.", rich_help_panel=_WHERE)
]
DryRun = Annotated[bool, option(_WHERE, "Say what would be trained and written, and do none of it.", "--dry-run")]
TensorBoard = Annotated[
    bool | None,
    option(
        _WHERE,
        "Also write TensorBoard's files (default: where it is installed).",
        "--tensorboard/--no-tensorboard",
    ),
]
