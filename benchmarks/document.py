"""What all benchmarks share: numbers and files in options, the JSON's machine and versions, progress, the end."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tks_edge_runtime import device
from tks_edge_runtime.errors import InputError, TksEdgeError

_PACKAGES = (
    "tks-edge",
    "torch",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "tensorrt",
    "cuda-bindings",
    "spikingjelly",
    "numpy",
)


def numbers(text: str) -> list[int]:
    """`1,2,4` as numbers of at least 1, each once."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers of at least 1, such as 1,2,4")
    return list(dict.fromkeys(map(int, parts)))


def document(benchmark: str) -> dict[str, Any]:
    """What the JSON says before anything is measured."""
    return {
        "benchmark": benchmark,
        "command": ["python", "-m", f"benchmarks.{benchmark}", *sys.argv[1:]],
        "machine": device.facts(),
        "versions": {package: _version(package) for package in _PACKAGES},
        "rows": [],
    }


def progress(text: str) -> None:
    """Show what is being done on a terminal, over what was done before."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def check_output(path: Path) -> None:
    """Refuse a place that cannot be written to now, not after the first comparison."""
    if path.is_dir():
        raise InputError(f"--output {path} is a folder; give the name of a file.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise InputError(f"--output {path} cannot be written: {error.strerror}. Choose another place.") from error


def status(measure: Callable[[], int | None]) -> int:
    """The exit status of a benchmark; what a user can mend is one line on standard error."""
    try:
        return measure() or 0
    except TksEdgeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
