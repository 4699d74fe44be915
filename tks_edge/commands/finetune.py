"""`tks-edge finetune`: train on from the network and the weights of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tks_edge.commands import completion
from tks_edge.commands import train_options as options
from tks_edge.commands.options import SkipCorruptOption
from tks_edge.commands.train_display import Display
from tks_edge.commands.training_run import KEPT, bar, conclude, given_of, naming_the_next, one_for_all
from tks_edge.distributed.launch import Launch
from tks_edge.settings import RUNS
from tks_edge_runtime.command import DebugFlag, JsonFlag, running


def finetune(
    run: Annotated[
        Path,
        typer.Argument(
            show_default=False,
            help="The run to begin with: trained here, or imported.",
            autocompletion=completion.run,
        ),
    ],
    data: options.Data = None,
    augment: options.Augment = None,
    neuron: options.Neuron = None,
    timesteps: options.Timesteps = None,
    loss: options.LossName = None,
    loss_option: options.LossOption = None,
    label_smoothing: options.LabelSmoothing = None,
    mixup: options.Mixup = None,
    sample_timesteps: options.SampleTimesteps = None,
    teacher: options.Teacher = None,
    ema: options.Ema = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the training split (default: a quarter of the recipe's).")
    ] = None,
    batch_size: options.BatchSize = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate (default: a tenth of the recipe's).")] = None,
    weight_decay: options.WeightDecay = None,
    clip_norm: options.ClipNorm = None,
    seed: options.Seed = None,
    threads: options.Threads = None,
    precision: options.Precision = None,
    accumulate: options.Accumulate = None,
    output: Annotated[
        Path | None, typer.Option(show_default=False, help="The run directory (default: that of the run, with -tks).")
    ] = None,
    save_every: options.SaveEvery = None,
    skip_corrupt: SkipCorruptOption = False,
    overwrite: options.Overwrite = False,
    device: options.Device = "auto",
    workers: options.Workers = 0,
    dry_run: options.DryRun = False,
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Train on from the network and the weights of a run, with TKS at T=8: what was trained elsewhere, at small T.

    Cut off, it goes on with: tks-edge train --resume --output RUN. With --neuron relu it trains the ReLU twin.
    """
    objective = {
        "label_smoothing": label_smoothing,
        "mixup": mixup,
        "sample_timesteps": sample_timesteps,
        "teacher": None if teacher is None else str(teacher),
    }
    compute = {"precision": precision, "accumulate": accumulate}
    given: dict[str, Any] = {
        "augment": augment,
        "neuron": neuron,
        "timesteps": timesteps,
        "loss": loss,
        "loss_options": loss_option or None,
        "objective": given_of(objective),
        "ema": ema,
        "epochs": epochs,
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
        with out.waiting("loading PyTorch"):
            from tks_edge.checkpoint import load_run
            from tks_edge.run_directory import free_directory
            from tks_edge.start import data_of, settings_from
            from tks_edge.trainer import train as fit
        begun_with = load_run(run)
        settings = settings_from(begun_with, given)
        data = data_of(begun_with, data)
        kind = "relu" if settings.neuron == "relu" else "tks"
        path = output if output is not None else free_directory(RUNS / f"{begun_with.name}-{kind}")
        path = launch.begun() or path
        if dry_run:
            from tks_edge.commands.train_intent import show_train_intent

            show_train_intent(settings, path, data, device, out, download=False, resume=False, overwrite=overwrite)
            return
        with bar(out, launch) as shown_bar, naming_the_next(path, out):
            made = fit(
                settings,
                path,
                data=data,
                workers=workers,
                device=device,
                save_every=save_every,
                skip_corrupt=skip_corrupt,
                overwrite=overwrite,
                watcher=Display(out, shown_bar, settings, waits=True),
            )
        conclude(out, made)
