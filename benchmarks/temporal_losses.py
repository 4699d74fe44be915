"""What the comparison over timesteps trains."""

from __future__ import annotations

from typing import Any

TWIN = "relu"
SAMPLED, TAUGHT = {"sample_timesteps": True}, {"teacher": TWIN}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "mean": {"loss": "mean"},
    "tet": {"loss": "tet"},
    "etc": {"loss": "etc"},
    "s2w": {"loss": "s2w"},
    "w2s": {"loss": "w2s"},
    "tks-published": {"loss": "tks-published"},
    "tks": {"loss": "tks"},
    "mean, random T": {"loss": "mean", "objective": SAMPLED},
    "tet, random T": {"loss": "tet", "objective": SAMPLED},
    "tks, random T": {"loss": "tks", "objective": SAMPLED},
    "tks, teacher": {"loss": "tks", "objective": TAUGHT},
    "tks, random T, teacher": {"loss": "tks", "objective": SAMPLED | TAUGHT},
}
"""What is compared, by name: settings of a training. A teacher is the ReLU twin of the same seed."""
