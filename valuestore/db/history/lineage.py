"""Lineage: what made a value, and what used it, by one recursive statement over the recorded dataflow.

Upstream of a call are the calls whose results were its arguments (``argument_source``), and of the calls
that it made those whose results went into its own. An argument that came from no call of the same run,
such as a file that an earlier one wrote, is traced by its content, if that is large enough to tell
something: a small number that two calls gave is no evidence. Values inside containers count.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any, Literal

from sqlalchemy import String, TextClause, bindparam, text

from valuestore import html
from valuestore.db.engine.database import Database
from valuestore.db.history.names import Found, Name, Names
from valuestore.db.history.query import positive, read_cursor
from valuestore.db.history.records import write_cursor
from valuestore.db.schema import tables as schema
from valuestore.db.schema.kept import kept
from valuestore.errors import QueryError, RecordNotFound

MOST_ROWS = 100_000

TELLING_BYTES = 32
"""Payloads over this size are taken to be the same value wherever they are met."""

Direction = Literal["upstream", "downstream"]
Role = Literal["result", "argument", "child", "value", "part"]


@dataclass(frozen=True, slots=True)
class LineageInput(html.Shown):
    """An argument of a call: ``path`` if it is a file."""

    position: int
    name: str
    value_hash: str
    type_name: str | None
    preview: str | None
    path: str | None


@dataclass(frozen=True, slots=True)
class LineageCall(html.Shown):
    """A call on the way: its task, what it was given and gave, and the job whose body ran (if one did)."""

    call_hash: str
    task: str
    depth: int
    value_hash: str
    type_name: str | None
    preview: str | None
    path: str | None
    job_id: str | None
    started: int | None
    ended: int | None
    inputs: tuple[LineageInput, ...]


@dataclass(frozen=True, slots=True)
class LineageEdge:
    """One step: ``call_hash`` was reached from ``from_call`` (None: from what was asked for).

    ``role`` says how: its result was an argument (number ``position``), it was called and its result went
    into the caller's, its result is the same value as an argument, or a part of one; ``result``: the start.
    """

    from_call: str | None
    call_hash: str
    role: Role
    position: int


@dataclass(frozen=True)
class Lineage:
    """What was found, nearest first. ``cursor`` is None exactly when there is no more within the depth."""

    direction: Direction
    root: Found
    calls: dict[str, LineageCall]
    edges: tuple[LineageEdge, ...]
    cursor: str | None

    def steps(self, call_hash: str | None = None) -> list[LineageEdge]:
        """The edges from a call, or from what was asked for, in order."""
        return [edge for edge in self.edges if edge.from_call == call_hash]

    def __repr__(self) -> str:
        more = "" if self.cursor is None else ", and more"
        size = f"{len(self.calls):,} calls, {len(self.edges):,} steps{more}"
        return f"<{self.direction} of {self.root.kind} {self.root.record_id}: {size}>"

    def _repr_html_(self) -> str:
        """The nearest calls as a table."""
        shown = list(self.calls.values())[: html.MOST_ROWS]
        given = [
            ", ".join([f"{each.name}={each.path or each.preview}" for each in call.inputs]) for call in shown
        ]
        rows = [
            (call.depth, call.task, arguments, call.path or call.preview, call.job_id)
            for call, arguments in zip(shown, given, strict=True)
        ]
        caption = f"{len(shown):,} of {len(self.calls):,} calls {self.direction} of {self.root.record_id}"
        return html.table(("depth", "task", "arguments", "result", "job"), rows, caption)

    def files(self) -> list[str]:
        """The paths of all files in it, sorted."""
        paths = {call.path for call in self.calls.values()}
        paths |= {given.path for call in self.calls.values() for given in call.inputs}
        return sorted(path for path in paths if path is not None)


def lineage_of(
    database: Database, direction: Direction, record: Name, *, depth: int, rows: int, cursor: str | None
) -> Lineage:
    """Up or down from a value, file, call, job or name of the catalog. A file means every content that was
    at its path, a name the value that it is bound to and what was given to tasks by ``catalog.ref``.

    At most ``rows`` steps, none longer than ``depth``. Raises: RecordNotFound; AmbiguousId; QueryError.
    """
    positive("depth", depth, 10_000)
    positive("rows", rows, MOST_ROWS)
    root = Names(database).find_one(record, ("value", "file", "call", "job", "entry"))
    offset = 0 if cursor is None else _read_cursor(cursor, direction, root)
    parameters = {"depth": depth, "most": rows + 1, "offset": offset, **_start(database, root)}
    statement = _statement(direction, database.dialect_name)
    with database.read() as connection:
        found = connection.execute(statement, parameters).all()
    return _lineage(direction, root, found[:rows], offset + rows if len(found) > rows else None)


def _start(database: Database, root: Found) -> dict[str, str | None]:
    nothing: dict[str, str | None] = {"value": None, "path": None, "call": None}
    if root.kind in ("value", "call"):
        return {**nothing, root.kind: root.record_id}
    if root.kind == "file":
        return {**nothing, "path": root.record_id}
    if root.kind == "entry":  # what the name was bound to, and refs of it
        rows = database.rows(kept(database.dialect_name)["bound to"], {"id": root.record_id})
        return {**nothing, "value": rows[0][0], "path": f"catalog:{rows[0][1]}"}
    with database.read() as connection:
        job = connection.execute(schema.job.select().where(schema.job.c.job_id == root.record_id)).first()
    if job is None or job.call_hash is None:
        raise RecordNotFound(root.record_id, "finished call: the job gave no result")
    return {**nothing, "call": job.call_hash}


# --- rows to objects --------------------------------------------------------------------------------


def _lineage(direction: Direction, root: Found, rows: Sequence[Any], offset: int | None) -> Lineage:
    calls: dict[str, LineageCall] = {}
    edges: dict[LineageEdge, None] = {}
    for row in rows:
        if row.call_hash not in calls:
            calls[row.call_hash] = _call(row)
        edges[LineageEdge(row.from_call, row.call_hash, row.role, row.position)] = None
    place = [direction, root.kind, root.record_id, offset]
    cursor = None if offset is None else write_cursor(place)
    return Lineage(direction, root, calls, tuple(edges), cursor)


def _call(row: Any) -> LineageCall:
    listed = json.loads(row.inputs) if isinstance(row.inputs, str) else row.inputs
    inputs = sorted((LineageInput(*each) for each in listed or ()), key=lambda each: each.position)
    gave = row.value_hash, row.type_name, row.preview, row.path
    ran = row.job_id, row.started, row.ended
    return LineageCall(row.call_hash, row.task_name or "", row.depth, *gave, *ran, tuple(inputs))


def _read_cursor(cursor: str, direction: Direction, root: Found) -> int:
    *asked, offset = read_cursor(cursor, 1, "lineage")
    is_place = type(offset) is int and 0 <= offset < 1 << 53
    if asked != [direction, root.kind, root.record_id] or not is_place:
        raise QueryError("cursor", "it belongs to another lineage")
    return int(offset)


# --- the statements ---------------------------------------------------------------------------------

_INNERMOST = (
    "NOT EXISTS (SELECT 1 FROM call_edge p JOIN call_node q ON q.call_no = p.child_no "
    "WHERE p.parent_no = m.call_no AND q.value_hash = m.value_hash)"
)
"""Of calls that pass a value on, the one that made it."""

_UNUSED = (
    "NOT EXISTS (SELECT 1 FROM argument_source t JOIN call_edge o ON o.child_no = t.call_no "
    "AND o.parent_no = e.parent_no WHERE t.source_no = e.child_no)"
)
"""By a sibling."""

_NO_SOURCE = (
    "NOT EXISTS (SELECT 1 FROM argument_source x "
    "WHERE x.call_no = {call}.call_no AND x.position = a.position)"
)

_Branch = tuple[str, str, str, str, str]
"""A step from call ``u``: to which call, in which role, at which position; from and where."""


def _by_value(begin: str, first: Sequence[str], then: Sequence[str], end: str, where: str) -> list[_Branch]:
    """Steps from call ``n`` to ``m``, of which one gave value ``v`` and one had it as argument ``a`` from no
    call of its run. The first joins lead to it as it is, the second to parts.
    """
    telling = f"n.call_no = u.call_no AND m.call_no <> u.call_no AND v.size > {TELLING_BYTES} AND {where}"
    roles = ("value", "part", "part", "part")
    tables = [f"{begin} {one} {other} {end}" for one, other in product(first, then)]
    return [
        ("m.call_no", role, "a.position", each, telling) for role, each in zip(roles, tables, strict=True)
    ]


_UPSTREAM: tuple[_Branch, ...] = (
    ("s.source_no", "argument", "s.position", "argument_source s", "s.call_no = u.call_no"),
    ("e.child_no", "child", "e.position", "call_edge e", f"e.parent_no = u.call_no AND {_UNUSED}"),
    *_by_value(
        "call_node n JOIN argument a ON a.args_hash = n.args_hash",
        (
            "JOIN value v ON v.value_hash = a.value_hash",
            "JOIN subvalue i ON i.parent_hash = a.value_hash JOIN value v ON v.value_hash = i.child_hash",
        ),
        (
            "JOIN call_node m ON m.value_hash = v.value_hash",
            "JOIN subvalue o ON o.child_hash = v.value_hash JOIN call_node m ON m.value_hash = o.parent_hash",
        ),
        "",
        f"{_NO_SOURCE.format(call='n')} AND {_INNERMOST}",
    ),
)
_DOWNSTREAM: tuple[_Branch, ...] = (
    ("s.call_no", "argument", "s.position", "argument_source s", "s.source_no = u.call_no"),
    ("e.parent_no", "child", "e.position", "call_edge e", f"e.child_no = u.call_no AND {_UNUSED}"),
    *_by_value(
        "call_node n",
        (
            "JOIN value v ON v.value_hash = n.value_hash",
            "JOIN subvalue o ON o.parent_hash = n.value_hash JOIN value v ON v.value_hash = o.child_hash",
        ),
        (
            "JOIN argument a ON a.value_hash = v.value_hash",
            "JOIN subvalue i ON i.child_hash = v.value_hash JOIN argument a ON a.value_hash = i.parent_hash",
        ),
        "JOIN call_node m ON m.args_hash = a.args_hash",
        _NO_SOURCE.format(call="m"),
    ),
)

_MADE = (
    "SELECT 0, CAST(NULL AS BIGINT), m.call_no, CAST('result' AS TEXT), -1 FROM around r "  # noqa: S608  # constants above
    f"JOIN call_node m ON m.value_hash = r.value_hash WHERE {_INNERMOST}"
)
_USED = (
    "SELECT 0, CAST(NULL AS BIGINT), m.call_no, CAST('argument' AS TEXT), a.position FROM around r "
    "JOIN argument a ON a.value_hash = r.value_hash JOIN call_node m ON m.args_hash = a.args_hash"
)
_ASKED = (
    "SELECT 0, CAST(NULL AS BIGINT), m.call_no, CAST('result' AS TEXT), -1 "
    "FROM call_node m WHERE m.call_hash = :call"
)

_INPUTS = {
    "sqlite": "json_group_array(json_array({columns}))",
    "postgresql": "json_agg(json_build_array({columns}))",
}
_INPUT_COLUMNS = "a.position, a.name, a.value_hash, w.type_name, w.preview, g.path"


@cache
def _statement(direction: Direction, dialect: str) -> TextClause:
    """The one statement: start, steps, and what is told of each call."""
    start, branches = (_MADE, _UPSTREAM) if direction == "upstream" else (_USED, _DOWNSTREAM)
    on_sqlite = dialect == "sqlite"
    steps = _steps_on_sqlite(branches) if on_sqlite else _steps_on_postgres(branches)
    inputs = _INPUTS[dialect].format(columns=_INPUT_COLUMNS)
    sql = f"""
WITH RECURSIVE around(value_hash) AS (
  SELECT value_hash FROM value WHERE value_hash = :value
  UNION SELECT value_hash FROM file WHERE path = :path
  UNION SELECT i.parent_hash FROM around r JOIN subvalue i ON i.child_hash = r.value_hash),
walk(depth, from_no, call_no, role, position) AS (
  SELECT * FROM ({_ordered(start) if on_sqlite else start}) begun
  UNION {_ASKED}
  UNION {steps}),
shown AS (
  SELECT w.*, row_number() OVER () AS place FROM (SELECT * FROM walk LIMIT :most OFFSET :offset) w)
SELECT u.depth, b.call_hash AS from_call, c.call_hash, u.role, u.position, t.task_name, c.value_hash,
       v.type_name, v.preview, f.path, j.job_id, j.started, j.ended,
       (SELECT {inputs} FROM argument a LEFT JOIN value w ON w.value_hash = a.value_hash
          LEFT JOIN file g ON g.value_hash = a.value_hash WHERE a.args_hash = c.args_hash) AS inputs
  FROM shown u
  JOIN call_node c ON c.call_no = u.call_no
  LEFT JOIN call_node b ON b.call_no = u.from_no
  LEFT JOIN task t ON t.task_no = c.task_no
  LEFT JOIN value v ON v.value_hash = c.value_hash
  LEFT JOIN file f ON f.value_hash = c.value_hash
  LEFT JOIN job j ON j.job_id =
       (SELECT d.job_id FROM job d WHERE d.call_hash = c.call_hash AND d.status = 'done' LIMIT 1)
 ORDER BY u.place
"""  # noqa: S608  # put together from the constants above; what is asked for is bound
    return text(sql).bindparams(*[bindparam(name, type_=String) for name in ("value", "path", "call")])


def _steps_on_sqlite(branches: Sequence[_Branch]) -> str:
    """A recursive SELECT for each way on: SQLite takes several."""
    return " UNION ".join(
        f"SELECT u.depth + 1, u.call_no, {to}, '{role}', {position} "  # noqa: S608  # constants above
        f"FROM walk u CROSS JOIN {_ordered(tables)} WHERE u.depth + 1 < :depth AND {where}"
        for to, role, position, tables, where in branches
    )


def _steps_on_postgres(branches: Sequence[_Branch]) -> str:
    """One recursive SELECT with all ways on beside each other: Postgres takes no more."""
    ways = " UNION ALL ".join(
        f"SELECT {to} AS call_no, CAST('{role}' AS TEXT) AS role, {position} AS position "  # noqa: S608  # constants above
        f"FROM {tables} WHERE {where}"
        for to, role, position, tables, where in branches
    )
    return (
        "SELECT u.depth + 1, u.call_no, w.call_no, w.role, w.position "  # noqa: S608  # constants above
        f"FROM walk u CROSS JOIN LATERAL ({ways}) w WHERE u.depth + 1 < :depth"
    )


def _ordered(tables: str) -> str:
    """SQLite keeps the order of a CROSS JOIN: from what is known to what is looked up."""
    return tables.replace(" JOIN ", " CROSS JOIN ")
