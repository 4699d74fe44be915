"""The runs in a folder: which of its folders is one, and which is the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tks_edge.checkpoint import CONFIG, MODEL, is_ours, read_done
from tks_edge.settings import RUNS
from tks_edge_runtime.errors import InputError
from tks_edge_runtime.files import read_json


def is_run(path: Path) -> bool:
    """Whether `path` holds a config.json that `tks-edge train`, `finetune` or `import` wrote, of whatever version."""
    return _config_in(path) is not None


def _config_in(path: Path) -> dict[str, Any] | None:
    try:
        document = read_json(path / CONFIG)
    except InputError:
        return None
    return document if is_ours(document) else None


def latest_run(runs: Path | str = RUNS, *, spiking: bool | None = None) -> Path:
    """The run directory in the folder `runs` whose trained weights were written last.

    Args:
        runs: the folder.
        spiking: True to look at spiking networks alone, False at ReLU twins alone.

    Raises:
        InputError: there is none.
    """
    found = [file.parent for file in Path(runs).glob(f"*/{MODEL}") if _is_kind(file.parent, spiking)]
    if not found:
        kind = {None: "", True: "spiking ", False: "ReLU "}[spiking]
        option = " --neuron relu" if spiking is False else ""
        raise InputError(f"{runs} holds no trained {kind}run. Train one first: tks-edge train{option}")
    return max(found, key=lambda run: ((run / MODEL).stat().st_mtime_ns, run.name))


def _is_kind(run: Path, spiking: bool | None) -> bool:
    config = _config_in(run)
    if config is None or spiking is None:
        return config is not None
    network = config.get("network")
    return isinstance(network, dict) and network.get("neuron") == ("lif" if spiking else "relu")


def latest_unfinished(runs: Path | str = RUNS) -> Path:
    """The run directory in the folder `runs` that began last and has epochs left to train.

    Raises:
        InputError: there is none, or none but such whose summary is damaged.
    """
    found: list[Path] = []
    damage: InputError | None = None
    for run in (file.parent for file in Path(runs).glob(f"*/{CONFIG}") if is_run(file.parent)):
        try:
            is_finished = read_done(run).finished
        except InputError as error:  # of a run that nobody named: it stands in the way of no other
            damage = error
            continue
        if not is_finished:
            found.append(run)
    if not found:
        nothing = f"{runs} holds no unfinished run. Name one with --output, or train without --resume."
        raise damage or InputError(nothing)
    return max(found, key=lambda run: ((run / CONFIG).stat().st_mtime_ns, run.name))
