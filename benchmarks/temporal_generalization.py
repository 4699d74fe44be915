"""Every loss, trained at one T and tested at each smaller one: how much accuracy a small T costs, over seeds.

Each loss trains the same network from the same seeds on the same order of samples; recordings are tested on their first
frames and, whole, in fewer. Trainings are kept in `--runs` and rows in `--output`: started again, it goes on.

    python -m benchmarks.temporal_generalization --output bench/temporal.json [--datasets digits,digits-dvs] [--seeds 5]
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import multiprocessing
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.document import check_output, document, progress, status
from benchmarks.temporal_losses import CONFIGURATIONS, LONGER, TWIN
from benchmarks.temporal_tables import tables
from tks_edge.recipes import read_recipe
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json, write_json


def _settings(dataset: str, name: str, seed: int, epochs: int | None, timesteps: int) -> dict[str, Any]:
    """What the training is asked for, in the terms of `settings.resolve`."""
    shared = {"dataset": dataset, "seed": seed, "threads": 1} | ({} if epochs is None else {"epochs": epochs})
    if name == TWIN:
        return shared | {"neuron": "relu"}
    asked = shared | CONFIGURATIONS[name] | {"timesteps": timesteps}
    if asked.pop("longer", False):
        asked["epochs"] = LONGER * (epochs if epochs is not None else read_recipe(dataset).settings["epochs"])
    if dataset != "digits" and "objective" in asked:
        # A T drawn at random sees what it is tested on, the whole recording in fewer frames. For it whole frames are
        # merged, so that they hold unequal shares where T does not divide that of the training.
        asked["frames"] = {"fewer": "rebin"}
    return asked


def directory(runs: Path, dataset: str, name: str, seed: int) -> Path:
    """Where a training is kept."""
    return runs / f"{dataset}-{name.replace(', ', '-').replace(' ', '-')}-{seed}"


def _trained(given: dict[str, Any], path: Path) -> dict[str, Any]:
    """Train, or take what is trained; the accuracies on the test split, by the way that frames are made."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    from tks_edge.accuracy import evaluate_views
    from tks_edge.settings import resolve
    from tks_edge.trainer import train

    torch.set_num_threads(1)
    settings = resolve(given)
    from tks_edge.views import views

    run = train(settings, path, device="cpu", resume=(path / "config.json").is_file())
    dataset, steps = run.dataset(), range(1, settings.timesteps + 1)
    moving = settings.frames is not None
    ways = ("first", "rebin") if moving and run.network.is_spiking else ("first",)
    found = {
        way: evaluate_views(run, dataset, dataset.test, views(run, steps, way if moving else None)) for way in ways
    }
    return {
        "weights_sha256": run.weights_sha256(),
        "settings": settings.to_json(),
        "correct": {way: [entry.correct for entry in result.accuracies()] for way, result in found.items()},
        "total": len(dataset.test),
    }


def _identity(settings: dict[str, Any]) -> str:
    return json.dumps(settings, sort_keys=True)


def _jobs(arguments: argparse.Namespace, *, twins: bool) -> Iterator[tuple[dict[str, Any], Path, dict[str, Any]]]:
    """What is to be trained, where, and how its row begins; the twins, and then those that they teach."""
    names = [TWIN] if twins else arguments.losses
    for seed in range(arguments.seeds):
        for dataset in arguments.datasets:
            for name in names:
                given = _settings(dataset, name, seed, arguments.epochs, arguments.timesteps)
                if given.get("objective", {}).get("teacher"):
                    twin = str(directory(arguments.runs, dataset, TWIN, seed))
                    given["objective"] = given["objective"] | {"teacher": twin}
                key = {"dataset": dataset, "loss": name, "seed": seed}
                yield given, directory(arguments.runs, dataset, name, seed), key


def main() -> int:
    """Train and test, print the tables, write JSON; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", default="digits,digits-dvs", help="by commas [%(default)s]")
    parser.add_argument("--losses", help="names between semicolons [all]")
    parser.add_argument("--seeds", type=int, default=5, help="how many, from 0 [%(default)s]")
    parser.add_argument("--epochs", type=int, help="of each training [the recipe's]")
    parser.add_argument("--timesteps", type=int, default=8, help="T of the training [%(default)s]")
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at once [%(default)s]")
    parser.add_argument("--runs", type=Path, default=Path("bench/temporal"), help="for the trainings [%(default)s]")
    parser.add_argument("--output", type=Path, required=True, help="JSON")
    parser.add_argument("--plots", type=Path, help="a folder for a plot of each data set")
    arguments = parser.parse_args()
    arguments.datasets = arguments.datasets.split(",")
    arguments.losses = list(CONFIGURATIONS) if arguments.losses is None else arguments.losses.split(";")
    return status(lambda: _measure(arguments))


def _measure(arguments: argparse.Namespace) -> None:
    from tks_edge.settings import resolve

    if unknown := [name for name in arguments.losses if name not in CONFIGURATIONS]:
        raise InputError(f"--losses holds {unknown[0]!r}; there are {'; '.join(CONFIGURATIONS)}.")
    check_output(arguments.output)
    found = document("temporal_generalization")
    before = read_json(arguments.output)["rows"] if arguments.output.is_file() else []
    known = {_identity(row["settings"]): row for row in before}
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(arguments.processes, mp_context=context) as pool:
        for twins in (True, False):
            waiting: dict[concurrent.futures.Future[dict[str, Any]], dict[str, Any]] = {}
            for given, path, key in _jobs(arguments, twins=twins):
                done = known.get(_identity(resolve(given).to_json()))
                # A twin whose row came from another machine is trained again here: it has to teach.
                if done is not None and (path.is_dir() or not twins):
                    found["rows"].append(done)
                else:
                    waiting[pool.submit(_trained, given, path)] = key
            for count, future in enumerate(concurrent.futures.as_completed(waiting), start=1):
                found["rows"].append(waiting[future] | future.result())
                write_json(arguments.output, found)
                progress(f"{count} of {len(waiting)} trainings")
    progress("")
    print(tables(found["rows"]))
    write_json(arguments.output, found)
    if arguments.plots is not None:
        from benchmarks.temporal_plot import draw

        for path in draw(found["rows"], arguments.plots):
            print(f"written: {path}")


if __name__ == "__main__":
    sys.exit(main())
