"""What the comparison over timesteps trains."""

from __future__ import annotations

from typing import Any

TWIN = "relu"
LONGER = 2
"""How many times the recipe's epochs the last few train: a random T costs 9/16 of T = 8, so that is as much work."""
BEST = "tks, random T, teacher of weight 1, twice as long"
"""What kept the most at small T in trials."""
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
    "mean, twice as long": {"loss": "mean", "longer": True},
    "tks, twice as long": {"loss": "tks", "longer": True},
    BEST: {
        "loss": "tks",
        "objective": SAMPLED | TAUGHT | {"teacher_weight": 1.0},
        "longer": True,
    },
}
"""What is compared, by name: settings of a training. A teacher is the ReLU twin of the same seed."""
