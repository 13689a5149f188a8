"""Handles in runs: a pipeline on a database file is not run twice, and never trusts a state that is gone."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.scheduler import handle_pipelines as p
from tests.statements import StatementCounter
from valuestore import Repository, Scheduler, merge_handles
from valuestore.errors import StaleHandle
from valuestore.tasks.definition import all_tasks as known_tasks
from valuestore.tasks.task import Task

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def forget():
    p.RAN.clear()


@pytest.fixture(params=["sqlite", "postgres"])
def settings(request):
    if request.param == "sqlite":
        yield {}
        return
    server, made = map(request.getfixturevalue, ("postgres_server", "repository_on_postgres"))
    with server.database(made) as url:
        yield {"database": url}


@pytest.fixture
def run(tmp_path, settings):
    """Runs each call in a repository opened anew and gives its value; what ran is in ``ran()``."""

    def once(call):
        with (
            Repository.open(tmp_path / "repository", **settings) as repository,
            Scheduler(repository) as scheduler,
        ):
            return scheduler.run(call)

    return once


@pytest.fixture
def query(tmp_path, settings):
    def ask(sql):
        with Repository.open(tmp_path / "repository", **settings) as repository:
            return [tuple(row) for row in repository.history.query(sql).rows]

    return ask


@pytest.fixture
def db(tmp_path):
    handle = p.Database("main", str(tmp_path / "x.db"))
    handle.instance.close()
    return handle


@pytest.fixture
def change(monkeypatch):
    """Give a task of the pipelines another version, as if its code had been edited."""

    def to(name, version):
        old = getattr(p, name)
        monkeypatch.setitem(known_tasks, old.name, old)  # it is the one that is known again afterwards
        new = Task(old.func, name=name, namespace=old.namespace, version=version)
        monkeypatch.setattr(p, name, new)

    return to


def ran():
    names = sorted(p.RAN)
    p.RAN.clear()
    return names


def written(handle):
    path = handle.__handle__.arguments["path"]
    with closing(sqlite3.connect(path)) as connection:
        return [what for (what,) in connection.execute("SELECT what FROM written ORDER BY what")]


def test_a_chain_runs_once_and_is_then_all_cached(run, db):
    last = run(p.chain(db))
    assert ran() == ["a", "b", "chain"]
    assert run(p.chain(db)) == last
    assert ran() == []
    assert written(db) == ["a", "b"]


def test_changing_the_last_task_runs_it_alone_and_ends_its_old_state(run, query, db, change):
    old = run(p.chain(db))
    ran()
    change("write_b", "2")
    new = run(p.chain(db))
    assert ran() == ["b"]
    assert new != old
    valid = dict(query("SELECT key, is_valid FROM handle"))
    assert not valid[old.__handle__.key]
    assert valid[new.__handle__.key]
    change("write_b", "1")
    assert run(p.chain(db)) == old  # the state of the old code is made again, not taken from the cache
    assert ran() == ["b"]
    assert run(p.chain(db)) == old
    assert ran() == []


def test_changing_the_first_task_runs_all_that_follow(run, db, change):
    run(p.chain(db))
    ran()
    change("write_a", "2")
    run(p.chain(db))
    assert ran() == ["a", "b"]
    run(p.chain(db))
    assert ran() == []


def test_branches_and_their_merge(run, db, change):
    assert run(p.diamond(db)) == ["left", "right"]
    assert ran() == ["diamond", "left", "read", "right"]
    assert run(p.diamond(db)) == ["left", "right"]
    assert ran() == []
    change("read", "2")
    run(p.diamond(db))
    assert ran() == ["read"]


def test_a_call_that_two_branches_share_is_one_call_when_it_comes_back(run, db, change):
    assert run(p.shared(db)) == ["a", "left", "right"]
    assert ran() == ["a", "left", "read", "right", "shared"]
    run(p.shared(db))
    assert ran() == []
    change("write_a", "2")
    run(p.shared(db))
    assert ran() == ["a", "left", "read", "right"]
    assert run([p.write_a(db), p.write_a(db)])[0] is not None
    assert ran() == ["a"]


def test_a_call_that_is_added_at_the_end_runs_alone(run, db):
    run(p.write_b(p.write_a(db)))
    ran()
    run(p.write_named(p.write_b(p.write_a(db)), "c"))
    assert ran() == ["c"]
    run([p.write_named(p.write_b(p.write_a(db)), "c"), p.write_named(db, "d")])
    assert ran() == ["d"]


def test_one_branch_may_run_again_without_the_other(run, db, monkeypatch):
    calls = [p.write_a(db), p.write_b(db)]
    first = run(calls)
    assert ran() == ["a", "b"]
    monkeypatch.setattr(p, "write_b", Task(p.write_b.func, name="b2", version="2"))
    second = run([p.write_a(db), p.write_b(db)])
    assert ran() == ["b"]
    assert second[0] == first[0]


def test_named_forks_do_not_depend_on_the_order_of_calls(run, db):
    run(p.named_forks(db, ["x", "y"]))
    assert ran() == ["named_forks", "x", "y"]
    assert run([p.read(db), p.named_forks(db, ["x", "y"])])[0] == ["x", "y"]
    ran()
    run([p.write_named(db.fork("x"), "x"), p.write_named(db.fork("y"), "y")])
    assert ran() == ["x", "y"]
    run([p.write_named(db.fork("y"), "y"), p.write_named(db.fork("x"), "x")])
    assert ran() == []


def test_a_task_on_an_older_state_rolls_back_what_came_from_it(run, db):
    h1 = run(p.write_a(db))
    h2 = run(p.write_b(h1))
    assert ran() == ["a", "b"]
    run(p.write_named(db, "other"))
    assert ran() == ["other"]
    with pytest.raises(StaleHandle, match="main"):
        run(p.read(h2))
    with pytest.raises(StaleHandle, match="main"):
        run(p.write_named(h1, "more"))
    assert ran() == []
    assert run(p.write_b(p.write_a(db))) is not None
    assert ran() == ["a", "b"]


def test_two_calls_on_one_named_fork_are_found_out(run, db):
    with pytest.raises(StaleHandle, match="fork"):
        run(p.clash(db))
    assert ran() == ["b"]  # the one that is not refused


def test_a_crash_in_the_middle_leaves_nothing_current(run, query, db):
    run(p.chain(db))
    ran()
    first = query("SELECT count(*) FROM handle WHERE is_valid")[0][0]
    with pytest.raises(RuntimeError, match="power cut"):
        run(p.crash(db))
    assert query("SELECT count(*) FROM handle WHERE is_valid")[0][0] < first
    assert written(db) == ["a", "b", "half"]
    ran()
    run(p.chain(db))
    assert ran() == ["a", "b"]


KILLED = """
import os, sys
from tests.scheduler import handle_pipelines as p
from valuestore import Scheduler, task
@task(version="1", name="killed", namespace="tests")
def killed(db):
    p.write(db, "killed")
    os._exit(9)
with Scheduler(sys.argv[1]) as scheduler:
    scheduler.run(killed(p.Database("main", sys.argv[2])))
"""


def test_a_killed_process_has_rolled_back_before_it_wrote(tmp_path, db):
    def run(call):
        with Scheduler(tmp_path / "repository") as scheduler:
            return scheduler.run(call)

    run(p.write_a(db))
    ran()
    command = [sys.executable, "-c", KILLED, str(tmp_path / "repository"), str(tmp_path / "x.db")]
    killed = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert killed.returncode == 9
    assert written(db) == ["a", "killed"]
    run(p.write_a(db))
    assert ran() == ["a"]


def test_handles_of_different_names_do_not_interfere(run, db, tmp_path):
    other = p.Database("other", str(tmp_path / "y.db"))
    run([p.chain(db), p.chain(other)])
    assert ran() == ["a", "a", "b", "b", "chain", "chain"]
    run(p.write_named(db, "x"))
    run([p.chain(db), p.chain(other)])
    assert ran() == ["a", "b", "x"]
    assert written(other) == ["a", "b"]


def test_handles_inside_containers_are_followed(run, db, tmp_path):
    held = p.Held("held", {"one": [db], "two": [p.Database("two", str(tmp_path / "y.db"))]})
    first = run(p.write_held(held))
    assert ran() == ["held", "held"]
    assert first.dbs["one"][0].__handle__.kind == "call"
    assert run(p.write_held(held)) == first
    assert ran() == []
    run(p.write_named(db, "x"))
    ran()
    run(p.write_held(held))
    assert ran() == ["held", "held"]


def test_one_handle_twice_in_one_call(run, db):
    first = run(p.write_both(db, db))
    assert first[0] == first[1]
    assert run(p.write_both(db, db)) == first
    assert ran() == ["both"]


def test_a_handle_that_a_task_makes_is_followed_too(run, tmp_path):
    made = run(p.make(str(tmp_path / "x.db")))
    assert run(p.read(made)) == ["made"]
    assert ran() == ["made", "read"]
    assert run(p.make(str(tmp_path / "x.db"))) == made
    assert ran() == []


def test_merging_outside_of_a_task_is_a_call_like_any_other(run, db):
    both = merge_handles([p.write_a(db), p.write_b(db)])
    assert run(p.read(both)) == ["a", "b"]
    ran()
    assert run(p.read(merge_handles([p.write_a(db), p.write_b(db)]))) == ["a", "b"]
    assert ran() == []


def test_steps_can_be_asked_for_in_sql(run, query, db):
    last = run(p.chain(db))
    rows = query("SELECT name, class_name, is_valid FROM handle")
    assert {(name, class_name) for name, class_name, _ in rows} == {("main", "tests.handles.Database")}
    assert all(is_valid for *_, is_valid in rows)
    before = query(
        "WITH RECURSIVE before(h) AS (SELECT value_hash FROM handle WHERE key = '"
        + last.__handle__.key
        + "' "
        "UNION SELECT e.parent_hash FROM handle_edge e JOIN before ON e.child_hash = before.h) "
        "SELECT count(*) FROM before JOIN handle ON value_hash = h"
    )
    assert before == [(6,)]  # the beginning; entered by chain, by a; a's result; entered by b; b's result


def test_a_turn_asks_once_and_runs_without_handles_ask_never(tmp_path, db):
    from tests.scheduler import pipelines

    with Repository.open(tmp_path / "repository") as repository, Scheduler(repository) as scheduler:
        calls = [p.write_named(p.Database(f"n{i}", str(tmp_path / f"{i}.db")), "x") for i in range(20)]
        first = scheduler.run(calls)
        with StatementCounter(repository.database) as counter:
            assert scheduler.run(calls) == first
        assert len([sql for sql in counter.statements if "handle" in sql]) == 1
        with StatementCounter(repository.database) as counter:
            scheduler.run(pipelines.fan(5))
        assert [sql for sql in counter.statements if "handle" in sql] == []
