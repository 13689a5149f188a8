"""Code of a task, as it was recorded: what its identity follows, what else its jobs depended on, and read.

It reads rows; no code is imported and nothing is executed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from sqlalchemy import Connection, text

from valuestore.db.engine.database import Database
from valuestore.db.history.names import Name, Names
from valuestore.db.record.tag import UNDECLARED
from valuestore.errors import RecordNotFound
from valuestore.values.code.function import NOT_FOLLOWED


@dataclass(frozen=True)
class CodePart:
    """A function, class, constant or module by name and digest; ``source`` is None where there is none."""

    name: str
    digest: str
    source: str | None = None


@dataclass(frozen=True)
class TaskCode:
    """What the results of one version of a task depend on beside its arguments' values.

    ``follows``       what its code names; ``not_followed`` are those of which the content is not known
    ``classes``       what classes of objects in its arguments brought, to the newest job that had any
    ``reached``       what bodies reached when they ran, though nothing in the code names it: as of the newest
    ``undeclared``    what bodies read that cannot make them run again: kind and name
    ``source``        the text of its function
    ``versions``      all of this name, by hash, the newest first, each with the version it was declared as
    ``called_by``     tasks whose calls made calls of it, in any version, with the number of these
    """

    task: str
    task_hash: str
    version: str | None
    follows: tuple[CodePart, ...]
    not_followed: tuple[CodePart, ...]
    classes: tuple[CodePart, ...]
    reached: tuple[CodePart, ...]
    undeclared: tuple[tuple[str, str], ...]
    source: str = ""
    versions: tuple[tuple[str, str | None], ...] = ()
    called_by: tuple[tuple[str, int], ...] = ()


_TASK = "SELECT task_name, version, source FROM task WHERE task_hash = :code"
_PARTS = "SELECT name, digest, source FROM dependency WHERE task_hash = :code ORDER BY name"

_BESIDE = """
SELECT j.{column} FROM task t JOIN job j ON j.task_no = t.task_no
 WHERE t.task_hash = :code AND j.{column} IS NOT NULL ORDER BY j.job_id DESC LIMIT 1
"""

_VERSIONS = "SELECT task_hash, version FROM task WHERE task_name = :name ORDER BY task_no DESC LIMIT 1000"

_CALLED_BY = """
SELECT k.task_name, COUNT(*) FROM task t JOIN call_node c ON c.task_no = t.task_no
  JOIN call_edge x ON x.child_no = c.call_no JOIN call_node p ON p.call_no = x.parent_no
  JOIN task k ON k.task_no = p.task_no
 WHERE t.task_name = :name GROUP BY k.task_name ORDER BY 2 DESC, 1 LIMIT 20
"""

_TAGS = f"""
SELECT key, value FROM tag
 WHERE entity = 'task' AND entity_id = :code AND key LIKE '{UNDECLARED}%' AND ended IS NULL
 ORDER BY key, value
"""  # noqa: S608


def code_of(database: Database, task: Name) -> TaskCode:
    """The newest version of a task, by its name, or the one of that hash.

    Raises: RecordNotFound; AmbiguousId.
    """
    found = Names(database).find_one(task, ("task",))
    with database.read() as connection:
        of_code = {"code": found.record_id}
        row = connection.execute(text(_TASK), of_code).first()
        if row is None:
            raise RecordNotFound(found.record_id, "version of a task")
        follows, of_name = parts_of(connection, found.record_id), {"name": row.task_name}
        versions = connection.execute(text(_VERSIONS), of_name)
        called_by = connection.execute(text(_CALLED_BY), of_name)
        tags = connection.execute(text(_TAGS), of_code).all()
        return TaskCode(
            row.task_name,
            found.record_id,
            row.version,
            follows,
            tuple(part for part in follows if (part.source or "").startswith(NOT_FOLLOWED)),
            _beside(connection, found.record_id, "classes_hash"),
            _beside(connection, found.record_id, "trace_hash"),
            tuple((key.removeprefix(UNDECLARED), json.loads(value)) for key, value in tags),
            row.source,
            tuple((task_hash, version) for task_hash, version in versions),
            tuple((caller, int(count)) for caller, count in called_by),
        )


def parts_of(connection: Connection, code_hash: str | None) -> tuple[CodePart, ...]:
    """The parts of a version of a task, or of another set of code, by name; none of None."""
    return tuple(CodePart(*row) for row in connection.execute(text(_PARTS), {"code": code_hash or ""}))


def _beside(connection: Connection, task_hash: str, column: str) -> tuple[CodePart, ...]:
    """The set of code beside the newest job of a task that had one."""
    statement = text(_BESIDE.format(column=column))
    return parts_of(connection, connection.execute(statement, {"code": task_hash}).scalar())
