"""HistoryBoard: the newest executions and jobs of a repository in a table, for many readers and without SQL.

The process that records keeps it up: the board hears of executions and jobs as observers do, and reads them
from the history once they are committed. A reader that finds it older than it may be does the same.
"""

from __future__ import annotations

import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from datetime import UTC, datetime
from math import inf
from typing import Any, Self

from valuestore.db.history.conditions import moment_of
from valuestore.db.history.records import ExecutionRecord, JobRecord, Page, microseconds, moment
from valuestore.errors import StoreError, TableError, ValuestoreError
from valuestore.observe import Event, JobEvent
from valuestore.repository import Repository
from valuestore.tables import CachedTable, Int64, Interval, JsonText, MemoryTable, RedisTable, String, Table

Row = dict[str, Any]
_SIGN = Interval.at(inf)
"""Where the row is that says when the history was read; in each index, and first where the newest are."""
_SHELF = 1 << 44
"""Milliseconds in 557 years: each kind, status and task has scores of its own, in the order of time."""
_STATUSES = ("running", "done", "cached", "failed", "interrupted", "crashed")
_TYPES: Mapping[str, type[Any]] = {"execution": ExecutionRecord, "job": JobRecord}
_FIELDS = {
    kind: {each.name: place for place, each in enumerate(fields(record))} for kind, record in _TYPES.items()
}
_MORE = 20
"""How many rows are read beyond a page where some may not be meant."""


def _place(kind: str, name: str = "") -> int:
    """The shelf of a kind, with a status or the name of a task; names may share one."""
    is_status = name in _STATUSES
    part = 1 + _STATUSES.index(name) if is_status else 8 + zlib.crc32(name.encode("utf-8", "replace")) % 120
    return 128 * list(_TYPES).index(kind) + (part if name else 0)


def _scored(name: str = "") -> Callable[[Row], float]:
    """By kind, and then by that field and time."""

    def score(row: Row) -> float:
        if row["kind"] == "sign":
            return inf
        shelf = _place(row["kind"], _fact(row, name) if name else "")
        return float(_SHELF * shelf + row["at"] // 1000)

    return score


def _fact(row: Row, name: str) -> Any:
    return row["facts"][_FIELDS[row["kind"]][name]] if name in _FIELDS[row["kind"]] else ""


class HistoryBoard:
    """The newest ``executions`` and ``jobs`` of a repository, as records of its history. Thread-safe.

    ``table`` is made with ``**HistoryBoard.DECLARED``, or is the URL of a Redis, where it is called "board".
    What the repository records appears within ``every_seconds``, until the board is closed, before that is.
    Where nobody keeps it up, the first who finds it older than ``max_age_seconds`` reads the history, as
    everybody does for what Redis lost, or does not answer in time. Nobody else asks SQL.
    """

    DECLARED: Mapping[str, Any] = {
        "key": ("kind", "id"),
        "codecs": {"kind": String(), "id": String(), "at": Int64(), "facts": JsonText()},
        "indexes": {"kind": _scored(), "status": _scored("status"), "task": _scored("task")},
    }

    def __init__(
        self,
        repository: Repository,
        table: Table[Row] | str,
        *,
        executions: int = 200,
        jobs: int = 2000,
        every_seconds: float = 0.5,
        max_age_seconds: float = 10.0,
    ) -> None:
        self._repository = repository
        self._table = RedisTable[Row](table, "board", **self.DECLARED) if isinstance(table, str) else table
        self._most = {"execution": executions, "job": jobs}
        self._every, self._max_age = every_seconds, max_age_seconds
        self._cache = CachedTable(self._table, self._newest, observers=[self._note], wait_seconds=5)
        self._is_lacking = True
        self._lock = threading.RLock()
        self._news, self._closed = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        repository.observers = (*repository.observers, self._hear)

    def executions(
        self,
        *,
        status: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ExecutionRecord]:
        """Executions, those first that began last; the cursor of a page gives the next one."""
        return self._page("execution", status, None, (since, until), limit, cursor)

    def jobs(
        self,
        *,
        status: str | None = None,
        task: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[JobRecord]:
        """Jobs likewise; ``task`` is the full name of one."""
        return self._page("job", status, task, (since, until), limit, cursor)

    def refresh(self) -> None:
        """Read the history, now; readers see it when that returns. Raises: DatabaseError; StoreError."""
        self._repository.flush()
        with self._lock:
            self._load()
            self._cache.invalidate({"kind": [Interval()]}, refresh_on_read=False)
            self._cache.refresh()

    def close(self) -> None:
        """Show what was recorded last, if it can be shown, and stop. The rows stay."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._repository.observers = tuple(one for one in self._repository.observers if one != self._hear)
        self._news.set()
        if self._thread is not None:
            self._thread.join()
        self._table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- keeping it up --------------------------------------------------------------------------------

    def _hear(self, event: Event) -> None:
        if isinstance(event, JobEvent):
            if self._thread is None:
                self._thread = threading.Thread(target=self._keep_up, name="valuestore-board", daemon=True)
                self._thread.start()
            self._news.set()

    def _keep_up(self) -> None:
        """The thread: read the history when something was heard, and before others find it too old."""
        while True:
            self._news.wait(self._max_age / 2)
            self._news.clear()
            is_last = self._closed.is_set()
            with suppress(ValuestoreError):  # a reader reads the history himself, then
                self.refresh()
            if is_last:
                return
            self._closed.wait(self._every)

    def _newest(self, _index: str = "", _intervals: Sequence[Interval] = ()) -> Iterator[Row]:
        now = microseconds(datetime.now(UTC))
        yield {"kind": "sign", "id": "", "at": now, "facts": None}
        for kind, most in self._most.items():
            for record in self._repository.history.newest(kind, most).records:
                found = (getattr(record, name) for name in _FIELDS[kind])
                facts = [microseconds(each) if isinstance(each, datetime) else each for each in found]
                at = microseconds(record.started)
                yield {"kind": kind, "id": record.record_id, "at": at, "facts": facts}

    def _note(self, event: Event) -> None:
        self._is_lacking = self._is_lacking or event.operation == "table_miss"

    def _load(self) -> None:
        """Fill the table where it is empty, unless somebody else just did."""
        with suppress(TableError):
            if not self._cache.loaded(0):
                self._cache.load("kind", Interval())
        self._is_lacking = False

    # --- reading --------------------------------------------------------------------------------------

    def _page(
        self,
        kind: str,
        status: str | None,
        task: str | None,
        period: tuple[datetime | None, datetime | None],
        limit: int,
        cursor: str | None,
    ) -> Page[Any]:
        named = zip(("since", "until"), period, strict=True)
        since, until = (None if when is None else moment_of(name, when) for name, when in named)
        at, _, last = (cursor or f"{_SHELF}:").partition(":")
        if limit < 1 or not at.isdecimal() or len(at) > 20:
            raise TableError(f"limit {limit}, cursor {cursor!r}", "they are a number and a page's cursor")
        before = int(at), last

        def fits(row: Row) -> bool:
            return row["kind"] == "sign" or (
                (status is None or _fact(row, "status") == status)
                and (task is None or _fact(row, "task") == task)
                and (since is None or row["at"] >= since)
                and (until is None or row["at"] < until)
                and (row["at"] // 1000, row["id"]) < before
            )

        low = 0 if since is None else max(since // 1000, 0)
        high = 1 + min(before[0], _SHELF - 1 if until is None else until // 1000)
        shelf = _SHELF * _place(kind, task or status or "")
        asked = Interval(shelf + low, shelf + max(low, high))
        index = "task" if task else "status" if status else "kind"
        more = 0 if (task, since, until, cursor) == (None, None, None, None) else _MORE
        most = limit + 2

        def look(table: Table[Row] | CachedTable[Row]) -> list[Row]:
            """The newest rows that fit, at most so many; before them the sign."""
            read = list(table.find(index, _SIGN, asked, limit=most + more, reverse=True))
            found = [row for row in read if fits(row)]
            if len(found) < most and len(read) == most + more:
                return list(table.find(index, _SIGN, asked, limit=most, reverse=True, where=fits))
            return found[:most]

        found = self._found(look)[1:]
        cut = found[limit - 1] if len(found) > limit else None
        place = None if cut is None else f"{cut['at'] // 1000}:{cut['id']}"
        return Page([_record(row) for row in found[:limit]], place)

    def _found(self, look: Callable[[Table[Row] | CachedTable[Row]], list[Row]]) -> list[Row]:
        try:
            if self._is_lacking:
                with self._lock:
                    self._load()
            found = look(self._cache)
            if self._is_old(found):
                with self._lock:
                    if self._is_old(list(self._cache.find("kind", _SIGN))):
                        self.refresh()
                found = look(self._cache)
        except StoreError:
            alone = MemoryTable[Row](**self.DECLARED)
            alone.put_many(self._newest())
            found = look(alone)
        return found

    def _is_old(self, found: Sequence[Row]) -> bool:
        return bool(abs(microseconds(datetime.now(UTC)) - found[0]["at"]) > self._max_age * 1e6)


def _record(row: Row) -> Any:
    kind, facts = row["kind"], row["facts"]
    for name in ("started", "ended"):
        if name in _FIELDS[kind]:
            facts[_FIELDS[kind][name]] = moment(facts[_FIELDS[kind][name]])
    return _TYPES[kind](*facts)
