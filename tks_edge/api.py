"""The public functions of `import tks_edge` that need torch: `train`, `finetune`, `evaluate`, `export`, `verify`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from tks_edge import trainer
from tks_edge.accuracy import evaluate_views
from tks_edge.artifacts import Wanted, sources_of
from tks_edge.checkpoint import Run, RunConfig, load_run
from tks_edge.data.skipping import Skipped
from tks_edge.device import choose_device
from tks_edge.graphs import Asked, Writer, Writing
from tks_edge.settings import changed, resolve
from tks_edge.settings.ranges import check_range
from tks_edge.start import data_of, settings_from
from tks_edge.verification import Verified, verified
from tks_edge.views import steps_of, views
from tks_edge.watcher import SILENT, Watcher
from tks_edge_export import FORMS, PRECISIONS, Exported
from tks_edge_export.options import names
from tks_edge_runtime.artifact import Accuracy
from tks_edge_runtime.errors import unknown

if TYPE_CHECKING:
    from typing_extensions import Unpack


class TrainOptions(TypedDict, total=False):
    """What decides the weights, as `TrainSettings` has it; whatever is not given is the recipe's, or a default.

    `lif`, `frames`, `objective` and `compute` are given as those of their values that are to be others:
    `lif={"tau": 1.5}`; the options of a loss as in `loss_options=["tau=4"]`.
    """

    recipe: str
    dataset: str
    image_size: int
    augment: str
    frames: dict[str, Any]
    model: str
    neuron: str
    lif: dict[str, Any]
    timesteps: int
    loss: str
    loss_options: list[str]
    objective: dict[str, Any]
    ema: float
    epochs: int
    warmup_epochs: int
    batch_size: int
    lr: float
    weight_decay: float
    clip_norm: float
    seed: int
    threads: int
    compute: dict[str, Any]


def train(
    output: Path | str,
    *,
    data: Path | str | None = None,
    download: bool = False,
    device: str = "auto",
    workers: int = 0,
    save_every: int | None = None,
    skip_corrupt: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher = SILENT,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train a network into the run directory `output`; without options: tiny on digits, at T=8, with TKS.

    On the same CPU the same options give the same weights, bit for bit, interrupted and resumed or not.

    Args:
        output: the run directory; it must not exist, or be empty, without `resume` or `overwrite`.
        data: the folder that holds the data set; `data` when not given.
        download: fetch what is not there, where the data set's own site allows it.
        device: "auto", "cpu" or "cuda".
        workers: processes that load samples; they change no result.
        save_every: also save the state after so many steps; None: after each epoch.
        skip_corrupt: leave out samples that cannot be read, rather than end with the first.
        resume: continue the training in `output`, with the options that it was begun with.
        overwrite: replace the run in `output`.
        watcher: is told about every step and epoch.
        **options: what decides the weights; see `TrainOptions`.

    Returns:
        The run: its `path`, its `network` with the weights of the best epoch, and `best`, that epoch's accuracy.

    Raises:
        InputError: something stands at `output`, or an option is not allowed, or excludes another.
        MissingError: the data set, the device, or a plugin that is named is not there.
        CheckError: the loss is no finite number any more.
    """
    _check_conduct(workers, save_every)
    given: dict[str, Any] = dict(options)
    settings = changed(RunConfig.read(Path(output)).train, given) if resume else resolve(given)
    return trainer.train(
        settings,
        output,
        data=data,
        download=download,
        workers=workers,
        device=device,
        save_every=save_every,
        skip_corrupt=skip_corrupt,
        resume=resume,
        overwrite=overwrite,
        watcher=watcher,
    )


def finetune(
    run: Run | Path | str,
    output: Path | str,
    *,
    data: Path | str | None = None,
    device: str = "auto",
    workers: int = 0,
    save_every: int | None = None,
    skip_corrupt: bool = False,
    overwrite: bool = False,
    watcher: Watcher = SILENT,
    **options: Unpack[TrainOptions],
) -> Run:
    """Train on from the network and the weights of a run: with TKS at T=8, so that it becomes good at small T.

    What is not given is the recipe's of the run's data set, with a quarter of its epochs and a tenth of its learning
    rate. To go on with a training that was cut off, give its directory to `train` with `resume`.

    Args:
        run: where it begins, a run or its directory; it is not changed.
        output: the new run directory.
        data: where the data set lies now, if it was moved.
        device: "auto", "cpu" or "cuda".
        workers: processes that load samples; they change no result.
        save_every: also save the state after so many steps; None: after each epoch.
        skip_corrupt: leave out samples that cannot be read, rather than end with the first.
        overwrite: replace the run in `output`.
        watcher: is told about every step and epoch.
        **options: what decides the weights; see `TrainOptions`. The data set, the model and its neurons are the run's;
            `neuron="relu"` makes the ReLU twin of the network.

    Returns:
        The run of the new training, as `train` does.

    Raises:
        InputError: something stands at `output`, or an option is not allowed, or is one of what the run has settled.
        MissingError: the data set or the device is not there.
        CheckError: the loss is no finite number any more.
    """
    _check_conduct(workers, save_every)
    begun_with = _opened(run)
    settings = settings_from(begun_with, dict(options))
    return trainer.train(
        settings,
        output,
        data=data_of(begun_with, data),
        workers=workers,
        device=device,
        save_every=save_every,
        skip_corrupt=skip_corrupt,
        overwrite=overwrite,
        watcher=watcher,
    )


def evaluate(
    run: Run | Path | str,
    timesteps: Sequence[int] | None = None,
    *,
    frames: str | None = None,
    data: Path | str | None = None,
    batch_size: int | None = None,
    workers: int = 0,
    device: str = "auto",
    skip_corrupt: bool = False,
) -> tuple[Accuracy, ...]:
    """Count the right predictions of a trained network at each T, on the test split.

    Args:
        run: a run, or its directory.
        timesteps: each T; the powers of two up to that of the training when not given.
        frames: of recordings, what fewer frames than the training's are: "first" or "rebin"; None: as in the training.
        data: where the data set lies now, if it was moved.
        batch_size: samples a pass; it changes no result.
        workers: processes that load samples.
        device: "auto", "cpu" or "cuda".
        skip_corrupt: leave out samples that cannot be read, rather than end with the first.

    Returns:
        For each T how many samples were `correct`, of how many in `total`.

    Raises:
        InputError: the directory is no run, the data is not that of the run any more, or a T, number or name is not
            allowed.
        MissingError: the data set, the device, or a plugin that the run needs is not there.
    """
    check_range("batch_size", batch_size, 1)
    check_range("workers", workers, 0)
    trained = _opened(run)
    shown = views(trained, steps_of(trained, timesteps), frames)
    dataset = trained.dataset(data)
    trained.network.to(choose_device(device))
    try:
        found = evaluate_views(
            trained,
            dataset,
            dataset.test,
            shown,
            batch_size=batch_size,
            workers=workers,
            skipped=Skipped() if skip_corrupt else None,
        )
    finally:
        trained.network.cpu()
    return tuple(found.accuracies())


def export(
    run: Run | Path | str,
    timesteps: Sequence[int] | None = None,
    *,
    precision: str | Sequence[str] = "fp32",
    form: str | Sequence[str] = "static",
    target: str = "generic",
    output: Path | str = "artifacts",
    name: str | None = None,
    membrane: str | None = None,
    quantize_ends: bool = False,
    keep_float: Sequence[str] = (),
    calibration_samples: int | None = None,
    per_step: bool = False,
    passes: Sequence[str] = (),
    skip_passes: Sequence[str] = (),
    batch_size: int = 1,
    input_dtype: str = "uint8",
    verify_samples: int = 128,
    eval_samples: int = 10_000,
    eval_set: bool = True,
    frames: str | None = None,
    data: Path | str | None = None,
    device: str = "auto",
) -> list[Exported]:
    """Unroll a trained network at each T into a static ONNX file, and compare it spike by spike with the network.

    A graph takes `input`, raw pixels, uint8 `[N, C, H, W]` (recordings: `[N, T, C, H, W]`), and gives `logits`, float32
    `[N, K]`. It gets its name only when it was compared.

    Args:
        run: a run, or its directory.
        timesteps: each T; the powers of two up to that of the training when not given.
        precision: "fp32", "fp16", "int8", or several.
        form: "static", all timesteps in one graph; "step", one timestep with its states; or both.
        target: what engine to lower for: "generic", "onnxruntime-cpu", "openvino", "tensorrt".
        output: the folder that the artifacts go to.
        name: what they are called after; the run's name when not given.
        membrane: of fp16 graphs, "fp32" or "fp16".
        quantize_ends: whether int8 covers the first layer and the classifier too.
        keep_float: module paths of layers that int8 leaves alone.
        calibration_samples: training samples that int8 may look at, where it needs to; 128 when not given.
        per_step: whether a static graph also gives the logits of every timestep, `[T, N, K]`.
        passes: names of installed plugins' passes that are applied as well.
        skip_passes: names of passes that are left out, for debugging.
        batch_size: N; it is static.
        input_dtype: of the raw pixels, "uint8" or "float32".
        verify_samples: test samples that are compared spike by spike.
        eval_samples: test samples that the accuracy is taken on, at most.
        eval_set: whether these are written beside the artifacts, so that a board can measure its accuracy.
        frames: as in `evaluate`.
        data: as in `evaluate`.
        device: where the accuracy is computed.

    Returns:
        Each artifact that was written, and the comparison that it passed.

    Raises:
        InputError: the directory is no run, or a T, number, name or option is not allowed.
        ExportError: the network cannot be exported so (an InputError).
        VerificationError: a graph is not the network.
        MissingError: the data set, the device, or a plugin that is needed is not there.
    """
    counts = {"calibration_samples": calibration_samples, "batch_size": batch_size}
    counts |= {"verify_samples": verify_samples, "eval_samples": eval_samples}
    for option, value in counts.items():
        check_range(option, value, 1)
    trained = _opened(run)
    asked = Asked(
        _several("precision", precision, PRECISIONS),
        _several("form", form, FORMS),
        target,
        membrane,
        quantize_ends,
        names("keep_float", keep_float),
        calibration_samples,
        per_step,
        frozenset(names("skip_passes", skip_passes)),
        names("passes", passes),
    )
    shown = views(trained, steps_of(trained, timesteps), frames)
    graphs = asked.graphs(trained, shown)
    wanted = Wanted(eval_samples, asked.calibration, name, None if data is None else Path(data), choose_device(device))
    how = Writing(Path(output), batch_size, input_dtype, verify_samples, eval_set)
    written = []
    for served, source in sources_of(trained, shown, wanted):
        writer = Writer(source, how)
        written += [writer.write(options) for options in graphs if options.timesteps in served]
    return written


def verify(
    artifact: Path | str,
    against: Run | Path | str,
    *,
    samples: int = 128,
    eval_samples: int = 10_000,
    data: Path | str | None = None,
) -> Verified:
    """Compare an artifact with the run that it was exported from, spike by spike.

    Args:
        artifact: an `.onnx` file.
        against: that run, or its directory.
        samples: test samples to compare every spike on, at most.
        eval_samples: test samples to compare the predicted classes on, at most.
        data: where the data set lies now, if it was moved.

    Returns:
        What was compared: `comparison` for each layer and timestep, and `agreement` of the predicted classes.

    Raises:
        VerificationError: the artifact is not the network; the message names the first layer and timestep that differ.
        CheckError: it was exported from other weights.
        InputError: the file is no artifact, the directory no run, the data is not that of the run any more, or a number
            of samples is below 1.
        MissingError: the data set, or a plugin that is needed, is not there.
    """
    check_range("samples", samples, 1)
    check_range("eval_samples", eval_samples, 1)
    found = verified(Path(artifact), _opened(against), samples=samples, eval_samples=eval_samples, data=data)
    found.comparison.check(artifact)
    return found


def _opened(run: Run | Path | str) -> Run:
    return run if isinstance(run, Run) else load_run(run)


def _check_conduct(workers: int, save_every: int | None) -> None:
    check_range("workers", workers, 0)
    check_range("save_every", save_every, 1)


def _several(what: str, given: str | Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """One name or several, each of which is known."""
    found = (given,) if isinstance(given, str) else names(what, given)
    for one in found:
        if one not in allowed:
            raise unknown(what, one, allowed)
    return found
