"""Tasks on a real SQLite file. Each notes in the file itself what it wrote, and in RAN that it ran."""

from __future__ import annotations

import sqlite3
import weakref
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from valuestore import Handle, merge_handles, task

RAN: list[str] = []


class Database(Handle):
    type_name = "tests.handles.Database"

    def __init__(self, name: str, path: str) -> None:
        self.instance = sqlite3.connect(path, check_same_thread=False)
        weakref.finalize(self, self.instance.close)  # most are made and dropped


def write(db: Database, what: str) -> Database:
    """Each name is in the table once, however often it is written."""
    RAN.append(what)
    with closing(db.instance), db.instance:
        db.execute("CREATE TABLE IF NOT EXISTS written (what TEXT PRIMARY KEY)")
        db.execute("INSERT OR REPLACE INTO written VALUES (?)", (what,))
    return db


@task(version="1")
def write_a(db: Database) -> Database:
    return write(db, "a")


@task(version="1")
def write_b(db: Database) -> Database:
    return write(db, "b")


@task(version="1")
def write_named(db: Database, what: str) -> Database:
    return write(db, what)


@task(version="1")
def read(db: Database) -> list[str]:
    RAN.append("read")
    with closing(db.instance):
        return [what for (what,) in db.execute("SELECT what FROM written ORDER BY what")]


@task(version="1")
def crash(db: Database) -> Database:
    write(db, "half")
    raise RuntimeError("power cut")


@task(version="1")
def chain(db: Database) -> Database:
    RAN.append("chain")
    return write_b(write_a(db))


@task(version="1")
def diamond(db: Database) -> list[str]:
    RAN.append("diamond")
    return read(merge_handles([write_named(db, "left"), write_named(db, "right")]))


@task(version="1")
def shared(db: Database) -> list[str]:
    RAN.append("shared")
    first = write_a(db)
    return read(merge_handles([write_named(first, "left"), write_named(first, "right")]))


@task(version="1")
def named_forks(db: Database, order: list[str]) -> Any:
    RAN.append("named_forks")
    return merge_handles([write_named(db.fork(name), name) for name in order])


@task(version="1")
def clash(db: Database) -> Any:
    return read(write_named(write_a(db.fork("x")), "late")), write_b(db.fork("x"))


@dataclass
class Held:
    label: str
    dbs: dict[str, Any]


@task(version="1")
def write_held(held: Held) -> Held:
    for (db,) in held.dbs.values():
        write(db, held.label)
    return held


@task(version="1")
def write_both(first: Database, second: Database) -> tuple[Database, Database]:
    write(first, "both")
    return first, second


@task(version="1")
def make(path: str) -> Database:
    return write(Database("made", path), "made")
