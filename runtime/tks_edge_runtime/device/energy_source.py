"""What an energy is measured of, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tks_edge_runtime.energy import Covers


@dataclass(frozen=True)
class EnergySource:
    """Something whose energy this machine can measure.

    Attributes:
        name: the key of every result, such as "VDD_IN", "package-0", "gpu-0".
        label: what it covers, for people: "module rail VDD_IN, not wall".
        kind: "power": read many times a second and integrated; "counter": the hardware adds it up.
        covers: the same for a program.
    """

    name: str
    label: str
    kind: Literal["power", "counter"]
    covers: Covers


@dataclass(frozen=True)
class Probe:
    """How a source is read.

    Attributes:
        source: what it is.
        read: the power in W, or the counter in J; None where it cannot be read at this moment.
        wraps_at: the J at which a counter starts again at 0; None where it never does.
    """

    source: EnergySource
    read: Callable[[], float | None]
    wraps_at: float | None = None
