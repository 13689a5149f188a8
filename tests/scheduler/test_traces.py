"""Code that bodies reach and nothing names: kept with a result, verified before the result is used again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap

import pytest

from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler
from valuestore.values.code.trace import trace_refused

SHAPES = """
import sys
SIDE = 2
class Square:
    def area(self): return SIDE * SIDE
def unused(): return 1
"""
PIPELINE = """
import importlib
from valuestore import Scheduler, task

@task(namespace="t")
def area(name, times):
    return times * importlib.import_module(name).Square().area()

@task(namespace="t")
def plain(x):
    return x + 1

if __name__ == "__main__":
    import sys, json
    with Scheduler("repository") as scheduler:
        values = scheduler.run([area("shapes", 1), area("shapes", 2), plain(1)])
        counts = scheduler.execution.counts
        print(json.dumps([values, counts.done, "shapes" in sys.modules]))
"""

traced = pytest.mark.skipif(bool(trace_refused()), reason=f"{trace_refused()}: see test_without_traces")


@pytest.fixture
def run(tmp_path):
    (tmp_path / "pipeline.py").write_text(PIPELINE)

    def go(shapes=SHAPES, *, warnings="error", **settings):
        (tmp_path / "shapes.py").write_text(shapes)
        environment = {f"VALUESTORE_{name.upper()}": value for name, value in settings.items()}
        ran = subprocess.run(
            [sys.executable, "-W", warnings, "pipeline.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        return tuple(json.loads(ran.stdout))

    return go


def rows(tmp_path, sql):
    with Repository.open(tmp_path / "repository") as repository:
        return repository.history.query(sql).rows


@traced
def test_an_edit_of_what_ran_runs_it_again_and_back_again_finds_it(run):
    assert run() == ([4, 8, 2], 3, True)
    assert run() == ([4, 8, 2], 0, False)
    edited = SHAPES.replace("SIDE = 2", "SIDE = 3")
    assert run(edited) == ([9, 18, 2], 2, True)
    assert run(edited) == ([9, 18, 2], 0, False)
    assert run() == ([4, 8, 2], 0, False)


@traced
def test_comments_do_not_count(run):
    assert run()[1] == 3
    assert run("# a comment\n" + SHAPES)[1] == 0


@traced
def test_what_reached_nothing_carries_nothing(run, tmp_path):
    run()
    query = "SELECT t.task_name, j.trace_hash IS NULL FROM job j JOIN task t ON t.task_no = j.task_no"
    found = rows(tmp_path, f"{query} ORDER BY 1, 2")
    assert [tuple(row) for row in found] == [("t.area", 0), ("t.area", 0), ("t.plain", 1)]
    assert len(rows(tmp_path, "SELECT * FROM evaluation WHERE trace_hash = ''")) == 1


@traced
def test_a_trace_of_which_a_part_is_lost_holds_for_nothing(run, tmp_path):
    run()
    with Repository.open(tmp_path / "repository") as repository, repository.database.write() as connection:
        connection.exec_driver_sql(
            "DELETE FROM dependency WHERE task_hash IN (SELECT trace_hash FROM evaluation)"
        )
    assert run() == ([4, 8, 2], 2, True)
    assert run() == ([4, 8, 2], 0, False)


@traced
def test_nothing_is_imported_because_a_row_says_so(run, tmp_path):
    run()
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()")
    for name in ("module evil", "evil.f", "code evil.f", "file evil.py"):
        with (
            Repository.open(tmp_path / "repository") as repository,
            repository.database.write() as connection,
        ):
            connection.exec_driver_sql(
                "UPDATE dependency SET name = ? WHERE name = 'module shapes'",
                (name,),
            )
        assert run()[0] == [4, 8, 2]
    assert not (tmp_path / "ran").exists()


@traced
def test_they_can_be_switched_off(run, tmp_path):
    run(trace="false")
    assert len(rows(tmp_path, "SELECT * FROM evaluation WHERE trace_hash = ''")) == 3
    assert run(SHAPES.replace("SIDE = 2", "SIDE = 3"), trace="false") == ([4, 8, 2], 0, False)


@pytest.mark.skipif(not trace_refused(), reason="traces are on: the tests above have it")
def test_without_traces(run, tmp_path):
    """A result is stale, a warning has said that it may be, and doctor says why."""
    assert run(warnings="default") == ([4, 8, 2], 3, True)
    assert len(rows(tmp_path, "SELECT * FROM evaluation WHERE trace_hash = ''")) == 3
    assert run(SHAPES.replace("SIDE = 2", "SIDE = 3"), warnings="default") == ([4, 8, 2], 0, False)


# --- rows that are not what they were written as --------------------------------------------------


def test_another_value_behind_a_key_is_a_miss(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.run([p.double(1), p.double(2)]) == [2, 4]
        with scheduler.repository.database.write() as connection:
            connection.exec_driver_sql(
                "UPDATE evaluation SET value_hash = (SELECT max(value_hash) FROM evaluation)"
            )
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.run([p.double(1), p.double(2)]) == [2, 4]
        assert scheduler.execution.counts.done == 1


def test_rows_of_before_have_no_checksum_and_are_found(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        scheduler.run(p.double(1))
        with scheduler.repository.database.write() as connection:
            connection.exec_driver_sql("UPDATE evaluation SET checksum = NULL")
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.run(p.double(1)) == 2
        assert scheduler.execution.counts.done == 0


# --- what a task depends on, for people -----------------------------------------------------------

READS = """
import os, threading
GUARD = threading.Lock()
from valuestore import task
class Model:
    def score(self): return 2
@task(namespace="r")
def load(model):
    with GUARD:
        os.environ.get("LIMIT")
    with open("config.txt") as file:
        return file.read() + str(model.score())
"""


def test_the_code_of_a_task_can_be_asked(tmp_path, monkeypatch, scripts):
    (tmp_path / "config.txt").write_text("x")
    (tmp_path / "reads.py").write_text(textwrap.dedent(READS))
    (tmp_path / "go.py").write_text(
        "import reads; from valuestore import Scheduler\n"
        "with Scheduler('repository') as s: s.run(reads.load(reads.Model()))\n"
    )
    ran = scripts.run(tmp_path / "go.py")
    assert "UndeclaredReadWarning: r.load read config.txt" in ran.err
    assert "UndeclaredReadWarning: r.load reads the environment variable LIMIT" in ran.err
    with Repository.open(tmp_path / "repository") as repository:
        for name in ("r.load", "load", repository.history.tasks().one().task_hash):
            code = repository.history.code(name)
            assert code.task == "r.load"
            assert [part.name for part in code.follows] == ["reads.load", "reads.load:GUARD", "reads.load:os"]
            assert [part.name for part in code.not_followed] == ["reads.load:GUARD"]
            assert [part.name for part in code.classes] == ["reads.Model", "reads.Model.score"]
            assert code.undeclared == (("file", "config.txt"), ("variable", "LIMIT"))
            assert not trace_refused() or code.reached == ()
        tagged = repository.history.tasks().where(tag={"undeclared file": "config.txt"})
        assert [task.task for task in tagged] == ["r.load"]


# --- methods that libraries write -----------------------------------------------------------------

GENERATED = """
import dataclasses, functools, sys, typing
import attrs, pydantic
from valuestore import Scheduler, task

@dataclasses.dataclass(order=True, frozen=True)
class Data:
    x: int = 1
@dataclasses.dataclass(slots=True, unsafe_hash=True)
class Slots:
    x: int = 1
@attrs.define(order=True)
class Attrs:
    x: int = 1
class Model(pydantic.BaseModel):
    x: int = 1
class Named(typing.NamedTuple):
    x: int = 1

@task
def look(value):
    shown = [repr(value), str(value), value == type(value)(x=1)]
    for use in (hash, lambda one: one <= one, lambda one: dataclasses.replace(one, x=3)):
        try:
            use(value)
        except TypeError:
            pass
    return shown

with Scheduler("repository") as scheduler:
    scheduler.run([look(cls(x=1)) for cls in (Data, Slots, Attrs, Model, Named)])
    print(scheduler.execution.counts.done)
"""


def test_methods_that_libraries_write_are_those_of_their_class(tmp_path, scripts):
    (tmp_path / "generated.py").write_text(GENERATED)
    assert [scripts.run(tmp_path / "generated.py", strict=True).out for _ in range(2)] == ["5\n", "0\n"]
