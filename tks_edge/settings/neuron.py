"""The neuron's constants, as they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

from tks_edge_runtime.errors import unknown

RESETS = ("hard", "soft")


@dataclass(frozen=True)
class NeuronSettings:
    """The constants of the LIF neuron.

    Attributes:
        tau: membrane time constant in timesteps, at least 1.
        threshold: the potential at which it fires.
        reset: "hard" (to 0) or "soft" (the threshold is subtracted).
        surrogate: name of the surrogate gradient.
    """

    tau: float = 2.0
    threshold: float = 0.5
    reset: str = "hard"
    surrogate: str = "quadratic"

    def __post_init__(self) -> None:
        from tks_edge_models.surrogate import SURROGATES  # needs torch

        if self.reset not in RESETS:
            raise unknown("reset", self.reset, RESETS)
        if self.surrogate not in SURROGATES:
            raise unknown("surrogate", self.surrogate, SURROGATES)
