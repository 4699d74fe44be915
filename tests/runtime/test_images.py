"""Image files become the pixels that the manifest describes, or one clear error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tks_edge_runtime.artifact import Preprocessing, TensorSpec
from tks_edge_runtime.errors import ArtifactError, InputError
from tks_edge_runtime.images import Array, read_image

GREY = Preprocessing("L", None, (8, 8))
COLOUR = Preprocessing("RGB", 8, (6, 8))
GREY_INPUT = TensorSpec("input", (1, 1, 8, 8), "uint8", "NCHW", "raw pixels")
COLOUR_INPUT = TensorSpec("input", (1, 3, 6, 8), "uint8", "NCHW", "raw pixels")


def pixels(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def test_an_image_of_the_right_size_comes_back_pixel_for_pixel(tmp_path: Path) -> None:
    image = pixels(8, 8)
    Image.fromarray(image).save(tmp_path / "x.png")
    np.testing.assert_array_equal(read_image(tmp_path / "x.png", GREY, GREY_INPUT), image[np.newaxis])


def test_colours_come_first_and_the_centre_is_cut_out(tmp_path: Path) -> None:
    image = pixels(8, 12, 3)
    Image.fromarray(image).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", COLOUR, COLOUR_INPUT)
    np.testing.assert_array_equal(sample, image[1:7, 2:10].transpose(2, 0, 1))
    assert sample.flags.c_contiguous


def test_the_shorter_side_is_resized_and_proportions_stay(tmp_path: Path) -> None:
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, 64:] = 255
    Image.fromarray(image).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", COLOUR, COLOUR_INPUT)
    assert (sample[:, :, :3] == 0).all()
    assert (sample[:, :, 5:] == 255).all()


def test_shrinking_averages_instead_of_skipping_pixels(tmp_path: Path) -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 255
    Image.fromarray(checkers.astype(np.uint8)).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", GREY, GREY_INPUT)
    assert sample.min() > 100
    assert sample.max() < 156


def test_the_orientation_of_the_camera_is_honoured(tmp_path: Path) -> None:
    image = np.zeros((8, 8), np.uint8)
    image[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the right when shown
    Image.fromarray(image).save(tmp_path / "x.png", exif=exif)
    sample = read_image(tmp_path / "x.png", GREY, GREY_INPUT)
    np.testing.assert_array_equal(sample[0], np.rot90(image, -1))


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "I;16", "CMYK", "F"])
def test_any_colour_mode_is_converted(tmp_path: Path, mode: str) -> None:
    ending = "tiff" if mode in ("CMYK", "F") else "png"
    Image.new(mode, (20, 10)).save(tmp_path / f"x.{ending}")
    assert read_image(tmp_path / f"x.{ending}", GREY, GREY_INPUT).shape == (1, 8, 8)
    assert read_image(tmp_path / f"x.{ending}", COLOUR, COLOUR_INPUT).shape == (3, 6, 8)


@pytest.mark.parametrize("ending", ["png", "jpg", "gif", "bmp", "webp", "tiff"])
def test_a_truncated_image_is_refused_in_one_line(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    Image.fromarray(pixels(60, 60, 3)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="is not an image that can be read, or is damaged") as caught:
        read_image(path, GREY, GREY_INPUT)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"\xff\xd8\xff"])
def test_a_file_that_is_no_image_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(InputError, match="is not an image"):
        read_image(tmp_path / "x.png", GREY, GREY_INPUT)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read_image(tmp_path / "x.png", GREY, GREY_INPUT)
    with pytest.raises(InputError, match="Is a directory"):
        read_image(tmp_path, GREY, GREY_INPUT)


def test_a_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "x.png")
    for limit in (4000, 9000):  # more than twice the limit raises in Pillow, less only warns
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match="is too large to be read"):
            read_image(tmp_path / "x.png", GREY, GREY_INPUT)


def test_raw_pixels_come_in_the_dtype_of_the_input(tmp_path: Path) -> None:
    image = pixels(8, 8)
    Image.fromarray(image).save(tmp_path / "x.png")
    sample = read_image(tmp_path / "x.png", GREY, TensorSpec("input", (1, 1, 8, 8), "float32", "NCHW", "raw pixels"))
    assert sample.dtype == np.float32
    np.testing.assert_array_equal(sample, image[np.newaxis])


@pytest.mark.parametrize(("shape", "dtype"), [((1, 4, 2, 8, 8), "uint8"), ((1, 1, 8, 8), "float16")])
def test_an_artifact_that_takes_no_image_files_says_so(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    with pytest.raises(InputError, match=r"not image files. Run it from Python"):
        read_image(tmp_path / "x.png", GREY, TensorSpec("input", shape, dtype, "NTCHW", "event frames"))


def test_a_preprocessing_that_does_not_fit_the_input_is_refused(tmp_path: Path) -> None:
    Image.new("L", (20, 20)).save(tmp_path / "x.png")
    with pytest.raises(ArtifactError, match=r"makes \[3, 6, 8\], its input takes \[1, 8, 8\]"):
        read_image(tmp_path / "x.png", COLOUR, GREY_INPUT)
    with pytest.raises(ArtifactError, match="cuts 8 x 8 out of 4 x 4"):
        read_image(tmp_path / "x.png", Preprocessing("L", 4, (8, 8)), GREY_INPUT)
