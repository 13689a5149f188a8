"""Places: which file holds the value of a key: the one at the key's own path, else the odd one."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from functools import lru_cache

from valuestore.hashing import hash_bytes
from valuestore.stores.files.posix import (
    NOTHING_THERE,
    look,
    older,
    open_regular,
    read_file,
    unavailable,
    unlink,
)
from valuestore.stores.files.root import PRIVATE, Root


class Places:
    """The files of one root, looked up anew each time, since other tools may move them."""

    def __init__(self, root: Root, odd: OddKeys) -> None:
        self._root = root
        self._base = root.path
        self._odd = odd

    def find(self, raw: bytes) -> tuple[bytes, os.stat_result | None]:
        """Where the key's data is or should go, and the file there; None if none is."""
        path = self.own_path(raw)
        if path is not None:
            try:
                found = os.lstat(path)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno not in NOTHING_THERE:
                    raise unavailable(error, path) from error
                path = None
            else:
                if stat.S_ISREG(found.st_mode):
                    return path, found
                if stat.S_ISDIR(found.st_mode):
                    path = None
        odd = self._odd.path(raw)
        at_odd = look(odd)
        if at_odd is not None and stat.S_ISREG(at_odd.st_mode):
            return odd, at_odd
        return path or odd, None

    def open(self, raw: bytes) -> tuple[int, os.stat_result, bytes]:
        """A descriptor on the key's data, the file's status and its path. Raises: NotFound."""
        path = self.own_path(raw)
        if path is None or (opened := open_regular(path)) is None:
            path = self._odd.path(raw)
            opened = open_regular(path)
        if opened is None:
            raise self._root.missing(raw.decode())
        return *opened, path

    def own_path(self, raw: bytes) -> bytes | None:
        """The key's own path, or None if it cannot be one or if what is no folder stands in its way."""
        base, name_max = self._base, self._root.name_max
        if raw.startswith(PRIVATE) and raw[len(PRIVATE) : len(PRIVATE) + 1] in (b"", b"/"):
            return None
        if len(raw) > name_max and max(map(len, raw.split(b"/"))) > name_max:
            return None
        end = raw.find(b"/")
        while end >= 0:
            try:
                found = os.lstat(base + raw[:end])
            except FileNotFoundError:
                break
            except OSError as error:
                if error.errno in NOTHING_THERE:
                    return None
                raise unavailable(error, base + raw[:end]) from error
            if not stat.S_ISDIR(found.st_mode):
                return None
            end = raw.find(b"/", end + 1)
        return base + raw


# --- OddKeys: values whose key cannot be a path, in a folder of their own, each named by the key's digest.
#
# Beside each lies a file with the name and ``.key``, which holds the key; it is written before the value.


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
