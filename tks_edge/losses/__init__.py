"""Training losses: pure functions of the logits of every step, the labels, and how far training has come.

Each takes `logits` `[T, B, C]` (floating point), `labels` (int64 class indices `[B]`; most also probabilities
`[B, C]`, floating point, from mixup and label smoothing) and `progress`, the share of the epochs that is done (0..1),
and returns the mean loss over the batch as a scalar.
"""

from tks_edge.losses.consistency import etc, s2w, w2s
from tks_edge.losses.cross_entropy import mean, tet
from tks_edge.losses.divergence import divergence
from tks_edge.losses.options import Number, OptionValue, words, yes_or_no
from tks_edge.losses.registry import (
    LOSSES,
    Loss,
    LossEntry,
    create_loss,
    is_temporal,
    parse_options,
    permits_soft_labels,
)
from tks_edge.losses.sharing import tks, tks_published

__all__ = [
    "LOSSES",
    "Loss",
    "LossEntry",
    "Number",
    "OptionValue",
    "create_loss",
    "divergence",
    "etc",
    "is_temporal",
    "mean",
    "parse_options",
    "permits_soft_labels",
    "s2w",
    "tet",
    "tks",
    "tks_published",
    "w2s",
    "words",
    "yes_or_no",
]
