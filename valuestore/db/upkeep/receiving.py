"""Receiving: records into a repository, a group in one transaction, what is pointed to first.

What is there stays as it is: an evaluation of this side is not replaced by that of another. But a run that
was going on has ended, a tag was removed, and the state of a handle is no longer true of the outside: that
is taken over. May be done again at any time, and beside others that write; a collection is waited for, and
what was there before it counts no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from valuestore.db.engine.database import Database
from valuestore.db.record.entries import Content, State, Written
from valuestore.db.record.rows import code_set_hash, count_rows
from valuestore.db.record.writer import Writer
from valuestore.db.upkeep.records import KINDS, ORDER, Row

Records = Mapping[str, Sequence[Row]]

_WAIT_SECONDS = 0.1
"""Between two looks whether a collection has ended; one that was killed has, once its lease is over."""


class Collected(Exception):
    """What was found to be there may be gone. Internal: who sends begins again."""


def receive(database: Database, records: Records, algorithm: str, known: str | None) -> tuple[int, list[str]]:
    """Write checked records by kind, in one transaction: how many were new, and what was left out.

    That points to what is not there, or is code that belongs to no task and is not what its hash says.
    ``known`` counts the collections that there were when it was asked what is there. Raises: Collected if
    there are more; DatabaseError; StoreReadOnly.
    """

    def work(writer: Writer) -> tuple[int, list[str]] | None:
        number, is_on = writer.collection()
        if is_on:
            return None
        if number != known:
            raise Collected(database.name)
        lost: list[str] = []
        return sum(_receive(writer, records, algorithm, lost)), lost

    while (done := Writer.transact(database, work)) is None:
        time.sleep(_WAIT_SECONDS)
    return done


def _receive(writer: Writer, records: Records, algorithm: str, lost: list[str]) -> Iterable[int]:
    for kind in ORDER:
        if not (rows := records.get(kind)):
            continue
        if kind in _POINTS:
            rows = _pointing(writer, kind, rows, lost)
        elif kind == "code":
            rows = _vouched(writer, rows, algorithm, lost)
        yield _HOW.get(kind, _insert)(writer, kind, rows)


def _vouched(writer: Writer, rows: Sequence[Row], algorithm: str, lost: list[str]) -> Sequence[Row]:
    """The code of tasks, and that of sets which are whole: one part more would make these useless here."""
    tasks = writer.numbers("task", {row[0] for row in rows})
    parts = {row[0]: [(name, digest) for name, digest, _ in row[1]] for row in rows}
    whole = [row for row in rows if row[0] in tasks or code_set_hash(parts[row[0]], algorithm) == row[0]]
    lost += [f"code {row[0]} is not what its hash says" for row in rows if row not in whole]
    return whole


def _pointing(writer: Writer, kind: str, rows: Sequence[Row], lost: list[str]) -> Sequence[Row]:
    """Those of which all that they point to by a number is there."""
    for table, pointed in _POINTS[kind].items():
        there = writer.numbers(table, {each for row in rows for each in pointed(row)}).keys()
        gone = [row[0] for row in rows if not there >= set(pointed(row))]
        lost += [f"{kind} {key} points to what is not there" for key in gone]
        rows = [row for row in rows if there >= set(pointed(row))]
    return rows


_POINTS: Mapping[str, Mapping[str, Callable[[Row], Sequence[str]]]] = {
    "call": {"task": lambda row: [row[1]]},
    "link": {"call_node": lambda row: [row[0], *row[4], *[call for _, call in row[5]]]},
    "job": {"task": lambda row: [row[3]], "execution": lambda row: [row[1]]},
}


def _insert(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    """Into the table of that name, those that are not there."""
    return writer.insert(kind, _new(writer, kind, rows))


def _new(writer: Writer, kind: str, rows: Sequence[Row]) -> list[Row]:
    """Those that are not there, each once."""
    spec = KINDS[kind]
    there = set(writer.rows(f"there {kind}", {row[spec.owner] for row in rows}))
    return list({key: row for row in rows if (key := spec.key_of(row)) not in there}.values())


def _parts(table: str, spread: Callable[[int, list[object]], Row]) -> Callable[..., int]:
    """For records of a hash and its parts: rows of that table, each made of its place and itself."""

    def insert(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
        made = [(row[0], *spread(at, part)) for row in rows for at, part in enumerate(row[1])]
        new = _new(writer, kind, made)
        writer.insert(table, new)
        return len({row[0] for row in new})

    return insert


def _signatures(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    """The signed bytes are kept beside the signature if the value has others here."""
    new = _new(writer, kind, rows)
    here = {row[0]: row[3] for row in writer.rows("values", {row[0] for row in new})}
    writer.insert(kind, [row if here.get(row[0]) != row[3] else (*row[:5], None) for row in new])
    return len(new)


def _handles(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    new = [(*row[:4], bool(row[4]), row[5]) for row in _new(writer, kind, rows)]
    writer.insert(kind, new)
    writer.change_all("end states", [row[0] for row in new if not row[4]])
    return len(new)


def _calls(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    new = _new(writer, kind, rows)
    tasks = writer.numbers("task", {row[1] for row in new})
    writer.insert("call_node", [(row[0], tasks[row[1]], *row[2:6], bool(row[6]), *row[7:10]) for row in new])
    return len(new)


def _links(writer: Writer, _kind: str, rows: Sequence[Row]) -> int:
    calls = writer.numbers("call_node", {each for row in rows for each in _POINTS["link"]["call_node"](row)})
    edges = [(row[0], at, each) for row in rows for at, each in enumerate(row[4])]
    sources = [(row[0], at, each) for row in rows for at, each in row[5]]
    added: set[str] = set()
    for table, kind, links in (("call_edge", "edge", edges), ("argument_source", "source", sources)):
        new = _new(writer, kind, links)
        writer.insert(table, [(calls[call], at, calls[other]) for call, at, other in new])
        added.update(call for call, *_ in new)
    return len(added)


def _executions(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    """New ones, and those that were running when they were sent before, and are no longer."""
    there = dict(writer.rows("there execution", {row[0] for row in rows}))
    new = {row[0]: row for row in rows if row[0] not in there or (there[row[0]] == "running" != row[2])}
    writer.insert(kind, new.values())
    return len(new)


def _jobs(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    new = _new(writer, kind, rows)
    runs = writer.numbers("execution", {row[1] for row in new})
    tasks = writer.numbers("task", {row[3] for row in new})
    numbered = [(row[0], runs[row[1]], row[2], tasks[row[3]], *row[4:]) for row in new]
    writer.insert("task_count", count_rows(writer.insert_new(kind, numbered)))
    return len(new)


def _tags(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    """One that was current when it was sent before, and has ended, takes the place of itself."""
    new = _new(writer, kind, rows)
    writer.change_all("forget tags", [row[0] for row in new if row[8] is not None])
    return writer.insert(kind, new)


def _entries(writer: Writer, kind: str, rows: Sequence[Row]) -> int:
    """Versions that are not there; a name goes on with the newest of both."""
    new = sorted(_new(writer, kind, rows), key=lambda row: int(row[1]))
    written = Written(writer)
    known = written.states({row[2] for row in new})
    changed: dict[str, State] = {}
    versions = []
    for _, version, name, created, newest, deleted, digest, size, value_hash, *told in new:
        versions.append(State(name, version, created, Content(digest, size, value_hash), *told))
        before = changed.get(name) or known.get(name)
        if before is None or version > before.version:
            is_gone = deleted is not None and version == newest
            changed[name] = State(name, version, created) if is_gone else versions[-1]
    written.write(changed, versions)
    return len(new)


_HOW: Mapping[str, Callable[[Writer, str, Sequence[Row]], int]] = {
    "code": _parts("dependency", lambda _, part: tuple(part)),
    "set": _parts("set_member", lambda _, part: (part[0], bool(part[1]))),
    "args": _parts("argument", lambda at, part: (at, *part)),
    "signature": _signatures,
    "handle": _handles,
    "call": _calls,
    "link": _links,
    "execution": _executions,
    "job": _jobs,
    "entry": _entries,
    "tag": _tags,
}
