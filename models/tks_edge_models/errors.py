"""The errors that the models raise on purpose."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class ModelError(ValueError):
    """A network, a neuron or an input that cannot be as asked; the message says what is allowed."""


def unknown(kind: str, got: object, allowed: Iterable[str]) -> ModelError:
    """The error for a name that does not exist, with the closest one that does."""
    names = list(allowed)
    close = get_close_matches(str(got), names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return ModelError(f"unknown {kind} {got!r}.{hint} Allowed: {', '.join(names)}.")
