"""ReadOnly: a store that can be read, and not changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import NoReturn

from valuestore.errors import NotSupported, StoreReadOnly
from valuestore.stores.base import Data, Json, SignedUrl, Stat, Store, check_key
from valuestore.stores.wrappers.base import Wrapper


class ReadOnly(Wrapper):
    """Every change raises StoreReadOnly before the store below hears of it; also a signed URL to PUT."""

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        self._refuse(key)

    def delete(self, key: str) -> None:
        self._refuse(key)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        self._refuse(source, target)

    def move(self, source: str, target: str) -> None:
        self._refuse(source, target)

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        self._refuse(*keys)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        self._refuse(*keys)

    def batch(self) -> AbstractContextManager[Store]:
        self._refuse()

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
    ) -> SignedUrl:
        if method.upper() == "PUT":
            self._refuse(key)
        if method.upper() not in ("GET", "HEAD"):
            raise NotSupported(self.url, f"signed URLs to {method} what is read-only")
        return super().sign(key, method, expires_seconds, content_md5=content_md5)

    def _refuse(self, *keys: str) -> NoReturn:
        self._check_open()
        for key in keys:
            check_key(key)
        raise StoreReadOnly(self.url, "it was opened to be read")
