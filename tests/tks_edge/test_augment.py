"""What training does to an image."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tks_edge.data.augment import Jitter, LargeImages, RandAugment, SmallImages


@pytest.mark.parametrize(
    ("augment", "shape"),
    [
        (Jitter(16), (1, 16, 16)),
        (SmallImages(32, (0.5, 0.4, 0.3)), (3, 32, 32)),
        (LargeImages(64), (3, 64, 64)),
    ],
)
def test_augmentations_keep_type_and_size(augment: Any, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    original = image.clone()
    torch.manual_seed(0)
    results = [augment(image) for _ in range(60)]
    assert all(result.dtype == torch.uint8 and result.shape == image.shape for result in results)
    assert len({result.numpy().tobytes() for result in results}) > 30
    assert torch.equal(image, original)


def test_rand_augment_changes_about_three_images_of_four() -> None:
    image = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    augment = RandAugment([128, 128, 128])
    torch.manual_seed(0)
    changed = sum(not torch.equal(augment(image), image) for _ in range(400))
    # 1 - 0.5^2, less the identity and the operations that change nothing on noise; 400 draws: 0.06 is three deviations.
    assert 0.55 < changed / 400 < 0.81


def test_erasing_fills_with_the_mean_colour() -> None:
    image = torch.full((3, 32, 32), 255, dtype=torch.uint8)
    torch.manual_seed(0)
    erased = [v for v in (SmallImages(32, (0.2, 0.4, 0.6))(image) for _ in range(100)) if (v == 51).any()]
    assert erased
    colours = {tuple(pixel) for pixel in erased[0].flatten(1).T.tolist()}
    assert (51, 102, 153) in colours
