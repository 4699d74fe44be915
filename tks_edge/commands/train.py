"""`tks-edge train`: train a network on a data set into a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tks_edge.commands import train_options as options
from tks_edge.commands.options import SkipCorruptOption
from tks_edge.commands.train_display import Display
from tks_edge.commands.training_run import KEPT, bar, conclude, given_of, naming_the_next, one_for_all
from tks_edge.distributed.launch import Launch
from tks_edge.settings import RUNS, TrainSettings, changed, resolve
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run


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
        "frames": given_of(cutting),
        "model": model,
        "neuron": neuron,
        "lif": given_of(lif),
        "timesteps": timesteps,
        "loss": loss,
        "loss_options": loss_option or None,
        "objective": given_of(objective),
        "ema": ema,
        "epochs": epochs,
        "warmup_epochs": warmup_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "clip_norm": clip_norm,
        "seed": seed,
        "threads": threads,
        "compute": given_of(compute),
    }
    with running(as_json, debug, kept=KEPT) as shown, one_for_all(shown) as out:
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
            with bar(out, launch) as shown_bar, naming_the_next(path, out):
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
                    watcher=Display(out, shown_bar, settings, waits=not download),
                )

        while True:
            try:
                run = begin(path)
                break
            except DirectoryInUseError:
                if output is not None:
                    raise
                path = _default_path(settings, out)
        conclude(out, run)


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
        out.say(f"{wanted} exists; training into {path}")
    return path


def _to_resume(output: Path | None, given: dict[str, Any], out: Output) -> tuple[Path, TrainSettings]:
    """The run to continue, and its own settings changed by whatever was given: the trainer refuses a difference."""
    from tks_edge.checkpoint import RunConfig
    from tks_edge.runs import latest_unfinished

    if output is None:
        output = latest_unfinished(RUNS)
        out.say(f"resuming {output}")
    return output, changed(RunConfig.read(output).train, given)
