"""A pipeline that fills a SQLite database: the database is a handle, so tasks that change it are cached too.

Run it twice: ``python examples/handles.py``. The second time nothing runs: the database is as it was left.
Change a task, or delete a row of ``readings.csv``, and what depends on it runs again.
"""

from __future__ import annotations

import csv
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from valuestore import File, Handle, Scheduler, merge_handles, task


class Database(Handle):
    """A SQLite database by its path. For a server: pass the name of the variable that has the password."""

    type_name = "examples.Database"

    def __init__(self, name: str, path: str) -> None:
        self.instance = sqlite3.connect(path, check_same_thread=False, timeout=30)

    @contextmanager
    def changes(self) -> Iterator[None]:
        """What is done inside is committed as a whole, and the connection closed."""
        try:
            with self.instance:
                self.instance.execute("BEGIN IMMEDIATE")
                yield
        finally:
            self.instance.close()


@task
def load(db: Database, readings: File) -> Database:
    """The table as the file has it, whatever was there before: a task may have to run on any older state."""
    with readings.open() as stream:
        rows = [(row["station"], float(row["value"])) for row in csv.DictReader(stream)]
    with db.changes():
        db.execute("DROP TABLE IF EXISTS reading")
        db.execute("CREATE TABLE reading (station TEXT, value REAL)")
        db.executemany("INSERT INTO reading VALUES (?, ?)", rows)
    return db


@task
def average(db: Database) -> Database:
    """The mean of each station."""
    with db.changes():
        db.execute("DROP TABLE IF EXISTS mean")
        db.execute("CREATE TABLE mean AS SELECT station, avg(value) v FROM reading GROUP BY 1")
    return db


@task
def highest(db: Database) -> Database:
    """The highest value of each station."""
    with db.changes():
        db.execute("DROP TABLE IF EXISTS peak")
        db.execute("CREATE TABLE peak AS SELECT station, max(value) v FROM reading GROUP BY 1")
    return db


@task
def report(db: Database) -> list[tuple[str, float, float]]:
    """Station, mean and highest value."""
    query = "SELECT station, mean.v, peak.v FROM mean JOIN peak USING (station) ORDER BY station"
    with db.changes():
        return [tuple(row) for row in db.execute(query)]


@task
def pipeline(db: Database, readings: File) -> list[tuple[str, float, float]]:
    """Both summaries start from the loaded table, each on a branch of its own; the report needs both."""
    loaded = load(db, readings)
    return report(merge_handles([average(loaded), highest(loaded)]))


def main() -> None:
    """Make the input if there is none, and run."""
    if not Path("readings.csv").exists():
        File("readings.csv").write("station,value\nnorth,1\nnorth,3\nsouth,5\n")
    with Scheduler() as scheduler, closing(Database("readings", "readings.db")) as db:
        rows = scheduler.run(pipeline(db, File("readings.csv")))
        assert scheduler.execution is not None
        for station, mean, peak in rows:
            print(f"{station:10} mean {mean:6.2f}  peak {peak:6.2f}")
        print(f"{scheduler.execution.counts.done} calls ran")


if __name__ == "__main__":
    main()
