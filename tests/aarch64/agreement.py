"""How far what one artifact computes on two processors agrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tests.aarch64.record import SAMPLES

Array = npt.NDArray[Any]

LOGITS = 1e-5
"""Times the largest logit: float32 sums in another order, by other instructions, differ by some 1e-7 of their terms."""
INTEGERS = 1e-5
"""The share of spikes that may differ: where a sum ends within its rounding of the threshold, either is right."""
EQUAL, SAME_LOGITS, NOTICED, WRONG = "equal", "equal logits", "self-test fails", "WRONG"


@dataclass(frozen=True)
class Agreement:
    """What was compared, and how it came out.

    Attributes:
        artifact: its file's stem.
        integers: elements of integer and boolean tensors, spikes among them.
        differing: those of them that differ.
        logits: the largest difference of a logit relative to the largest logit, over the inputs of which no integer
            differs; over all of them where all have some that do.
        correct: how many samples of the evaluation set are classified correctly, on either processor.
        status: `EQUAL`; `SAME_LOGITS`, although integers differ; `NOTICED`: the artifact's own self-test fails on the
            second processor, so nobody uses it there unknowingly; or `WRONG`.
    """

    artifact: str
    integers: int
    differing: int
    logits: float
    correct: tuple[int, int]
    status: str


def agreement(artifact: str, here: Mapping[str, Array], there: Mapping[str, Array]) -> Agreement:
    """Compare what `record.py` recorded of an artifact on two processors."""
    names = [name for name in here if name.startswith("outputs/") and here[name].dtype.kind != "f"]
    wrong = [(here[name] != there[name]).reshape(SAMPLES, -1) for name in names]
    differs = np.any([part.any(1) for part in wrong], axis=0) if wrong else np.zeros(SAMPLES, bool)
    integers, differing = sum(part.size for part in wrong), sum(int(part.sum()) for part in wrong)
    a, b = (recorded["outputs/logits"].reshape(SAMPLES, -1) for recorded in (here, there))
    apart = np.abs(a - b).max(1) / np.abs(a).max()
    few = differing <= INTEGERS * integers
    logits = float((apart[~differs] if few else apart).max(initial=0))
    if few and logits <= LOGITS and there["self-test"]:
        status = EQUAL
    elif logits <= LOGITS and there["self-test"]:
        status = SAME_LOGITS
    else:
        status = WRONG if there["self-test"] else NOTICED
    correct = (int(here["correct"]), int(there["correct"]))
    return Agreement(artifact, integers, differing, logits, correct, status)
