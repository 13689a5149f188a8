"""RedisStore: keys as strings of a Redis server, where redis-cli and other programs can read them.

A value is one string, verbatim, at ``<prefix>/<key>``; ``RedisNames`` says what stands beside the values.
Every change is one script (scripts.py), so that data, attributes and index change at one instant, in
one round trip. What is written passes through transfer.py and change.py.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import islice
from typing import Any, BinaryIO, Self, cast

from valuestore.errors import NotFound, NotSupported
from valuestore.hashing import hash_pieces
from valuestore.stores.base import (
    CHUNK_BYTES,
    Attrs,
    Data,
    Page,
    Stat,
    Store,
    check_key,
    copy_attrs,
    iter_chunks,
    take_page,
)
from valuestore.stores.batch import Changes, collect_changes
from valuestore.stores.redis import scripts
from valuestore.stores.redis.address import RedisAddress, RedisNames
from valuestore.stores.redis.change import (
    DELETE,
    Change,
    make_changes,
    microseconds_now,
    put_all,
    raise_problem,
    read_stat,
)
from valuestore.stores.redis.client import RedisClient
from valuestore.stores.redis.transfer import PIECE_BYTES, TEMP_MILLISECONDS, RedisIntake, TempReader

STRING_MAX_BYTES = 512 << 20
"""The size of a Redis string, unless the server's ``proto-max-bulk-len`` says otherwise."""

_TIMEOUT_SECONDS = 10.0
_GROUP_READS = 100
_GROUP_KEYS = 2000
_LOOK_AT_KEYS = 10_000
_BATCH_CHANGES = 200_000


class RedisStore(Store):
    """Keys as strings of a Redis server, version 6.2 or later, below the URL's prefix.

    A value has at most 512 MiB, or ``max_value_bytes``; the server's ``proto-max-bulk-len`` has to allow it.
    The store never waits for the server longer than ``timeout_seconds``; large values are several requests.
    On first use it reads the server's policies, and warns once of one that loses values.

    What other programs do is seen at once, but what they add is listed after ``adopt`` only, and what they
    replace by as many bytes keeps its etag. Until adopted, it was modified in 1970. On a Redis Cluster, put a
    hash tag into the prefix (``{name}``) and connect to the node that has its slot.

    A pickle holds the URL and the settings, so the password too. Raises: BadReference.
    """

    def __init__(
        self,
        url: str = "redis://localhost:6379/0",
        *,
        prefix: str | None = None,
        username: str | None = None,
        password: str | None = None,
        timeout_seconds: float | None = None,
        max_value_bytes: int | None = None,
    ) -> None:
        self._given = {
            "prefix": prefix,
            "username": username,
            "password": password,
            "timeout_seconds": timeout_seconds,
            "max_value_bytes": max_value_bytes,
        }
        self._full_url = url
        self._address = RedisAddress.read(url, self._given)
        self._names = RedisNames(self._address.prefix)
        self._server = RedisClient(self._address, self._address.number("timeout_seconds", _TIMEOUT_SECONDS))
        most = int(self._address.number("max_value_bytes", STRING_MAX_BYTES))
        self._intake = RedisIntake(self._server, self._names, most)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        name = self._name(key)
        if start == 0 and end is None:
            data = self._server.do(key, "GET", name)
        else:
            data = self._server.run(
                key, scripts.GET_RANGE, [name], _clamp(start), "" if end is None else _clamp(end)
            )
        if data is None:
            raise NotFound(key, self.url)
        return cast(bytes, data)

    def open(self, key: str) -> BinaryIO:
        """As everywhere. A value above 8 MiB is copied on the server, and read from there in pieces."""
        temp = self._names.new_temp()
        answer = self._server.run(key, scripts.OPEN, [self._name(key), temp], PIECE_BYTES, TEMP_MILLISECONDS)
        if answer is None:
            raise NotFound(key, self.url)
        if answer[0] < 0:  # read-only, or full
            return io.BytesIO(self.get(key))
        if len(answer) == 2:
            return io.BytesIO(answer[1])
        return io.BufferedReader(TempReader(self._server, key, temp, answer[0]), CHUNK_BYTES)

    def stat(self, key: str) -> Stat:
        return self._with_etag(read_stat(key, *self._look(key)))

    def size(self, key: str) -> int:
        return self._look(key)[0]

    def exists(self, key: str) -> bool:
        return bool(self._server.do(key, "EXISTS", self._name(key)))

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        return take_page(self._keys_from(prefix, cursor, limit), limit)

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._name(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        change = self._intake.take(key, data, size, wanted, overwrite)
        return put_all(self._server, self._names, [change])[0]

    def delete(self, key: str) -> None:
        if not self.delete_many([key]):
            raise NotFound(key, self.url)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        return self._copy(source, target, "" if overwrite else "n")

    def move(self, source: str, target: str) -> None:
        """As everywhere, at one instant."""
        self._copy(source, target, "m")

    def adopt(self, prefix: str = "") -> int:
        """Have keys that other programs wrote listed; say how many that were. Looks at the whole database.

        It reads none of them: ``stat`` does, for the etag, each time until the key is put again.
        """
        self._check_open()
        pattern = self._names.pattern(prefix)
        cursor, adopted = 0, 0
        while True:
            cursor, names = self._server.do("", "SCAN", cursor, "MATCH", pattern, "COUNT", _GROUP_KEYS)
            if keys := [key for name in names if (key := self._names.key(name)) is not None]:
                tables = [self._names.index, self._names.about]
                arguments = (self._names.base, microseconds_now(), *keys)
                adopted += self._server.run("", scripts.ADOPT, tables, *arguments)
            if int(cursor) == 0:
                return adopted

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        found: set[str] = set()
        for group in _groups(keys, _GROUP_KEYS):
            answers = self._server.do_all("", *(("EXISTS", self._name(key)) for key in group))
            found.update(key for key, answer in zip(group, answers, strict=True) if answer)
        return found

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        values: list[bytes] = []
        for group in _groups(keys, _GROUP_READS):
            found = self._server.do("", "MGET", *map(self._name, group))
            pairs = zip(group, found, strict=True)
            values.extend(self.get(key) if data is None else data for key, data in pairs)
        return values

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        """As everywhere; some hundred small values go in one round trip, and are all put or none is."""
        self._check_open()
        stats: list[Stat] = []
        for group in self._intake.take_groups(zip(keys, values, strict=True)):
            stats += put_all(self._server, self._names, group)
        return stats

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        self._check_open()
        deleted: set[str] = set()
        for group in _groups(keys, _GROUP_KEYS):
            changes = [Change(check_key(key), DELETE) for key in group]
            answers = make_changes(self._server, self._names, changes, microseconds_now())
            deleted.update(key for key, answer in zip(group, answers, strict=True) if answer)
        return deleted

    def batch(self) -> AbstractContextManager[Store]:
        """As everywhere. The data waits in memory; reads see the changes of the batch itself."""
        self._check_open()
        return collect_changes(self, self._commit_batch)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self._server.close()

    @property
    def url(self) -> str:
        return self._address.url

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        return cls(url, **settings)

    def _settings(self) -> dict[str, Any]:
        return {"url": self._full_url, **self._given}

    def _name(self, key: str) -> str:
        self._check_open()
        return self._names.name(key)

    def _look(self, key: str) -> tuple[int, bytes]:
        """Size and description. Raises: NotFound."""
        answer = self._server.run(key, scripts.STAT, [self._names.about, self._name(key)], key)
        if answer is None:
            raise NotFound(key, self.url)
        return answer[0], answer[1]

    def _with_etag(self, known: Stat) -> Stat:
        """With the digest of the bytes there now, where another program wrote them and so none is known."""
        if known.etag:
            return known
        with self.open(known.key) as stream:
            etag, size = hash_pieces(iter_chunks(known.key, stream))
        return replace(known, size=size, etag=etag)

    def _keys_from(self, prefix: str, cursor: str | None, limit: int | None) -> Iterator[str]:
        """The keys that come after the cursor: all, or, where there are more than ``limit``, one more."""
        following: str | None = f"({cursor}" if cursor is not None and cursor >= prefix else f"[{prefix}"
        left = sys.maxsize if limit is None else limit + 1
        while following is not None and left > 0:
            keys, following = self._list_some(prefix, following, min(left, _GROUP_KEYS))
            left -= len(keys)
            yield from keys

    def _list_some(self, prefix: str, start: str, wanted: int) -> tuple[Sequence[str], str | None]:
        """At most ``wanted`` keys, and where to go on, or None at the end."""
        end = b"(" + prefix.encode() + b"\xff" if prefix else b"+"  # no UTF-8 has the byte FF
        names, arguments = self._names, (start, end, wanted, _LOOK_AT_KEYS)
        tables = [names.index, names.about]
        on, *keys = self._server.run("", scripts.LIST, tables, names.base, *arguments)
        found = [key.decode() for key in keys]
        if len(found) == wanted:
            return found, f"({found[-1]}"
        return found, on.decode() or None

    def losses(self) -> Sequence[str]:
        return self._server.losses()

    def _commit_batch(self, changes: Changes) -> None:
        if len(changes) > _BATCH_CHANGES:
            raise NotSupported(self.url, f"batches of more than {_BATCH_CHANGES} changes", "make several")
        taken = self._intake.take_batch(changes)
        make_changes(self._server, self._names, taken, microseconds_now())

    def _copy(self, source: str, target: str, flags: str) -> Stat:
        names = [self._names.index, self._names.about, self._name(source), self._name(target)]
        arguments = (source, target, microseconds_now(), flags)
        size, text, *which = self._server.run(source, scripts.COPY, names, *arguments)
        if size < 0:
            raise_problem(self._server, text, source if which == [1] else target)
        return self._with_etag(read_stat(target, size, text))


def _groups(keys: Iterable[str], most: int) -> Iterator[list[str]]:
    iterator = iter(keys)
    while group := list(islice(iterator, most)):
        yield group


def _clamp(bound: int) -> int:
    """A bound of a slice that Lua's numbers can hold."""
    return max(-(1 << 50), min(bound, 1 << 50))
