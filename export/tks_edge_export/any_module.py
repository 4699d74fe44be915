"""Export of any module built of LIF layers and stateless ones, in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from torch import Tensor, nn

from tks_edge_export.artifact import INPUT_DTYPES, Exported, Exporter
from tks_edge_export.errors import ExportError
from tks_edge_export.options import Options, names
from tks_edge_export.probe import ForwardError
from tks_edge_export.source import Samples, Source, weights_sha256
from tks_edge_export.values import Array
from tks_edge_models import Neuron
from tks_edge_runtime.errors import unknown


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
    passes: Sequence[str] = (),
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
        passes: names of installed plugins' passes that are applied as well.
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
        keep_float=names("keep_float", keep_float),
        skip=frozenset(names("skip_passes", skip_passes)),
        passes=names("passes", passes),
    )
    _check_module(module)
    example = _array("the example input", example_input)
    inputs = example if samples is None else _like("samples", samples, example)
    source = Source(
        name=_file_name(name if name is not None else type(module).__name__.lower()),
        network=module,
        train_timesteps=timesteps,
        classes=tuple(classes or ()),
        preprocessing=None,
        weights_sha256=weights_sha256(module),
        samples=Samples("samples", "test", inputs, np.zeros(len(inputs), np.int64)),
        accuracies=(),
        calibration=inputs if calibration is None else _like("calibration", calibration, example),
    )
    try:
        exporter = Exporter(source, batch_size=len(example), input_dtype=example.dtype.name, frames=frames)
    except ForwardError as error:
        if not frames:
            raise
        raise ExportError(
            f"{error} With frames, the example {list(example.shape)} is [N, T, ...], and the network gets [N, ...]."
        ) from error
    return exporter.write(options, Path(output), verify_samples=len(inputs))


def _check_module(module: object) -> None:
    if not isinstance(module, nn.Module) or isinstance(module, Neuron):
        raise ExportError(
            f"the network is a {type(module).__name__}; a torch.nn.Module, from one step's input to logits, is needed."
        )


def _file_name(name: str) -> str:
    if not name or name.startswith(".") or Path(name).name != name:
        raise ExportError(f"the name is {name!r}; a file is called after it, so give one without a slash.")
    return name


def _array(what: str, tensor: object) -> Array:
    if not isinstance(tensor, Tensor) or tensor.ndim == 0:
        got = "a number" if isinstance(tensor, Tensor) else f"a {type(tensor).__name__}"
        raise ExportError(f"{what}: got {got}; a tensor [N, ...] is needed.")
    dtype = str(tensor.dtype).removeprefix("torch.")
    if dtype not in INPUT_DTYPES:
        raise unknown("input dtype", dtype, INPUT_DTYPES)
    array: Array = tensor.detach().cpu().numpy()
    wrong = array.size - np.count_nonzero(np.isfinite(array))
    if wrong:
        raise ExportError(f"{what}: {wrong} of {array.size} values are NaN or infinite; finite numbers are needed.")
    return array


def _like(what: str, tensor: object, example: Array) -> Array:
    """At least one input like those of the example."""
    array = _array(what, tensor)
    if array.shape[1:] != example.shape[1:] or array.dtype != example.dtype or not len(array):
        raise ExportError(
            f"{what}: got {array.dtype}{list(array.shape)}; the example input is {example.dtype}{list(example.shape)}, "
            "and one or more like it are needed."
        )
    return array
