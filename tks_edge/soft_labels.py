"""Labels that are probabilities: label smoothing, and mixup, which mixes the images with them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Beta
from torch.nn import functional


def probabilities(labels: Tensor, classes: int) -> Tensor:
    """Class indices, int64 `[B]`, as probabilities, float32 `[B, classes]`: 1 at the label and 0 elsewhere."""
    return functional.one_hot(labels, classes).float()


def smoothed(labels: Tensor, smoothing: float) -> Tensor:
    """Probabilities `[B, C]` of which the share `smoothing` (0..1) is given to all classes alike.

    y' = (1 - smoothing) y + smoothing / C. Source: Szegedy et al., CVPR 2016, section 7.
    """
    return labels * (1.0 - smoothing) + smoothing / labels.shape[-1]


@dataclass(frozen=True)
class Mixture:
    """How a batch is mixed: sample i becomes `share` of itself and the rest of sample `partners[i]`.

    Attributes:
        share: 0..1.
        partners: a permutation of the batch, int64 `[B]`, on the CPU.
    """

    share: float
    partners: Tensor

    @classmethod
    def draw(cls, samples: int, alpha: float) -> Mixture:
        """A mixture for a batch of `samples`, from torch's global generator of the CPU.

        The share comes from Beta(alpha, alpha), and it is the greater part that a sample keeps: share and 1 - share are
        equally likely, and exchanging them gives the same mixed images in another order, so training is the same; but
        the label of every sample stays the likeliest one, and an accuracy can be counted against it.

        Source: Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, arXiv 1710.09412.
        """
        parameter = torch.tensor(alpha, dtype=torch.float64)
        share = float(Beta(parameter, parameter).sample())
        return cls(max(share, 1.0 - share), torch.randperm(samples))

    def of(self, values: Tensor, axis: int = 0) -> Tensor:
        """`values` mixed along `axis`, that of the batch: images (uint8 becomes float32, of the same range) or labels.

        A sample that is its own partner, or has an equal one, stays as it is to the bit.
        """
        own = values if values.is_floating_point() else values.float()
        other = own.index_select(axis, self.partners.to(own.device))
        return torch.lerp(other, own, self.share)
