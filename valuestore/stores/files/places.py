"""Places: which file holds the value of a key, the one at its own path, else the odd one; and all keys."""

from __future__ import annotations

import heapq
import os
import stat
from collections.abc import Iterator, Sequence
from functools import lru_cache

from valuestore.errors import BadKey
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
from valuestore.stores.keys import KEY_MAX_BYTES, check_key


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

    # --- listing: a folder is read when the first of its keys is due, so who stops early pays little

    def keys(self, prefix: bytes, after: bytes) -> Iterator[str]:
        """Those that start with the prefix and come after the key, each once. Raises: StoreUnavailable."""
        last = b""
        for raw in heapq.merge(self._walk(prefix, after), self._odd.list(prefix, after)):
            if raw != last:
                yield raw.decode()
            last = raw

    def _walk(self, prefix: bytes, after: bytes) -> Iterator[bytes]:
        """Depth first, each folder sorted as ``name/``, which makes the order that of the whole key."""
        base = prefix[: prefix.rfind(b"/") + 1]
        if base and not self._is_folder(base):
            return
        pending = self._scan(base, prefix, after)
        while pending:
            raw = pending.pop()
            if raw.endswith(b"/"):
                pending += self._scan(raw, prefix, after)
            else:
                yield raw

    def _is_folder(self, base: bytes) -> bool:
        """Whether keys may lie in it as files: no link leads there, and no ``..`` leads out."""
        below = base + b"x"
        try:
            check_key(below.decode())
        except BadKey:
            return False
        return self.own_path(below) is not None

    def _scan(self, base: bytes, prefix: bytes, after: bytes) -> list[bytes]:
        """What to list of one folder, last first: files by their key, folders with a slash at the end."""
        found: list[bytes] = []
        try:
            with os.scandir(self._root.path + base) as entries:
                for entry in entries:
                    raw = base + entry.name
                    if entry.is_dir(follow_symlinks=False):
                        raw += b"/"
                        wanted = (raw.startswith(prefix) or prefix.startswith(raw)) and (
                            raw > after or after.startswith(raw)
                        )
                    else:
                        wanted = (
                            raw.startswith(prefix) and raw > after and entry.is_file(follow_symlinks=False)
                        )
                    if wanted and len(raw) <= KEY_MAX_BYTES and _is_utf8(raw):
                        found.append(raw)
        except OSError as error:
            if error.errno not in NOTHING_THERE:
                raise unavailable(error, self._root.path + base) from error
        if not base:
            found = [raw for raw in found if raw != PRIVATE + b"/"]
        found.sort(reverse=True)
        return found


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


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
