"""What a network sees of a data set's samples at one T: a still image at every step, or frames of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tks_edge.checkpoint import Run
from tks_edge.data.dataset import Split
from tks_edge.settings import TrainSettings
from tks_edge.settings.frames import FEWER, FIRST, REBIN, FrameSettings
from tks_edge.timesteps import check_timesteps, powers_of_two
from tks_edge_runtime.artifact import FrameSpec
from tks_edge_runtime.errors import InputError, unknown


@dataclass(frozen=True)
class View:
    """How samples are shown at `timesteps`.

    Attributes:
        timesteps: T.
        frames: how the recordings are cut at this T; None for still images.
        share: how many frames a recording is cut into, in units of the training's.
    """

    timesteps: int
    frames: FrameSpec | None
    share: float = 1.0

    @property
    def is_rebinned(self) -> bool:
        """Whether the recordings are cut otherwise than in the training."""
        return self.share != 1.0

    @property
    def is_restated(self) -> bool:
        """Whether the network has batch norm's statistics of its own at this T; see `norms`."""
        return self.frames is not None and self.frames.norms_restated

    def split(self, split: Split) -> Split:
        """The samples, cut as this view has them; all frames of them, where it takes the first."""
        return split.rebinned(self.timesteps) if self.is_rebinned else split

    def stacked(self, split: Split) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """What the network is given, uint8 `[M, C, H, W]` or `[M, T, C, H, W]`, and the classes, int64 `[M]`."""
        inputs, labels = self.split(split).stacked()
        return (inputs if self.frames is None else np.ascontiguousarray(inputs[:, : self.timesteps])), labels


def steps_of(run: Run, asked: Sequence[int] | None) -> tuple[int, ...]:
    """Each T that is asked for of a run: the powers of two up to that of its training where none is; 1 of a ReLU twin.

    Raises:
        InputError: no T at all, or another than 1 of a ReLU twin.
    """
    if asked is not None and not asked:
        raise InputError("no timesteps are given. Name at least one T, or leave them out for the powers of two.")
    if run.network.is_spiking:
        return tuple(asked) if asked is not None else powers_of_two(run.config.train.timesteps)
    if asked is not None and tuple(asked) != (1,):
        raise InputError(f"{run.path} is a ReLU network: it has no state and runs one pass. Use --timesteps 1.")
    return (1,)


def views(run: Run, timesteps: Sequence[int], fewer: str | None = None) -> list[View]:
    """The views of a run's data set at each T.

    Args:
        run: a trained network.
        timesteps: each T.
        fewer: "first" or "rebin", for recordings; that of the training when not given.

    Raises:
        InputError: `fewer` is given for still images, or there are not so many first frames.
    """
    settings = run.config.train
    if settings.frames is None:
        if fewer is not None:
            raise InputError(f"{run.path} was trained on still images, which have no frames. Leave --frames out.")
        return [View(check_timesteps(t), None) for t in timesteps]
    if fewer not in (None, *FEWER):
        raise unknown("way to fewer frames:", str(fewer), FEWER)
    fewer = fewer if fewer is not None else settings.frames.fewer
    if fewer == FIRST and max(timesteps) > settings.timesteps:
        raise InputError(
            f"timesteps is {max(timesteps)}, and {run.path} was trained on {settings.timesteps} frames of each "
            f"recording. Use at most as many, or --frames {REBIN}."
        )
    return [_view(settings, settings.frames, check_timesteps(t), whole=fewer == REBIN) for t in timesteps]


def view_of(run: Run, timesteps: int, frames: FrameSpec | None, artifact: Path) -> View:
    """The view that the artifact at `artifact` was written for, by what its manifest says.

    Raises:
        InputError: it takes frames and the run was trained on still images, or the other way round.
    """
    settings = run.config.train
    if (frames is None) != (settings.frames is None):
        kinds = ("still images", "frames") if frames is None else ("frames", "still images")
        raise InputError(
            f"{artifact} takes {kinds[0]}, and {run.path} was trained on {kinds[1]}. Give the run that it is from."
        )
    return View(timesteps, frames, 1.0 if frames is None else frames.timesteps / settings.timesteps)


def _view(settings: TrainSettings, frames: FrameSettings, timesteps: int, *, whole: bool) -> View:
    """The view of the whole recording in `timesteps` frames, or of the first ones of those that were trained on.

    The statistics of batch norm that training leaves are of what it saw. Whole recordings in another number of frames
    are something else; and where T was drawn at random, they are a mixture that fits no T.
    """
    if not whole:
        return View(timesteps, FrameSpec(frames.cut, settings.timesteps))
    mixed = settings.objective.sample_timesteps and frames.fewer == REBIN
    restated = mixed or timesteps != settings.timesteps
    return View(timesteps, FrameSpec(frames.cut, timesteps, restated), timesteps / settings.timesteps)
