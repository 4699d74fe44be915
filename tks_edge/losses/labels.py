"""What a loss accepts as logits and labels."""

from __future__ import annotations

from torch import Tensor

from tks_edge_runtime.errors import InputError


def checked_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """The labels as a loss that permits soft ones takes them: int64 `[B]`, or `[B, C]` in the dtype of the logits.

    Raises:
        InputError: the shapes do not fit.
    """
    soft = labels.is_floating_point()
    if logits.ndim != 3 or labels.shape != (logits.shape[1:] if soft else logits.shape[1:2]):
        raise InputError(
            f"a loss takes logits [T, B, C] and labels [B] (class indices) or [B, C] (probabilities), got "
            f"{_got(logits)} and {_got(labels)}."
        )
    return labels.to(logits.dtype) if soft else labels


def checked_hard_labels(logits: Tensor, labels: Tensor) -> Tensor:
    """The labels as a loss takes them that asks whether a step is right: int64 `[B]`.

    Raises:
        InputError: they are soft, or the shapes do not fit.
    """
    if labels.is_floating_point():
        raise InputError(
            f"this loss takes hard labels [B] (class indices), got {_got(labels)}: with soft labels (mixup, label "
            f"smoothing) no step is right or wrong. Leave those out, or take another loss, such as mean."
        )
    return checked_labels(logits, labels)


def _got(tensor: Tensor) -> str:
    return f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"
