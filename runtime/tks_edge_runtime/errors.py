"""The one root of every error that tks-edge raises on purpose, and the exit code each ends a command with.

    TksEdgeError           1   something that should hold does not
    ├── CheckError         1   a check was made and failed (a graph differs from its network)
    ├── InputError         2   what was asked for cannot be done as asked
    │   └── ArtifactError  2   a file is not an artifact, is damaged, or is of a newer schema
    └── MissingError       3   something needed is not on this machine: a library, a driver, room on the disk
        └── PluginError    3   an installed plugin cannot be used as it is

A message says what was got, what is allowed, and what to do next, in one or two lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path


class TksEdgeError(Exception):
    """Root of the errors of tks-edge; a command prints it without a traceback and exits with `exit_code`."""

    exit_code = 1


class CheckError(TksEdgeError):
    """A check was made and did not hold."""


class InputError(TksEdgeError):
    """What was asked for cannot be done as asked."""

    exit_code = 2


class ArtifactError(InputError):
    """A file is not a tks-edge artifact, is damaged, or was written by a newer version."""


class MissingError(TksEdgeError):
    """Something needed is not on this machine."""

    exit_code = 3


class PluginError(MissingError):
    """An installed plugin cannot be imported, or gives something else than it has to; its distribution is named."""


def unknown(kind: str, got: str, allowed: Iterable[str]) -> InputError:
    """The error for a name that is not one of `allowed`, with the closest one suggested.

    Args:
        kind: what the name stands for, as a noun ("dataset").
        got: the name that was given.
        allowed: every name that would have been accepted.
    """
    names = sorted(allowed)
    return InputError(f"unknown {kind} {got!r}.{did_you_mean(got, names)} Allowed: {', '.join(names)}.")


def did_you_mean(got: str, names: Iterable[str]) -> str:
    """The question for the name closest to what was given, a space before it; empty where none is close."""
    close = get_close_matches(got, list(names), n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else ""


def nearest_beside(path: Path, is_wanted: Callable[[Path], bool]) -> str:
    """The same for a path that is not there, among what is wanted in its folder."""
    try:
        beside = [one.name for one in path.parent.iterdir() if not one.name.startswith(".") and is_wanted(one)]
    except OSError:
        return ""
    close = get_close_matches(path.name, beside, n=1, cutoff=0.5)
    return f" Did you mean {str(path.with_name(close[0]))!r}?" if close else ""
