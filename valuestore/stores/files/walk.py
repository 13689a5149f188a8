"""Walk: the keys below a root in byte order, found folder by folder and merged with the odd ones."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator

from valuestore.errors import BadKey
from valuestore.stores.files.places import OddKeys, Places
from valuestore.stores.files.posix import NOTHING_THERE, unavailable
from valuestore.stores.files.root import PRIVATE, Root
from valuestore.stores.keys import KEY_MAX_BYTES, check_key


class Walk:
    """Reads a folder when the first of its keys is due, so a reader who stops early costs little."""

    def __init__(self, root: Root, places: Places, odd: OddKeys) -> None:
        self._root = root
        self._places = places
        self._odd = odd

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
        return self._places.own_path(below) is not None

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
