"""The one gate through which stored bytes become objects: every unpickler of the project is here.

The plain unpickler resolves nothing: it can build None, bool, int, float, str, bytes, list, tuple, dict
and no other thing, whoever wrote the bytes. A test greps the tree for any loader outside this file.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, NoReturn

from valuestore.errors import DecodeError


class _PlainUnpickler(pickle.Unpickler):
    """Refuses each way by which pickle data can reach code."""

    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise DecodeError("plain", f"it names {module_name}.{global_name}, and plain data names nothing")

    def persistent_load(self, _pid: Any, /) -> NoReturn:
        raise DecodeError("plain", "it refers to an object outside itself")


def decode_plain(data: bytes) -> Any:
    """The plain data that ``hashing.encode_plain`` made these bytes from.

    Raises: DecodeError for anything else: truncated or trailing bytes, a global, a persistent id.
    """
    stream = io.BytesIO(data)
    try:
        obj = _PlainUnpickler(stream).load()
    except DecodeError:
        raise
    except Exception as error:  # the unpickler raises a dozen types on damaged input
        raise DecodeError("plain", f"damaged ({type(error).__name__})") from error
    if stream.tell() != len(data):
        raise DecodeError("plain", "bytes after its end")
    return obj
