"""ReadOnly: a store that can be read, and not changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

from valuestore.errors import NotSupported, StoreReadOnly
from valuestore.stores.base import SignedUrl, check_key
from valuestore.stores.wrappers.base import CHANGES, Answer, Ask, Verb, Wrapper


class ReadOnly(Wrapper):
    """Every change raises StoreReadOnly before the store below hears of it; also a signed URL to PUT."""

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if verb in CHANGES:
            self._refuse(keys)
        return ask(self._store, keys)

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        if method.upper() == "PUT":
            self._refuse((key,))
        if method.upper() not in ("GET", "HEAD"):
            raise NotSupported(self.url, f"signed URLs to {method} what is read-only")
        return super().sign(key, method, expires_seconds, content_md5=content_md5)

    def _refuse(self, keys: Sequence[str]) -> NoReturn:
        self._check_open()
        for key in keys:
            check_key(key)
        raise StoreReadOnly(self.url, "it was opened to be read")
