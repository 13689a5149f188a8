"""StatementCounter: what is sent to a metadata database, so that tests can bound it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from sqlalchemy import event

from valuestore.db.engine.database import Database
from valuestore.db.engine.driver import Driver, Parameters, Table


class StatementCounter:
    """Counts the statements and commits of one database inside a ``with`` block, in all threads.

    ``statements`` holds the SQL of each; one that is sent with many rows counts once.

    >>> with StatementCounter(repository.database) as counter:  # doctest: +SKIP
    ...     repository.history.executions()
    >>> assert len(counter.statements) <= 2  # doctest: +SKIP
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.statements: list[str] = []
        self.commits = 0

    def of(self, kind: str) -> list[str]:
        """The statements that begin with this word, such as ``SELECT``."""
        return [sql for sql in self.statements if sql.lstrip().upper().startswith(kind.upper())]

    def __enter__(self) -> Self:
        event.listen(self.database._engine, "before_cursor_execute", self._execute)
        event.listen(self.database._engine, "commit", self._commit)
        self._ask, self._change = self.database.ask, self.database.change
        self.database.ask = self._counted_ask  # type: ignore[method-assign]  # the way past the engine
        self.database.change = self._counted_change  # type: ignore[method-assign]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(self.database._engine, "before_cursor_execute", self._execute)
        event.remove(self.database._engine, "commit", self._commit)
        self.database.ask, self.database.change = self._ask, self._change  # type: ignore[method-assign]

    def _counted_ask(self, work: Callable[[Driver], Any]) -> Any:
        return self._ask(lambda driver: work(_Counted(driver, self.statements)))

    def _counted_change(self, work: Callable[[Driver], Any], **options: Any) -> Any:
        done = self._change(lambda driver: work(_Counted(driver, self.statements)), **options)
        self.commits += self.database.is_sqlite  # of Postgres the engine hears
        return done

    def _execute(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.statements.append(statement)

    def _commit(self, _connection: Any) -> None:
        self.commits += 1


class _Counted:
    """A driver whose statements are noted."""

    def __init__(self, driver: Driver, statements: list[str]) -> None:
        self._driver = driver
        self._statements = statements

    def rows(self, sql: str, parameters: Parameters = ()) -> list[Any]:
        self._statements.append(sql)
        return self._driver.rows(sql, parameters)

    def table(self, sql: str, parameters: Parameters = ()) -> Table:
        self._statements.append(sql)
        return self._driver.table(sql, parameters)

    def change(self, sql: str, parameters: Parameters = ()) -> int:
        self._statements.append(sql)
        return self._driver.change(sql, parameters)

    def insert(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> int:
        self._statements.append(sql)
        return self._driver.insert(sql, rows)
