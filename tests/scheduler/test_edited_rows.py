"""Rows edited by hand: swapped among themselves, or with a bit flipped. Never a wrong value from them."""

from __future__ import annotations

import itertools
import random
import shutil
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
from sqlalchemy import String
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError

from valuestore import File, Repository, Scheduler, task
from valuestore.db.schema import tables
from valuestore.errors import PayloadCorrupt

pytestmark = pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
LARGE = 3000
"""Repeats of eight bytes: more than a row holds."""


@pytest.fixture(autouse=True)
def untraced(monkeypatch):
    """Bodies here run methods that dataclasses made, which cannot be known again."""
    monkeypatch.setenv("VALUESTORE_TRACE", "false")


@dataclass
class Row:
    name: str
    count: int


@dataclass
class Holder:
    part: Any


class Plain:
    def __init__(self, number):
        self.number = number

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@task
def of_text(n: int) -> str:
    return f"text {n:03}"


@task
def of_bytes(n: int) -> bytes:
    return b"text %03d" % n


@task
def of_number(n: int) -> int:
    return n


@task
def of_list(n: int) -> list[Any]:
    return [n, str(n), None]


@task
def of_record(n: int) -> Row:
    return Row("record", n)


@task
def of_set(n: int) -> set[int]:
    return {n, n + 1}


@task
def of_object(n: int) -> Plain:
    return Plain(n)


@task
def of_large_text(n: int) -> str:
    return f"{n:08}" * LARGE


@task
def of_large_bytes(n: int) -> bytes:
    return b"%08d" % n * LARGE


@task
def of_large_list(n: int) -> list[int]:
    return [n] * LARGE * 4


@task
def of_large_object(n: int) -> Plain:
    return Plain([n] * LARGE * 4)


@task
def of_array(n: int) -> Any:
    return numpy.arange(n)


@task
def of_arrays(n: int) -> Holder:
    return Holder(numpy.arange(n))


@task
def shown(x: Any) -> str:
    return repr(vars(x) if isinstance(x, Plain) else x)[:60]


@task
def both(n: int) -> list[Any]:
    return [of_text(n), of_record(n)]


MANY = [of_text, of_bytes, of_number, of_list, of_record, of_set, of_object]
LARGE_ONES = [of_large_text, of_large_bytes, of_large_list, of_large_object]
ONE = [of_array, of_arrays]
"""Nothing but decoding tells whose bytes these are, so there is one of each."""


def pipeline():
    numbers = range(2, 6)
    calls = [make(n) for n, make in itertools.product(numbers, MANY)]
    calls += [make(n) for n, make in itertools.product((2, 3, 4), LARGE_ONES)]
    calls += [make(7) for make in ONE]
    return calls, [shown(call) for call in calls], [both(n) for n in numbers]


def texts(results):
    return [[repr(vars(one) if isinstance(one, Plain) else one) for one in part] for part in results]


def run(folder, database):
    with Scheduler(Repository.open(folder, **database)) as scheduler, scheduler.repository:
        return texts(scheduler.run(pipeline())), scheduler.execution.counts.done


def edited(connection, table, rows, columns):
    """Two rows with the values of these columns swapped; whether the database took them."""
    one, other = [dict(row._mapping) for row in rows]
    for column in columns:
        one[column], other[column] = other[column], one[column]
    keys = [column.name for column in table.primary_key]
    with connection.begin_nested() as point:
        for row in rows:
            where = [table.c[key] == row._mapping[key] for key in keys]
            connection.execute(table.delete().where(*where))
        try:
            connection.execute(table.insert(), [one, other])
        except IntegrityError:
            point.rollback()
            return 0
    return 2


def swap_rows(connection, table, chance):
    """Every column and every pair of columns of the table, between rows that are chosen once each."""
    rows = list(connection.execute(table.select()))
    chance.shuffle(rows)
    names = [column.name for column in table.columns]
    swaps = [*itertools.combinations(names, 1), *itertools.combinations(names, 2)]
    chance.shuffle(swaps)
    pairs = zip(zip(rows[::2], rows[1::2], strict=False), itertools.cycle(swaps), strict=False)
    return sum(
        edited(connection, table, pair, columns)
        for pair, columns in pairs
        if not (IDENTITY.intersection(columns) and is_told_by_decoding_alone(pair))
    )


IDENTITY = {"value_hash", "payload_digest", "codec"}
"""What says whose bytes a row has."""


def is_told_by_decoding_alone(pair):
    """Whether nothing but ``verify`` could tell that such a row has another's key or bytes (docs/trust.md).

    Whichever of the two has the codec and the digest of which in the end.
    """
    codecs = {row._mapping.get("codec") for row in pair}
    has_digest = any(row._mapping.get("payload_digest") is not None for row in pair)
    return "npy" in codecs or ("tagged" in codecs and has_digest)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_swapped_rows_never_give_a_wrong_value(request, tmp_path, kind):
    rounds = [tables.value] * 5 + [tables.evaluation, tables.argument, tables.payload]
    rounds += [tables.call_node] * 2 + [tables.set_member]
    rounds = rounds if kind == "sqlite" else rounds[:2]
    database = {} if kind == "sqlite" else {"database": request.getfixturevalue("postgres_url")}
    expected, cold = run(tmp_path / "repository", database)
    assert run(tmp_path / "repository", database) == (expected, 0)
    edits, again = 0, 0
    for seed, table in enumerate(rounds):
        folder = tmp_path / f"copy{seed}"
        shutil.copytree(tmp_path / "repository", folder)
        with Repository.open(folder, **database) as repository, repository.database.write() as connection:
            edits += swap_rows(connection, table, random.Random(seed))
        found, done = run(folder, database)
        assert found == expected, (seed, table.name)
        again += done
        assert run(folder, database)[0] == expected
    print(edits, "rows were edited,", again, "of", cold * len(rounds), "bodies ran again")
    assert edits >= (500 if kind == "sqlite" else 100)
    assert 0 < again < cold * len(rounds)


@pytest.mark.parametrize("make", [of_large_text, of_large_bytes, of_large_list])
def test_another_payload_behind_a_value_is_refused_and_the_payload_stays(tmp_path, make):
    with Scheduler(Repository.open(tmp_path)) as scheduler, scheduler.repository as repository:
        scheduler.run([make(1), make(2)])
        one, other = repository.put(make.func(1)), repository.put(make.func(2))
        repository.flush()
        with repository.database.write() as connection:
            connection.execute(
                tables.value.update()
                .where(tables.value.c.value_hash == one.value_hash)
                .values(payload_digest=other.payload_digest)
            )
        with pytest.raises(PayloadCorrupt, match="another value"):
            repository.get(one.value_hash)
        assert repository.get(other.value_hash) == make.func(2)
        assert scheduler.run(make(1)) == make.func(1)
        repository.flush()
        assert repository.get(one.value_hash) == make.func(1)


@pytest.mark.parametrize("make", [of_text, of_bytes, of_list])
def test_other_bytes_with_their_digest_are_refused(tmp_path, make):
    with Repository.open(tmp_path) as repository:
        one, other = repository.put(make.func(1)), repository.put(make.func(2))
        repository.flush()
        digest = repository.archive.registry.algorithm.hexdigest(other.inline)
        with repository.database.write() as connection:
            connection.execute(
                tables.value.update()
                .where(tables.value.c.value_hash == one.value_hash)
                .values(inline=other.inline, payload_digest=digest)
            )
        with pytest.raises(PayloadCorrupt):
            repository.get(one.value_hash)


# --- text that is not UTF-8 -------------------------------------------------------------------------

TEXTS = [
    (table, column.name)
    for table in tables.metadata.sorted_tables
    for column in table.columns
    if isinstance(column.type, String) and table.name not in ("valuestore_schema", "repository")
]


def damage(connection, table, column):
    """Overwrite the third byte of a text with what begins no letter; whether there is such a text."""
    rows = [row for row in connection.execute(table.select()) if len(row._mapping[column] or "") > 3]
    if not rows:
        return False
    row = rows[len(rows) // 2]._mapping
    text = row[column].encode()
    keys = {f"key_{key.name}": row[key.name] for key in table.primary_key}
    where = " AND ".join(f"{key.name} = :key_{key.name}" for key in table.primary_key)
    change = sql(f"UPDATE {table.name} SET {column} = CAST(:bad AS TEXT) WHERE {where}")
    connection.execute(change, {"bad": text[:2] + b"\xf2" + text[3:], **keys})
    return True


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "a.txt").write_text("a")
    with Scheduler(Repository.open(folder)) as scheduler, scheduler.repository:
        scheduler.run([small(File(folder / "a.txt"), n) for n in range(5)], tags={"stage": "trial"})
    return folder


@task(tags={"team": "red"})
def small(file: File, n: int) -> list[int]:
    return [n, *tens(n)]


def tens(n: int) -> list[int]:
    return [10 * n]


def asked(repository):
    """What people ask: every query of the history, and every row of every table."""
    history = repository.history
    listed = [*history.executions(), *history.jobs(), *history.values(), *history.tasks()]
    for table in tables.metadata.sorted_tables:
        listed += repository.database.fetch(
            lambda connection, of=table: list(connection.execute(of.select()))
        )
    return repr(listed)


def test_a_text_that_is_not_utf_8_costs_its_own_row_alone(recorded, tmp_path):
    calls = [small(File(recorded / "a.txt"), n) for n in range(5)]
    assert len(TEXTS) > 40
    damaged = []
    for table, column in TEXTS:
        folder = tmp_path / f"{table.name}.{column}"
        shutil.copytree(recorded / ".valuestore", folder / ".valuestore")
        with Repository.open(folder) as repository, repository.database.write() as connection:
            is_damaged = damage(connection, table, column)
        if not is_damaged:
            continue
        damaged.append((table.name, column))
        with Scheduler(Repository.open(folder)) as scheduler, scheduler.repository as repository:
            assert r"\xf2" in asked(repository), (table.name, column)
            assert scheduler.run(calls) == [[n, 10 * n] for n in range(5)]
            more = 5 if table.name in ("task", "dependency", "file") else 1
            assert scheduler.execution.counts.done <= more, (table.name, column)
    assert ("value", "type_name") in damaged
    assert ("value", "preview") in damaged
    assert ("evaluation", "value_hash") in damaged


def test_postgres_without_an_encoding_gives_damaged_text_escaped(postgres_server, tmp_path):
    with postgres_server.database(encoding="SQL_ASCII") as url:
        with Repository.open(tmp_path, database=url) as repository:
            one, other = repository.put([1, {2}]), repository.put("t\u00e4xt")
            repository.flush()
            with repository.database.write() as connection:
                connection.execute(
                    sql(
                        "UPDATE value SET type_name = convert_from(:bad, 'SQL_ASCII') WHERE value_hash = :one"
                    ),
                    {"bad": b"builtins.lis\xf2", "one": one.value_hash},
                )
        with Repository.open(tmp_path, database=url) as repository:
            assert repository.get(other.value_hash) == "t\u00e4xt"
            with pytest.raises(PayloadCorrupt):
                repository.get(one.value_hash)
            assert r"lis\\xf2" in asked(repository)
            repository.put([1, {2}])
            repository.flush()
            assert repository.get(one.value_hash) == [1, {2}]
