"""RedisTable: a table on a Redis server, for any number of processes; each operation is one round trip.

A row is a field of the hash ``{name}:r``, under its key, which is the member of ``{name}:i:<index>`` for each
index: a sorted set, where an overwrite moves it. ``{name}:c`` says what is known of the table, ``{name}:l``
is the lease of a CachedTable, and large changes wait at ``{name}:s``, which expires. The braces keep them on
one node of a cluster. scripts.py is what the server does.
"""

from __future__ import annotations

import json
import math
import struct
import sys
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, TypeVar
from urllib.parse import quote

from valuestore.errors import CodecError, StoreError, StoreUnavailable, TableError
from valuestore.stores.redis.address import RedisAddress
from valuestore.stores.redis.client import RedisClient
from valuestore.stores.redis.transfer import PIECE_BYTES, TEMP_MILLISECONDS
from valuestore.tables import scripts
from valuestore.tables.interval import Interval, Intervals
from valuestore.tables.schema import Encoded, Row
from valuestore.tables.table import (
    Asked,
    Drop,
    DropAll,
    Dropped,
    DropRows,
    DropWhere,
    Guard,
    Step,
    Table,
    Where,
)

_TIMEOUT_SECONDS = 10.0
_EXACT = 1 << 53
"""Beyond it, Redis rounds integers; what it gives is looked at again."""
_ROWS_AT_ONCE = 250
_MANY = 1000
P = TypeVar("P")
_number = struct.Struct(">I").pack


class RedisTable(Table[Row]):
    """The table of that name on a Redis server, version 6.2 or later, below the URL's prefix, if it has one.

    The URL and ``timeout_seconds`` are as for RedisStore, ``declared`` is what every ``Table`` takes. Tables
    of one name are the same table; opened with other indexes, they raise TableError until ``reindex``. A
    batch is made while the server does nothing else, a second for some 100,000 rows; what is loaded or
    indexed anew is made beside. Where rows are lost, because the server evicts or forgets, and that can be
    told, all but writing raises StoreError.
    Raises: BadReference; TableError.
    """

    def __init__(self, url: str, name: str, *, timeout_seconds: float | None = None, **declared: Any) -> None:
        super().__init__(**declared)
        if type(name) is not str or not name:
            raise TableError(f"table {name!r}", "its name is a text, and not empty")
        address = RedisAddress.read(url, {"timeout_seconds": timeout_seconds})
        seconds = address.number("timeout_seconds", _TIMEOUT_SECONDS)
        self._server = RedisClient(address, seconds, scripts.EACH)
        self._name = name
        self.place = f"table {name!r} of {address.url}"
        base = f"{address.prefix}/" if address.prefix else ""
        base += f"{{{quote(name, safe='', errors='surrogatepass')}}}:"
        self._staging = f"{base}s"
        self._keys = [*(base + part for part in "crsl"), *(f"{base}i:{each}" for each in self.schema.indexes)]
        self._indexes = json.dumps(self.schema.indexes)

    def rows(self, asked: Asked) -> Sequence[bytes] | None:
        index, intervals, reverse, limit, epoch = asked
        is_exact = all(each.ge == math.inf or _is_exact(each) for each in intervals)  # FIND tells the rest
        ends = [_ends(each) for each in intervals]
        bounds = [end for pair in reversed(ends) for end in reversed(pair)] if reverse else sum(ends, ())
        most = limit if limit is not None and is_exact else -1
        arguments = (epoch or "", self._set(index), "r" if reverse else "", most, *bounds)
        answer = self._run(scripts.FIND, *arguments, may_lack=epoch is not None)
        if answer is None:
            return None
        found = list(_each(answer[1]))
        if answer[0] or not is_exact:
            found = self._exactly(index, intervals, found, reverse)
        return found[:limit]

    def known(self) -> tuple[str, str]:
        epoch, text = self._run(scripts.KNOWN)
        return epoch.decode(), text.decode()

    def lease(self, token: str, seconds: float) -> bool:
        return bool(self._server.run(self._name, scripts.LEASE, self._keys, token, int(seconds * 1000)))

    def close(self) -> None:
        if not self._is_closed:
            super().close()
            self._server.close()

    def drop(self, index: str, intervals: Any, where: Where[Row] | None = None) -> Drop | DropWhere:
        drop = super().drop(index, intervals, where)
        if all(map(_is_exact, drop.intervals)):
            return drop
        return DropWhere(index, drop.intervals, where or (lambda _row: True))

    def _apply(
        self, steps: Sequence[Step], *, wants_rows: bool = False, guard: Guard | None = None
    ) -> Dropped | None:
        given = guard or Guard("", "")
        text = () if given.text is None else ("1", uuid.uuid4().hex, given.text)
        arguments = [self.schema.mark if wants_rows else "", given.field, given.seen, given.lease]
        arguments += text or ("", "", "")
        is_whole = len(steps) > _MANY and isinstance(steps[0], DropAll)
        staged = (self._stage_rows if is_whole else self._stage_pieces)(steps)
        answer = self._run(scripts.APPLY, *arguments, *staged, may_lack=guard is not None)
        return None if answer is None else Dropped(answer[0], list(_each(answer[1])))

    def _stage_pieces(self, steps: Sequence[Step]) -> Sequence[Any]:
        """The steps, or, if they are more than one request takes, the names of the pieces that wait."""
        pieces = [b"".join(group) for group in _groups(self._written(steps), len)]
        if len(pieces) < 2:
            return pieces or [b""]
        names = [f"{uuid.uuid4().hex}:{number}" for number in range(len(pieces))]
        for name, piece in zip(names, pieces, strict=True):
            put, expire = ("HSET", self._staging, name, piece), ("PEXPIRE", self._staging, TEMP_MILLISECONDS)
            self._server.do_all(self._name, put, expire)
        return ["pieces", *names]

    def _stage_rows(self, steps: Sequence[Any]) -> Sequence[Any]:
        """A whole new table beside this one, which takes its place in no time, however large it is.

        The keys of the rows are all different. While the server takes some rows, others are made ready.
        """
        token = uuid.uuid4().hex
        at = [f"{self._staging}:{token}:{key[len(self._staging) - 1 :]}" for key in self._keys]
        used = (self._staging, at[1], *at[4:])

        def send(rows: Sequence[Encoded]) -> None:
            commands: list[Sequence[Any]] = [("HSET", self._staging, token, self._indexes)]
            commands.append(("HSET", at[1], *(part for row in rows for part in row[:2])))
            for place, key in enumerate(at[4:]):
                scored = (part for row in rows for part in (b"%r" % _float(row.scores[place]), row.key))
                commands.append(("ZADD", key, *scored))
            self._server.do_all(self._name, *commands, *(("PEXPIRE", key, TEMP_MILLISECONDS) for key in used))

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(send, _groups(steps[1:], _size, _MANY)))
        return ["table", token, len(steps) - 1]

    def _get(self, key: bytes) -> bytes | None:
        found = self._run(scripts.GET, key)
        return found[0] if found else None

    def _all(self) -> tuple[str, Sequence[bytes]]:
        writes, *found = self._run(scripts.ALL)
        return writes.decode(), found

    def _clear(self) -> None:
        self._server.run(self._name, scripts.CLEAR, self._keys)

    def _count(self, index: str, intervals: Intervals) -> int:
        if not all(map(_is_exact, intervals)):
            return super()._count(index, intervals)
        ends = (end for each in intervals for end in _ends(each))
        return int(self._run(scripts.COUNT, self._set(index), *ends)[0])

    def _set(self, index: str) -> int:
        """Which of the script's keys the index is."""
        return self.schema.place(index) + 5

    def _run(self, script: str, *arguments: Any, may_lack: bool = False) -> Any:
        """What the script answers; None if it cannot and that may be."""
        outcome, *answer = self._server.run(self._name, script, self._keys, self._indexes, *arguments)
        if outcome == b"rows":
            return answer
        if outcome == b"indexes":
            theirs = ", ".join(json.loads(answer[0]))
            advice = "open it with these, or call reindex()"
            raise TableError(self.place, f"it has the indexes {theirs}; {advice}")
        if outcome == b"schema":
            raise CodecError(self.place, "rows of another schema; nothing was deleted")
        if outcome == b"evicted":
            raise StoreUnavailable(self.place, "the server dropped what was being written; has it memory?")
        if may_lack:
            return None
        raise StoreError(f"{self.place} has lost rows or an index; clear() it, or reindex() what is left")

    def _exactly(self, index: str, intervals: Intervals, found: list[bytes], reverse: bool) -> list[bytes]:
        """The rows whose exact scores are meant, in the order of those; once, where wider ones overlap."""
        scored = [(self.schema.score(index, self.schema.decode(one)), one) for one in dict.fromkeys(found)]
        meant = [pair for pair in scored if any(pair[0] in each for each in intervals)]
        meant.sort(key=lambda pair: (pair[0], self.schema.key_of(pair[1])), reverse=reverse)
        return [data for _, data in meant]

    def _written(self, steps: Sequence[Step]) -> Iterator[bytes]:
        """As scripts.APPLY reads it."""
        for kind, group in groupby(steps, type):
            rest: Any = group
            if kind is Encoded:
                yield from map(self._write_rows, _groups(rest, _size, _ROWS_AT_ONCE))
            elif kind is Drop:
                for by, intervals in rest:
                    yield b"d" + _number(self._set(by)) + _pairs(map(_ends, intervals))
            else:
                for step in rest:
                    pairs = () if isinstance(step, DropAll) else step.rows.items()
                    yield (b"e" + _pairs(pairs)) if kind is DropRows else b"a"

    def _write_rows(self, rows: Sequence[Encoded]) -> bytes:
        parts = [b"p", _pairs((row.key, row.data) for row in rows)]
        for place in range(len(self.schema.indexes)):
            scores = [b"%r" % _float(row.scores[place]) for row in rows]
            parts += [_number(len(score)) + score for score in scores]
        return b"".join(parts)


def _pairs(pairs: Iterable[tuple[bytes, bytes]]) -> bytes:
    """How many there are, and both texts of each, with their lengths."""
    parts = [_number(len(text)) + text for pair in pairs for text in pair]
    return _number(len(parts) // 2) + b"".join(parts)


def _groups(parts: Iterable[P], size: Callable[[P], int], most: int = sys.maxsize) -> Iterator[list[P]]:
    """Them in groups that one request takes."""
    group: list[P] = []
    total = 0
    for part in parts:
        group.append(part)
        total += size(part)
        if len(group) == most or total >= PIECE_BYTES:
            yield group
            group, total = [], 0
    if group:
        yield group


def _size(row: Encoded) -> int:
    return len(row.data)


def _each(rows: bytes) -> Iterator[bytes]:
    """The rows of an answer, each of which has its length before it."""
    at, end = 0, len(rows)
    while at < end:
        start = at + 4
        at = start + int.from_bytes(rows[at:start], "big")
        yield rows[start:at]


def _float(score: float) -> float:
    """The nearest that Redis can keep."""
    try:
        return float(score)
    except OverflowError:
        return math.inf if score > 0 else -math.inf


def _is_exact(interval: Interval) -> bool:
    """Whether Redis finds exactly these scores; integers beyond all floats it takes for infinity."""
    low, high = interval.ge, interval.lt
    return (abs(low) < _EXACT or low == -math.inf) and (abs(high) < _EXACT or high == math.inf)


def _ends(interval: Interval) -> tuple[bytes, bytes]:
    """For ZRANGEBYSCORE; of those that are not exact, a wider interval."""
    low, high = _float(interval.ge), _float(interval.lt)
    is_open = abs(interval.lt) < _EXACT
    return b"%r" % low, b"(%r" % high if is_open else b"%r" % high
