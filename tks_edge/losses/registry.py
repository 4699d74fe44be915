"""The losses by name, with their options."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor

from tks_edge.losses.consistency import etc, s2w, w2s
from tks_edge.losses.cross_entropy import mean, tet
from tks_edge.losses.options import Number, Option, OptionValue, words, yes_or_no
from tks_edge.losses.sharing import tks, tks_published
from tks_edge_runtime import plugins
from tks_edge_runtime.errors import InputError, unknown

Loss = Callable[[Tensor, Tensor, float], Tensor]


@dataclass(frozen=True)
class LossEntry:
    """A loss by name, and what an entry point in `tks_edge.losses` gives.

    Attributes:
        function: the loss: logits `[T, B, C]`, labels and progress as in `tks_edge.losses`, to a scalar.
        options: what its keyword arguments may be; each of them has a default.
        temporal: whether it needs more than one step to mean anything.
        soft_labels: whether labels may be probabilities.
    """

    function: Callable[..., Tensor]
    options: Mapping[str, Option]
    temporal: bool = True
    soft_labels: bool = True

    def __post_init__(self) -> None:
        if lacking := sorted(self.options.keys() - (self.function.__kwdefaults__ or {}).keys()):
            raise TypeError(f"{self.function.__name__} has no keyword argument with a default for {', '.join(lacking)}")


# A temperature of 0 would divide by it; 0.01 is already an argmax.
_TEMPERATURE = Number(0.01)
_SHARING: dict[str, Option] = {"tau": _TEMPERATURE, "alpha": Number(0.0, 1.0)}
_CONSISTENCY: dict[str, Option] = {"tau": _TEMPERATURE, "weight": Number(0.0), "detach": yes_or_no()}
_TWO_STEPS: dict[str, Option] = {**_CONSISTENCY, "select": words("batch", "sample")}

_REGISTRY: dict[str, LossEntry] = {
    "mean": LossEntry(mean, {}, temporal=False),
    "tet": LossEntry(tet, {"lam": Number(0.0, 1.0), "target": Number(-math.inf)}),
    "tks": LossEntry(
        tks,
        {
            **_SHARING,
            "reduce": words("mean", "sum"),
            "detach": yes_or_no(),
            "none_correct": words("uniform", "skip"),
            "student_temperature": words("1", "tau"),
        },
        soft_labels=False,
    ),
    "tks-published": LossEntry(tks_published, _SHARING, soft_labels=False),
    "etc": LossEntry(etc, _CONSISTENCY),
    "s2w": LossEntry(s2w, _TWO_STEPS),
    "w2s": LossEntry(w2s, _TWO_STEPS),
}
LOSSES = tuple(_REGISTRY)
"""Those that come along."""
PLUGINS = plugins.Plugins("loss", plugins.LOSSES, LossEntry, LOSSES)


def parse_options(name: str, assignments: Iterable[str]) -> dict[str, OptionValue]:
    """Every option of the loss `name`: its defaults, changed by `assignments` ("tau=4", "reduce=sum").

    Raises:
        InputError: an unknown loss or option, or a value that is not allowed.
    """
    entry = _entry(name)
    defaults: dict[str, OptionValue] = entry.function.__kwdefaults__ or {}
    options = {option: defaults[option] for option in entry.options}
    for assignment in assignments:
        option, separator, text = assignment.partition("=")
        if not separator:
            raise InputError(f"loss option {assignment!r} is not of the form key=value, such as tau=3.")
        if not entry.options:
            raise InputError(f"the loss {name!r} has no options, got {assignment!r}. Leave it out.")
        if option not in entry.options:
            raise unknown(f"option of the loss {name!r}:", option, entry.options)
        try:
            options[option] = entry.options[option].parse(text)
        except ValueError as error:
            raise InputError(f"loss option {option} is {text!r}; allowed is {error}.") from error
    return options


def create_loss(name: str, options: Mapping[str, OptionValue]) -> Loss:
    """The loss `name` with these options bound (see `parse_options`).

    Raises:
        InputError: an unknown loss or option.
    """
    entry = _entry(name)
    for option in options:
        if option not in entry.options:
            raise unknown(f"option of the loss {name!r}:", option, entry.options)
    return functools.partial(entry.function, **options)


def is_temporal(name: str) -> bool:
    """Whether the loss relates the steps of a sequence to each other, so that one step gives it nothing to do."""
    return _entry(name).temporal


def permits_soft_labels(name: str) -> bool:
    """Whether the loss takes probabilities as labels, from mixup and label smoothing."""
    return _entry(name).soft_labels


def _entry(name: str) -> LossEntry:
    return _REGISTRY[name] if name in _REGISTRY else PLUGINS.load(name)
