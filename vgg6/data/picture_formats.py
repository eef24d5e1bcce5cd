"""One encoded picture as the square RGB image that a network takes, whatever its format and mode.

What a picture has that an image of a data set has not is handled here: a palette, a grey scale, an
alpha channel, a rotation in its EXIF data, 16 bits a colour, CMYK, several frames.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from vgg6.data.images import Array

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
# What was done to a picture, as a summary counts it.
TRANSPARENT = "transparent, put on white"
TURNED = "turned upright by their EXIF data"
DEEP = "of 16 bits, reduced to 8"
FRAMES = "of several frames, the first one taken"
ORIENTATION = 0x0112
GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L")


class NoPicture(ValueError):
    """What was read is no picture that can be used; the message says why."""


@dataclass(frozen=True)
class Picture:
    """``pixels``: uint8 (S, S, 3); ``size``: width and height before, ``handled``: what was done
    to it besides resizing."""

    pixels: Array
    size: tuple[int, int]
    grey: bool
    handled: tuple[str, ...]


def decode(encoded: bytes | None, side: int) -> Picture:
    """Decode one picture and resize it to ``side`` pixels an edge, with a Lanczos filter.

    Raises:
        NoPicture: it is damaged, or of a kind without a meaning as colours.
    """
    try:
        if encoded is None:
            raise NoPicture("there is none")
        return _decode(encoded, side)
    except NoPicture:
        raise
    except UnidentifiedImageError:  # its message has an address in memory
        raise NoPicture("its format is not known") from None
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise NoPicture(str(error) or repr(error)) from None


def _decode(encoded: bytes, side: int) -> Picture:
    handled = []
    with Image.open(BytesIO(encoded)) as opened:
        # A photograph can be decoded at an eighth of its size, which is still larger than needed.
        opened.draft(None, (4 * side, 4 * side))  # type: ignore[arg-type]
        size, kind = opened.size, opened.format
        if kind != "MPO" and getattr(opened, "is_animated", False):
            handled.append(FRAMES)
        opened.load()
        image: Image.Image = opened
        if _is_turned(opened):
            image = ImageOps.exif_transpose(opened)
            handled.append(TURNED)
        grey = image.mode in GREY
        rgb = _rgb(image, kind, handled)
    if rgb.size != (side, side):
        rgb = rgb.resize((side, side), Image.Resampling.LANCZOS)
    return Picture(np.asarray(rgb), size, grey, tuple(handled))


def _is_turned(image: Image.Image) -> bool:
    """Whether its EXIF data say how to turn it: 1 is upright, and some cameras write 0 or 9."""
    try:
        return image.getexif().get(ORIENTATION, 1) in range(2, 9)
    except (SyntaxError, ValueError, OSError, struct.error):  # damaged beside a good picture
        return False


def _rgb(image: Image.Image, kind: str | None, handled: list[str]) -> Image.Image:
    """The picture in RGB, before it is resized: a palette's numbers cannot be averaged."""
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode in ("LAB", "F") or (mode == "I" and kind not in ("PNG", "PPM")):
        raise NoPicture(f"its mode {mode} says nothing of how its numbers are shown as colours")
    if mode.startswith("I"):
        handled.append(DEEP)
        deep = np.asarray(image).astype(np.int64)
        return Image.fromarray(((deep * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        whole = image.convert("RGBA")
        if whole.getchannel("A").getextrema()[0] == 255:
            return whole.convert("RGB")
        handled.append(TRANSPARENT)
        white = Image.new("RGBA", whole.size, "white")
        return Image.alpha_composite(white, whole).convert("RGB")
    return image.convert("RGB")


def resized(pixels: Array, side: int) -> Array:
    """An image that lies in an array, uint8 (H, W), (H, W, 1) or (H, W, 3), as uint8 (S, S, 3)."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).convert("RGB")
    if image.size != (side, side):
        image = image.resize((side, side), Image.Resampling.LANCZOS)
    return np.asarray(image)
