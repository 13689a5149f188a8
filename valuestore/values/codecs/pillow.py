"""Rules for Pillow: an image is its mode, size, palette, pixels, format and info.

A picture opened from a file counts as the image that it shows; what the file said beside the pixels
(``info``: resolution, profiles, transparency) counts too, since a task can read it. Images without any of
that, in the modes that the format holds exactly, are stored as PNG; others by state.
"""

from __future__ import annotations

import io
import struct
from typing import Any

from PIL import Image, ImageFile

from valuestore.errors import DecodeError
from valuestore.hashing import Bytes, active_algorithm, hash_bytes
from valuestore.values.identity.canonical import Codec, Refused, TypeRule
from valuestore.values.value import Plain

_PNG_MODES = {"L": (0, 1), "RGB": (2, 3), "LA": (4, 2), "RGBA": (6, 4)}
"""By mode: PNG's number for it, and bytes per pixel."""

_BITS = {"1": 1, "L": 8, "P": 8} | dict.fromkeys(("RGB", "YCbCr", "HSV", "LAB"), 24)
_BITS |= dict.fromkeys(("LA", "La", "PA", "I;16", "I;16L", "I;16B", "I;16N"), 16)
"""Bits per pixel of the modes that have not 32."""

_MOST_PIXELS = 1 << 26
"""Of an image stored as PNG: Pillow warns of larger ones (``Image.MAX_IMAGE_PIXELS``)."""

_MOST_EMPTY = 1 << 16
"""Pixels on one side of an image without any on the other, which takes memory all the same."""

_MOST_COMPRESSED = 1032
"""What deflate makes at most of one byte (https://zlib.net/zlib_tech.html)."""


def _told(image: Any) -> dict[str, Any]:
    if not type(image).__module__.startswith("PIL."):
        raise Refused(f"no rule says what identifies a {type(image).__qualname__}; take .copy()")
    if getattr(image, "is_animated", False):
        raise Refused("an image of several frames; pass the frames, each a .copy()")
    image.load()
    told: dict[str, Any] = {"mode": image.mode, "size": list(image.size), "info": dict(image.info)}
    if image.palette is not None:
        mode = image.palette.mode
        told["palette"] = [mode, bytes(image.getpalette(mode))]
    return told | ({"format": image.format} if image.format else {})


def _from_state(state: Plain) -> Any:
    width, height = state["size"]
    bits = _BITS.get(state["mode"], 32)
    if (width == 0 or height == 0) and max(width, height) > _MOST_EMPTY:
        raise DecodeError("PIL.Image.Image", f"an image of {width} x {height} pixels")
    if len(state["pixels"]) != (width * bits + 7) // 8 * height:
        raise DecodeError("PIL.Image.Image", f"{len(state['pixels'])} bytes are no {width} x {height} pixels")
    image = Image.frombytes(state["mode"], (width, height), state["pixels"])
    if "palette" in state:
        mode, colors = state["palette"]
        image.putpalette(colors, mode)
    image.info.update(state["info"])
    image.format = state.get("format")
    return image


def _fits(image: Any) -> bool:
    return (
        type(image) is Image.Image
        and image.mode in _PNG_MODES
        and not image.info
        and not image.format
        and 0 < image.width * image.height <= _MOST_PIXELS
    )


def _encode(image: Any) -> list[Bytes]:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    return [stream.getvalue()]


def _decode(data: Bytes) -> Any:
    """Only what says at its beginning that it is no larger than its bytes can make it is opened."""
    head = bytes(memoryview(data)[:33])
    if len(head) < 33 or head[:8] != b"\x89PNG\r\n\x1a\n" or head[12:16] != b"IHDR":
        raise DecodeError("PIL.Image.Image", "it is no PNG")
    width, height, depth, color = struct.unpack(">IIBB", head[16:26])
    widths = dict(_PNG_MODES.values())
    if depth != 8 or color not in widths or width * height * widths[color] > _MOST_COMPRESSED * len(data):
        raise DecodeError("PIL.Image.Image", f"{len(data)} bytes are no PNG of {width} x {height} pixels")
    with ImageFile.Parser() as parser:
        parser.feed(bytes(data))
        opened = parser.close()
    opened.load()
    if opened.mode not in _PNG_MODES or opened.size != (width, height):
        raise DecodeError("PIL.Image.Image", "it is another image than its beginning says")
    return Image.frombytes(opened.mode, opened.size, opened.tobytes())


RULES = [
    TypeRule(
        Image.Image,
        "PIL.Image.Image",
        lambda image: (
            _told(image) | {"digest": hash_bytes(image.tobytes(), algorithm=active_algorithm.get())}
        ),
        _from_state,
        lambda image: _told(image) | {"pixels": image.tobytes()},
        codec=Codec("png", _encode, _decode, _fits),
        subclasses=True,
    )
]
