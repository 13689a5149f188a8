"""Change: one key to put or delete, and how many of them are made at one instant on a Redis server.

What there is to change is gathered by ``redis_intake``; here it becomes one call of ``scripts.CHANGE``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn, cast

from valuestore.errors import AlreadyExists, NotFound, StoreUnavailable
from valuestore.stores import redis_scripts as scripts
from valuestore.stores.base import Stat, copy_attrs
from valuestore.stores.redis_about import load_attrs, microseconds_now, time_of, write_about
from valuestore.stores.redis_client import RedisClient
from valuestore.stores.redis_names import RedisNames

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
