"""RedisStore: keys as strings of a Redis server, where redis-cli and other programs can read them.

A value is one string, verbatim, at ``<prefix>/<key>``. Beside the values are three names that no key can
have, since a key has no empty segment::

    <prefix>//index      sorted set of the keys, all with score 0, so that a listing costs what it returns
    <prefix>//about      hash: key -> "<etag> <microseconds since 1970> <size> <attributes as JSON>"
    <prefix>//tmp/<id>   a large value on its way in or out; it expires

Every change is one script (``redis_scripts``), so that data, attributes and index change at one instant, in
one round trip.
"""

from __future__ import annotations

import io
import json
import re
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice
from typing import Any, BinaryIO, NamedTuple, Self, cast

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    NotFound,
    NotSupported,
    StoreUnavailable,
    TooLarge,
)
from valuestore.hashing import get_algorithm, hash_bytes
from valuestore.stores import redis_scripts as scripts
from valuestore.stores.base import (
    CHUNK_BYTES,
    Data,
    Json,
    Page,
    Stat,
    Store,
    check_key,
    check_page,
    check_prefix,
    copy_attrs,
    iter_chunks,
)
from valuestore.stores.batch import Changes, Removal, collect_changes
from valuestore.stores.redis_address import RedisAddress
from valuestore.stores.redis_client import RedisClient
from valuestore.stores.redis_transfer import (
    PIECE_BYTES,
    TEMP_MILLISECONDS,
    TempReader,
    in_pieces,
    known_size,
    upload,
)

STRING_MAX_BYTES = 512 << 20
"""The size of a Redis string, unless the server's ``proto-max-bulk-len`` says otherwise."""

_TIMEOUT_SECONDS = 10.0
_GROUP_VALUES = 500
_GROUP_READS = 100
_GROUP_KEYS = 2000
_LOOK_AT_KEYS = 10_000
_BATCH_BYTES = 64 << 20
_BATCH_CHANGES = 200_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN_CHARACTERS = re.compile(r"[*?\[\]\\]")


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
        timeout_seconds = self._address.number("timeout_seconds", _TIMEOUT_SECONDS)
        self._server = RedisClient(self._address, timeout_seconds)
        self._max_value_bytes = int(self._address.number("max_value_bytes", STRING_MAX_BYTES))
        self._base = f"{self._address.prefix}/" if self._address.prefix else ""
        self._index = f"{self._base}/index"
        self._about = f"{self._base}/about"

    # --- reading ------------------------------------------------------------------------------------

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
        temp = self._new_temp()
        answer = self._server.run(key, scripts.OPEN, [self._name(key), temp], PIECE_BYTES, TEMP_MILLISECONDS)
        if answer is None:
            raise NotFound(key, self.url)
        if answer[0] < 0:  # read-only, or full
            return io.BytesIO(self.get(key))
        if len(answer) == 2:
            return io.BytesIO(answer[1])
        return io.BufferedReader(TempReader(self._server, key, temp, answer[0]), CHUNK_BYTES)

    def stat(self, key: str) -> Stat:
        return self._read_stat(key, *self._look(key))

    def size(self, key: str) -> int:
        return self._look(key)[0]

    def exists(self, key: str) -> bool:
        return bool(self._server.do(key, "EXISTS", self._name(key)))

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_open()
        check_prefix(prefix)
        check_page(limit, cursor)
        start = f"({cursor}" if cursor is not None and cursor >= prefix else f"[{prefix}"
        keys: list[str] = []
        following: str | None = start
        while following is not None and (limit is None or len(keys) <= limit):
            wanted = _GROUP_KEYS if limit is None else min(limit + 1 - len(keys), _GROUP_KEYS)
            found, following = self._list_some(prefix, following, wanted)
            keys += found
        if limit is None or len(keys) <= limit:
            return Page(keys, None)
        return Page(keys[:limit], keys[limit - 1])

    # --- writing ------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        self._name(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        change = self._take(key, data, size, wanted, overwrite)
        return self._commit([change])[0]

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
        pattern = _PATTERN_CHARACTERS.sub(r"\\\g<0>", self._base + check_prefix(prefix)) + "*"
        cursor, adopted = 0, 0
        while True:
            cursor, names = self._server.do("", "SCAN", cursor, "MATCH", pattern, "COUNT", _GROUP_KEYS)
            if keys := [key for name in names if (key := self._key(name)) is not None]:
                names = [self._index, self._about]
                adopted += self._server.run("", scripts.ADOPT, names, self._base, _now(), *keys)
            if int(cursor) == 0:
                return adopted

    # --- many at once -------------------------------------------------------------------------------

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
        for group in self._take_groups(zip(keys, values, strict=True)):
            stats += self._commit(group)
        return stats

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        self._check_open()
        deleted: set[str] = set()
        for group in _groups(keys, _GROUP_KEYS):
            answers = self._change([_Change(check_key(key), "d") for key in group], 0)
            deleted.update(key for key, answer in zip(group, answers, strict=True) if answer)
        return deleted

    def batch(self) -> AbstractContextManager[Store]:
        """As everywhere. The data waits in memory; reads see the changes of the batch itself."""
        self._check_open()
        return collect_changes(self, self._commit_batch)

    # --- itself -------------------------------------------------------------------------------------

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
        return self._base + check_key(key)

    def _key(self, name: bytes) -> str | None:
        """The key that has this name; None if none has."""
        with suppress(UnicodeDecodeError, BadKey):
            return check_key(name.decode().removeprefix(self._base))
        return None

    def _new_temp(self) -> str:
        return f"{self._base}/tmp/{uuid.uuid4().hex}"  # noqa: S108 - no path

    # --- what is there ------------------------------------------------------------------------------

    def _look(self, key: str) -> tuple[int, bytes]:
        """Size and description. Raises: NotFound."""
        answer = self._server.run(key, scripts.STAT, [self._about, self._name(key)], key)
        if answer is None:
            raise NotFound(key, self.url)
        return answer[0], answer[1]

    def _read_stat(self, key: str, size: int, about: bytes) -> Stat:
        """What the description says, if it is of these bytes; else the etag is found by reading them."""
        try:
            etag, microseconds, known_size, attrs = about.split(b" ", 3)
            known = Stat(key, size, _time(int(microseconds)), etag.decode(), _load(attrs))
            if int(known_size) == size and etag != b"-":
                return known
        except (ValueError, OverflowError):
            known = Stat(key, size, _EPOCH, "", {})
        return self._with_etag(known)

    def _with_etag(self, known: Stat) -> Stat:
        """For what another program wrote: the digest is that of the bytes there now."""
        size, hasher = 0, get_algorithm().new()
        with self.open(known.key) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                hasher.update(chunk)
                size += len(chunk)
        return replace(known, size=size, etag=hasher.hexdigest())

    def _list_some(self, prefix: str, start: str, wanted: int) -> tuple[Sequence[str], str | None]:
        """At most ``wanted`` keys, and where to go on, or None at the end."""
        end = b"(" + prefix.encode() + b"\xff" if prefix else b"+"  # no UTF-8 has the byte FF
        names = [self._index, self._about]
        on, *keys = self._server.run("", scripts.LIST, names, self._base, start, end, wanted, _LOOK_AT_KEYS)
        found = [key.decode() for key in keys]
        if len(found) == wanted:
            return found, f"({found[-1]}"
        return found, on.decode() or None

    # --- changes ------------------------------------------------------------------------------------

    def _take(
        self,
        key: str,
        data: Data,
        size: int | None,
        attrs: dict[str, Any] | None,
        overwrite: bool,
        most: int = PIECE_BYTES,
    ) -> _Change:
        """Read the data, up to ``most`` bytes into memory, else to a temporary name. Raises: TooLarge."""
        verb = "p" + ("k" if attrs is None else "") + ("" if overwrite else "n")
        if (
            type(data) is bytes
            and len(data) <= min(most, self._max_value_bytes)
            and size in (None, len(data))
        ):
            return _Change(key, verb, data, hash_bytes(data), len(data), attrs)  # the usual case, made quick
        known = known_size(data) if size is None else size
        if known is not None and known > self._max_value_bytes:
            raise self._too_large(key, known)
        pieces = in_pieces(self._within_limit(key, iter_chunks(key, data, size)))
        first, second = next(pieces, b""), next(pieces, None)
        if second is None and len(first) <= most:
            return _Change(key, verb, first, hash_bytes(first), len(first), attrs)
        if not overwrite and self.exists(key):
            raise AlreadyExists(key, self.url)
        whole = chain((first,), () if second is None else (second,), pieces)
        return _Change(key, verb + "t", *self._upload(key, whole), attrs)

    def _within_limit(self, key: str, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > self._max_value_bytes:
                raise self._too_large(key, size)
            yield chunk

    def _too_large(self, key: str, size: int) -> TooLarge:
        setting = "max_value_bytes and the server's proto-max-bulk-len"
        return TooLarge(key, size, self._max_value_bytes, setting)

    def _upload(self, key: str, pieces: Iterable[bytes | memoryview]) -> tuple[str, str, int]:
        """Gather the pieces under a temporary name: that, the digest and the size."""
        temp = self._new_temp()
        try:
            return temp, *upload(self._server, key, temp, pieces)
        except BaseException as error:
            self._discard([temp], error)
            raise

    def _discard(self, temps: Iterable[str], error: BaseException) -> None:
        """Remove temporary names at once, unless the server does not answer: then they expire."""
        if not isinstance(error, StoreUnavailable) or self._server.answered(error):
            self._server.forget(*temps)

    def _take_groups(self, pairs: Iterable[tuple[str, Data]]) -> Iterator[Sequence[_Change]]:
        group: list[_Change] = []
        size = 0
        try:
            for key, data in pairs:
                group.append(self._take(check_key(key), data, None, None, True))
                size += group[-1].size
                if len(group) == _GROUP_VALUES or size >= PIECE_BYTES:
                    yield group
                    group, size = [], 0
        except Exception:
            if group:
                yield group
            raise
        if group:
            yield group

    def _commit_batch(self, changes: Changes) -> None:
        if len(changes) > _BATCH_CHANGES:
            raise NotSupported(self.url, f"batches of more than {_BATCH_CHANGES} changes", "make several")
        taken: list[_Change] = []
        memory = _BATCH_BYTES
        try:
            for key, change in changes.items():
                if isinstance(change, Removal):
                    taken.append(_Change(key, "d"))
                    continue
                most = min(memory, PIECE_BYTES)
                taken.append(self._take(key, change.data, None, change.attrs, not change.create, most))
                memory -= 0 if taken[-1].is_uploaded else taken[-1].size
        except BaseException as error:
            self._discard((change.data for change in taken if change.is_uploaded), error)
            raise
        self._change(taken, _now())

    def _commit(self, changes: Sequence[_Change]) -> Sequence[Stat]:
        """Make all of the changes at one instant, and say what is there then."""
        now = _now()
        answers = self._change(changes, now)
        modified = _time(now)
        return [
            Stat(
                change.key,
                change.size,
                modified,
                change.etag,
                _load(kept) if change.attrs is None else copy_attrs(change.attrs),
            )
            for change, kept in zip(changes, answers, strict=True)
        ]

    def _change(self, changes: Sequence[_Change], now: int) -> Sequence[Any]:
        names = [self._index, self._about, *(self._base + change.key for change in changes)]
        arguments: list[Any] = [len(self._base.encode())]
        for change in changes:
            arguments += (change.verb, change.describe(now), change.data)
        key = changes[0].key if len(changes) == 1 else ""
        try:
            done, *answers = self._server.run(key, scripts.CHANGE, names, *arguments)
            if not done:
                self._raise_problem(answers[1], changes[answers[0] - 1].key)
        except BaseException as error:
            self._discard((change.data for change in changes if change.is_uploaded), error)
            raise
        return cast(Sequence[Any], answers)

    def _copy(self, source: str, target: str, flags: str) -> Stat:
        names = [self._index, self._about, self._name(source), self._name(target)]
        now = _now()
        size, text, *which = self._server.run(source, scripts.COPY, names, source, target, now, flags)
        if size < 0:
            self._raise_problem(text, source if which == [1] else target)
        return self._read_stat(target, size, text)

    def _raise_problem(self, problem: bytes, key: str) -> None:
        if problem == b"missing":
            raise NotFound(key, self.url)
        if problem == b"taken":
            raise AlreadyExists(key, self.url)
        if problem == b"type":
            raise self._server.wrong_type(key)
        raise StoreUnavailable(self.url, "it evicted a value while that was being written")


class _Change(NamedTuple):
    """One key to change, as ``scripts.CHANGE`` takes it."""

    key: str
    verb: str
    data: Any = b""
    """The bytes, or the temporary name where they are."""
    etag: str = ""
    size: int = 0
    attrs: dict[str, Any] | None = None

    @property
    def is_uploaded(self) -> bool:
        return "t" in self.verb

    def describe(self, now: int) -> str:
        attrs = "" if self.attrs is None else json.dumps(self.attrs, separators=(",", ":"))
        return f"{self.etag} {now} {self.size} {attrs}"


def _groups(keys: Iterable[str], most: int) -> Iterator[list[str]]:
    iterator = iter(keys)
    while group := list(islice(iterator, most)):
        yield group


def _load(attrs: bytes) -> dict[str, Any]:
    """The attributes; none if they are damaged."""
    if attrs == b"{}":
        return {}
    try:
        found = json.loads(attrs)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _clamp(bound: int) -> int:
    """A bound of a slice that Lua's numbers can hold."""
    return max(-(1 << 50), min(bound, 1 << 50))


def _now() -> int:
    return time.time_ns() // 1000


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
