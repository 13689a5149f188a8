"""Creation: an object put where there is none, whatever the server makes of ``If-None-Match: *``.

With that condition a creation is one request. But some servers ignore it and overwrite, and some do not know
it; so nothing is built on it before the server was seen to refuse. Called by writer.py.
"""

from __future__ import annotations

import random
import time
import warnings
from typing import Any

from valuestore.errors import AlreadyExists, NotFound, NotSupported, StoreError, ValuestoreWarning
from valuestore.stores.s3.about import About
from valuestore.stores.s3.client import S3Client
from valuestore.stores.s3.failure import Busy

_ATTEMPTS = 5
_PAUSE_SECONDS = 0.1
_PROOF_MAX_BYTES = 1 << 20


class Creation:
    """Creates objects of one client's bucket. ``is_kept``: whether its server keeps the condition.

    None until it is known, by ``declared`` or by a creation that the server refused; meanwhile, and where it
    is False, each creation asks first what is there.
    """

    def __init__(self, client: S3Client, declared: bool | None) -> None:
        self._client = client
        self.is_kept = declared

    def create(self, name: str, key: str, data: Any, about: About) -> About | None:
        """Put the object; None, or what is there already. One's own of a lost answer counts as put."""
        metadata = about.metadata(key)
        for attempt in range(_ATTEMPTS):
            if not self.is_kept and (there := self.find(name, key)) is not None:
                return there
            try:
                self._put(name, key, data, metadata)
            except AlreadyExists as refusal:
                there = self.find(name, key)
                if there is None:  # it was deleted just now, or not created in the end
                    time.sleep(_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - no secret
                    continue
                self._learn(refusal)
                if there.put_id != about.put_id:
                    return there
            return None
        raise self._client.restless(key)

    def find(self, name: str, key: str) -> About | None:
        try:
            return About.read(self._client.head(name, key))
        except NotFound:
            return None

    def _put(self, name: str, key: str, data: Any, metadata: dict[str, str]) -> None:
        """Put what was not there a moment ago. Raises: AlreadyExists, if the server says so."""
        if self.is_kept is not False:
            try:
                self._client.put(name, key, data, metadata, create=True)
            except NotSupported:
                if self.is_kept:
                    raise
            else:
                if self.is_kept is None and len(data) <= _PROOF_MAX_BYTES:
                    self._prove(name, key, data, metadata)
                return
        self._client.put(name, key, data, metadata, create=False)
        self.miss()

    def _prove(self, name: str, key: str, data: Any, metadata: dict[str, str]) -> None:
        """Create once more what was created just now: a server that keeps the condition refuses.

        To one that does not, it is a put sent again before the first returned, as after a lost answer: the
        same bytes, attributes and id. Twice, since it may be deleted meanwhile. A failure proves nothing.
        """
        try:
            for _ in range(2):
                self._client.put(name, key, data, metadata, create=True)
        except AlreadyExists as refusal:
            self._learn(refusal)
        except StoreError:
            pass
        else:
            self.miss()

    def _learn(self, refusal: AlreadyExists) -> None:
        if self.is_kept is None and not isinstance(refusal, Busy):
            self.is_kept = True

    def miss(self) -> None:
        """The server ignores the condition, or does not know it: said, unless that was known."""
        was_known, self.is_kept = self.is_kept is not None, False
        if not was_known:
            message = (
                f"the server of {self._client.url} has no If-None-Match, so that each put asks first what is "
                "there, and of two who create one key at once the later wins; conditional=false takes note"
            )
            warnings.warn(ValuestoreWarning(message), stacklevel=9)  # at the caller of put
