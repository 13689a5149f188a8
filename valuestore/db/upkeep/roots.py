"""Roots: what people said is to be kept, as rows of the database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from valuestore.db.record.tag import ANY_VALUE, parse_tag_filter, tag_value
from valuestore.db.schema.views import CRASHED_AFTER_SECONDS
from valuestore.db.upkeep.marks import Marks
from valuestore.db.upkeep.session import Session
from valuestore.hashing import Digest
from valuestore.kinds import COUNT, WAIT, Kind, check_table

PIN = "pinned"
"""The tag that keeps a record, whatever the rules are."""

_NAMES = Kind("a list of texts", (list, tuple), lambda value: all(isinstance(each, str) for each in value))
_KINDS = {"last": COUNT, "days": WAIT, "tags": _NAMES, "tasks": _NAMES}
_ASKED = {"keep_last": COUNT, "older_than_seconds": WAIT}
_MOST = 1 << 62
"""Larger numbers mean all, and no database takes them."""


@dataclass(frozen=True)
class Rules:
    """What is kept: the ``last`` so many executions, those ``newer_than_seconds``, records with ``tags``
    (``key`` or ``key=value``), and what ``tasks`` gave (names, in which ``*`` stands for any). Without the
    first two, every execution is. Always: pinned and running ones, and what names of the catalog stand for.
    """

    last: int | None = None
    newer_than_seconds: float | None = None
    tags: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Mapping[str, Any], last: int | None, newer_than_seconds: float | None) -> Rules:
        """Those of the table ``[keep]``, but for what is given beside it. Raises: ConfigError."""
        rules = check_table("keep", given, _KINDS)
        asked = check_table("", {"keep_last": last, "older_than_seconds": newer_than_seconds}, _ASKED)
        days = rules.get("days")
        return cls(
            asked.get("keep_last", rules.get("last")),
            asked.get("older_than_seconds", None if days is None else 86400 * days),
            tuple(rules.get("tags", ())),
            tuple(rules.get("tasks", ())),
        )

    @property
    def keeps_all(self) -> bool:
        """Whether no execution goes by these."""
        return self.last is None and self.newer_than_seconds is None


@dataclass(frozen=True)
class Named:
    """What is to go by its name, whatever the rules say: ids of executions, hashes of values put by hand."""

    executions: tuple[str, ...] = ()
    values: tuple[Digest, ...] = ()


def find_roots(session: Session, marks: Marks, rules: Rules, named: Named) -> dict[str, int]:
    """Have these be kept; how many executions for which reason, each counted for the first it has."""
    kept: dict[str, int] = {}
    not_named = f"e.execution_id NOT IN ({session.listed('named')})"
    ids = json.dumps(named.executions)

    def keep(reason: str, which: str, **parameters: Any) -> None:
        select = f"SELECT e.execution_no FROM execution e WHERE {which}"
        if count := marks.add("run", select, **parameters):
            kept[reason] = count

    keep("running", is_alive(session.now))
    if rules.keeps_all:
        keep("no rule", not_named, named=ids)
        _keep_received(session, marks)
    if rules.last is not None:
        newest = "(SELECT execution_no FROM execution ORDER BY execution_no DESC LIMIT :most)"
        which, most = f"{not_named} AND e.execution_no IN {newest}", min(rules.last, _MOST)
        keep(f"last {rules.last}", which, named=ids, most=most)
    if rules.newer_than_seconds is not None:
        newer = f"COALESCE(e.updated, e.ended, e.started) >= {session.now} - :micros"
        keep("newer", f"{not_named} AND {newer}", named=ids, micros=_micros(rules))
    for reason, tags in (("pinned", (PIN,)), ("tagged", rules.tags)):
        for tag in tags:
            tagged, given = _tagged(tag)
            entities = f"SELECT g.entity_id FROM tag g WHERE {tagged} AND g.entity = "
            of_jobs = f"SELECT execution_no FROM job WHERE job_id IN ({entities}'job')"
            runs = f"e.execution_id IN ({entities}'execution') OR e.execution_no IN ({of_jobs})"
            keep(reason, f"{not_named} AND ({runs})", named=ids, **given)
            _keep_tagged(marks, entities, given)
    marks.add("entry", f"SELECT entry_id FROM entry{'' if named != Named() else ' WHERE deleted IS NULL'}")
    _keep_tasks(session, marks, rules.tasks)
    _keep_held(session, marks, rules, named)
    return kept


UNCLAIMED = (
    "SELECT DISTINCT a.args_hash FROM argument a WHERE NOT EXISTS (SELECT 1 FROM call_node c "
    "WHERE c.args_hash = a.args_hash) AND a.args_hash NOT IN "
    "(SELECT j.args_hash FROM job j WHERE j.args_hash IS NOT NULL)"
)
"""SQL: arguments of calls that have not ended."""


def is_alive(now: str) -> str:
    """SQL: whether an execution ``e`` runs, heard of lately by the clock of the database, ``now``."""
    silent = f"abs({now} - COALESCE(e.updated, e.started))"
    return f"e.status = 'running' AND {silent} <= {2 * CRASHED_AFTER_SECONDS * 1_000_000}"


def keep_unclaimed(session: Session, marks: Marks, named: Named) -> None:
    """While executions run: keep rows that nothing points to, which may begin what they record."""
    marks.add("args", UNCLAIMED)
    idle = "SELECT 1 FROM {} x WHERE x.task_no = t.task_no"
    of_none = " AND ".join(f"NOT EXISTS ({idle.format(table)})" for table in ("job", "call_node"))
    marks.add("code", f"SELECT t.task_hash FROM task t WHERE {of_none}")
    of_task = "EXISTS (SELECT 1 FROM task t WHERE t.task_hash = d.task_hash)"
    marks.add("code", f"SELECT DISTINCT d.task_hash FROM dependency d WHERE NOT {of_task}")
    session.make("given", "k VARCHAR(64) PRIMARY KEY")
    marks.put("given", "SELECT value_hash FROM evaluation")
    marks.put("given", "SELECT value_hash FROM held")
    marks.put("given", session.listed("named"), named=json.dumps(named.values))
    pointed = (("call_node", "value_hash"), ("argument", "value_hash"), ("subvalue", "child_hash"))
    loose = [f"NOT EXISTS (SELECT 1 FROM {table} x WHERE x.{name} = v.value_hash)" for table, name in pointed]
    loose.append("NOT EXISTS (SELECT 1 FROM given x WHERE x.k = v.value_hash)")
    marks.add("value", f"SELECT v.value_hash FROM value v WHERE {' AND '.join(loose)}")


def _keep_received(session: Session, marks: Marks) -> None:
    """Calls that came from elsewhere, without an execution: no job has them, and no other call made them."""
    session.make("loose", "k VARCHAR(64) PRIMARY KEY")
    made = "SELECT 1 FROM call_edge e WHERE e.child_no = c.call_no"
    marks.put("loose", f"SELECT c.call_hash FROM call_node c WHERE NOT EXISTS ({made})")
    session.change("DELETE FROM loose WHERE k IN (SELECT l.k FROM job j JOIN loose l ON l.k = j.call_hash)")
    marks.add("call", "SELECT c.call_no FROM loose l JOIN call_node c ON c.call_hash = l.k")


def _keep_tagged(marks: Marks, entities: str, given: Mapping[str, Any]) -> None:
    marks.add("call", f"SELECT call_no FROM call_node WHERE call_hash IN ({entities}'call')", **given)
    marks.add("value", f"{entities}'value'", **given)
    marks.add("code", f"{entities}'task'", **given)
    marks.add("entry", f"{entities}'entry'", **given)
    of_tasks = f"SELECT task_no FROM task WHERE task_hash IN ({entities}'task')"
    marks.add("call", f"SELECT call_no FROM call_node WHERE task_no IN ({of_tasks})", **given)


def _keep_tasks(session: Session, marks: Marks, patterns: Iterable[str]) -> None:
    wanted = tuple(patterns)
    for number, name in session.rows("SELECT task_no, task_name FROM task") if wanted else ():
        if any(fnmatchcase(name, pattern) for pattern in wanted):
            marks.add("call", "SELECT call_no FROM call_node WHERE task_no = :task", task=number)


def _keep_held(session: Session, marks: Marks, rules: Rules, named: Named) -> None:
    """Values put by hand, unless they are older than what is kept; states of handles; what is tagged."""
    which = f"SELECT value_hash FROM held WHERE value_hash NOT IN ({session.listed('named')})"
    given: dict[str, Any] = {"named": json.dumps(named.values)}
    if rules.newer_than_seconds is not None:
        which += f" AND since >= {session.now} - :micros"
        given["micros"] = _micros(rules)
    marks.add("value", which, **given)
    marks.add("value", "SELECT value_hash FROM handle")
    if rules.keeps_all:
        tagged = "SELECT entity_id FROM tag WHERE entity = 'value' AND ended IS NULL"
        stay = f"entity_id NOT IN ({session.listed('named')})"
        marks.add("value", f"{tagged} AND {stay}", named=given["named"])


def _micros(rules: Rules) -> int:
    return int(min(1e6 * (rules.newer_than_seconds or 0), _MOST))


def _tagged(text: str) -> tuple[str, dict[str, str]]:
    """SQL for rows ``g`` of current tags that this names, and its parameters. Raises: TagError."""
    key, value = parse_tag_filter(text)
    of_key, given = "g.ended IS NULL AND g.key = :of_key", {"of_key": key}
    if value is ANY_VALUE:
        return of_key, given
    return f"{of_key} AND g.value_digest = :digest", {**given, "digest": tag_value(key, value)[1]}


def let_go(session: Session, rules: Rules, named: Named) -> None:
    """From now on these values are not kept for having been put by hand."""
    given = json.dumps(named.values)
    session.change(f"DELETE FROM held WHERE value_hash IN ({session.listed('named')})", named=given)
    if rules.newer_than_seconds is not None:
        session.change(f"DELETE FROM held WHERE since < {session.now} - :micros", micros=_micros(rules))
