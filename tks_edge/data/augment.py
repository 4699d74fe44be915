"""Augmentations of training samples; their randomness is torch's global generator.

Each takes a still image, uint8 `[C, H, W]`, or the frames of a recording, uint8 `[T, C, H, W]`, all treated alike, and
gives one of the network's size.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as tv

from tks_edge.data.dataset import Transform

_BILINEAR = v2.InterpolationMode.BILINEAR


class Jitter:
    """A small rotation, shift and change of size, such as a hand makes: a digit stays the digit that it is."""

    _DEGREES, _SHIFT, _ZOOM = 10.0, 1 / 16, 0.1

    def __init__(self, size: int) -> None:
        self._size = size
        self._affine = v2.RandomAffine(
            self._DEGREES,
            translate=(self._SHIFT, self._SHIFT),
            scale=(1.0 - self._ZOOM, 1.0 + self._ZOOM),
            interpolation=_BILINEAR,
        )

    def __call__(self, image: Tensor) -> Tensor:
        """An augmented copy of `image`."""
        # Pillow turns so small an image several times faster than torch, and on one thread.
        jittered: Tensor = tv.pil_to_tensor(self._affine(tv.to_pil_image(_fitted(image, self._size))))
        return jittered


class RandAugment:
    """Two random operations of torchvision's RandAugment space, each applied with probability 0.5.

    The strength of each is drawn from a normal distribution of mean 9 and standard deviation 0.5 on the scale 0..10:
    the policy that timm writes `rand-m9-mstd0.5`, in the TKS authors' recipe. Source: Cubuk et al., arXiv 1909.13719.

    Args:
        fill: the colour of what an operation uncovers, 0..255 per channel.
    """

    _OPERATIONS = 2
    _PROBABILITY = 0.5
    _STRENGTH, _DEVIATION, _STRONGEST = 9.0, 0.5, 10.0
    _BINS = 1001
    """torchvision takes the strength as a whole number of bins; these are steps of 0.01."""

    def __init__(self, fill: Sequence[float]) -> None:
        self._fill = list(fill)

    def __call__(self, image: Tensor) -> Tensor:
        """An augmented copy of `image`."""
        for _ in range(self._OPERATIONS):
            if float(torch.rand(())) < self._PROBABILITY:
                image = self._operation()(image)
        return image

    def _operation(self) -> v2.RandAugment:
        drawn = self._STRENGTH + self._DEVIATION * float(torch.randn(()))
        share = min(max(drawn / self._STRONGEST, 0.0), 1.0)
        bins = round(share * (self._BINS - 1))
        return v2.RandAugment(
            num_ops=1, magnitude=bins, num_magnitude_bins=self._BINS, interpolation=_BILINEAR, fill=self._fill
        )


class SmallImages:
    """The TKS authors' augmentation of CIFAR: padded random crop, flip, RandAugment, random erasing.

    An image of another size is first resized and cropped as evaluation does it.

    A quarter of the images lose a rectangle. It gets the mean colour, which is 0 after the normalisation inside the
    network: the same as erasing to 0 there.

    Args:
        size: height and width of the image in pixels; the padding is an eighth of it (4 at 32).
        mean: the mean colour, per channel, in units of the full pixel range (0..1).
    """

    def __init__(self, size: int, mean: Sequence[float]) -> None:
        self._size = size
        colour = [round(255.0 * value) for value in mean]
        self._transform = v2.Compose(
            [
                v2.RandomCrop(size, padding=math.ceil(size / 8)),
                v2.RandomHorizontalFlip(),
                RandAugment(colour),
                v2.RandomErasing(p=0.25, value=colour),
            ]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """An augmented copy of `image`."""
        augmented: Tensor = self._transform(_fitted(image, self._size))
        return augmented


class LargeImages:
    """A random crop of 8 to 100 % of the area, resized, and a flip: the usual augmentation at ImageNet's size."""

    def __init__(self, size: int) -> None:
        self._transform = v2.Compose(
            [v2.RandomResizedCrop(size, interpolation=_BILINEAR, antialias=True), v2.RandomHorizontalFlip()]
        )

    def __call__(self, image: Tensor) -> Tensor:
        """An augmented copy of `image`."""
        augmented: Tensor = self._transform(image)
        return augmented


class Events:
    """The TKS authors' augmentation of DVS-CIFAR10, on all frames alike: padded random crop, flip, rotation.

    The rotation is by up to 15 degrees either way.

    Args:
        size: height and width of a frame in pixels; the padding is a twelfth of it (4 at 48).
        upright: leave out flip and rotation, where they would make another class of it (a digit, a letter).
    """

    def __init__(self, size: int, *, upright: bool = False) -> None:
        crop = v2.RandomCrop(size, padding=math.ceil(size / 12))
        # Nearest: an event is counted in one pixel, and counts stay whole.
        turn = v2.RandomRotation(15.0, interpolation=v2.InterpolationMode.NEAREST)
        self._transform = v2.Compose([crop] if upright else [crop, v2.RandomHorizontalFlip(), turn])

    def __call__(self, frames: Tensor) -> Tensor:
        """An augmented copy of `frames`."""
        augmented: Tensor = self._transform(frames)
        return augmented


def _fitted(image: Tensor, size: int) -> Tensor:
    if image.shape[-2:] == (size, size):
        return image
    fitted: Tensor = tv.center_crop(tv.resize(image, [size], antialias=True), [size, size])
    return fitted


_Maker = Callable[[int, Sequence[float]], Transform]
AUGMENTATIONS: dict[str, _Maker] = {
    "none": lambda size, _mean: lambda sample: _fitted(sample, size),
    "jitter": lambda size, _mean: Jitter(size),
    "small-images": SmallImages,
    "large-images": lambda size, _mean: LargeImages(size),
    "events": lambda size, _mean: Events(size),
    "events-upright": lambda size, _mean: Events(size, upright=True),
}
"""Each by its name in `facts`: from the height and width of an input and the mean colour to the augmentation."""
