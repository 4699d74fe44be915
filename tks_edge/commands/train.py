"""`tks-edge train`: train a network on a data set into a run directory."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.progress import Progress

from tks_edge.commands import train_options as options
from tks_edge.commands.options import SkipCorruptOption
from tks_edge.commands.train_display import Display
from tks_edge.distributed.launch import Launch
from tks_edge.interrupt import leave_time_for_last_words
from tks_edge.settings import RUNS, TrainSettings, changed, resolve
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run

_KEPT = "a run that has begun keeps its state after the last step; --resume goes on from there."


def train(
    recipe: options.Recipe = None,
    dataset: options.Dataset = None,
    data: options.Data = None,
    download: options.Download = False,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    cut: options.Cut = None,
    frames: options.Frames = None,
    model: options.Model = None,
    neuron: options.Neuron = None,
    timesteps: options.Timesteps = None,
    loss: options.LossName = None,
    loss_option: options.LossOption = None,
    label_smoothing: options.LabelSmoothing = None,
    mixup: options.Mixup = None,
    sample_timesteps: options.SampleTimesteps = None,
    teacher: options.Teacher = None,
    teacher_weight: options.TeacherWeight = None,
    teacher_temperature: options.TeacherTemperature = None,
    ema: options.Ema = None,
    tau: options.Tau = None,
    threshold: options.Threshold = None,
    reset: options.Reset = None,
    surrogate: options.Surrogate = None,
    epochs: options.Epochs = None,
    warmup_epochs: options.WarmupEpochs = None,
    batch_size: options.BatchSize = None,
    lr: options.LearningRate = None,
    weight_decay: options.WeightDecay = None,
    clip_norm: options.ClipNorm = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    precision: options.Precision = None,
    channels_last: options.ChannelsLast = None,
    compile: options.Compile = None,  # noqa: A002 - the option's name
    accumulate: options.Accumulate = None,
    checkpoint: options.Checkpoint = None,
    lif_kernel: options.LifKernel = None,
    sync_batchnorm: options.SyncBatchNorm = None,
    strategy: options.Strategy = None,
    output: options.OutputPath = None,
    resume: options.Resume = False,
    save_every: options.SaveEvery = None,
    skip_corrupt: SkipCorruptOption = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    tensorboard: options.TensorBoard = None,
    dry_run: options.DryRun = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train a network on a data set into a run directory.

    Without options: tiny on digits, at T=8, with TKS. On eight devices: torchrun --nproc-per-node 8 -m tks_edge train.
    """
    lif = {"tau": tau, "threshold": threshold, "reset": reset, "surrogate": surrogate}
    cutting = {"cut": cut, "fewer": frames}
    objective = {
        "label_smoothing": label_smoothing,
        "mixup": mixup,
        "sample_timesteps": sample_timesteps,
        "teacher": None if teacher is None else str(teacher),
        "teacher_weight": teacher_weight,
        "teacher_temperature": teacher_temperature,
    }
    compute = {
        "precision": precision,
        "channels_last": channels_last,
        "compile": compile,
        "accumulate": accumulate,
        "checkpoint": checkpoint,
        "lif_kernel": lif_kernel,
        "sync_batchnorm": sync_batchnorm,
        "strategy": strategy,
    }
    given = {
        "recipe": recipe,
        "dataset": dataset,
        "image_size": image_size,
        "augment": augment,
        "frames": _given(cutting),
        "model": model,
        "neuron": neuron,
        "lif": _given(lif),
        "timesteps": timesteps,
        "loss": loss,
        "loss_options": loss_option or None,
        "objective": _given(objective),
        "ema": ema,
        "epochs": epochs,
        "warmup_epochs": warmup_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "seed": seed,
        "threads": threads,
        "compute": _given(compute),
    }
    with running(as_json, debug, kept=_KEPT) as shown, _one_for_all(shown) as out:
        launch = Launch.here()
        output = launch.begun() or output
        path, settings = _to_resume(output, given, out) if resume else _anew(output, given, out)
        with out.waiting("loading PyTorch"):
            from tks_edge.run_directory import DirectoryInUseError
            from tks_edge.tensorboard import is_installed
            from tks_edge.trainer import train as fit

        if dry_run:
            from tks_edge.commands.train_intent import show_train_intent

            show_train_intent(settings, path, data, device, out, download=download, resume=resume, overwrite=overwrite)
            return

        def begin(path: Path) -> Run:
            with _bar(out, launch) as bar, _naming_the_next(path, out):
                return fit(
                    settings,
                    path,
                    data=data,
                    download=download,
                    workers=workers,
                    device=device,
                    save_every=save_every,
                    skip_corrupt=skip_corrupt,
                    resume=resume,
                    overwrite=overwrite,
                    tensorboard=is_installed() if tensorboard is None else tensorboard,
                    watcher=Display(out, bar, settings, waits=not download),
                )

        while True:
            try:
                run = begin(path)
                break
            except DirectoryInUseError:
                if output is not None:
                    raise
                path = _default_path(settings, out)
        _conclude(out, run)


def _given(options: dict[str, Any]) -> dict[str, Any] | None:
    """Those of a group of options that were given; None where none was."""
    return {name: value for name, value in options.items() if value is not None} or None


@contextlib.contextmanager
def _one_for_all(out: Output) -> Iterator[Output]:
    """Where several processes train, show the output of the first of them, and of the errors they end with one."""
    launch = Launch.here()
    if launch.world > 1:
        leave_time_for_last_words()
    try:
        yield out if launch.is_first else dataclasses.replace(out, console=Console(quiet=True), as_json=False)
    except (typer.Exit, typer.Abort):
        raise
    except (Exception, KeyboardInterrupt) as error:
        if launch.may_report():
            raise
        raise typer.Exit(getattr(error, "exit_code", 1)) from error


def _bar(out: Output, launch: Launch) -> contextlib.AbstractContextManager[Progress]:
    return out.progress() if launch.is_first else Progress(disable=True)


@contextlib.contextmanager
def _naming_the_next(path: Path, out: Output) -> Iterator[None]:
    """After Ctrl-C, name the command that goes on."""
    from tks_edge.checkpoint import is_run

    try:
        yield
    except KeyboardInterrupt:
        if is_run(path):
            out.next("train", "--resume", "--output", str(path))
        raise


def _anew(output: Path | None, given: dict[str, Any], out: Output) -> tuple[Path, TrainSettings]:
    """Where to train, and the settings of a training that begins."""
    settings = resolve(given)
    return output if output is not None else _default_path(settings, out), settings


def _default_path(settings: TrainSettings, out: Output) -> Path:
    """The first name in `runs/` that is free."""
    from tks_edge.run_directory import free_directory

    wanted = RUNS / (settings.dataset if settings.neuron == "lif" else f"{settings.dataset}-relu")
    path = free_directory(wanted)
    if path != wanted:
        out.console.print(f"{wanted} exists; training into {path}", highlight=False)
    return path


def _to_resume(output: Path | None, given: dict[str, Any], out: Output) -> tuple[Path, TrainSettings]:
    """The run to continue, and its own settings changed by whatever was given: the trainer refuses a difference."""
    from tks_edge.checkpoint import RunConfig, latest_unfinished

    if output is None:
        output = latest_unfinished(RUNS)
        out.console.print(f"resuming {output}", highlight=False)
    return output, changed(RunConfig.read(output).train, given)


def _conclude(out: Output, run: Run) -> None:
    """Say what was reached on the validation split (the test split is for `eval`) and what comes next."""
    best, steps = run.best, run.config.train.timesteps
    out.console.print(
        f"{run.path}: best epoch {best.epoch}, validation accuracy {best.validation_accuracy:.2%} at T={steps}",
        highlight=False,
        soft_wrap=True,
    )
    out.document(
        {
            "run": str(run.path),
            "best_epoch": best.epoch,
            "epochs": run.config.train.epochs,
            "timesteps": steps,
            "validation_accuracy": best.validation_accuracy,
            "validation_accuracy_by_timesteps": list(best.validation_accuracy_by_timesteps),
            "weights_sha256": run.weights_sha256(),
        }
    )
    out.next("eval", str(run.path))
