"""Pictures that do not move, as suites give them to models; decoded in the decoding process."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from javisbench.media.errors import media_error
from javisbench.media.source import DecodeLimits, open_regular

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

_FORMATS = ("PNG", "JPEG", "WEBP")


def decode_image(path: Path, limits: DecodeLimits) -> NDArray[np.uint8]:
    """The picture as it is shown, uint8 ``(H, W, 3)``: turned as its EXIF says, laid over white where it is clear.

    Raises:
        MediaError: it is none of PNG, JPEG and WebP (``unsupported_format``), moves, is damaged (``decode_error``), or
            takes more than a frame of a video may (``too_large``), which is known before it is decoded.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of doubtful metadata; sizes are checked here
        Image.MAX_IMAGE_PIXELS = None
        try:
            with Image.open(_bytes(path, limits), formats=_FORMATS) as image:
                _check(path, image, limits)
                upright = ImageOps.exif_transpose(image)
                layered = upright.convert("RGBA")
        except UnidentifiedImageError as error:
            raise media_error("unsupported_format", f"{path}: no PNG, JPEG or WebP picture.") from error
        except (OSError, ValueError, SyntaxError, EOFError, ArithmeticError, KeyError, IndexError) as error:
            # Pillow's decoders raise whatever a damaged file leads them to.
            raise media_error("decode_error", f"{path}: the picture is damaged ({error}).") from error
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    pixels: NDArray[np.uint8] = np.asarray(Image.alpha_composite(white, layered).convert("RGB"))
    return pixels


def _bytes(path: Path, limits: DecodeLimits) -> io.BytesIO:
    """The file in memory: of a real file, Python sets aside whatever a damaged length asks for."""
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > limits.frame_bytes:
            raise media_error(
                "too_large", f"{path}: {size:,} bytes are more than the {limits.frame_bytes:,} that a picture may have."
            )
        return io.BytesIO(file.read(size))


def _check(path: Path, image: ImageFile, limits: DecodeLimits) -> None:
    width, height = image.size
    if getattr(image, "is_animated", False):
        raise media_error("unsupported_format", f"{path}: a picture that moves; give one that does not.")
    # Four bytes a pixel, and one more copy while it is turned.
    if width * height * 8 > limits.frame_bytes:
        raise media_error(
            "too_large",
            f"{path}: {width}x{height} pixels are more than the {limits.frame_bytes // 8:,} that a picture may have.",
        )
