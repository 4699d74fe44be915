"""Is a compiled program still the network? Its logits are compared; its spikes cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tks_edge_export.errors import VerificationError
from tks_edge_export.values import Array
from tks_edge_export.watched import batches

_TOLERANCE = 1e-4
"""Of the golden logits, absolute and relative to the largest, as in the runtime's own test of an artifact: sums of a
few thousand products in float32, taken in another order, are apart by some 1e-6 of their size."""


@dataclass(frozen=True)
class ProgramComparison:
    """A program, as loaded back from its file, against the network in PyTorch on the CPU.

    Its spikes cannot be read, so this is not the comparison that graphs pass: one spike decided otherwise, where a
    membrane is within rounding of the threshold, may move a sample's logits. The golden pair alone is judged.

    Attributes:
        samples: how many inputs.
        agreeing: for how many of them both predict the same class.
        within: for how many of them the logits are within `logit_tolerance`.
        golden_difference: how far the logits of the golden input are apart, at most.
        logit_tolerance: how far they may be.
    """

    samples: int
    agreeing: int
    within: int
    golden_difference: float
    logit_tolerance: float

    def check(self, what: Path) -> None:
        """Raise a VerificationError that names `what` where the golden logits differ."""
        # Not the other way round: NaN is no logit either.
        if not self.golden_difference <= self.logit_tolerance:
            raise VerificationError(
                f"{what} is not the network it was made from: compiled by torch-tensorrt, it gives golden logits that "
                f"differ by {self.golden_difference:.3g} (allowed: {self.logit_tolerance:.3g}). Nothing was written. "
                "Use --format trt, whose graph is compared spike by spike."
            )


def compare_program(
    program: nn.Module,
    network: nn.Module,
    inputs: Array,
    golden: tuple[Array, Array],
    *,
    device: str = "cpu",
    on_progress: Callable[[int], None] | None = None,
) -> ProgramComparison:
    """Compare a program with the network that it must equal, on real samples.

    Args:
        program: as it is shipped; static batches `[N, ...]` to logits `[N, K]`.
        network: the same in PyTorch, on the CPU.
        inputs: `[M, ...]`, in the dtype of the program's.
        golden: one static batch, and the network's logits for it.
        device: where the program runs, a name that torch knows.
        on_progress: called with the number of samples done.
    """
    golden_input, golden_logits = golden
    tolerance = _TOLERANCE * (1 + float(np.abs(golden_logits).max()))
    difference = float(np.abs(logits_of(program, golden_input, device) - golden_logits).max())
    agreeing = within = done = 0
    for batch, real in batches(inputs, len(golden_input)):
        got, wanted = logits_of(program, batch, device)[:real], logits_of(network, batch)[:real]
        agreeing += int((got.argmax(1) == wanted.argmax(1)).sum())
        within += int((np.abs(got - wanted).max(1) <= tolerance).sum())
        done += real
        if on_progress is not None:
            on_progress(done)
    return ProgramComparison(len(inputs), agreeing, within, difference, tolerance)


def logits_of(module: nn.Module, batch: Array, device: str = "cpu") -> Array:
    """What a module gives for one batch of raw pixels, computed on `device`: `[N, K]`."""
    with torch.inference_mode():
        logits: Array = module(torch.from_numpy(batch).to(device)).cpu().numpy()
    return logits
