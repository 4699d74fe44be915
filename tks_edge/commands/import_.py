"""`tks-edge import`: a network that was trained with another library, as a run directory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tks_edge.commands import completion
from tks_edge.commands import import_options as options
from tks_edge.commands.import_options import numbers, sizes
from tks_edge.origin import NIR, PYTHON, Origin
from tks_edge.settings import RUNS
from tks_edge_runtime.command import DebugFlag, JsonFlag, Output, running
from tks_edge_runtime.dry_run import DryRunFlag, Intent, show_intent, written
from tks_edge_runtime.errors import InputError

if TYPE_CHECKING:
    from tks_edge.checkpoint import Run
    from tks_edge.data.dataset import Dataset
    from tks_edge.imports.importing import Target
    from tks_edge_models import Network


def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A file MODEL.nir, or package.module:factory, which is called.", autocompletion=completion.nir_file
        ),
    ],
    dataset: options.Dataset,
    timesteps: options.Timesteps,
    data: options.Data = None,
    image_size: options.ImageSize = None,
    cut: options.Cut = None,
    mean: options.Mean = None,
    std: options.Std = None,
    output: options.OutputFolder = None,
    overwrite: options.Overwrite = False,
    dt: options.Dt = None,
    leak: options.Leak = None,
    decay_input: options.DecayInput = None,
    fires: options.Fires = None,
    reset: options.Reset = None,
    reset_delay: options.ResetDelay = None,
    weights: options.Weights = None,
    input_axes: options.InputAxes = None,
    example_shape: options.ExampleShape = None,
    example: options.Example = None,
    result: options.Result = None,
    dry_run: DryRunFlag = False,
    device: Annotated[
        str, typer.Option(help="Where the accuracy is measured: auto, cpu, cuda.", autocompletion=completion.device)
    ] = "auto",
    as_json: JsonFlag = False,
    debug: DebugFlag = False,
) -> None:
    """Make a run directory of a network that was trained with another library, from a file of NIR or from its code."""
    of_nir: dict[str, Any] = {"dt": dt, "leak": leak, "decay_input": decay_input, "fires": fires}
    of_nir |= {"reset": reset, "reset_delay": reset_delay}
    of_python: dict[str, Any] = {"weights": weights, "input_axes": input_axes, "example_shape": example_shape}
    of_python |= {"example": example, "result": result}
    with running(as_json, debug) as out:
        kind = _kind(source)
        _refuse_others(kind, of_python if kind == NIR else of_nir)
        with out.waiting("loading PyTorch"):
            from tks_edge.device import choose_device
            from tks_edge.imports.importing import Target, fitted, import_network
            from tks_edge.run_directory import refuse_to_overwrite

        target = Target(dataset, timesteps, data, image_size, cut, numbers("--mean", mean), numbers("--std", std))
        path = output if output is not None else _default_path(source)
        refuse_to_overwrite(path, overwrite=overwrite)
        chosen = choose_device(device)
        told = {name: value for name, value in (of_nir if kind == NIR else of_python).items() if value is not None}
        read = _from_nir(source, told) if kind == NIR else None
        with out.waiting("opening the data"):
            opened = target.open()
        with out.waiting("reading the network"):
            network, origin = read if read is not None else _from_python(source, told, target, opened)
        if dry_run:
            fitted(network, opened, target, origin)
            _show_intent(source, path, target, opened, chosen, out)
            return
        with out.progress() as bar:
            task = bar.add_task("accuracy", total=len(opened.validation))
            run = import_network(
                network,
                opened,
                target,
                origin,
                path,
                overwrite=overwrite,
                device=chosen,
                after_batch=lambda samples: bar.advance(task, samples),
            )
        _conclude(run, opened, out)


def _kind(source: str) -> str:
    path = Path(source)
    if path.suffix == ".nir" or path.is_file():
        if path.suffix in (".pt", ".pth", ".safetensors"):
            raise InputError(
                f"{source} holds weights, and not what the network does with them. Name the code that builds it: "
                f"tks-edge import package.module:factory --weights {source}"
            )
        return NIR
    return PYTHON


def _refuse_others(kind: str, others: Mapping[str, Any]) -> None:
    given = [name for name, value in others.items() if value is not None]
    if given:
        of = "networks that code builds" if kind == NIR else "files of NIR"
        raise InputError(f"--{given[0].replace('_', '-')} changes nothing here: it is of {of}. Leave it out.")


def _default_path(source: str) -> Path:
    """The first name in `runs/` that is free."""
    from tks_edge.run_directory import free_directory

    path = Path(source)
    name = path.stem if path.suffix == ".nir" or path.is_file() else source.partition(":")[0].rpartition(".")[2]
    return free_directory(RUNS / name)


def _from_nir(source: str, told: dict[str, Any]) -> tuple[Network, Origin]:
    from importlib.metadata import version

    from tks_edge_export.nir_graphs import Discretization, read_nir
    from tks_edge_runtime.files import sha256_of

    path = Path(source)
    network = read_nir(path, Discretization(**told))
    return network, Origin(NIR, path.name, f"nir {version('nir')}", sha256_of(path), told)


def _from_python(source: str, told: dict[str, Any], target: Target, dataset: Dataset) -> tuple[Network, Origin]:
    from tks_edge.imports.example import Example
    from tks_edge.imports.factory import build, library_of
    from tks_edge.imports.weight_files import load_into
    from tks_edge_export.adoption import adopt
    from tks_edge_runtime.files import sha256_of

    shape = sizes("--example-shape", told.get("example_shape"))
    example = Example(told.get("input_axes", "B"), shape, told.get("example"))
    module = build(source)
    weights = told.get("weights")
    if weights is not None:
        load_into(module, weights)
    tensor = example.tensor(dataset, target.timesteps, *target.normalization(dataset.in_channels))
    network = adopt(module, tensor, output=told.get("result", 0))
    noted = {name: str(value) if isinstance(value, Path) else value for name, value in told.items()}
    return network, Origin(PYTHON, source, library_of(module), None if weights is None else sha256_of(weights), noted)


def _show_intent(source: str, path: Path, target: Target, dataset: Dataset, device: str, out: Output) -> None:
    """Say what would be measured and written; the network was read, and fits the data."""
    from tks_edge.checkpoint import CONFIG, HISTORY, MODEL, SUMMARY

    measured = (
        f"take the accuracy of {source} at T=1 to {target.timesteps} on {len(dataset.validation):,} validation samples "
        f"of {dataset.name} on {device}"
    )
    show_intent(Intent([measured], written([path / name for name in (CONFIG, MODEL, HISTORY, SUMMARY)])), out)


def _conclude(run: Run, dataset: Dataset, out: Output) -> None:
    from tks_edge_runtime.statistics import guesses

    best, steps, origin = run.best, run.config.train.timesteps, run.config.origin
    out.say(f"{run.path}: validation accuracy {best.validation_accuracy:.2%} at T={steps}, as imported")
    classes, total = len(dataset.classes), len(dataset.validation)
    if guesses(round(best.validation_accuracy * total), total, classes):
        neurons = ", its neurons with other constants" if origin is not None and origin.source == NIR else ""
        out.warn(
            f"that is no better than guessing among {classes} classes. Was it trained on other data, its pixels "
            f"normalised otherwise than by --mean and --std{neurons}, its classes in another order?"
        )
    out.document(
        {
            "run": str(run.path),
            "source": None if origin is None else origin.name,
            "library": None if origin is None else origin.library,
            "timesteps": steps,
            "validation_accuracy": best.validation_accuracy,
            "validation_accuracy_by_timesteps": list(best.validation_accuracy_by_timesteps),
            "weights_sha256": run.weights_sha256(),
        }
    )
    out.next("eval", str(run.path))
