"""What a file of NIR does not say about a timestep, and has to be told."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass

from tks_edge_export.nir_graphs.errors import NirError

EULER, EXPONENTIAL = "euler", "exponential"
LEAKS = (EULER, EXPONENTIAL)
HARD, SOFT = "hard", "soft"
RESETS = (HARD, SOFT)
AT, ABOVE = "at", "above"
FIRES = (AT, ABOVE)
FLAGS = {
    "dt": "--dt",
    "leak": "--leak",
    "decay_input": "--decay-input or --no-decay-input",
    "fires": "--fires",
    "reset": "--reset",
    "reset_delay": "--reset-delay or --no-reset-delay",
}
_WHY = {
    "dt": "the seconds a timestep; the file gives time constants in seconds",
    "leak": "what a step of dt keeps of a membrane: euler for 1 - dt/tau, exponential for exp(-dt/tau)",
    "decay_input": "whether a step scales the input by dt/tau, as the equation has it; r or w_in of 1 leave it open",
    "fires": "whether a neuron fires at its threshold or only above it",
    "reset": "hard sets the membrane to v_reset, soft subtracts the threshold; a v_reset of 0 is written for both",
    "reset_delay": "whether a soft reset comes one step late, as snnTorch has it by default",
}


@dataclass(frozen=True)
class Discretization:
    """How the equations of a file become timesteps; None for what is not told.

    Attributes:
        dt: seconds a timestep.
        leak: "euler" or "exponential".
        decay_input: whether a step scales the input by dt/tau, or of a neuron without leak by dt; else it is only
            multiplied by r, or the w_in of a synapse. Not asked where that is other than 1: then it holds the
            scale, and the equation is taken as it is.
        fires: "at" the threshold or "above" it.
        reset: "hard" or "soft".
        reset_delay: whether a soft reset comes one step late.

    Raises:
        NirError: a value is not allowed.
    """

    dt: float | None = None
    leak: str | None = None
    decay_input: bool | None = None
    fires: str | None = None
    reset: str | None = None
    reset_delay: bool | None = None

    def __post_init__(self) -> None:
        if self.dt is not None and not (math.isfinite(self.dt) and self.dt > 0.0):
            raise NirError(f"--dt is {self.dt}; seconds a timestep, above 0, are needed.")
        for name, allowed in (("leak", LEAKS), ("fires", FIRES), ("reset", RESETS)):
            got = getattr(self, name)
            if got is not None and got not in allowed:
                raise NirError(f"{FLAGS[name]} is {got!r}; allowed is {' or '.join(allowed)}.")

    def told(self) -> tuple[str, ...]:
        """The names of what is told."""
        return tuple(field.name for field in dataclasses.fields(self) if getattr(self, field.name) is not None)

    def check(self, needed: Iterable[tuple[str, str]], where: str) -> None:
        """Refuse what is missing and what is told for nothing.

        Args:
            needed: the name of what is needed, and of the node that needs it.
            where: the file.

        Raises:
            NirError: names all that is missing, and why it is needed.
        """
        first: dict[str, str] = {}
        for name, node in needed:
            first.setdefault(name, node)
        missing = [name for name in FLAGS if name in first and getattr(self, name) is None]
        if missing:
            why = "; ".join(f"{FLAGS[name]} ({_WHY[name]}; node {first[name]!r})" for name in missing)
            raise NirError(
                f"{where} says in continuous time what its neurons do, and not how a timestep is made of it. Give "
                f"{why}. docs/import.md has the values of each library that writes such files."
            )
        if idle := [name for name in self.told() if name not in first]:
            raise NirError(f"{FLAGS[idle[0]]} changes nothing: no neuron of {where} leaves that open. Leave it out.")

    def options(self) -> list[str]:
        """As options of the command line."""
        found = []
        for name in self.told():
            value = getattr(self, name)
            flag = "--" + name.replace("_", "-")
            if isinstance(value, bool):
                found.append(flag if value else flag.replace("--", "--no-", 1))
            else:
                found += [flag, f"{value:.12g}" if isinstance(value, float) else str(value)]
        return found
