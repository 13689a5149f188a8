"""Etags: the digest of a file's bytes, remembered while the file's status shows that it is the same."""

from __future__ import annotations

import os
import time

from valuestore.hashing import hash_stream

_SETTLED_NS = 2_000_000_000
"""A file older than this shows every later change in its timestamps, however coarse the clock behind them."""

_REMEMBERED = 65_536


class Etags:
    """Those of the files that were asked for, up to a number of them."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], str] = {}

    def etag(self, fd: int, found: os.stat_result) -> str:
        """The digest of the file, whose status was just taken. Raises: OSError."""
        identity = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        known = self._known.get(identity)
        if known is not None:
            return known
        began = time.time_ns()
        with open(fd, "rb", buffering=0, closefd=False) as stream:
            stream.seek(0)
            etag = hash_stream(stream)
        if max(found.st_mtime_ns, found.st_ctime_ns) < began - _SETTLED_NS:
            if len(self._known) >= _REMEMBERED:
                self._known = {}
            self._known[identity] = etag
        return etag
