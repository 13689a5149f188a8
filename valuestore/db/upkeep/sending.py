"""Sending: which records of a repository are asked for, and lack on the other side.

All of it is gone through by its keys. What is named is closed first: over everything that a rerun needs to
find it, and the history to tell of it. Which that is, is noted in a temporary database, so that memory stays
flat; and asked of one state of the repository, whoever writes meanwhile.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from valuestore.db.engine.driver import Driver
from valuestore.db.history.tags import ENTITIES
from valuestore.db.record.rows import eval_hash
from valuestore.db.upkeep.records import KINDS, MADE_OF, Row

Ask = Callable[[str, Collection[str]], list[Any]]
"""The rows that a kept statement gives for keys."""

_PAGE = 500

Pages = Callable[[str], Iterator[list[str]]]
"""The keys by which records of a kind are asked for, some hundred at once."""


@contextmanager
def steady(driver: Driver, *, is_sqlite: bool) -> Iterator[None]:
    """Have all that is asked in the block be of one moment."""
    driver.change("BEGIN" if is_sqlite else "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        yield
    finally:
        with suppress(Exception):  # the connection is gone, and with it the transaction
            driver.change("ROLLBACK")


def everything(driver: Driver, statements: Mapping[str, str]) -> Pages:
    """All of a repository."""
    return lambda kind: _paged(driver, statements[f"page {kind}"], {})


class Closure:
    """Some records of a repository, and all that they need."""

    def __init__(self, driver: Driver, statements: Mapping[str, str], ask: Ask, algorithm: str) -> None:
        self._driver, self._statements, self._ask, self._algorithm = driver, statements, ask, algorithm
        self._noted = sqlite3.connect("")  # a file of its own, once it is large
        self._noted.execute("CREATE TABLE noted (number INTEGER PRIMARY KEY, kind, key, UNIQUE (kind, key))")
        self._noted.execute("CREATE INDEX by_kind ON noted (kind, number)")
        self.close = self._noted.close

    def pages(self, kind: str) -> Iterator[list[str]]:
        """As ``Pages`` says; what is added meanwhile comes, too."""
        for each in ENTITIES if kind == "tag" else (kind,):
            after = 0
            while rows := self._noted.execute(
                "SELECT number, key FROM noted WHERE kind = ? AND number > ? ORDER BY number LIMIT ?",
                (each, after, _PAGE),
            ).fetchall():
                after = rows[-1][0]
                yield [key for _, key in rows]

    def add(self, kind: str, keys: Iterable[str | None]) -> None:
        """Note keys, those that are None left out."""
        pairs = [(kind, key) for key in keys if key]
        self._noted.executemany("INSERT OR IGNORE INTO noted (kind, key) VALUES (?, ?)", pairs)

    def close_over(self, seeds: Iterable[tuple[str, str]]) -> None:
        """Note these records, by kind and id, and what they need: each kind leads to later ones alone."""
        for kind, record_id in seeds:
            self._seed(kind, record_id)
        for page in self.pages("execution"):
            for execution_id in page:
                for jobs in self._of("jobs of execution", execution_id):
                    self.add("job", jobs)
        for page in self.pages("job"):
            self._jobs(self._ask("share job", page))
        for page in self.pages("call"):
            self._calls(page)
        for page in self.pages("set"):
            for _, member, is_set in self._ask("share set", page):
                for kind in ("set",) if is_set else ("task", "code", "value"):
                    self.add(kind, [member])
        for page in self.pages("task"):
            self.add("code", page)
        for page in self.pages("args"):
            self.add("value", [row[3] for row in self._ask("share args", page)])
        for page in self.pages("evaluation"):
            rows = self._ask("share evaluation", page)
            self.add("value", [row[2] for row in rows])
            self.add("code", [row[1] for row in rows])
        for page in self.pages("value"):
            self.add("value", [row[1] for row in self._ask("share subvalue", page)])
            self.add("value", [row[0] for row in self._ask("share handle_edge", page)])

    def _seed(self, kind: str, record_id: str) -> None:
        self.add(kind, [record_id])
        if kind == "job":
            self.add("execution", [row[1] for row in self._ask("share job", [record_id])])
        elif kind == "task":
            for calls in self._of("calls of task", record_id):
                self.add("call", calls)
        elif kind == "entry":
            for row in self._ask("share entry", [record_id]):
                if row[8] is not None:
                    self._seed("value", row[8])
        elif kind == "value":
            self.add("call", [call for (call,) in self._ask("calls of values", [record_id])])

    def _jobs(self, rows: Sequence[Row]) -> None:
        for at, kind in ((3, "task"), (4, "call"), (5, "args"), (11, "code"), (12, "code")):
            self.add(kind, [row[at] for row in rows])
        self.add("evaluation", [self._evaluation(row[3], row[5], row[11]) for row in rows if row[5]])

    def _calls(self, page: list[str]) -> None:
        rows = self._ask("share call", page)
        for at, kind in ((1, "task"), (2, "args"), (3, "value"), (4, "set"), (5, "set"), (5, "value")):
            self.add(kind, [row[at] for row in rows])
        for name in ("share edge", "share source"):
            self.add("call", [row[2] for row in self._ask(name, page)])
        classes = defaultdict(lambda: {None}, {})
        for call, classes_hash in self._ask("classes of calls", page):
            classes[call].add(classes_hash)
            self.add("code", [classes_hash])
        self.add(
            "evaluation", [self._evaluation(row[1], row[2], one) for row in rows for one in classes[row[0]]]
        )

    def _evaluation(self, task_hash: Any, args_hash: Any, classes_hash: str | None) -> str:
        return eval_hash(task_hash, args_hash, self._algorithm, classes_hash)

    def _of(self, name: str, record_id: str) -> Iterator[list[str]]:
        return _paged(self._driver, self._statements[name], {"id": record_id})


def _paged(driver: Driver, sql: str, parameters: dict[str, Any]) -> Iterator[list[str]]:
    """The keys, some hundred at once: each page is asked for behind the last row of the one before."""
    behind: dict[str, Any] = {"after": "", "number": 0}
    while rows := driver.rows(sql, {**parameters, **behind}):
        behind = dict.fromkeys(behind, rows[-1][0])
        yield [row[-1] for row in rows]


# --- Records that the other side lacks


def lacking(kind: str, keys: Collection[str], ask: Ask, there: Ask) -> list[Row]:
    """The records of these keys that are not ``there`` as they are here."""
    if kind == "link":
        return _links(keys, ask, there)
    spec = KINDS[kind]
    known = set(there(f"there {kind}", keys))
    if spec.key == (spec.owner,):
        keys = [key for key in keys if (key,) not in known]
    if not keys:
        return []
    if kind == "call":
        made = _made(ask("share edge", keys))
        return [(*row, made[row[0]]) for row in ask("share call", keys)]
    rows = ask(f"share {kind}", keys)
    new = [row for row in rows if spec.key_of(row) not in known]
    return new if kind not in MADE_OF else _together(kind, rows, {row[0] for row in new})


def _together(kind: str, rows: Iterable[Row], wanted: set[str]) -> list[Row]:
    whole: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row[:2]):
        if row[0] in wanted:
            whole.setdefault(row[0], []).append(list(row[2 if kind == "args" else 1 :]))  # type: ignore[arg-type]
    return list(whole.items())


def _links(keys: Collection[str], ask: Ask, there: Ask) -> list[Row]:
    edges, sources = ask("share edge", keys), ask("share source", keys)
    known = {row[:2] for row in there("there edge", keys)}, set(there("there source", keys))
    wanted = {row[0] for row in edges if row[:2] not in known[0]}
    wanted |= {row[0] for row in sources if row not in known[1]}
    made, given = _made(edges), defaultdict(list)
    for call, position, source in sources:
        given[call].append([position, source])
    rows = ask("share call", wanted)
    return [(*row[:4], made[row[0]], given[row[0]]) for row in rows]


def _made(edges: Iterable[Row]) -> dict[str, list[str]]:
    made: dict[str, list[str]] = defaultdict(list)
    for call, _, child in sorted(edges, key=lambda row: row[:2]):
        made[call].append(child)
    return made
