"""What a shell completes the values of options and arguments to: names, several names by commas, and files of ours.

It runs at every press of the key: nothing heavy is imported, and few folders are looked into.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tks_edge_runtime import plugins
from tks_edge_runtime.manifest import FORMS, TARGETS

Completer = Callable[[str], list[str]]
"""Gets what was typed of a value so far, and gives what it may become."""

PRECISIONS = ("fp32", "fp16", "int8")
BACKENDS = ("onnxruntime", "openvino", "tensorrt")
AUTO = "auto"
BACKEND_DEVICES = ("cpu", "cuda", "tensorrt", "gpu")
PRESETS = ("quick", "standard", "long", "mlperf")
PERCENTILES = ("p50", "p90", "p95", "p99", "p999")
PREFERENCES = ("latency", "accuracy", "energy")
ASPECTS = ("power-mode", "method", "backend", "evaluation-set", "batch-size")
"""These are the names of `backends`, `presets`, `reporting.bounds` and `reporting.compare`, which import NumPy: a test
compares them."""

_DEPTH = 3
"""So many folders deep files of ours are looked for: runs/, or demo/runs/."""
_MOST_FOLDERS = 400
"""After so many folders looked into, the search ends: a key must not wait for a disk."""
_NOT_OURS = {"node_modules", "__pycache__", "site-packages"}


def one_of(names: Iterable[str], group: str | None = None) -> Completer:
    """Complete to one of the names, or to one that an installed plugin adds to this group of entry points."""
    known = tuple(names)
    return lambda incomplete: [name for name in _with_plugins(known, group) if name.startswith(incomplete)]


def some_of(names: Iterable[str], group: str | None = None) -> Completer:
    """Complete the last of several such names with commas between them, to one that is not there yet."""
    known = tuple(names)

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        given = before.split(",")
        fitting = (name for name in _with_plugins(known, group) if name.startswith(last))
        return [f"{before}{comma}{name}" for name in fitting if name not in given]

    return complete


def _with_plugins(known: tuple[str, ...], group: str | None) -> tuple[str, ...]:
    """The names that come along, then those of plugins, of which none is imported."""
    return known if group is None else tuple(dict.fromkeys((*known, *plugins.names(group))))


def files_with(*endings: str) -> Completer:
    """Complete to a file with one of the endings, in the folder that was typed or a few folders below it."""

    def complete(incomplete: str) -> list[str]:
        return sorted(
            f"{folder}{name}" for folder, names in _below(incomplete) for name in names if name.endswith(endings)
        )

    return complete


def folders_with(*names: str) -> Completer:
    """Complete to a folder that holds a file of one of these names or endings."""

    def complete(incomplete: str) -> list[str]:
        found = (folder for folder, held in _below(incomplete) if any(name.endswith(names) for name in held))
        return sorted(folder.rstrip("/") for folder in found if folder.startswith(incomplete) and folder)

    return complete


def _below(incomplete: str) -> Iterator[tuple[str, list[str]]]:
    """Every folder that what was typed can lead to, as it is typed, and the names in it that fit, the nearest first."""
    typed, slash, last = incomplete.rpartition("/")
    waiting = [(f"{typed}{slash}", last, 0)]
    for _ in range(_MOST_FOLDERS):
        if not waiting:
            return
        folder, start, depth = waiting.pop(0)
        try:
            entries = sorted(os.scandir(Path(folder).expanduser() if folder else Path()), key=lambda entry: entry.name)
        except OSError:
            continue
        fitting = [entry for entry in entries if entry.name.startswith(start) and not entry.name.startswith(".")]
        yield folder, [entry.name for entry in fitting if not entry.is_dir()]
        if depth < _DEPTH:
            inner = [entry.name for entry in fitting if entry.is_dir() and entry.name not in _NOT_OURS]
            waiting += [(f"{folder}{name}/", "", depth + 1) for name in inner]


artifact = files_with(".onnx")
artifact_folder = folders_with(".onnx")
report = folders_with("report.json")
report_file = files_with("report.json")
backend = one_of((*BACKENDS, AUTO), plugins.BACKENDS)
backend_name = one_of(BACKENDS, plugins.BACKENDS)
backends = some_of((*BACKENDS, AUTO), plugins.BACKENDS)
backend_device = one_of(BACKEND_DEVICES)
precisions = some_of(PRECISIONS)
forms = some_of(FORMS)
target = one_of(TARGETS)
preset = one_of(PRESETS)
percentile = one_of(PERCENTILES)
preference = one_of(PREFERENCES)
aspects = some_of(ASPECTS)
