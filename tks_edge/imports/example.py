"""What a network of another library is run on to be taken over: real samples, in the form that its forward takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tks_edge.data.dataset import Dataset
from tks_edge_models.layers import PixelNormalize
from tks_edge_runtime.errors import InputError, unknown

AXES = ("B", "TB", "BT")
"""The leading axes of what a forward takes: one timestep or a still image, or all timesteps."""
_SAMPLES = 4


@dataclass(frozen=True)
class Example:
    """How samples of a data set become an example.

    Attributes:
        axes: one of `AXES`.
        shape: of one sample at one timestep, where a network takes another than that of the data set.
        file: an array in place of samples of the data set, as `numpy.save` wrote it.
    """

    axes: str = "B"
    shape: tuple[int, ...] | None = None
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.axes not in AXES:
            raise unknown("order of axes", self.axes, AXES)
        if self.shape is not None and (not self.shape or min(self.shape) < 1):
            raise InputError(f"--example-shape is {list(self.shape)}; sizes of at least 1 are needed, such as 1,28,28.")

    def tensor(self, dataset: Dataset, timesteps: int, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """The example, float32.

        Raises:
            InputError: the file holds no array of numbers, or samples cannot have that shape.
        """
        if self.file is not None:
            return _stored(self.file)
        # As many samples as timesteps would leave open which axis is which.
        split = dataset.validation.evenly_spaced(_SAMPLES if timesteps != _SAMPLES else _SAMPLES - 1)
        samples = torch.stack([split[index][0] for index in range(len(split))])
        frames = samples.transpose(0, 1) if samples.ndim == 5 else samples.expand(timesteps, *samples.shape)
        shown: Tensor = PixelNormalize(mean, std)(frames)
        if self.shape is not None:
            if math.prod(self.shape) != math.prod(shown.shape[2:]):
                raise InputError(
                    f"--example-shape is {list(self.shape)}, and a sample of {dataset.name} is "
                    f"{list(shown.shape[2:])}, another number of values."
                )
            shown = shown.reshape(*shown.shape[:2], *self.shape)
        if self.axes == "B":
            return shown[0]
        return shown if self.axes == "TB" else shown.transpose(0, 1).contiguous()


def _stored(file: Path) -> Tensor:
    try:
        values = np.load(file, allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}.") from error
    except (ValueError, EOFError) as error:
        raise InputError(f"{file} holds no array of numpy.save ({error}). Write it again.") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "iufb" or not values.size:
        raise InputError(f"{file} holds no numbers. Give an array of what the network's forward takes.")
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
