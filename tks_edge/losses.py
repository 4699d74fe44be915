"""Training losses: pure functions of the logits of every step, the labels, and how far training has come.

Each takes `logits` `[T, B, C]` (floating point), `labels` `[B]` (int64 class indices) and `progress`, the share of the
epochs that is done (0..1), and returns the mean loss over the batch as a scalar.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tks_edge_runtime.errors import InputError, unknown

Loss = Callable[[Tensor, Tensor, float], Tensor]
OptionValue = float | str | bool


def mean(logits: Tensor, labels: Tensor, progress: float) -> Tensor:  # noqa: ARG001 - one signature for every loss
    """Cross entropy of the mean output over T: the usual baseline, and the loss of the ReLU twin."""
    _check(logits, labels)
    return functional.cross_entropy(logits.mean(0), labels)


def tet(
    logits: Tensor,
    labels: Tensor,
    progress: float,  # noqa: ARG001 - one signature for every loss
    *,
    lam: float = 1e-3,
    target: float = 1.0,
) -> Tensor:
    """Temporal efficient training: the cross entropy of each step, and a pull of every logit to a constant.

        L = (1 - lam) (1/T) sum_t CE(o[t], y) + lam (1/T) sum_t MSE(o[t], target)

    Source: Deng et al., ICLR 2022, arXiv 2202.11946; `lam` and `target` are the defaults of the authors' code.
    """
    _check(logits, labels)
    per_step = functional.cross_entropy(logits.flatten(0, 1), labels.repeat(len(logits)))
    spread = (logits - target).square().mean()
    return (1.0 - lam) * per_step + lam * spread


def tks(
    logits: Tensor,
    labels: Tensor,
    progress: float,
    *,
    tau: float = 3.0,
    alpha: float = 0.7,
    reduce: str = "mean",
    detach: bool = True,
    none_correct: str = "uniform",
    student_temperature: str = "1",
) -> Tensor:
    """Temporal knowledge sharing: the steps that classify a sample rightly teach every step.

        m[t] = 1 if argmax o[t] = y else 0                        per sample, each step alone
        z    = sum_t m[t] o[t], over sum_t m[t] with reduce=mean  0 when no step is right
        q    = softmax(z / tau)
        L_KD = (1/T) sum_t tau^2 (- sum_c q_c log softmax(o[t] / s)_c)
        L    = (1 - lam) CE(mean_t o[t], y) + lam L_KD,           lam = alpha progress

    Source: Dong, Zhao, Zeng, arXiv 2304.06540; the authors' code is `tks_published`. Averaging over the correct steps
    (the default here) keeps the teacher's temperature at tau whatever T.

    Args:
        logits: `[T, B, C]`.
        labels: `[B]`.
        progress: share of the epochs that is done, 0..1.
        tau: temperature of the teacher.
        alpha: the weight of L_KD at the end of training, 0..1.
        reduce: "mean" or "sum" of the correct steps' logits.
        detach: whether no gradient flows into the teacher.
        none_correct: what teaches a sample that no step classifies rightly: "uniform", the uniform distribution, or
            "skip", nothing: its L_KD is 0.
        student_temperature: s, "1" or "tau".
    """
    _check(logits, labels)
    correct = (logits.argmax(-1) == labels).to(logits.dtype).unsqueeze(-1)
    count = correct.sum(0)
    teacher = (correct * logits).sum(0)
    if reduce == "mean":
        teacher = teacher / count.clamp(min=1.0)
    shared = torch.softmax(teacher / tau, dim=-1)
    if detach:
        shared = shared.detach()
    student = torch.log_softmax(logits / (tau if student_temperature == "tau" else 1.0), dim=-1)
    per_sample = -(shared * student).sum(-1).mean(0) * tau**2
    if none_correct == "skip":
        per_sample = per_sample * (count.squeeze(-1) > 0)
    lam = alpha * progress
    return (1.0 - lam) * functional.cross_entropy(logits.mean(0), labels) + lam * per_sample.mean()


def tks_published(logits: Tensor, labels: Tensor, progress: float, *, tau: float = 3.0, alpha: float = 0.7) -> Tensor:
    """TKS as in the authors' code: the sum of the correct steps teaches, and gradients flow into the teacher."""
    return tks(logits, labels, progress, tau=tau, alpha=alpha, reduce="sum", detach=False)


def _check(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 3 or labels.shape != logits.shape[1:2] or labels.is_floating_point():
        raise InputError(
            f"a loss takes logits [T, B, C] and hard labels [B] (class indices), got logits {list(logits.shape)} and "
            f"labels {list(labels.shape)} of {labels.dtype}. Soft labels (mixup, smoothing) have no correct step."
        )


@dataclass(frozen=True)
class _Number:
    """An option that is a number, from `low` to `high`."""

    low: float
    high: float = math.inf

    def parse(self, text: str) -> float:
        """The number that `text` stands for; ValueError says what is allowed."""
        upper = "" if math.isinf(self.high) else f" and at most {self.high:g}"
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (self.low <= number <= self.high and math.isfinite(number)):
            raise ValueError(f"a number of at least {self.low:g}{upper}")
        return number


@dataclass(frozen=True)
class _Choice:
    """An option that is one of a few words."""

    values: Mapping[str, OptionValue]

    def parse(self, text: str) -> OptionValue:
        """The value that the word `text` stands for; ValueError says what is allowed."""
        if text not in self.values:
            raise ValueError(" or ".join(self.values))
        return self.values[text]


@dataclass(frozen=True)
class _Entry:
    """A loss by name: the function, its options, and whether it needs more than one step to mean anything."""

    function: Callable[..., Tensor]
    options: Mapping[str, _Number | _Choice]
    temporal: bool = True


def _words(*words: str) -> _Choice:
    return _Choice({word: word for word in words})


# A temperature of 0 would divide by it; 0.01 is already an argmax.
_TEACHING: dict[str, _Number | _Choice] = {"tau": _Number(0.01), "alpha": _Number(0.0, 1.0)}

_REGISTRY: dict[str, _Entry] = {
    "mean": _Entry(mean, {}, temporal=False),
    "tet": _Entry(tet, {"lam": _Number(0.0, 1.0), "target": _Number(-math.inf)}),
    "tks": _Entry(
        tks,
        {
            **_TEACHING,
            "reduce": _words("mean", "sum"),
            "detach": _Choice({"yes": True, "no": False}),
            "none_correct": _words("uniform", "skip"),
            "student_temperature": _words("1", "tau"),
        },
    ),
    "tks-published": _Entry(tks_published, _TEACHING),
}
LOSSES = tuple(_REGISTRY)


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


def _entry(name: str) -> _Entry:
    if name not in _REGISTRY:
        raise unknown("loss", name, _REGISTRY)
    return _REGISTRY[name]
