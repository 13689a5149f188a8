"""Writer: rows into tables, however often and by however many processes at once, in one transaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from operator import itemgetter
from typing import Any, TypeVar

from valuestore.db.engine.database import Database
from valuestore.db.engine.driver import Driver, Table
from valuestore.db.schema.kept import kept, key_lists

T = TypeVar("T")

_KEY_COLUMNS = {
    "subvalue": 2,
    "handle_edge": 2,
    "dependency": 2,
    "signature": 2,
    "evaluation": 2,
    "set_member": 2,
    "argument": 2,
    "call_edge": 2,
    "argument_source": 3,
    "task_count": 3,
    "entry_version": 2,
    "entry_attribute": 2,
}
"""How many columns are the key where it is not the first alone."""


class _ThereInPart(Exception):
    """Of rows that were to be new, some were: the transaction is taken back and done again."""


class Writer:
    """A driver in a write transaction, with the kept statements of its database."""

    def __init__(self, driver: Driver, statements: Mapping[str, str], *, one_by_one: bool = False) -> None:
        self._driver = driver
        self._statements = statements
        self._one_by_one = one_by_one

    @classmethod
    def transact(cls, database: Database, work: Callable[[Writer], T], *, patience: float | None = None) -> T:
        """Do ``work`` in one write transaction; it may be done again. Raises: as ``Database.change``."""
        statements = kept(database.dialect_name)
        options = {} if patience is None else {"patience": patience}
        try:
            return database.change(lambda driver: work(cls(driver, statements)), **options)
        except _ThereInPart:  # which rows were there, only sending them one by one tells
            return database.change(lambda driver: work(cls(driver, statements, one_by_one=True)))

    def insert(self, table: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """Insert rows, in the order of the table's columns without its own number, by their keys: how many.

        What becomes of those that are there is decided by ``db/statements.py``.
        """
        ordered = sorted(rows, key=itemgetter(*range(_KEY_COLUMNS.get(table, 1))))
        return self._driver.insert(self._statements[f"insert {table}"], ordered) if ordered else 0

    def insert_new(self, table: str, rows: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Insert rows, of which all are new or all were written before, but for accidents: which are new."""
        ordered = sorted(rows, key=itemgetter(0))
        sql = self._statements[f"insert {table}"]
        if self._one_by_one:
            return [row for row in ordered if self._driver.insert(sql, [row])]
        added = self._driver.insert(sql, ordered)
        if 0 < added < len(ordered):
            raise _ThereInPart
        return ordered if added else []

    def numbers(self, table: str, wanted: Collection[str]) -> dict[str, int]:
        """The short numbers of rows of task, execution or call_node by hash or id; unknown ones are absent.

        A digest of 32 characters in the row and again in each index of a job would be most of its size. The
        numbers hold in one database alone, so nothing outside this folder sees them: the views resolve them.
        """
        return dict(self.rows(f"numbers of {table}", wanted))

    def rows(self, name: str, keys: Collection[str]) -> list[Any]:
        """The rows that a kept statement gives for these keys, 500 at once."""
        sql = self._statements[name]
        return [row for some in key_lists(keys) for row in self._driver.rows(sql, {"keys": some})]

    def table(self, name: str, **parameters: Any) -> Table:
        """What a kept statement gives."""
        return self._driver.table(self._statements[name], parameters)

    def collection(self) -> tuple[str | None, bool]:
        """How many collections began and ended, and whether one is on; from now on collectors wait."""
        found = self._driver.rows(self._statements["collection"])
        return found[0] if found else (None, False)

    def change(self, name: str, **parameters: Any) -> int:
        """Run a kept statement that changes rows: how many it changed."""
        return self._driver.change(self._statements[name], parameters)

    def release(self, leases: Mapping[str, str]) -> None:
        """End leases of calls, each by its key, if it is still that of the job."""
        for some in key_lists(leases):
            jobs = json.dumps([leases[key] for key in json.loads(some)])
            self.change("release", keys=some, jobs=jobs)

    def change_all(self, name: str, keys: Collection[str]) -> None:
        """Have one change the rows of these keys, 500 at once."""
        for some in key_lists(keys):
            self.change(name, keys=some)
