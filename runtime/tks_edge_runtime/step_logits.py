"""The logits of every timestep alone, of any number of samples: what a rule for early exit is chosen on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import FRAMES
from tks_edge_runtime.contract import InputCheck
from tks_edge_runtime.session import Session

Array = npt.NDArray[Any]


def step_logits(session: Session, samples: Array, on_progress: Callable[[float], None] | None = None) -> Array:
    """Run a step artifact over samples for all of the session's timesteps.

    Args:
        session: of a step artifact.
        samples: `[M, ...]`, M >= 1, as `Session.run` takes them.
        on_progress: told the fraction that is done, 0 to 1, after each batch.

    Returns:
        float32 `[T, M, K]`.

    Raises:
        InputError: the artifact is a static graph, or `samples` do not fit.
    """
    manifest = session.manifest
    with session.stream() as stream:
        InputCheck(manifest.batch).samples(samples)
        size, frames = manifest.input.shape[0], manifest.encoding == FRAMES
        logits = np.empty((session.timesteps, len(samples), len(manifest.classes)), np.float32)
        for start in range(0, len(samples), size):
            # The last batch is filled up with copies of the last sample.
            rows = np.minimum(np.arange(start, start + size), len(samples) - 1)
            batch, end = samples[rows], min(start + size, len(samples))
            stream.reset()
            for t in range(session.timesteps):
                found = stream.step(batch[:, t] if frames else batch if t == 0 else None)
                logits[t, start:end] = found[: end - start]
            if on_progress is not None:
                on_progress(end / len(samples))
    return logits
