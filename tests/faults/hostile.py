"""Hostile input: odd texts where a key, a hash, a path or a name is taken; rows edited, cells forged.

Pickles and bombs are tests/values/trust's, statements in texts tests/db/history's.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from tests.faults import workflow
from tests.faults.found import Found
from tests.scheduler.test_edited_rows import asked, run, swap_rows
from valuestore import Dir, File, FileSet, Repository, Scheduler
from valuestore.db.schema import tables
from valuestore.errors import ValuestoreError
from valuestore.stores import open_store
from valuestore.testing.store_contract.samples import BAD_KEYS

_CALLS = 2


# --- texts --------------------------------------------------------------------------------------------

_PARTS = (
    *(
        "..",
        ".",
        "",
        "/",
        "~",
        "~root",
        "\0",
        "\n",
        "\\",
        ":",
        "%2e%2e",
        "%00",
        "con",
        "-",
        "--help",
        "*",
        "?",
    ),
    *(
        "[a]",
        "{a,b}",
        "$HOME",
        "${PATH}",
        "`id`",
        ";",
        "'",
        '"',
        "' OR 1=1 --",
        "%",
        "_",
        "\u202e",
        "e\u0301",
        "\ud800",
    ),
    *(
        "\u00e9",
        "A",
        "a",
        ".vs~",
        "quarantine",
        "valuestore.json",
        ".tmp",
        "x" * 300,
        "x" * 5000,
        "\U0001f600",
    ),
)
_FORMS = (
    "{0}",
    "a/{0}",
    "{0}/a",
    "a/{0}/b",
    "../{0}",
    "/{0}",
    "file://{0}",
    "{0}://a",
    "s3://{0}/k",
    "{0}{0}",
)


def texts(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` of the odd texts, each in every place; nothing outside of the stores is made or changed."""
    found = Found()
    folder = folder / "texts"
    inside, outside = folder / "inside", folder / "outside"
    folder.mkdir()
    outside.mkdir()
    (outside / "canary").write_text("canary")
    with Repository.open(inside) as repository, open_store(str(inside / "store")) as store:
        workflow.run(repository, 1)
        os.chdir(inside)
        every = [form.format(part) for form, part in itertools.product(_FORMS, _PARTS)] + [
            *map(str, BAD_KEYS)
        ]
        every += [f"../outside/{name}" for name in ("canary", "new")] + [f"{outside}/new"]
        for text in every[-3:] + chance.sample(every, min(size, len(every))):
            found.done["texts"] += 1
            for place, use in _places(repository, store):
                try:
                    use(text)
                except (ValuestoreError, OSError, ValueError):
                    pass
                except BaseException as error:
                    found.fault(
                        "no typed error", f"{place} {text[:60]!r} {type(error).__name__}: {str(error)[:200]}"
                    )
            left = sorted(path.name for path in folder.iterdir())
            found.check(left == ["inside", "outside"], "a file outside", f"{text[:60]!r} {left}")
            is_as_before = [path.name for path in outside.iterdir()] == ["canary"]
            is_as_before &= (outside / "canary").read_text() == "canary"
            found.check(is_as_before, "a file outside", f"{text[:60]!r}")
    return found


def _places(repository: Repository, store: Any) -> Iterator[tuple[str, Callable[[str], object]]]:
    history, tags = repository.history, repository.tags
    yield "get", repository.get
    yield "get_many", lambda text: repository.get_many([text])
    yield "find_value", repository.find_value
    yield "put", lambda text: _is_kept(repository, text)
    yield "jobs", lambda text: list(history.jobs().where(task=text))
    yield "executions", lambda text: list(history.executions().where(label=text))
    yield "why", history.why
    yield "record", history.find
    yield "upstream", history.upstream
    yield "tag", lambda text: tags.add(text, {text: text})
    yield "store get", store.get
    yield "store put", lambda text: store.put(text, b"x")
    yield "store stat", store.stat
    yield "store list", store.list
    yield "store delete", store.delete
    yield "File", lambda text: (File(text).exists(), File(text).path)
    yield "Dir", lambda text: Dir(text).path
    yield "FileSet", lambda text: len(list(FileSet(f"{text}/none"))) if len(text) < 200 else None


def _is_kept(repository: Repository, text: str) -> None:
    ref = repository.put(text)
    if repository.get(ref.value_hash) != text:
        raise AssertionError("another text")


# --- rows ---------------------------------------------------------------------------------------------


def rows(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` rows with columns of other rows: no wrong value comes of them."""
    os.environ["VALUESTORE_TRACE"] = "false"  # bodies there run methods that dataclasses made
    found = Found()
    expected, _ = run(folder / "repository", {})
    edited = [tables.evaluation, *[tables.value] * 5, tables.argument, tables.payload]
    edited += [*[tables.call_node] * 2, tables.set_member]
    for table in itertools.cycle(edited):
        seed = chance.randrange(10**6)
        shutil.rmtree(folder / "copy", ignore_errors=True)
        shutil.copytree(folder / "repository", folder / "copy")
        with Repository.open(folder / "copy") as repository, repository.database.write() as connection:
            found.done["edited rows"] += swap_rows(connection, table, random.Random(seed))
        with found.catching("could not be run", f"{table.name} {seed}"):
            for _ in range(2):
                again, done = run(folder / "copy", {})
                found.check(again == expected, "wrong", f"{table.name} {seed}")
            found.check(
                done == 0, "not healed", f"{table.name} {seed}: {done} bodies ran in the second rerun"
            )
        if found.done["edited rows"] >= size:
            return found
    return found


_ODD: tuple[Any, ...] = (
    *(
        None,
        7,
        -1,
        2**62,
        1.5,
        float("inf"),
        b"\xff\x00bytes",
        "",
        "../../x",
        "x" * 100_000,
        "[" * 50_000,
        "\x00",
    ),
    *(
        "a" * 32,
        "0" * 64,
        '{"a": 1}',
        "null",
        "tagged",
        "plain",
        "npy",
        "signed",
        "builtins.str",
        "os.system",
    ),
)
_LEFT_OUT = ("valuestore_schema", "repository", "alembic_version")


def cells(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` times a column of one row, or of all, has what never was in it: runs are right."""
    found = Found()
    with Repository.open(folder) as repository, Scheduler(repository) as scheduler:
        scheduler.run(workflow.calls(_CALLS), tags={"a": 1})
        repository.put(workflow.value(3))
    path = folder / ".valuestore/valuestore.db"
    whole = path.read_bytes()
    columns = [
        (table, column)
        for table in tables.metadata.sorted_tables
        if table.name not in _LEFT_OUT
        for column in table.columns
    ]
    for number in range(size):
        for left in path.parent.glob("valuestore.db*"):
            left.unlink()
        path.write_bytes(whole)
        table, column = chance.choice(columns)
        odd, of_all = chance.choice(_ODD), chance.random() < 0.3
        label = f"{table.name}.{column.name} = {str(odd)[:40]!r}{' in all' if of_all else ''}"
        if not _forge(path, table, column.name, odd, of_all, chance):
            found.done["refused by SQLite"] += 1
            continue
        found.done["forged"] += 1
        with found.catching("could not be run", label), Repository.open(folder) as repository:
            right = workflow.run(repository, _CALLS) == workflow.expected(_CALLS)
            found.check(right, "wrong", label)
        if number % 3 == 0:
            try:
                with Repository.open(folder) as repository:
                    asked(repository)
            except ValuestoreError:
                found.done["questions refused"] += 1
            except Exception as error:
                found.fault("no typed error", f"{label} {type(error).__name__}: {str(error)[:200]}")
    return found


def _forge(path: Path, table: Table, column: str, odd: Any, of_all: bool, chance: random.Random) -> bool:
    """Whether SQLite let it be written."""
    keys = [key.name for key in table.primary_key]
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA ignore_check_constraints=1")
        there = connection.execute(f"SELECT {', '.join(keys)} FROM {table.name}").fetchall()
        where = " AND ".join(f"{key} = ?" for key in keys)
        update = f"UPDATE OR IGNORE {table.name} SET {column} = ? WHERE {where}"
        chosen = there if of_all else chance.sample(there, min(1, len(there)))
        return sum(connection.execute(update, (odd, *row)).rowcount for row in chosen) > 0
    except sqlite3.IntegrityError:
        return False
    finally:
        connection.close()
