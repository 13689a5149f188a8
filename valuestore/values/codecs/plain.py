"""The codecs of built-in types: raw text and bytes, plain data, and tagged canonical form.

``text`` and ``bytes`` payloads are the bare content, ``plain`` is the encoding that is hashed, and
``tagged`` the same encoding of a lowered object. What is hashed is thus what is stored; where it needs a
signature, ``signed`` is the codec (signed.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from valuestore.errors import DecodeError, PayloadError
from valuestore.values.codecs.signed import is_sealed, signature_of
from valuestore.values.identity.lift import Openers, lift
from valuestore.values.trust.gate import decode_plain

TEXT = "text"
BYTES = "bytes"
PLAIN = "plain"
TAGGED = "tagged"
SIGNED = "signed"
SIGNED_CODECS = frozenset({SIGNED, "pickle"})
"""Codecs of what loads with a signature alone."""
MAY_GO_STALE = SIGNED_CODECS | {TAGGED}
"""Codecs whose values may hold something that stands for outside state; plain data and arrays cannot."""
PLAIN_CODECS = frozenset({TEXT, BYTES, PLAIN, TAGGED})
NEVER_STALE = PLAIN_CODECS - MAY_GO_STALE
"""Codecs of what stands for nothing but itself, which ``decode`` reads."""
DROPPED = "dropped"
"""Of values whose bytes were damaged or lost, and given up: what they were is told until they are back."""


def encode_text(text: str) -> bytes:
    """UTF-8; lone surrogates pass, as three bytes each."""
    return text.encode("utf-8", "surrogatepass")


def decode(codec: str, data: bytes) -> Any:
    """The object that was encoded, of any codec here but ``tagged``. Raises: DecodeError."""
    if codec == PLAIN:
        return decode_plain(data)
    if codec == TEXT:
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise DecodeError("builtins.str", str(error)) from error
    if codec == BYTES:
        return bytes(data)
    raise DecodeError(codec, "no such codec here; it was stored by a newer valuestore or by a plug-in")


def decode_tagged(data: bytes, rules: Openers, check: Callable[[Any], None] | None = None) -> Any:
    """The object; ``check`` looks at its form first, unless it was signed. Raises: DecodeError; as it."""
    try:
        form = decode_plain(data)
        if check is not None:
            check(form)
        return lift(form, rules)
    except RecursionError:
        raise DecodeError(TAGGED, "it is nested too deeply") from None
    except PayloadError:
        raise
    except Exception as error:  # a node of no form that was ever written
        raise DecodeError(TAGGED, f"damaged ({type(error).__name__})") from error


def decode_form(codec: str, data: bytes) -> Any:
    """As ``decode_lowered``, with text and bytes as they are; None for other codecs. Raises: DecodeError."""
    if codec == TEXT:
        return data.decode("utf-8", "backslashreplace")
    return bytes(data) if codec == BYTES else decode_lowered(codec, data)


def decode_lowered(codec: str, data: bytes) -> Any:
    """The canonical form, without building the object: for previews. Raises: DecodeError."""
    form = decode_plain(data) if codec in (PLAIN, TAGGED, SIGNED) else None
    return decode_plain(bytes(signature_of(data)[1].data)) if codec == SIGNED and is_sealed(form) else form
