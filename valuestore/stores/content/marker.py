"""Marker: what a content store notes of itself in the store below, so nobody opens it as another kind."""

from __future__ import annotations

import json

from valuestore.errors import AlreadyExists, ConfigError, NotFound
from valuestore.stores.base import Store

MARKER_KEY = "valuestore.json"
FORMAT = 1


class Marker:
    """The format, and the one digest algorithm of this store."""

    def __init__(self, store: Store, algorithm: str) -> None:
        self._store = store
        self._algorithm = algorithm
        self._was_read = False
        self._is_certain = False

    def check(self, *, writing: bool = False) -> None:
        """Before first use, compare the algorithm with the marker's; before the first put, leave a marker.

        Raises: ConfigError, naming both.
        """
        if self._is_certain or (self._was_read and not writing):
            return
        if not self._read() and writing:
            self._write()
            self._is_certain = True
        self._was_read = True

    def _write(self) -> None:
        marker = json.dumps({"digest": self._algorithm, "format": FORMAT}).encode()
        try:
            self._store.put(MARKER_KEY, marker, overwrite=False)
        except AlreadyExists:  # made just now by somebody else, or damaged
            if not self._read():
                self._store.put(MARKER_KEY, marker)

    def _read(self) -> bool:
        """Whether there is a marker that can be read. Raises: ConfigError if it names something else."""
        try:
            marker = json.loads(self._store.get(MARKER_KEY))
            format_, algorithm = marker["format"], marker["digest"]
        except (NotFound, ValueError, KeyError, TypeError, RecursionError):
            return False
        if format_ != FORMAT:
            problem = (
                f"{self._store.url} has format {format_!r}, and this valuestore knows {FORMAT}; upgrade it"
            )
            raise ConfigError("format", problem)
        if algorithm != self._algorithm:
            problem = f"{self._store.url} was made with {algorithm!r} and is opened with {self._algorithm!r}"
            raise ConfigError("digest", problem)
        self._is_certain = True
        return True
