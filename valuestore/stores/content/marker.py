"""Marker: what a content store notes of itself in the store below, so nobody opens it as another kind.

Beside it lies one note for each repository that writes here, so that none takes another's payloads for its
own leftovers. A note of its own for each: two that come at once cannot overwrite each other's.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress

from valuestore.errors import AlreadyExists, ConfigError, NotFound, StoreReadOnly
from valuestore.hashing import hash_bytes
from valuestore.stores.base import Store

MARKER_KEY = "valuestore.json"
OWNERS = "repositories/"
OWN_FOLDER = "the repository around it"
"""Where a repository is whose payloads are in its own folder, wherever that is moved or copied to."""
CLOCK_KEY = "clock"
PROBE = b"valuestore: a worker that reads this sees the payloads"
"""A payload that is no value."""
FORMAT = 1
_CLOCK_SECONDS = 10.0


class Marker:
    """The format, and the one digest algorithm of this store."""

    def __init__(self, store: Store, algorithm: str, owner: tuple[str, str] | None = None) -> None:
        self._store = store
        self._algorithm = algorithm
        self.owner = owner
        self._is_noted = owner is None
        self._clock = 0.0, 0.0
        self._was_read = False
        self._is_certain = False

    def check(self, *, writing: bool = False) -> None:
        """Before first use, compare the algorithm with the marker's; before the first put, leave a marker.

        Raises: ConfigError, naming both.
        """
        if writing and not self._is_noted:
            self._note_owner()
        if self._is_certain or (self._was_read and not writing):
            return
        if not self._read() and writing:
            self._write()
            self._is_certain = True
        self._was_read = True

    def owners(self) -> list[tuple[str, str]]:
        """The ids of the repositories that have written here, with where each was: copies have one id."""
        keys = list(self._store.keys(OWNERS))
        notes = self._store.get_many(keys)
        return [
            (key.removeprefix(OWNERS).partition(".")[0], _location(note))
            for key, note in zip(keys, notes, strict=True)
        ]

    def clock(self) -> float:
        """The time by which this store dates what is put, in seconds since 1970."""
        at, ahead = self._clock
        if time.monotonic() - at > _CLOCK_SECONDS or not at:
            now = time.time()
            with suppress(StoreReadOnly):
                self._store.put(CLOCK_KEY, b"")
                now = self._store.stat(CLOCK_KEY).modified.timestamp()
                self._store.delete(CLOCK_KEY)
            at, ahead = self._clock = time.monotonic(), now - time.monotonic()
        return time.monotonic() + ahead

    def _note_owner(self) -> None:
        assert self.owner is not None
        repository_id, location = self.owner
        key = f"{OWNERS}{repository_id}.{hash_bytes(location.encode('utf-8', 'surrogateescape'))[:8]}"
        with suppress(AlreadyExists):
            if not self._store.exists(key):
                self._store.put(key, json.dumps({"location": location}).encode(), overwrite=False)
        self._is_noted = True

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


def _location(note: bytes) -> str:
    """Where a repository was; of a damaged note, that it is not known: the id alone counts."""
    try:
        return str(json.loads(note)["location"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return "an unknown place"
