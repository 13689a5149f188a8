"""Retrying: a store that is asked again when it did not answer.

Only StoreUnavailable is worth another try, unless it tells of what lasts (rejected credentials, no
permission, a full disk, damage); and only what can be done twice is: a read; a put of data that can be
read again. A try that failed may have arrived all the same, and the next one allows for that.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, BinaryIO, cast

from valuestore.errors import AlreadyExists, ConfigError, CredentialsRejected, NotFound, StoreUnavailable
from valuestore.stores.base import Attrs, Data, Stat, Store, as_buffer, iter_chunks
from valuestore.stores.data import DAMAGED
from valuestore.stores.wrappers.base import Answer, Ask, Verb, Wrapper

_ONCE: frozenset[Verb] = frozenset({"batch", "close"})
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Retrying(Wrapper):
    """Up to ``attempts`` tries (None: any number), begun within ``seconds`` of the first, ever further apart.

    Once that was in vain, calls are tried once each until one is answered: a store that is gone costs its
    caller the time but once. A put of an iterator or of a stream without ``seek`` is tried once.

    After a try whose outcome is not known: to create a key that now holds just these bytes succeeds, so
    bytes that are to tell who created it have to differ; and to delete a key that is now gone succeeds.
    Batches are tried once.
    """

    def __init__(self, store: Store, attempts: int | None = 5, seconds: float = 30.0) -> None:
        if attempts is not None and attempts < 1:
            raise ConfigError("attempts", f"{attempts} is less than one")
        if seconds <= 0:
            raise ConfigError("seconds", f"{seconds} is no time")
        super().__init__(store)
        self._attempts = attempts
        self._seconds = seconds
        self._gave_up = False

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if verb in _ONCE:
            return ask(self._store, keys)
        return self._again(lambda _: ask(self._store, keys))

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        replay = _replay(data)
        if replay is None:
            return self._store.put(key, data, size=size, attrs=attrs, overwrite=overwrite)

        def put(is_certain: bool) -> Stat:
            try:
                return self._store.put(key, replay(), size=size, attrs=attrs, overwrite=overwrite)
            except AlreadyExists:
                if is_certain or not self._holds(key, replay()):
                    raise
                return self._store.stat(key)

        return self._again(put)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        def copy(is_certain: bool) -> Stat:
            try:
                return self._store.copy(source, target, overwrite=overwrite)
            except AlreadyExists:
                if is_certain or self._store.stat(source).etag != self._store.stat(target).etag:
                    raise
                return self._store.stat(target)

        return self._again(copy)

    def move(self, source: str, target: str) -> None:
        """As everywhere. Copies and deletes, since of a move that failed half-way nobody knows the half."""
        Store.move(self, source, target)

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        if not isinstance(values, list | tuple) or any(as_buffer(value) is None for value in values):
            return Store.put_many(self, keys, values)  # each by itself
        return super().put_many(keys, values)

    def delete(self, key: str) -> None:
        def delete(is_certain: bool) -> None:
            try:
                self._store.delete(key)
            except NotFound:
                if is_certain:
                    raise

        self._again(delete)

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        before: set[str] = set()

        def delete(is_certain: bool) -> set[str]:
            if is_certain:
                before.update(self._store.exists_many(asked))
            deleted = self._store.delete_many(asked)
            return deleted if is_certain else deleted | before

        return self._again(delete)

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        """As everywhere, but all of it is in memory meanwhile: half a listing cannot be asked for again."""
        return iter(self._again(lambda _: [*self._store.scan(prefix)]))

    def folders(self, prefix: str = "") -> Iterator[str]:
        return iter(self._again(lambda _: [*self._store.folders(prefix)]))

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "attempts": self._attempts, "seconds": self._seconds}

    def _again(self, work: Callable[[bool], Answer]) -> Answer:
        """What ``work`` returns in the end. It is told whether this is certainly its first effect."""
        began = time.monotonic()
        try:
            answer = work(True)
        except StoreUnavailable as error:
            left = self._seconds - (time.monotonic() - began)
            if self._gave_up or left <= 0 or self._attempts == 1 or not _may_pass(error):
                raise
            answer = self._keep_asking(work, error, left)
        self._gave_up = False
        return answer

    def _keep_asking(self, work: Callable[[bool], Answer], error: StoreUnavailable, seconds: float) -> Answer:
        """What ``work`` returns after its first try failed just now."""
        import stamina  # late: few runs need it, and it takes 0.1 s

        logging.getLogger("stamina").addHandler(logging.NullHandler())  # or Python prints what it notes
        longest = min(5.0, seconds / 4)
        bounds = {"timeout": seconds - longest, "wait_max": longest}
        tries = stamina.retry_context(on=_may_pass, attempts=self._attempts, **bounds)
        try:
            for attempt in tries:
                with attempt:
                    if attempt.num == 1:
                        raise error
                    return work(False)
        except StoreUnavailable as last:
            self._gave_up = _may_pass(last)
            raise
        raise AssertionError("stamina passes the last error on")

    def _holds(self, key: str, data: Data) -> bool:
        with self._store.open(key) as stream:
            same = all(stream.read(len(chunk)) == chunk for chunk in iter_chunks(key, data))
            return same and not stream.read(1)


def _may_pass(error: Exception) -> bool:
    """Whether another try may be answered."""
    if isinstance(error, CredentialsRejected) or not isinstance(error, StoreUnavailable):
        return False
    return getattr(error.__cause__, "errno", None) not in _REFUSED | DAMAGED


def _replay(data: Data) -> Callable[[], Data] | None:
    """A way to read the data again and again; None if it can be read but once."""
    if isinstance(data, bytes):  # most are
        return lambda: data
    seekable = getattr(data, "seekable", None)
    if seekable is None:
        return None if isinstance(data, Iterator) or hasattr(data, "read") else lambda: data
    if not seekable():
        return None
    stream = cast(BinaryIO, data)
    start = stream.tell()

    def rewound() -> Data:
        stream.seek(start)
        return stream

    return rewound
