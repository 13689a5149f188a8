"""Change: one key to put or delete, and how many of them are made at one instant on a Redis server.

What there is to change is gathered by transfer.py; here it becomes one call of ``scripts.CHANGE``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, NoReturn, cast

from valuestore.errors import AlreadyExists, NotFound, StoreUnavailable
from valuestore.stores.base import Stat, copy_attrs
from valuestore.stores.redis import scripts
from valuestore.stores.redis.address import RedisNames
from valuestore.stores.redis.client import RedisClient

# --- About: what RedisStore keeps of a key beside its bytes, as one text in the hash ``<prefix>//about``::
#
#     <etag> <microseconds since 1970> <size> <attributes as JSON>
#
# The etag is ``-`` where another program wrote the bytes. The scripts (scripts.py) read and write it.


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNKNOWN = b"-"


def write_about(etag: str, now: int, size: int, attrs: Mapping[str, Any] | None) -> str:
    """The text; it ends before the attributes if those that the key has are kept (None)."""
    text = "" if attrs is None else json.dumps(attrs, separators=(",", ":"))
    return f"{etag} {now} {size} {text}"


def read_stat(key: str, size: int, about: bytes) -> Stat:
    """What the text says of the ``size`` bytes there are; the etag is empty if it is about others."""
    try:
        etag, microseconds, known_size, attrs = about.split(b" ", 3)
        is_theirs = int(known_size) == size and etag != _UNKNOWN
        shown = etag.decode() if is_theirs else ""
        return Stat(key, size, time_of(int(microseconds)), shown, load_attrs(attrs))
    except (ValueError, OverflowError):
        return Stat(key, size, _EPOCH, "", {})


def load_attrs(text: bytes) -> dict[str, Any]:
    """The attributes; none if they are damaged."""
    if text == b"{}":
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def microseconds_now() -> int:
    return time.time_ns() // 1000


def time_of(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


DELETE = "d"


class Change(NamedTuple):
    """One key to change, as ``scripts.CHANGE`` takes it, which explains the verbs."""

    key: str
    verb: str
    data: Any = b""
    """The bytes, or the temporary name where they are."""
    etag: str = ""
    size: int = 0
    attrs: dict[str, Any] | None = None
    """None keeps those that the key has."""

    @property
    def is_uploaded(self) -> bool:
        return "t" in self.verb


def make_changes(
    server: RedisClient, names: RedisNames, changes: Sequence[Change], now: int
) -> Sequence[Any]:
    """Make all of them at one instant, or none; what the script found at each key.

    No temporary name stays. Raises: AlreadyExists; StoreError.
    """
    affected = [names.index, names.about, *(names.base + change.key for change in changes)]
    arguments: list[Any] = [len(names.base.encode())]
    for change in changes:
        about = write_about(change.etag, now, change.size, change.attrs)
        arguments += (change.verb, about, change.data)
    key = changes[0].key if len(changes) == 1 else ""
    try:
        done, *answers = server.run(key, scripts.CHANGE, affected, *arguments)
        if not done:
            raise_problem(server, answers[1], changes[answers[0] - 1].key)
    except BaseException as error:
        server.discard((change.data for change in changes if change.is_uploaded), error)
        raise
    return cast(Sequence[Any], answers)


def put_all(server: RedisClient, names: RedisNames, changes: Sequence[Change]) -> Sequence[Stat]:
    """Make the changes, which are puts, and say what is there then. Raises: as ``make_changes``."""
    now = microseconds_now()
    answers = make_changes(server, names, changes, now)
    modified = time_of(now)
    return [
        Stat(
            change.key,
            change.size,
            modified,
            change.etag,
            load_attrs(kept) if change.attrs is None else copy_attrs(change.attrs),
        )
        for change, kept in zip(changes, answers, strict=True)
    ]


def raise_problem(server: RedisClient, problem: bytes, key: str) -> NoReturn:
    """Raise what a script's word for a problem means."""
    if problem == b"missing":
        raise NotFound(key, server.url)
    if problem == b"taken":
        raise AlreadyExists(key, server.url)
    if problem == b"type":
        raise server.wrong_type(key)
    raise StoreUnavailable(server.url, "it evicted a value while that was being written")
