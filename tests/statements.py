"""StatementCounter: what is sent to a metadata database, so that tests can bound it."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from sqlalchemy import event

from valuestore.db.engine.database import Database


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
        self._rows = self.database.rows
        self.database.rows = self._counted_rows  # type: ignore[method-assign]  # its way past the engine
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        event.remove(self.database._engine, "before_cursor_execute", self._execute)
        event.remove(self.database._engine, "commit", self._commit)
        self.database.rows = self._rows  # type: ignore[method-assign]

    def _counted_rows(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        if self.database.is_sqlite:
            self.statements.append(sql)
        return self._rows(sql, parameters)

    def _execute(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if not statement.startswith("BEGIN"):
            self.statements.append(statement)

    def _commit(self, _connection: Any) -> None:
        self.commits += 1
