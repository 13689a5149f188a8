"""Layered: a store that takes all changes, over one that is read only where the first has nothing.

A change touches the upper store alone (a delete excepted: what is deleted is gone), until ``push`` moves a
key down. Both decide, so an error of either is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping

from valuestore.errors import AlreadyExists, NotFound
from valuestore.stores.base import Data, Json, Stat, check_key
from valuestore.stores.wrappers.union import Union


class Layered(Union):
    """Two stores, of which the upper one takes what is put."""

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        """As everywhere, into the upper store. Attributes to keep are copied up from where they are."""
        self._check_open()
        if not overwrite and self._lower.exists(check_key(key)):
            raise AlreadyExists(key, self.url)
        if attrs is None and not self._upper.exists(key):
            try:
                attrs = self._lower.stat(key).attrs
            except NotFound:
                attrs = None
        return self._upper.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

    def push(self, key: str) -> None:
        """Move ``key`` from the upper store to the lower. It can be read all the while.

        Raises: NotFound if the upper store does not have it.
        """
        while True:
            known = self._upper.stat(key)
            with self._upper.open(key) as stream:
                self._lower.put(key, stream, attrs=known.attrs)
            now = self._upper.stat(key)
            if (now.etag, now.attrs) == (known.etag, known.attrs):
                self._upper.delete(key)
                return
