"""Places: which file holds the value of a key: the one at the key's own path, else the odd one."""

from __future__ import annotations

import os
import stat

from valuestore.stores.files.odd import OddKeys
from valuestore.stores.files.posix import NOTHING_THERE, look, open_regular, unavailable
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
