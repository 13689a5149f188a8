"""Statements: what the kept ones (schema/kept.py) are made of: constructs of SQLAlchemy, and text.

python -m valuestore.db.statements

writes them for both databases. Nothing else imports this: what runs reads what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    text,
    union_all,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite

from valuestore.db.history.executions import ExecutionQuery
from valuestore.db.history.jobs import JobQuery
from valuestore.db.history.query import Context
from valuestore.db.schema import tables as schema
from valuestore.db.schema.kept import as_text, file_of, kept, listed
from valuestore.db.schema.views import NOW
from valuestore.db.upkeep.records import statements

_DIALECTS = {
    "sqlite": (pysqlite.dialect, sqlite.insert, "qmark", "named"),
    "postgresql": (psycopg.dialect, postgresql.insert, "format", "pyformat"),
}
"""With the styles of parameters that their drivers take, by place and by name."""


def compiled(dialect_name: str) -> dict[str, str]:
    """The text of every statement on one database."""
    make, insert, place, name = _DIALECTS[dialect_name]
    by_place, by_name = make(paramstyle=place), make(paramstyle=name)
    found = {}
    for each in schema.metadata.sorted_tables:
        names = [column.name for column in each.columns if column is not each.autoincrement_column]
        statement = _insert(each, insert(each).inline(), NOW[dialect_name])
        found[f"insert {each.name}"] = str(statement.compile(dialect=by_place, column_keys=names))
    for title, construct in chain(_written(dialect_name), _counts(), _pages()):
        found[title] = _text(construct, by_name)
    if dialect_name == "postgresql":
        found["collection"] += " FOR SHARE OF r"  # collectors wait until it is committed
        found["lock record"] = "SELECT pg_advisory_xact_lock(hashtext(%(id)s))"
    return {title: "\n".join(map(str.rstrip, sql.splitlines())) for title, sql in found.items()}


def _written(dialect_name: str) -> Iterator[tuple[str, Any]]:
    """What is written by hand, and what sharing asks."""
    for name, sql in chain(kept("asked").items(), statements()):
        sql = re.sub(r"KEYS(?: (\w+))?", lambda named: listed(dialect_name, named[1] or "keys"), sql)
        yield name, text(" ".join(sql.split()).replace("NOW", NOW[dialect_name]))


def _counts() -> Iterator[tuple[str, Any]]:
    tables = schema.metadata.sorted_tables
    counts: Any = [select(literal_column(f"'{one.name}'"), func.count()).select_from(one) for one in tables]
    yield "counts", union_all(*counts)


def _text(construct: Any, dialect: Any) -> str:
    """Its text; numbers that SQLAlchemy would send along, such as SQLite's OFFSET 0, are in it."""
    made = construct.compile(dialect=dialect)
    sql = str(made)
    for name, number in made.params.items():
        if number is not None:
            sql = re.sub(rf":{name}\b|%\({name}\)s", str(int(number)), sql)
    return sql


def main() -> None:
    for dialect_name in _DIALECTS:
        made = as_text(compiled(dialect_name))
        with open(file_of(dialect_name), "w", encoding="utf-8") as file:
            file.write(made)


# --- inserts -----------------------------------------------------------------------------------------


_TOLD = {
    schema.task: (["task_hash"], ("code_hash",)),
    schema.entry: (["entry_id"], ("version", "created", "deleted")),
    schema.evaluation: (["eval_hash", "trace_hash"], ("value_hash", "checksum")),
    schema.call_node: (
        ["call_hash"],
        ("task_set_hash", "external_set_hash", "replayable", "calls", "finished", "checksum"),
    ),
}
"""Of which tables a row is replaced by one with the same key, where these differ."""


def _insert(into: Any, statement: Any, now: str) -> Any:
    """An INSERT that leaves rows alone which are there.

    Nine tables differ. The newest replaces what was there of the code beside a version, a value's payload,
    which may be damaged, a key's signature, a call's result, what a finished call was found to depend on,
    when a value was put by hand, a name's version; an execution's end, its start, by the database's clock.
    Counts are added to.
    """
    new = statement.excluded
    if into is schema.execution:
        changed = {name: new[name] for name in ("status", "ended", "replayed")}
        changed["updated"] = literal_column(now)
        return statement.on_conflict_do_update(index_elements=["execution_id"], set_=changed)
    if into is schema.value:
        telling = ("type_name", "codec", "payload_digest", "inline")
        same = and_(*[into.c[name].is_not_distinct_from(new[name]) for name in telling])
        changed = {name: new[name] for name in (*telling, "size", "preview")}
        return statement.on_conflict_do_update(index_elements=["value_hash"], set_=changed, where=~same)
    if into is schema.held:
        put = func.coalesce(bindparam("put", type_=BigInteger), literal_column(now))
        statement = statement.values(since=put)
    if into in (schema.signature, schema.held):
        changed = {one.name: new[one.name] for one in into.columns if not one.primary_key}
        return statement.on_conflict_do_update(index_elements=list(into.primary_key), set_=changed)
    if into in _TOLD:
        key, told = _TOLD[into]
        differs = or_(*[into.c[name].is_distinct_from(new[name]) for name in told])
        changed = {name: new[name] for name in told}
        return statement.on_conflict_do_update(index_elements=key, set_=changed, where=differs)
    if into is schema.task_count:
        more = {name: into.c[name] + new[name] for name in ("jobs", "micros")}
        return statement.on_conflict_do_update(index_elements=["task_no", "status", "lane"], set_=more)
    return statement.on_conflict_do_nothing()


def _pages() -> Iterator[tuple[str, Any]]:
    """First pages of queries that commands ask as they come, as these make them."""
    nowhere: Any = None
    most: Any = bindparam("most", type_=Integer)
    executions, jobs = ExecutionQuery(Context(nowhere)), JobQuery(Context(nowhere))
    yield "newest executions", executions._statement(nowhere, most, None)
    yield "newest jobs", jobs._statement(nowhere, most, None)
    run = schema.execution
    which = schema.job.c.execution_no.in_(
        select(run.c.execution_no).where(run.c.execution_id == bindparam("id"))
    )
    yield "jobs of", jobs._with(_conditions=(which,)).order("oldest")._statement(nowhere, most, None)


if __name__ == "__main__":
    main()
