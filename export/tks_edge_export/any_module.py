"""Export of any module built of LIF layers and stateless ones, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor, nn

from tks_edge_export.artifact import Exported, Exporter
from tks_edge_export.errors import ExportError
from tks_edge_export.options import Options
from tks_edge_export.reference import Reference
from tks_edge_export.replay import Replayed
from tks_edge_export.source import Samples, Source, weights_sha256
from tks_edge_models import LIF

Array = npt.NDArray[Any]


def export(
    module: nn.Module,
    example_input: Tensor,
    timesteps: int,
    *,
    output: Path | str = "artifacts",
    name: str | None = None,
    classes: Sequence[str] | None = None,
    samples: Tensor | None = None,
    calibration: Tensor | None = None,
    frames: bool = False,
    form: str = "static",
    precision: str = "fp32",
    membrane: str = "fp32",
    target: str = "generic",
    per_step: bool = False,
    quantize_ends: bool = False,
    keep_float: Sequence[str] = (),
    skip_passes: Sequence[str] = (),
) -> Exported:
    """Unroll a module at T into a verified ONNX artifact.

    The module is one timestep: it takes `[N, ...]` and returns logits `[N, K]`; its LIF layers, called once each, carry
    the only state. It is compared with the graph spike by spike before anything gets its name.

    Args:
        module: in evaluation mode; it is not changed.
        example_input: one batch `[N, ...]`, uint8 or float32: the graph's static input. With `frames`, `[N, T, ...]`.
        timesteps: T.
        output: the folder that the artifact goes to.
        name: what the artifact is called after; the module's class, in lower case, when not given.
        classes: names, in the order of the logits; their numbers when not given.
        samples: more inputs `[M, ...]` to compare on; the example alone when not given.
        calibration: inputs `[M, ...]` that int8 may look at, where it needs to; the samples when not given.
        frames: whether every timestep has an input of its own.
        form: as in `Options`.
        precision: as in `Options`.
        membrane: as in `Options`.
        target: as in `Options`.
        per_step: as in `Options`.
        quantize_ends: as in `Options`.
        keep_float: as in `Options`.
        skip_passes: names of passes that are left out, for debugging.

    Raises:
        ExportError: the module cannot be exported so; the message names the module or operator.
        InputError: a name that is not known.
        VerificationError: the graph is not the module.
    """
    options = Options(
        timesteps,
        form=form,
        precision=precision,
        membrane=membrane,
        target=target,
        frames=frames,
        per_step=per_step,
        quantize_ends=quantize_ends,
        keep_float=tuple(keep_float),
        skip=frozenset(skip_passes),
    )
    example = _array(example_input)
    inputs = example if samples is None else _array(samples)
    if inputs.shape[1:] != example.shape[1:]:
        raise ExportError(f"samples are {list(inputs.shape)}; the example input is {list(example.shape)}.")
    exporter = Exporter(
        Source(
            name=name if name is not None else type(module).__name__.lower(),
            network=module,
            train_timesteps=timesteps,
            classes=tuple(classes) if classes is not None else _numbered(module, example, timesteps, frames=frames),
            preprocessing=None,
            weights_sha256=weights_sha256(module),
            samples=Samples("samples", "test", inputs, np.zeros(len(inputs), np.int64)),
            accuracies=(),
            calibration=inputs if calibration is None else _array(calibration),
        ),
        batch_size=len(example),
        input_dtype=example.dtype.name,
        frames=frames,
    )
    return exporter.write(options, Path(output), verify_samples=len(inputs))


def _array(tensor: Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array


def _numbered(module: nn.Module, example: Array, timesteps: int, *, frames: bool) -> tuple[str, ...]:
    steps = timesteps if any(isinstance(layer, LIF) for layer in module.modules()) else 1
    logits = Replayed(Reference(module), steps, frames=frames).run_freely(example)
    return tuple(str(index) for index in range(logits.shape[-1]))
