"""Image files become inputs: read, turned upright, converted, resized and cropped as the manifest says."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tks_edge_runtime.artifact import Preprocessing, TensorSpec
from tks_edge_runtime.errors import ArtifactError, InputError, nearest_beside

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

_PIXEL_DTYPES = ("uint8", "float32")


def read_image(path: Path | str, preprocessing: Preprocessing | None, spec: TensorSpec) -> Array:
    """Read an image file as one sample of an artifact's input.

    The image is turned as its EXIF orientation says, converted to the mode, resized (bilinear, with antialiasing) so
    that its shorter side is `resize` pixels, and the centre of `crop` is cut out; with `resize` None it is resized to
    `crop` itself, whatever its proportions.

    Args:
        path: the image file; of an animation, the first frame is taken.
        preprocessing: mode, size and crop, from the manifest; None where it has none.
        spec: the artifact's input, `[N, C, H, W]`, uint8 or float32.

    Returns:
        raw pixels `[C, H, W]`, 0 to 255, in the dtype of the input.

    Raises:
        InputError: the file is missing, no image, truncated, or too large to be one; or the artifact takes no images.
        ArtifactError: what the preprocessing makes is not what the input takes.
    """
    if preprocessing is None or len(spec.shape) != 4 or spec.dtype not in _PIXEL_DTYPES:
        raise InputError(
            f"this artifact takes {spec.dtype}{list(spec.shape)} ({spec.meaning}), not image files. "
            "Run it from Python: tks_edge_runtime.session.load(path).run(array)."
        )
    image = fit(open_image(Path(path), preprocessing.mode), preprocessing)
    pixels = np.asarray(image, dtype=np.uint8)
    sample = pixels[np.newaxis] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
    if sample.shape != spec.shape[1:]:
        raise ArtifactError(
            f"the manifest's preprocessing makes {list(sample.shape)}, its input takes {list(spec.shape[1:])}. "
            "Export the artifact again."
        )
    return sample.astype(spec.dtype, copy=False)


def open_image(path: Path, mode: str) -> Image:
    """Read an image file, turned upright as its EXIF orientation says, in `mode` ("L" or "RGB").

    Raises:
        InputError: the file is missing, no image, truncated, or too large to be one.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # A file of a few kilobytes may claim to be an image of gigabytes.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                return ImageOps.exif_transpose(image).convert(mode)
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        near = "" if path.exists() else nearest_beside(path, Path.is_file)
        raise InputError(f"cannot read {path}: {error.strerror}.{near} Give an image file.") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path} is too large to be read as an image. Give a smaller one.") from error
    except Exception as error:  # a damaged file can raise anything in any of the decoders
        raise InputError(
            f"{path} is not an image that can be read, or is damaged. Replace it by a PNG, JPEG or the like."
        ) from error


def fit(image: Image, preprocessing: Preprocessing) -> Image:
    """Resize and crop an image; see `read_image`. Training prepares its images with the same code.

    Raises:
        ArtifactError: the crop is larger than what resizing leaves.
    """
    from PIL.Image import Resampling

    height, width = preprocessing.crop
    if preprocessing.resize is None:
        return image.resize((width, height), Resampling.BILINEAR)
    shorter = min(image.size)
    resized = tuple(max(1, preprocessing.resize * side // shorter) for side in image.size)
    if resized[0] < width or resized[1] < height:
        raise ArtifactError(
            f"the manifest's preprocessing cuts {width} x {height} out of {resized[0]} x {resized[1]} pixels. "
            "Export the artifact again."
        )
    left, top = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
    resized_image = image.resize((resized[0], resized[1]), Resampling.BILINEAR)
    return resized_image.crop((left, top, left + width, top + height))
