"""Statements: the constructs of SQLAlchemy behind the kept ones (schema/kept.py), each by its name.

python -m valuestore.db.statements

writes their text for both databases. Nothing else imports this: what runs reads the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any

from sqlalchemy import (
    BigInteger,
    Integer,
    Text,
    and_,
    bindparam,
    cast,
    column,
    delete,
    false,
    func,
    literal_column,
    or_,
    select,
    table,
    text,
    true,
    union_all,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.dialects.sqlite import pysqlite

from valuestore.db.history.executions import ExecutionQuery
from valuestore.db.history.jobs import JobQuery
from valuestore.db.history.query import Context
from valuestore.db.record import entries
from valuestore.db.record.lookup import Finished
from valuestore.db.schema import tables as schema
from valuestore.db.schema.kept import as_text, file_of, kept
from valuestore.db.schema.views import NOW
from valuestore.db.upkeep.records import statements

_DIALECTS = {
    "sqlite": (pysqlite.dialect, sqlite.insert, "qmark", "named"),
    "postgresql": (psycopg.dialect, postgresql.insert, "format", "pyformat"),
}
"""With the styles of parameters that their drivers take, by place and by name."""


def _listed(dialect_name: str, name: str) -> Any:
    """One parameter for any number of keys: a list as JSON."""
    given: Any = bindparam(name, type_=Text)
    if dialect_name == "sqlite":
        return select(func.json_each(given).table_valued("value").c.value)
    return select(func.json_array_elements_text(cast(given, postgresql.JSON)))


def compiled(dialect_name: str) -> dict[str, str]:
    """The text of every statement on one database."""
    make, insert, place, name = _DIALECTS[dialect_name]
    by_place, by_name = make(paramstyle=place), make(paramstyle=name)
    found = {}
    for each in schema.metadata.sorted_tables:
        names = [column.name for column in each.columns if column is not each.autoincrement_column]
        statement = _insert(each, insert(each).inline(), NOW[dialect_name])
        found[f"insert {each.name}"] = str(statement.compile(dialect=by_place, column_keys=names))
    keys = _listed(dialect_name, "keys")
    parts = [_records(keys), _signatures(dialect_name), _replays(dialect_name), _handles(keys), _tags(keys)]
    others = _names(), _history(), _pages(), _leases(dialect_name), _written(keys.compile(dialect=by_name))
    catalog = ((name, text(sql)) for name, sql in entries.statements(dialect_name))
    for title, construct in chain(*parts, *others, catalog):
        found[title] = _text(construct, by_name)
    if dialect_name == "postgresql":
        lock = select(func.pg_advisory_xact_lock(func.hashtext(bindparam("id", type_=Text))))
        found["lock record"] = _text(lock, by_name)
    return {title: "\n".join(map(str.rstrip, sql.splitlines())) for title, sql in found.items()}


def _written(keys: Any) -> Iterator[tuple[str, Any]]:
    """What is written by hand, and what sharing asks: the same on both, but for the list of keys."""
    listed = re.sub(r"%\((\w+)\)s(::\w+)?", r":\1", str(keys))
    by_hand = ((name, " ".join(sql.split()).replace("KEYS", listed)) for name, sql in kept("asked").items())
    return ((name, text(sql)) for name, sql in chain(by_hand, statements(listed)))


def _text(construct: Any, dialect: Any) -> str:
    """Its text; numbers that SQLAlchemy would send along, such as SQLite's OFFSET 0, are in it."""
    made = construct.compile(dialect=dialect)
    sql = str(made)
    for name, number in made.params.items():
        if number is not None:
            sql = re.sub(rf":{name}\b|%\({name}\)s", str(int(number)), sql)
    return sql


def main() -> None:
    """Write both files."""
    for dialect_name in _DIALECTS:
        with open(file_of(dialect_name), "w", encoding="utf-8") as file:
            file.write(as_text(compiled(dialect_name)))


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
        changed = {name: new[name] for name in ("status", "ended", "replayed")} | {
            "updated": literal_column(now)
        }
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


# --- what runs look up and change --------------------------------------------------------------------


def _records(keys: Any) -> Iterator[tuple[str, Any]]:
    value, evaluation, task = schema.value, schema.evaluation, schema.task
    gave = evaluation.join(value, value.c.value_hash == evaluation.c.value_hash)
    own, wanted = list(evaluation.c), evaluation.c.eval_hash.in_(keys)
    yield "evaluations", select(*own[:2], own[3], *value.c).select_from(gave).where(wanted)
    yield "values", select(value).where(value.c.value_hash.in_(keys))
    yield "value", select(value).where(value.c.value_hash == bindparam("value_hash"))
    code = schema.dependency
    yield "code sets", select(code.c.task_hash, code.c.name, code.c.digest).where(code.c.task_hash.in_(keys))
    yield "code beside", select(task.c.code_hash).where(task.c.task_hash == bindparam("task_hash"))
    run, call = schema.execution, schema.call_node
    for key, number in (
        (task.c.task_hash, task.c.task_no),
        (run.c.execution_id, run.c.execution_no),
        (call.c.call_hash, call.c.call_no),
    ):
        yield f"numbers of {key.table.name}", select(key, number).where(key.in_(keys))
    version = table("alembic_version", column("version_num"))
    ours = select(func.count()).select_from(schema.repository).scalar_subquery()  # that there is such a table
    yield "revision", select(version.c.version_num, ours)
    yield "settings", select(schema.repository)


def _signatures(dialect_name: str) -> Iterator[tuple[str, Any]]:
    signature, value = schema.signature, schema.value
    keys, digests = _listed(dialect_name, "keys"), _listed(dialect_name, "digests")
    yield "signatures", select(signature).where(signature.c.value_hash.in_(keys))
    there = value.c.value_hash == signature.c.value_hash, value.c.payload_digest == signature.c.payload_digest
    kept_bytes = select(value.c.inline).where(*there).scalar_subquery()
    others = signature.c.value_hash.in_(keys), signature.c.payload_digest.not_in(digests)
    yield (
        "keep signed",
        update(signature).where(*others, signature.c.inline.is_(None)).values(inline=kept_bytes),
    )


def _replays(dialect_name: str) -> Iterator[tuple[str, Any]]:
    keys, tasks = _listed(dialect_name, "keys"), _listed(dialect_name, "tasks")
    call, task, member = schema.call_node, schema.task, schema.set_member
    place = func.row_number().over(
        partition_by=(call.c.args_hash, call.c.task_no),
        order_by=(call.c.finished.desc(), call.c.call_no.desc()),
    )
    told = [task.c.task_hash if name == "task_hash" else call.c[name] for name in Finished._fields]
    newest = (
        select(*told, call.c.checksum, place.label("place"))
        .select_from(call.join(task, task.c.task_no == call.c.task_no))
        .where(
            call.c.finished.is_not(None),
            call.c.args_hash.in_(keys),
            task.c.task_hash.in_(tasks),
        )
        .subquery("newest")
    )
    few = select(*[newest.c[name] for name in (*Finished._fields, "checksum")])
    yield "finished", few.where(newest.c.place == literal_column("1"), newest.c.checksum.is_not(None))
    members = select(member.c.set_hash, member.c.member_hash, member.c.is_set)
    yield "set members", members.where(member.c.set_hash.in_(keys))
    yield "task names", select(task.c.task_hash, task.c.task_name).where(task.c.task_hash.in_(keys))


def _leases(dialect_name: str) -> Iterator[tuple[str, Any]]:
    lease, run, gave = schema.call_lease, schema.execution, schema.evaluation
    keys, jobs = _listed(dialect_name, "keys"), _listed(dialect_name, "jobs")
    now: Any = literal_column(NOW[dialect_name])
    running = run.c.status == literal_column("'running'")
    yield "beat", update(run).where(run.c.execution_id.in_(keys), running).values(updated=now)
    holders = select(*list(lease.c)[:4], run.c.status, run.c.updated, now)
    holders = holders.outerjoin_from(lease, run, run.c.execution_id == lease.c.execution_id)
    yield "lease holders", holders.where(lease.c.call_key.in_(keys))
    yield "release", delete(lease).where(lease.c.call_key.in_(keys), lease.c.job_id.in_(jobs))
    yield "end leases", delete(lease).where(lease.c.execution_id.in_(keys))
    about, is_on = schema.repository, schema.lease.c.lease_id == literal_column("'collect'")
    number = select(about.c.value, schema.lease.c.expires > now).outerjoin_from(about, schema.lease, is_on)
    number = number.where(about.c.name == literal_column("'collection'"))
    yield "collection", number.with_for_update(read=True, of=about)  # collectors wait until it is committed
    found: Any = select(literal_column("0"), gave.c.eval_hash).where(gave.c.eval_hash.in_(keys))
    yield "evaluated by now", union_all(select(now, literal_column("''")), found)


def _handles(keys: Any) -> Iterator[tuple[str, Any]]:
    handle, edge = schema.handle, schema.handle_edge
    first = select(edge.c.child_hash.label("value_hash")).where(edge.c.parent_hash.in_(keys))
    below = first.cte("below", recursive=True)  # all that came from these, themselves excluded, each once
    below = below.union(select(edge.c.child_hash).where(edge.c.parent_hash == below.c.value_hash))
    rolled_back = update(handle).where(handle.c.value_hash.in_(select(below.c.value_hash)))
    yield "roll back", rolled_back.where(handle.c.is_valid).values(is_valid=false())
    current = update(handle).where(handle.c.value_hash.in_(keys), ~handle.c.is_valid)
    yield "make current", current.values(is_valid=true())
    yield "handle states", select(handle.c.value_hash, handle.c.is_valid).where(handle.c.value_hash.in_(keys))


def _tags(keys: Any) -> Iterator[tuple[str, Any]]:
    tag = schema.tag
    of = tag.c.entity_id == bindparam("id"), tag.c.entity == bindparam("entity")
    yield "tags of", select(tag).where(*of).order_by(tag.c.tag_id)
    yield "current tags of", select(tag).where(*of, tag.c.ended.is_(None)).order_by(tag.c.tag_id)
    one = *of, tag.c.ended.is_(None), tag.c.key == bindparam("of_key")
    ending = update(tag).values(ended=bindparam("at"), ended_by=bindparam("author"))
    yield "end tags", ending.where(*one)
    yield "end tag", ending.where(*one, tag.c.value_digest == bindparam("value_digest"))
    yield "end tags but", ending.where(*one, tag.c.value_digest.not_in(keys))


# --- what commands ask -------------------------------------------------------------------------------


def _names() -> Iterator[tuple[str, Any]]:
    run, task = schema.execution, schema.task
    ids = {"execution": run.c.execution_id, "job": schema.job.c.job_id, "call": schema.call_node.c.call_hash}
    ids |= {"task": task.c.task_hash, "value": schema.value.c.value_hash, "tag": schema.tag.c.tag_id}
    ids |= {"entry": schema.entry.c.entry_id}
    yield "by prefix", union_all(*[_limited(kind, each) for kind, each in ids.items()])
    newest = select(run.c.execution_id).order_by(run.c.execution_no.desc()).limit(literal_column("1"))
    yield "newest execution", newest.offset(bindparam("steps", type_=Integer))


def _limited(kind: str, key: Any) -> Any:
    """Ids with a prefix, in a subquery: SQLite takes no LIMIT inside a union otherwise."""
    ids = (
        select(literal_column(f"'{kind}'").label("kind"), key.label("record_id"))
        .where(key >= bindparam("low"), key < bindparam("high"))
        .order_by(key)
        .limit(bindparam("most", type_=Integer))
        .subquery()
    )
    return select(ids.c.kind, ids.c.record_id)


def _history() -> Iterator[tuple[str, Any]]:
    payload = schema.payload
    yield "payload digests", select(payload.c.payload_digest).order_by(payload.c.payload_digest)
    counts: Any = [
        select(literal_column(f"'{each.name}'"), func.count()).select_from(each)
        for each in schema.metadata.sorted_tables
    ]
    yield "counts", union_all(*counts)
    yield "task counts", _task_counts()


def _task_counts() -> Any:
    """The fields of ``TaskCount``; a number that is NULL stands for 0."""
    counted, task = schema.task_count, schema.task
    jobs = func.sum(counted.c.jobs)
    columns: dict[str, Any] = {"jobs": jobs}
    for name, status in (("executed", "done"), ("cached", "cached"), ("failed", "failed")):
        columns[name] = jobs.filter(counted.c.status == literal_column(f"'{status}'"))
    columns["seconds"] = func.sum(counted.c.micros)
    numbers = [cast(column, BigInteger).label(name) for name, column in columns.items()]
    of_tasks = counted.outerjoin(task, task.c.task_no == counted.c.task_no)
    by_name = select(task.c.task_name.label("task"), *numbers).select_from(of_tasks)
    return by_name.group_by(task.c.task_name).order_by(task.c.task_name)


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
