"""What all benchmarks share: lists of numbers in options, the JSON's machine and versions, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tks_edge_runtime import device
from tks_edge_runtime.errors import TksEdgeError

_PACKAGES = ("tks-edge", "torch", "onnxruntime", "openvino", "spikingjelly", "numpy")


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
