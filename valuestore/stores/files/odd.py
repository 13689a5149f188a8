"""OddKeys: values whose key cannot be a path, in a folder of their own, each named by the key's digest.

Beside each lies a file with the name and ``.key``, which holds the key; it is written before the value.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

from valuestore.hashing import hash_bytes
from valuestore.stores.files.posix import NOTHING_THERE, look, older, read_file, unavailable, unlink
from valuestore.stores.files.root import Root

_KEY_SUFFIX = b".key"


class OddKeys:
    """Those of one root. What it read of names it remembers, as a digest never gets another key."""

    def __init__(self, root: Root) -> None:
        self._folder = root.odd
        self._known: dict[bytes, bytes] = {}

    def path(self, raw: bytes) -> bytes:
        """Where the value of the key is, if it is odd."""
        return self._folder + key_digest(raw)

    def holds(self, path: bytes) -> bool:
        """Whether that is the path of an odd key's value."""
        return path.startswith(self._folder)

    def name_path(self, path: bytes) -> bytes:
        """Where the key lies of the value at ``path``."""
        return path + _KEY_SUFFIX

    def list(self, prefix: bytes, after: bytes) -> Sequence[bytes]:
        """The odd keys under the prefix and after the key, in order."""
        try:
            names = os.listdir(self._folder)
        except OSError as error:
            if error.errno in NOTHING_THERE:
                return []
            raise unavailable(error, self._folder) from error
        keys = (self._key(name) for name in names if not name.endswith(_KEY_SUFFIX))
        return sorted(raw for raw in keys if raw is not None and raw > after and raw.startswith(prefix))

    def sweep(self, seconds: float) -> int:
        """Remove names of that age whose value is no more. A writer renews the name just before the data."""
        swept = 0
        for path in older(self._folder, seconds):
            if path.endswith(_KEY_SUFFIX) and look(path.removesuffix(_KEY_SUFFIX)) is None:
                swept += unlink(path)
        return swept

    def _key(self, name: bytes) -> bytes | None:
        """The key whose digest is the name; None if that is not known or not so."""
        if name not in self._known:
            raw = read_file(self.name_path(self._folder + name))
            if raw is None or key_digest(raw) != name:
                return None
            self._known[name] = raw
        return self._known[name]


@lru_cache(maxsize=256)  # since one put asks for it several times
def key_digest(raw: bytes) -> bytes:
    """Of an algorithm for which nobody can make two keys with one digest."""
    return hash_bytes(raw, "store key", algorithm="blake3-256").encode()
