"""What one step of training minimises: the loss of a batch, with whatever was asked for on top of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from tks_edge.frames import chosen, merged
from tks_edge.losses import Loss, divergence
from tks_edge.settings.objective import ObjectiveSettings
from tks_edge.soft_labels import Mixture, probabilities, smoothed
from tks_edge_models import Network
from tks_edge_runtime.errors import InputError


@dataclass(frozen=True)
class Step:
    """What one step of training gave.

    Attributes:
        loss: a scalar, to call `backward` on.
        logits: `[T', B, C]`, without gradient; T' is what this step ran. With mixup they still are to be compared with
            the labels that were given: of a mixed sample they are the likelier ones.
    """

    loss: Tensor
    logits: Tensor


class Objective:
    """The loss of a batch and everything on top of it.

        L = loss(o, y) + teacher_weight (1/T') sum_t tau^2 KL(softmax(z / tau) || softmax(o[t] / tau))

    with the labels y smoothed, images and labels mixed and T' drawn as the settings say; z are the teacher's logits on
    the same, mixed image. All randomness comes from torch's global generator of the CPU, in a fixed order: a training
    that saves its state resumes exactly, and processes with the same seed draw the same T', share and partners.

    Sources: random T after Du et al., "Temporal Flexibility in Spiking Neural Networks", ICLR 2025, arXiv 2503.17394,
    whose mixed time-step training draws several T a step and one for each stage of the network, where this draws one
    for all of it (read: the abstract and the caption of figure 1). The teacher after Yu et al., ICML 2025, arXiv
    2501.15925 (read: the authors' code, Intelli-Chip-Lab/snn_temporal_decoupling_distillation at 79846aa).

    Args:
        settings: checked against the loss (`ObjectiveSettings.check`).
        loss: as `losses.create_loss` makes it.
        timesteps: T of the training.
        teacher: the ReLU twin, on the device of the images; it is brought into evaluation mode and keeps its weights.
        frames: "first" or "rebin": which frames of a recording a smaller T' sees; see `frames.chosen`.

    Raises:
        InputError: the settings name a teacher and none is given, or the other way round.
    """

    def __init__(
        self,
        settings: ObjectiveSettings,
        loss: Loss,
        timesteps: int,
        teacher: Network | None = None,
        *,
        frames: str = "first",
    ) -> None:
        if (settings.teacher is None) != (teacher is None):
            raise InputError(
                f"the settings name {settings.teacher or 'no teacher'}, and {'no' if teacher is None else 'a'} teacher "
                f"was given. Give both or neither."
            )
        self._settings = settings
        self._loss = loss
        self._timesteps = timesteps
        self._teacher = None if teacher is None else teacher.eval().requires_grad_(False)
        self._frames = frames

    def __call__(self, model: Callable[..., Tensor], images: Tensor, labels: Tensor, progress: float) -> Step:
        """Run `model` forward on one batch.

        Args:
            model: a `Network`, or what wraps one.
            images: still images `[B, C, H, W]` or frames `[T, B, C, H, W]`, raw pixels, uint8 or floating point.
            labels: int64 `[B]`.
            progress: share of the epochs that is done, 0..1.

        Raises:
            InputError: there are not as many frames as timesteps.
        """
        moving = images.ndim == 5
        if moving and len(images) != self._timesteps:
            raise InputError(f"the batch has {len(images)} frames; the training has {self._timesteps} timesteps.")
        settings = self._settings
        timesteps = self._draw_timesteps()
        mixture = Mixture.draw(len(labels), settings.mixup) if settings.mixup else None
        if mixture is not None:
            images = mixture.of(images, axis=1 if moving else 0)
        shown = chosen(images, timesteps, self._frames) if moving else images
        logits = model(shown, timesteps=timesteps)
        loss = self._loss(logits, self._targets(labels, logits.shape[-1], mixture), progress)
        if self._teacher is not None:
            loss = loss + settings.teacher_weight * self._distance(self._teacher, images, logits)
        return Step(loss, logits.detach())

    def _draw_timesteps(self) -> int:
        if not self._settings.sample_timesteps:
            return self._timesteps
        return int(torch.randint(1, self._timesteps + 1, ()))

    def _targets(self, labels: Tensor, classes: int, mixture: Mixture | None) -> Tensor:
        if not self._settings.softens_labels:
            return labels
        soft = smoothed(probabilities(labels, classes), self._settings.label_smoothing)
        return soft if mixture is None else mixture.of(soft)

    def _distance(self, teacher: Network, images: Tensor, logits: Tensor) -> Tensor:
        """How far the steps are from the teacher, which sees a still image, or the mean of all frames as one."""
        with torch.no_grad():
            shown = merged(images, 1) if images.ndim == 5 else images
            taught = teacher(shown, timesteps=1)
        return divergence(logits, taught, self._settings.teacher_temperature).mean()
