"""One artifact that is to be damaged, and where chance comes from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tks_edge_runtime.artifact import Artifact


@dataclass(frozen=True)
class Case:
    """A whole artifact with its archives in a folder of its own, another original to splice with, and the chance."""

    path: Path
    other: Path
    chance: Random

    @property
    def golden(self) -> Path:
        """The golden pair beside it."""
        return self.path.with_name(Artifact.open(self.path).manifest.golden_file)

    @property
    def evaluation(self) -> Path:
        """The evaluation set beside it."""
        (found,) = self.path.parent.glob("*.eval.npz")
        return found


Damage = Callable[[Case], None]
"""Changes the files of a case, in place."""
