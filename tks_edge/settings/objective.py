"""What a training minimises beside its loss: soft labels, a random number of timesteps, a teacher.

Importing it does not import torch: the command line does so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from tks_edge_runtime.errors import InputError

_SMALLEST_MIXUP = 0.01
"""Below it Beta(a, a) is 0 or 1 to any precision that matters, and sampling it is no longer accurate."""


@dataclass(frozen=True)
class ObjectiveSettings:
    """The tricks that go on top of any loss that permits them; none by default.

    Attributes:
        label_smoothing: the share of a label that is given to all classes alike, 0 to below 1.
        mixup: the parameter of the Beta distribution that images and labels are mixed by; 0: they are not mixed.
        sample_timesteps: whether each step of training runs a T of its own, drawn uniformly from 1 to `timesteps`.
        teacher: run directory of a ReLU twin that teaches every timestep; None: nobody does.
        teacher_weight: of the teacher's term, which is added to the loss. 0.2 is what the commands in the code of Yu et
            al. (ICML 2025, arXiv 2501.15925) have.
        teacher_temperature: of the teacher's term, at least 0.01; 3 as in that code.

    Raises:
        InputError: a value is not allowed, or says something about a teacher where there is none.
    """

    label_smoothing: float = 0.0
    mixup: float = 0.0
    sample_timesteps: bool = False
    teacher: str | None = None
    teacher_weight: float = 0.2
    teacher_temperature: float = 3.0

    def __post_init__(self) -> None:
        _allowed("label_smoothing", self.label_smoothing, 0.0 <= self.label_smoothing < 1.0, "at least 0 and below 1")
        mixes = self.mixup == 0.0 or self.mixup >= _SMALLEST_MIXUP
        _allowed("mixup", self.mixup, mixes, f"0 (none), or at least {_SMALLEST_MIXUP:g}")
        _allowed("teacher_weight", self.teacher_weight, self.teacher_weight > 0.0, "above 0")
        _allowed("teacher_temperature", self.teacher_temperature, self.teacher_temperature >= 0.01, "at least 0.01")
        if self.teacher is None:
            for name in ("teacher_weight", "teacher_temperature"):
                if getattr(self, name) != getattr(ObjectiveSettings, name):
                    raise InputError(
                        f"{name} is {getattr(self, name)}, but there is no teacher. Name the run of a ReLU twin with "
                        f"--teacher, or leave it out."
                    )

    @property
    def softens_labels(self) -> bool:
        """Whether the labels that the loss sees are probabilities."""
        return self.label_smoothing > 0.0 or self.mixup > 0.0

    def check(self, loss: str, timesteps: int, neuron: str) -> None:
        """Refuse what does not go together.

        Args:
            loss: name of the loss.
            timesteps: T of the training.
            neuron: "lif", or "relu" for the twin.

        Raises:
            InputError: a loss that needs hard labels would get soft ones; there is only one T to draw.
        """
        from tks_edge.losses import LOSSES, permits_soft_labels  # needs torch

        if self.softens_labels and not permits_soft_labels(loss):
            asked = " and ".join(
                option
                for option, value in (("--label-smoothing", self.label_smoothing), ("--mixup", self.mixup))
                if value
            )
            others = ", ".join(name for name in LOSSES if permits_soft_labels(name))
            raise InputError(
                f"the loss {loss!r} asks which timesteps are right, and with {asked} the labels are probabilities that "
                f"none is right or wrong by. Leave {asked} out, or use one of these losses: {others}."
            )
        if self.sample_timesteps and neuron == "relu":
            raise InputError("--neuron relu runs one pass: there is no T to draw. Leave --sample-timesteps out.")
        if self.sample_timesteps and timesteps == 1:
            raise InputError("--sample-timesteps draws T from 1 to --timesteps, and that is 1. Give more --timesteps.")


def _allowed(name: str, value: float, holds: bool, allowed: str) -> None:
    if not (holds and math.isfinite(value)):
        raise InputError(f"{name} is {value}; allowed is {allowed}.")
