"""Sidecars: the attributes of values, each set in a file whose name binds it to one very file.

The name holds the key's digest, the inode and the mtime_ns of the file with the data. So attributes can be
written before the data gets its name, and change at the same instant as the data.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import Any

from valuestore.errors import StoreError, StoreUnavailable
from valuestore.stores.files.places import Places, key_digest
from valuestore.stores.files.posix import close, look, older, read_file, unlink
from valuestore.stores.files.root import Root
from valuestore.stores.keys import check_key

_ATTEMPTS = 100


class Sidecars:
    """Those of one root."""

    def __init__(self, root: Root, places: Places) -> None:
        self._root = root
        self._places = places

    def path(self, raw: bytes, found: os.stat_result) -> bytes:
        """Where the attributes of that very file are, if it has any."""
        return b"%s%s-%d-%d" % (self._root.attrs, key_digest(raw), found.st_ino, found.st_mtime_ns)

    def open_with_data(self, raw: bytes) -> tuple[int, os.stat_result, bytes, dict[str, Any]]:
        """Data and attributes of one and the same put: the file's descriptor, status, path; the attributes.

        Raises: NotFound; StoreError if the attributes are damaged.
        """
        for _ in range(_ATTEMPTS):
            fd, found, path = self._places.open(raw)
            try:
                attrs = self.load(raw, found)
                if attrs is not None:
                    return fd, found, path, attrs
                now = look(path)
                if now is not None and now.st_ino == found.st_ino:
                    return fd, found, path, {}
            except BaseException:
                close(fd)
                raise
            close(fd)  # replaced since it was opened, and so may its attributes have been: look again
        raise StoreUnavailable(self._root.url, f"{raw.decode()!r} keeps changing")

    def load(self, raw: bytes, found: os.stat_result) -> dict[str, Any] | None:
        """The attributes of that very file, None if it has none. Raises: StoreError if they are damaged."""
        content = read_file(self.path(raw, found))
        if content is None:
            return None
        key = raw.decode()
        try:
            record = json.loads(content)
            if record["key"] != key:
                raise ValueError(record["key"])
            return dict(record["attrs"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            damaged = f"the attributes of {key!r} in {self._root.url} are damaged; put it again"
            raise StoreError(damaged) from error

    def load_to_keep(self, raw: bytes, old: os.stat_result | None) -> dict[str, Any]:
        """What a put without attributes keeps; of damaged ones nothing, since a put heals."""
        if old is None:
            return {}
        try:
            return self.load(raw, old) or {}
        except StoreUnavailable:
            raise
        except StoreError:
            return {}

    def sweep(self, seconds: float) -> int:
        """Remove those of that age whose file is no more; leave damaged ones for people to look at."""
        swept = 0
        for path in older(self._root.attrs, seconds):
            with suppress(OSError, ValueError, KeyError, TypeError, StoreError):
                raw = check_key(json.loads(read_file(path) or b"")["key"]).encode()
                found = self._places.find(raw)[1]
                if found is None or self.path(raw, found) != path:
                    swept += unlink(path)
        return swept


def encode_sidecar(raw: bytes, attrs: dict[str, Any]) -> bytes:
    return json.dumps({"key": raw.decode(), "attrs": attrs}).encode()
