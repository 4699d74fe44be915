"""The options of `tks-edge import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tks_edge.commands import completion, data_options
from tks_edge.commands.data_options import option
from tks_edge.data.facts import DATASETS
from tks_edge_runtime.errors import InputError

_TASK, _NIR, _CODE = "What it was trained for", "Of a file of NIR: what it does not say", "Of code"
Dataset = Annotated[str, option(_TASK, f"The data set: {', '.join(DATASETS)}.", values=completion.dataset)]
Timesteps = Annotated[int, option(_TASK, "T that it was trained at.")]
Data = Annotated[Path | None, data_options.data(_TASK)]
ImageSize = Annotated[int | None, data_options.image_size(_TASK)]
Cut = Annotated[str | None, data_options.cut(_TASK)]
Mean = Annotated[
    str | None,
    option(
        _TASK,
        "What is subtracted from pixels of 0 to 1, a number a channel (0.49,0.48,0.45) or one for all. Needed for "
        "images; events are counted as they are without it.",
    ),
]
Std = Annotated[str | None, option(_TASK, "What they are divided by then, likewise.")]
OutputFolder = Annotated[
    Path | None, typer.Option("--output", help="The run directory. (default: a free name in runs/)")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")]
Dt = Annotated[float | None, option(_NIR, "Seconds a timestep; snnTorch and SpikingJelly: 0.0001.")]
Leak = Annotated[
    str | None,
    option(
        _NIR,
        "What a timestep keeps of a membrane: euler (1 - dt/tau) or exponential (exp(-dt/tau); sinabs).",
        values=completion.leak,
    ),
]
DecayInput = Annotated[
    bool | None,
    option(
        _NIR,
        "Whether a timestep scales the input by dt/tau; asked where r (or w_in) is 1, which leaves it open.",
        "--decay-input/--no-decay-input",
    ),
]
Fires = Annotated[
    str | None,
    option(_NIR, "at the threshold (SpikingJelly, sinabs), or above it (snnTorch, Norse).", values=completion.fires),
]
Reset = Annotated[
    str | None, option(_NIR, "hard (to v_reset) or soft (the threshold is subtracted).", values=completion.reset)
]
ResetDelay = Annotated[
    bool | None,
    option(
        _NIR,
        "Whether a soft reset comes one timestep late, as in snnTorch.",
        "--reset-delay/--no-reset-delay",
    ),
]
Weights = Annotated[
    Path | None,
    option(
        _CODE,
        "A state dict, .safetensors, .pt or .pth (default: those that the function gives).",
        values=completion.weights,
    ),
]
InputAxes = Annotated[
    str | None,
    option(
        _CODE,
        "What its forward takes: B (one timestep, or a still image), TB or BT (all). (default: B)",
        values=completion.input_axes,
    ),
]
ExampleShape = Annotated[
    str | None, option(_CODE, "Of one sample, where it takes another shape than the data set has: 784.")
]
Example = Annotated[
    Path | None,
    option(_CODE, "An .npy of what its forward takes, in place of samples of the data set.", values=completion.example),
]
Result = Annotated[
    int | None, option(_CODE, "Which of the tensors that it returns is the output, from 0. (default: the first)")
]


def numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers with commas between them.

    Raises:
        InputError: something else.
    """
    if text is None:
        return None
    try:
        return tuple(float(entry) for entry in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option} is {text!r}; numbers with commas between them are needed, such as 0.5,0.5."
        ) from error


def sizes(option: str, text: str | None) -> tuple[int, ...] | None:
    """Whole numbers with commas between them.

    Raises:
        InputError: something else.
    """
    if text is None:
        return None
    try:
        return tuple(int(entry) for entry in text.split(","))
    except ValueError as error:
        raise InputError(f"{option} is {text!r}; whole numbers with commas are needed, such as 1,28,28.") from error
