"""Quarantine: where goes what lay at a payload's address without being that payload."""

from __future__ import annotations

import errno
from contextlib import suppress

from valuestore.errors import NotFound, PayloadCorrupt, StoreError, StoreUnavailable
from valuestore.hashing import Algorithm, hash_stream
from valuestore.stores.base import Store
from valuestore.stores.data import DAMAGED

QUARANTINE = "quarantine"
_MAX = 100
_FORBIDDEN = {errno.EACCES, errno.EPERM}


class Quarantine:
    """The keys ``quarantine/<digest>.<n>`` of one store. Addresses end with the digest."""

    def __init__(self, store: Store, algorithm: Algorithm) -> None:
        self._store = store
        self._algorithm = algorithm

    def condemn(self, address: str, found: str) -> PayloadCorrupt:
        """Take away what is at the address; the error to raise."""
        with suppress(StoreError):  # read-only, or nobody can move it: the verdict stands
            self.take(address)
        return PayloadCorrupt(_digest(address), self._store.url, found)

    def take(self, address: str) -> None:
        """Take away what is at the address, and keep it for people to look at if it can be kept.

        Somebody may have healed it since it was looked at: then what was moved is whole, and goes back.
        """
        keep = self._free_key(_digest(address))
        try:
            self._store.move(address, keep)
            if self.digest_at(keep) == _digest(address):
                self._store.move(keep, address)
        except NotFound:  # gone already
            pass
        except PayloadCorrupt:  # moved, and unreadable
            pass
        except StoreUnavailable as error:  # cannot even be copied: the next put replaces it
            if _errno(error) not in DAMAGED and not is_forbidden(error):
                raise
            with suppress(NotFound):
                self._store.delete(address)

    def digest_at(self, key: str) -> str:
        """The digest of the bytes at a key. Raises: NotFound; PayloadCorrupt if they are lost."""
        try:
            with self._store.open(key) as stream:
                return hash_stream(stream, algorithm=self._algorithm.name)
        except StoreUnavailable as error:
            raise PayloadCorrupt(_digest(key), self._store.url, damage(error)) from error

    def _free_key(self, digest: str) -> str:
        names = (f"{QUARANTINE}/{digest}.{n}" for n in range(_MAX))
        return next((key for key in names if not self._store.exists(key)), f"{QUARANTINE}/{digest}.0")


def damage(error: StoreUnavailable) -> str:
    """The reason, if it says that these bytes are lost; else the error goes on its way."""
    if _errno(error) not in DAMAGED:
        raise error
    return str(error.args[1])


def is_forbidden(error: StoreUnavailable) -> bool:
    """Whether the store may not read what is there, while it might replace it."""
    return _errno(error) in _FORBIDDEN


def _errno(error: StoreUnavailable) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _digest(key: str) -> str:
    return key.rpartition("/")[2]
