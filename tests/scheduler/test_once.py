"""Once, across processes and runs: what one is running, others wait for, and nobody waits for ever."""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.db.conftest import new_repository
from tests.scheduler import handle_pipelines as h
from tests.scheduler import once_pipelines as p
from valuestore import Repository, Scheduler, task
from valuestore.db.ids import new_id, now
from valuestore.db.schema.views import NOW
from valuestore.db.upkeep.leases import LeaseRow, Leases
from valuestore.errors import TaskError, ValuestoreWarning
from valuestore.lazy import this_process
from valuestore.scheduler.record import Execution

ROOT = Path(__file__).parents[2]


both_databases = pytest.mark.parametrize("repository", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def repository(request, tmp_path):
    with new_repository(request, tmp_path) as repository:
        yield repository


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """How often each body ran, in all processes."""
    file = tmp_path / "ran"
    file.touch()
    monkeypatch.setenv("RAN_IN", str(file))
    monkeypatch.setattr(p.RAN, "file", str(file))
    return lambda: Counter(file.read_text().splitlines())


def started(repository, code, *arguments):
    """A process that runs this code, with the repository open."""
    program = f"""
import os, sys, time
from valuestore import Repository, Scheduler, task
from tests.scheduler.once_pipelines import *
repository = Repository.open({str(repository.folder)!r}, database={repository.settings.database!r})
{code}
"""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def change(repository, sql, **parameters):
    with repository.database.write() as connection:
        connection.execute(text(sql), parameters)


def held(repository):
    repository.flush()
    return repository.history.query("select call_key, job_id, execution_id from call_lease").rows


@task(version="1", namespace="once", cache=False)
def uncached(i: int) -> int:
    p.ran("uncached")
    return i


@task(version="1", namespace="once")
def unstorable(i: int) -> object:
    return threading.Lock()


def open_gate(folder, name="it", what="pass"):
    file = Path(folder, f"{name} may")
    file.with_suffix(".new").write_text(what)
    file.with_suffix(".new").rename(file)


# --- races


@both_databases
@pytest.mark.parametrize("rounds", [2, pytest.param(10, marks=pytest.mark.thorough)])
def test_eight_processes_that_want_the_same_run_each_body_once(repository, ran, monkeypatch, rounds):
    monkeypatch.setenv("VALUESTORE_REPOSITORY", str(repository.folder))
    monkeypatch.setenv("VALUESTORE_DATABASE", repository.settings.database)
    command = [
        sys.executable,
        "-m",
        "tests.scheduler.once_pipelines",
        str(repository.folder),
        "8",
        str(rounds),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    assert Counter(Counter(done.stdout.split()).values()) == {8: rounds}  # each value eight times
    assert len(ran()) > 100 * rounds
    assert {name for name, times in ran().items() if times != (rounds if name == "total" else 1)} == set()
    assert held(repository) == []


def test_without_it_each_runs_its_own(repository, ran, tmp_path):
    with Scheduler(repository, once=False) as one, Scheduler(repository, once=False) as other:
        futures = [scheduler.submit(p.gated(str(tmp_path), "it")) for scheduler in (one, other)]
        p.until(lambda: ran()["it"] == 2)
        open_gate(tmp_path)
        assert [future.result(30) for future in futures] == ["it", "it"]


def test_two_runs_of_one_scheduler_share_a_call(repository, ran, tmp_path, caplog):
    caplog.set_level(logging.INFO, "valuestore")
    with Scheduler(repository) as scheduler:
        first = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: ran()["it"])
        holder = scheduler.execution.execution_id
        second = scheduler.submit([p.gated(str(tmp_path), "it"), p.leaf(1)])
        p.until(lambda: ran()["leaf 1"])
        p.until(lambda: scheduler.execution and scheduler.execution.waits_for == (holder,))
        assert f"waits for 1 calls of {holder}" in caplog.text
        open_gate(tmp_path)
        assert (first.result(30), second.result(30)) == ("it", ["it", 1])
        assert scheduler.execution.waits_for == ()
    assert ran()["it"] == 1
    statuses = [job.status for job in repository.history.jobs().where(task="once.gated")]
    assert sorted(statuses) == ["cached", "done"]


def test_what_was_recorded_between_the_look_and_the_lease_is_not_run_again(repository, ran):
    with Scheduler(repository) as one, Scheduler(repository) as other:
        look_up = repository.lookup.evaluations

        def and_then_the_other(keys):
            found = look_up(keys)
            repository.lookup.evaluations = look_up
            other.run(p.leaf(1))
            return found

        repository.lookup.evaluations = and_then_the_other
        assert one.run(p.leaf(1)) == 1
    assert ran() == {"leaf 1": 1}
    assert held(repository) == []


def test_states_of_handles_are_recorded_before_their_leases_end(repository, ran, tmp_path):
    h.RAN.clear()
    written = h.write_b(h.write_a(h.Database("main", str(tmp_path / "outside.db"))))
    with Scheduler(repository) as scheduler:
        first = scheduler.submit([written, p.gated(str(tmp_path), "it")])
        p.until(lambda: "b" in h.RAN)
        assert scheduler.submit(h.read(written)).result(30) == ["a", "b"]
        open_gate(tmp_path)
        first.result(30)
    assert h.RAN == ["a", "b", "read"]


# --- holders that end


def test_a_holder_that_fails_is_followed_by_who_waits(repository, ran, tmp_path):
    with Scheduler(repository) as scheduler:
        first = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: ran()["it"] == 1)
        second = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: scheduler.execution and scheduler.execution.waits_for)
        open_gate(tmp_path, what="fail")
        with pytest.raises(ValueError, match="it"):
            first.result(30)
        with pytest.raises(ValueError, match="it"):
            second.result(30)
    assert ran()["it"] == 2
    assert held(repository) == []


RUN_IT = "Scheduler(repository).run(gated(sys.argv[1], 'it'))"


def test_a_holder_that_is_interrupted_is_followed_at_once(repository, ran, tmp_path):
    holder = started(repository, RUN_IT, str(tmp_path))
    p.until(lambda: ran()["it"])
    with Scheduler(repository) as scheduler:
        waiting = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: scheduler.execution and scheduler.execution.waits_for)
        for _ in range(2):  # the first lets it finish
            time.sleep(0.2)
            holder.send_signal(signal.SIGINT)
        p.until(lambda: ran()["it"] == 2)
        open_gate(tmp_path)
        assert waiting.result(30) == "it"
    holder.communicate(timeout=30)


def kill_a_holder(repository, ran, folder):
    holder = started(repository, RUN_IT, str(folder))
    p.until(lambda: ran()["it"])
    holder.kill()
    holder.communicate()
    open_gate(folder)


def test_a_holder_that_is_killed_on_this_host_is_followed_at_once(repository, ran, tmp_path):
    kill_a_holder(repository, ran, tmp_path)
    with Scheduler(repository) as scheduler:
        assert scheduler.submit(p.gated(str(tmp_path), "it")).result(10) == "it"
    assert ran()["it"] == 2
    assert held(repository) == []


@both_databases
def test_a_holder_elsewhere_is_followed_when_it_was_not_heard_of_for_long(repository, ran, tmp_path):
    kill_a_holder(repository, ran, tmp_path)
    change(repository, "UPDATE call_lease SET process = 'elsewhere 0 1'")
    with Scheduler(repository) as scheduler:
        waiting = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: scheduler.execution and scheduler.execution.waits_for)
        time.sleep(0.3)
        assert ran()["it"] == 1
        [killed] = scheduler.execution.waits_for
        change(
            repository,
            "UPDATE execution SET updated = updated - 31000000 WHERE execution_id = :id",
            id=killed,
        )
        assert waiting.result(30) == "it"
    assert ran()["it"] == 2
    assert held(repository) == []


# --- leases that are planted


def plant(repository, folder, *, status="running", seconds=0.0):
    """Have a run hold the lease of ``gated`` that was last heard of so many seconds ago: its id."""
    run = new_id()
    with Scheduler(repository) as scheduler:
        future = scheduler.submit(p.gated(str(folder), "it"))
        p.until(lambda: held(repository))
        process = this_process().replace(str(os.getpid()), str(os.getppid()))
        other = {"id": run, "job": new_id(), "process": process}
        change(
            repository, "UPDATE call_lease SET execution_id = :id, job_id = :job, process = :process", **other
        )
        open_gate(folder, what="fail")
        with pytest.raises(ValueError, match="it"):
            future.result(30)
    if status is not None:
        [(clock,)] = repository.database.rows(f"SELECT {NOW[repository.database.dialect_name]}")
        row = {"id": run, "status": status, "at": clock - int(1e6 * seconds)}
        columns = "(execution_id, label, status, started, updated)"
        change(repository, f"INSERT INTO execution {columns} VALUES (:id, 'planted', :status, 1, :at)", **row)
    open_gate(folder)
    assert [row[2] for row in held(repository)] == [run]
    return run


DEAD = {
    "it ended": {"status": "done"},
    "it was interrupted": {"status": "interrupted"},
    "nobody knows it": {"status": None},
    "long ago": {"seconds": 31},
    "in the year 2040, by a clock that was put back": {"seconds": -500_000_000},
}


@pytest.mark.parametrize("state", DEAD.values(), ids=DEAD)
def test_a_lease_whose_holder_is_dead_is_taken_over_at_once(repository, ran, tmp_path, state):
    plant(repository, tmp_path, **state)
    with Scheduler(repository) as scheduler:
        assert scheduler.run(p.gated(str(tmp_path), "it")) == "it"
    assert ran()["it"] == 2
    assert held(repository) == []


@pytest.mark.parametrize("seconds", [0, 25, -25])
def test_a_lease_whose_holder_was_heard_of_is_waited_for(repository, ran, tmp_path, seconds):
    run = plant(repository, tmp_path, seconds=seconds)
    with Scheduler(repository) as scheduler:
        waiting = scheduler.submit(p.gated(str(tmp_path), "it"))
        p.until(lambda: scheduler.execution and scheduler.execution.waits_for == (run,))
        time.sleep(0.1)
        assert ran()["it"] == 1
        change(repository, "DELETE FROM call_lease")
        assert waiting.result(30) == "it"
    assert ran()["it"] == 2


def test_after_the_clock_has_jumped_holders_are_given_the_time_to_be_heard(repository, ran, tmp_path):
    run = plant(repository, tmp_path, seconds=31)
    [(key, _, _)] = held(repository)
    row = Execution("mine").row()
    leases = Leases(repository.database, row)
    leases.take([LeaseRow("another", new_id(), row.execution_id, "here", "x", now())], ["another"])
    assert leases.held([key]) == {}
    leases._offset += 3600  # as if the clock had been one hour further on at the last look
    others, _ = leases.take([LeaseRow(key, new_id(), row.execution_id, "here", "x", now())], [key])
    assert [holder.execution_id for holder in others.values()] == [run]
    leases._doubts_until = 0.0  # as if that time had passed
    assert leases.held([key]) == {}


def test_what_waits_for_nobody_runs_all_the_same(repository, ran, tmp_path):
    plant(repository, tmp_path)
    call = p.gated(str(tmp_path), "it")
    with Scheduler(repository) as scheduler:
        assert scheduler.run(call, cache=False) == "it"
        assert scheduler.run(call, only=[p.gated]) == "it"
    with Scheduler(repository, once=False) as scheduler:
        assert scheduler.run(call, cache=False) == "it"
    assert ran()["it"] == 4
    assert len(held(repository)) == 1


def test_a_run_that_waits_can_be_interrupted(repository, ran, tmp_path):
    plant(repository, tmp_path)
    waiting = started(repository, "print('begun', flush=True)\n" + RUN_IT, str(tmp_path))
    assert waiting.stdout.readline() == "begun\n"
    p.until(lambda: len(repository.history.executions().where(status="running").all()) == 2)
    time.sleep(0.2)
    waiting.send_signal(signal.SIGINT)
    _, errors = waiting.communicate(timeout=10)
    assert "KeyboardInterrupt" in errors
    assert ran()["it"] == 1


# --- what leaves none


def test_no_lease_stays_behind(repository, ran, tmp_path):
    with Scheduler(repository) as scheduler:
        scheduler.run([p.expression(0), uncached(1)])
        with pytest.warns(ValuestoreWarning, match="is not cached"):
            scheduler.run(unstorable(1))
        with pytest.raises(TypeError):
            scheduler.run([p.leaf("x"), p.total([1, "x"])])
        assert scheduler.run(p.leaf(5), cache=False) == 5
    assert held(repository) == []


def test_in_memory_and_where_it_is_off_there_are_none(tmp_path, ran):
    for place, once in ((":memory:", None), (tmp_path / "off", False)):
        with Scheduler(place, once=once) as scheduler:
            future = scheduler.submit(p.gated(str(tmp_path), "it"))
            p.until(lambda: ran()["it"])
            time.sleep(0.1)
            assert held(scheduler.repository) == []
            open_gate(tmp_path)
            assert future.result(30) == "it"
            (tmp_path / "it may").unlink()
            (tmp_path / "ran").write_text("")


# --- in bodies, and in forks


@task(version="1", namespace="once")
def beside(folder: str) -> list[int]:
    """Runs calls that the run around it has leases of, and no worker for."""
    with Scheduler(folder, workers=1) as scheduler:
        return scheduler.run([p.leaf(i) for i in range(3)])


@task(version="1", namespace="once")
def deep(folder: str, depth: int) -> list[int]:
    with Scheduler(folder, workers=1) as scheduler:
        return scheduler.submit(deep(folder, depth - 1) if depth else beside(folder)).result()


@pytest.mark.parametrize("call", [beside, deep], ids=["one", "three"])
def test_a_run_in_a_body_does_not_wait_for_the_runs_around_it(repository, ran, call, monkeypatch):
    monkeypatch.setenv("VALUESTORE_DATABASE", repository.settings.database)
    folder = str(repository.folder)
    inner = call(folder) if call is beside else call(folder, 1)
    with Scheduler(repository, workers=1) as scheduler:
        found = scheduler.submit([inner, *[p.leaf(i) for i in range(3)]]).result(30)
    assert found == [[0, 1, 2], 0, 1, 2]


def test_a_run_in_a_body_waits_for_others_a_while(repository, ran, tmp_path, monkeypatch):
    monkeypatch.setattr("valuestore.scheduler.waiting._LONGEST_IN_BODY_SECONDS", 0.2)
    plant(repository, tmp_path)

    @task(version="1")
    def asks(folder: str) -> str:
        with Scheduler(repository) as inner:
            return inner.run(p.gated(folder, "it"))

    with Scheduler(repository) as scheduler:
        assert scheduler.submit(asks(str(tmp_path))).result(20) == "it"
    assert ran()["it"] == 2


def test_a_forked_child_does_not_wait_for_the_run_around_it(repository, ran, monkeypatch):
    monkeypatch.setenv("VALUESTORE_DATABASE", repository.settings.database)
    code = "print(Scheduler(repository, workers=1).run([forks(sys.argv[1]), leaf(1)]))"
    process = started(repository, code, str(repository.folder))
    out, errors = process.communicate(timeout=60)
    assert out == "[0, 1]\n", errors


def test_a_scheduler_is_refused_in_its_own_bodies_alone(tmp_path, ran):
    with Scheduler(":memory:") as outer, Scheduler(":memory:") as other:

        @task(version="1")
        def asks_another(i):
            return other.run(p.leaf(i)) + other.submit(p.leaf(i)).result()

        @task(version="1")
        def asks_its_own(i):
            return outer.run(p.leaf(i))

        assert outer.run([asks_another(i) for i in range(10)]) == [2 * i for i in range(10)]
        with pytest.raises(TaskError, match="let it return the call instead"):
            outer.run(asks_its_own(1))


# --- a database that cannot be written


def test_a_database_that_is_locked_for_a_while_is_waited_for(ran, tmp_path, monkeypatch):
    monkeypatch.setattr("valuestore.db.upkeep.leases.PATIENCE_SECONDS", 0.2)
    with Repository.open(tmp_path) as repository, closing(sqlite3.connect(repository.database.path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with Scheduler(repository) as scheduler:
            waiting = scheduler.submit([p.leaf(i) for i in range(3)])
            time.sleep(0.5)  # longer than its patience
            assert ran() == {}
            other.rollback()
            assert waiting.result(30) == [0, 1, 2]
    assert set(ran().values()) == {1}


def test_a_database_that_takes_no_leases_is_done_without(ran, tmp_path):
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        refused = "BEGIN SELECT RAISE(ABORT, 'no space for leases'); END"
        change(repository, f"CREATE TRIGGER refuse BEFORE INSERT ON call_lease {refused}")
        with pytest.warns(ValuestoreWarning, match="does not know what others are running.*no space"):
            assert scheduler.run([p.leaf(1), p.total([p.leaf(2), p.leaf(3)])]) == [1, 5]
        assert scheduler.run(p.leaf(2)) == 2
    assert set(ran().values()) == {1}


# --- for people


@both_databases
def test_what_runs_now_is_shown_by_another_terminal(repository, ran, tmp_path, monkeypatch, scripts):
    monkeypatch.setenv("VALUESTORE_DATABASE", repository.settings.database)
    with Scheduler(repository) as scheduler:
        future = scheduler.submit([p.gated(str(tmp_path), "it"), uncached(1)])
        p.until(lambda: ran()["it"] and ran()["uncached"])
        repository.flush()
        p.until(lambda: len(held(repository)) == 1)
        program = tmp_path / "program.py"
        program.write_text("import sys; from valuestore.cli.main import main; sys.exit(main())")
        command = (program, "show", "-", "--repository", str(repository.folder))
        shown = scripts.run(*command)
        asked = scripts.run(*command, "--json")
        open_gate(tmp_path)
        future.result(30)
        repository.flush()
        after = scripts.run(*command)
    [job] = json.loads(asked.out)["running"]
    assert job["task"] == "once.gated"
    assert 0 <= float(job["seconds"]) < 30
    assert "running now" in shown.out, shown.err
    assert "once.gated" in shown.out.partition("running now")[2]
    assert after.code == 0, after.err
    assert "running now" not in after.out
