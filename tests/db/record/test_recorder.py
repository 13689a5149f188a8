"""Recorder: batches, nothing lost that was flushed, the same thing twice is one row (I2, I7, I11)."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing

import pytest
from sqlalchemy import text

from tests.scheduler import pipelines as p
from tests.statements import StatementCounter
from valuestore import File, Repository, Scheduler
from valuestore.db.ids import new_id, now
from valuestore.db.record import recorder as recorder_module
from valuestore.db.record.rows import CallRow, ExecutionRow, FinishedJob, JobRow, TaskRow, call_hash
from valuestore.db.record.writer import Writer
from valuestore.db.schema.views import CRASHED_AFTER_SECONDS
from valuestore.errors import (
    BadKey,
    DatabaseBusy,
    NotFound,
    NotHashableError,
    PayloadCorrupt,
    StoreClosed,
    ValuestoreWarning,
)
from valuestore.scheduler.record import Execution


@pytest.fixture
def sqlite_repository(tmp_path):
    with Repository.open(tmp_path) as repository:
        yield repository


def count(repository, table):
    with repository.database.read() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()


def test_thousands_of_jobs_take_few_commits_and_few_statements(repository):
    with Scheduler(repository) as scheduler, StatementCounter(repository.database) as counter:
        scheduler.run(p.total([p.double(i) for i in range(3000)]))
        assert scheduler.execution.counts.done == 3001
        assert counter.commits <= 22
        asked = [one for one in counter.of("SELECT") if "FROM evaluation" in one]
        assert len(asked) <= 2 * 3000 / 300  # before leases are taken, and after
        assert len(counter.statements) <= 170
        assert count(repository, "job") == 3001


def test_a_rerun_asks_once_for_many_jobs_and_takes_a_few_commits(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(p.total([p.double(i) for i in range(2000)]))
        with StatementCounter(repository.database) as counter:
            scheduler.run(p.total([p.double(i) for i in range(2000)]))
        assert scheduler.execution.counts.cached == 2001
        assert counter.commits <= 12
        assert len(counter.of("SELECT")) <= 40


def test_getting_a_value_takes_one_statement(repository):
    ref = repository.put("once")
    repository.flush()
    with StatementCounter(repository.database) as counter:
        assert repository.get(ref.value_hash) == "once"
    assert len(counter.statements) == 1


def test_rows_are_written_within_a_moment_without_a_flush(sqlite_repository):
    ref = sqlite_repository.put("soon")
    deadline = time.monotonic() + 20
    with closing(sqlite3.connect(sqlite_repository.database.path)) as other:
        while not (found := other.execute("SELECT value_hash FROM value").fetchall()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert found == [(ref.value_hash,)]


def test_the_same_value_twice_is_one_row(repository):
    assert repository.put([1, 2]) == repository.put([1, 2])
    repository.flush()
    repository.recorder._seen.hashes.clear()
    repository.put([1, 2])
    repository.flush()
    assert count(repository, "value") == 1


def test_payload_is_durable_before_its_row(repository, monkeypatch):
    order = []
    repository.recorder._make_durable = lambda: order.append("payloads")
    change = repository.database.change
    monkeypatch.setattr(repository.database, "change", lambda work: (order.append("rows"), change(work)))
    repository.put(b"x" * 100_000)
    repository.flush()
    assert order[:2] == ["payloads", "rows"]


def test_three_processes_record_the_same_things_as_one_row_each(tmp_path, database_url):
    code = textwrap.dedent(
        """
        import sys
        from valuestore import Repository
        with Repository.open(sys.argv[1], database=sys.argv[3]) as repository:
            for i in range(200):
                repository.put(["shared", (i * 7 + 50 * int(sys.argv[2])) % 150])
                repository.put([sys.argv[2], i])
                if i % 20 == 0:
                    repository.flush()
        """
    )
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(n), database_url], stderr=subprocess.PIPE
        )
        for n in range(3)
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [b""] * 3
    with Repository.open(tmp_path, database=database_url) as repository:
        assert count(repository, "value") == 150 + 3 * 200


def test_locked_database_is_waited_for(sqlite_repository):
    locker = sqlite3.connect(sqlite_repository.database.path, isolation_level=None, check_same_thread=False)
    locker.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1.0, locker.execute, ["COMMIT"])
    release.start()
    ref = sqlite_repository.put("waited")
    sqlite_repository.flush()
    assert sqlite_repository.get(ref.value_hash) == "waited"
    release.join()
    locker.close()


def test_database_locked_for_too_long_is_an_error_and_the_rows_are_kept(tmp_path):
    with Repository.open(tmp_path, busy_timeout_seconds=0.2) as repository:
        locker = sqlite3.connect(repository.database.path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        ref = repository.put("later")
        with pytest.raises(DatabaseBusy):
            repository.flush()
        locker.execute("COMMIT")
        locker.close()
        repository.flush()
        assert repository.get(ref.value_hash) == "later"


def test_failed_background_write_is_raised_by_the_next_call(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 0.0)
    with Repository.open(tmp_path, busy_timeout_seconds=0.1) as repository:
        locker = sqlite3.connect(repository.database.path, isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        repository.put(1)
        deadline = time.monotonic() + 20
        while repository.recorder._failure is None and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(DatabaseBusy):
            repository.put(2)
        locker.execute("COMMIT")
        locker.close()
        repository.flush()
        repository.put(2)


def test_child_of_a_fork_has_its_own_buffer_and_connection(repository):
    repository.put("parent")
    child = os.fork()
    if not child:
        status = 1
        try:
            ref = repository.put("child")
            repository.flush()
            status = 0 if repository.get(ref.value_hash) == "child" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    repository.flush()
    registry = repository.archive.registry
    assert repository.get(registry.hash("child")) == "child"
    assert repository.get(registry.hash("parent")) == "parent"


def test_child_of_a_fork_can_close_though_its_parent_was_recording(repository):
    with repository.recorder._lock:  # as another thread of the parent may hold it
        child = os.fork()
        if not child:
            signal.alarm(20)
            repository.close()
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    repository.put("parent")


def damage_rows(repository):
    repository.flush()
    with repository.database.write() as connection:
        connection.execute(text("UPDATE value SET inline = :junk"), {"junk": b"junk"})


def test_put_heals_a_row_that_was_damaged_since_the_last_one(repository):
    ref = repository.put("kept")
    damage_rows(repository)
    repository.put("kept")
    assert repository.get(ref.value_hash) == "kept"


def test_row_that_was_damaged_is_healed_by_the_next_run_in_the_same_process(repository):
    with Scheduler(repository) as scheduler:
        assert scheduler.run(p.double(4)) == 8
        damage_rows(repository)
        with pytest.warns(ValuestoreWarning, match="computed again"):
            assert scheduler.run(p.double(4)) == 8
        assert scheduler.execution.counts.done == 1
        assert scheduler.run(p.double(4)) == 8
        assert scheduler.execution.counts.cached == 1


def test_repository_left_open_is_flushed_at_exit(tmp_path):
    code = "import sys; from valuestore import Repository; Repository.open(sys.argv[1]).put('at exit')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    with Repository.open(tmp_path) as repository:
        assert repository.get(repository.archive.registry.hash("at exit")) == "at exit"


def test_unknown_value_is_not_found(repository):
    with pytest.raises(NotFound):
        repository.get("0" * 32)


def test_what_is_recorded_after_closing_is_refused_not_lost(tmp_path):
    repository = Repository.open(tmp_path)
    repository.close()
    with pytest.raises(StoreClosed):
        repository.put(1)


def test_value_can_be_got_while_its_batch_is_being_written(repository, monkeypatch):
    real = repository.recorder._make_durable
    repository.recorder._make_durable = lambda: (time.sleep(0.2), real())
    ref = repository.put("slowly written")
    time.sleep(0.1)
    assert repository.get(ref.value_hash) == "slowly written"


def test_lock_of_a_database_may_be_taken_again_by_its_holder(repository):
    with repository.database.lock(), repository.database.lock():
        pass


# --- rows -------------------------------------------------------------------------------------------


def digest(repository, number):
    return repository.archive.registry.hash(["digest", number])


def finished(repository, number, children=()):
    """A job that ended, with its call, in an execution that is recorded."""
    run = ExecutionRow("x" * 32, "label", "running", now(), None)
    repository.recorder.record_execution(run)
    task_hash, args, value = (digest(repository, name) for name in ("task", number, "value"))
    call = CallRow(call_hash(task_hash, args, value, children), task_hash, args, value, children)
    ended = now()
    job = JobRow(new_id(), "x" * 32, None, task_hash, call.call_hash, None, "done", ended, ended, None, None)
    return job, call


def test_same_batch_written_twice_is_the_same_rows(repository):
    """As after a commit that arrived although its connection was lost."""
    recorder = repository.recorder
    recorder.record_task(TaskRow(digest(repository, "task"), "ns.t", None, "source"))
    job, call = finished(repository, 1)
    recorder.record_jobs([FinishedJob(job, call)])
    parent, parent_call = finished(repository, 2, (call.call_hash,))
    recorder.record_jobs([FinishedJob(parent, parent_call)])
    batch = recorder._batch
    recorder.flush()
    before = {
        table: count(repository, table) for table in ("job", "call_node", "call_edge", "task", "execution")
    }
    Writer.transact(repository.database, batch.write)
    assert {table: count(repository, table) for table in before} == before
    assert before == {"job": 2, "call_node": 2, "call_edge": 1, "task": 1, "execution": 1}


def test_rows_that_somebody_removed_are_written_again(repository):
    recorder = repository.recorder
    recorder.record_task(TaskRow(digest(repository, "task"), "ns.t", None, "source"))
    recorder.record_jobs([FinishedJob(*finished(repository, 1))])
    recorder.flush()
    with repository.database.write() as connection:
        connection.execute(text("DELETE FROM task"))
        connection.execute(text("DELETE FROM execution"))
    recorder.record_jobs([FinishedJob(*finished(repository, 2))])
    recorder.flush()
    with repository.database.read() as connection:
        names = (
            connection.execute(
                text(
                    "SELECT t.task_name FROM job j JOIN task t ON t.task_no = j.task_no JOIN execution e "
                    "ON e.execution_no = j.execution_no"
                )
            )
            .scalars()
            .all()
        )
    assert names == ["ns.t"]


NASTY = [
    "'; DROP TABLE job; --",
    '"quoted"',
    "nul\0inside",
    "lone \ud800 surrogate",
    "%s %(name)s :x ?",
    "ü☃" * 100,
]


@pytest.mark.parametrize("nasty", NASTY)
def test_any_text_can_be_recorded(repository, nasty):
    recorder = repository.recorder
    recorder.record_task(TaskRow(digest(repository, "task"), nasty, nasty, nasty))
    job, call = finished(repository, 1)
    recorder.record_jobs([FinishedJob(job, call)])
    ref = repository.put(File(f"/{nasty}".replace("\0", "0"), identity="path"))
    recorder.record_arguments(digest(repository, 1), {nasty: ref})
    recorder.flush()
    with repository.database.read() as connection:
        [name] = connection.execute(text("SELECT task_name FROM task")).scalars().all()
        assert connection.execute(text("SELECT count(*) FROM file")).scalar() == 1
    assert "\0" not in name
    assert name.encode()
    assert nasty.replace("\0", "").replace("\ud800", "")[:3] in name


def test_newest_result_of_a_call_replaces_one_that_went_stale(repository, tmp_path):
    target = tmp_path / "written"
    with Scheduler(repository) as scheduler:
        scheduler.run(p.write(str(target), "one"))
        target.write_text("touched by somebody")
        scheduler.run(p.write(str(target), "one"))
        p.RAN.names.clear()
        scheduler.run(p.write(str(target), "one"))
        assert p.RAN.names == []


def test_files_and_values_inside_values_have_rows(repository, tmp_path):
    (tmp_path / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    repository.put(
        {"files": [File(str(tmp_path / "a")), File(str(tmp_path / "b"))], "again": File(str(tmp_path / "a"))}
    )
    repository.flush()
    query = "SELECT f.path, f.kind FROM subvalue s JOIN file f ON f.value_hash = s.child_hash ORDER BY f.path"
    with repository.database.read() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    assert rows == [(str(tmp_path / "a"), "File"), (str(tmp_path / "b"), "File")]


def test_dataflow_and_code_of_a_run_are_recorded(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(p.add(p.double(3), p.double(4)))
    sources = (
        "SELECT t.task_name, s.position, v.preview FROM argument_source s "
        "JOIN call_node c ON c.call_no = s.call_no JOIN task t ON t.task_no = c.task_no "
        "JOIN call_node o ON o.call_no = s.source_no JOIN value v ON v.value_hash = o.value_hash ORDER BY 2"
    )
    with repository.database.read() as connection:
        rows = [tuple(row) for row in connection.execute(text(sources))]
        code = {row[0]: row[1] for row in connection.execute(text("SELECT name, source FROM dependency"))}
    assert [(name.rpartition(".")[2], *rest) for name, *rest in rows] == [("add", 0, "6"), ("add", 1, "8")]
    [double] = [source for name, source in code.items() if name.endswith(".double")]
    assert "return FACTOR * x" in double
    assert any(name.endswith(":FACTOR") for name in code)


# --- heartbeat --------------------------------------------------------------------------------------


def test_running_execution_beats_and_a_silent_one_reads_as_crashed(repository, monkeypatch):
    monkeypatch.setattr("valuestore.db.record.recorder.BEAT_SECONDS", 0.05)
    row = p_execution(repository)
    repository.flush()
    first = updated(repository)
    deadline = time.monotonic() + 20
    while updated(repository) == first and time.monotonic() < deadline:
        time.sleep(0.02)
    assert updated(repository) > first
    assert status(repository) == "running"
    repository.recorder._alive.clear()
    with repository.database.write() as connection:
        silent = f"updated = updated - {(CRASHED_AFTER_SECONDS + 1) * 1_000_000}"
        connection.execute(text(f"UPDATE execution SET {silent}, started = started - 100000000"))
    assert status(repository) == "crashed"
    repository.recorder.record_execution(row._replace(status="done", ended=now()))
    repository.flush()
    assert status(repository) == "done"


def test_command_line_of_a_run_is_kept_without_its_secrets(repository, monkeypatch):
    monkeypatch.setattr(
        "sys.argv", ["pipeline.py", "--password", "s3cret", "--url=https://me:s3cret@host", "plain"]
    )
    with Scheduler(repository) as scheduler:
        scheduler.run(p.double(1))
    with repository.database.read() as connection:
        [command] = connection.execute(text("SELECT command FROM execution")).scalars().all()
    assert json.loads(command)[0] == "pipeline.py"
    assert "s3cret" not in command


def test_kill_inside_a_commit_leaves_all_of_a_batch_or_nothing(tmp_path, database_url):
    code = textwrap.dedent(
        """
        import os, sys, threading, time
        from valuestore import Repository
        from valuestore.db.record import recorder
        recorder.FLUSH_SECONDS = 60
        repository = Repository.open(sys.argv[1], database=sys.argv[2])
        for number in range(400):
            repository.put(["killed", number])
        threading.Timer(float(sys.argv[3]), os.kill, (os.getpid(), 9)).start()
        repository.flush()
        time.sleep(30)
        """
    )
    for delay in (0.001, 0.01):
        subprocess.run([sys.executable, "-c", code, str(tmp_path), database_url, str(delay)], timeout=60)
        with Repository.open(tmp_path, database=database_url) as repository:
            assert count(repository, "value") in (0, 400)
            repository.put("still works")
            repository.flush()
            with repository.database.write() as connection:
                connection.execute(text("DELETE FROM value"))


def p_execution(repository):
    row = Execution("label").row()
    repository.recorder.record_execution(row)
    return row


def updated(repository):
    with repository.database.read() as connection:
        return connection.execute(text("SELECT COALESCE(updated, 0) FROM execution")).scalar()


def status(repository):
    with repository.database.read() as connection:
        return connection.execute(text("SELECT status FROM executions")).scalar()


def test_closing_is_noticed_by_a_thread_that_was_about_to_wait(tmp_path, monkeypatch):
    about_to_wait, closing = threading.Event(), threading.Event()

    def beat(recorder):
        about_to_wait.set()
        closing.wait(5)

    repository = Repository.open(tmp_path)
    recorder = repository.recorder
    repository.put(1)
    repository.flush()
    waits = []
    really_wait = recorder._wake.wait
    monkeypatch.setattr(recorder_module.Recorder, "_beat_if_due", beat)
    monkeypatch.setattr(
        recorder._wake,
        "wait",
        lambda timeout=None: (waits.append(recorder._thread), really_wait(timeout))[1],
    )
    repository.put(2)
    assert about_to_wait.wait(5)
    really_notify = recorder._wake.notify_all
    monkeypatch.setattr(recorder._wake, "notify_all", lambda: (really_notify(), closing.set()))
    repository.close()
    assert None not in waits


# --- many values at once ------------------------------------------------------------------------------


def test_many_values_come_back_in_the_order_asked_for(repository):
    objects = [{"number": number} for number in range(700)] + ["x" * 20_000, None]
    refs = repository.put_many(iter(objects))
    asked = [ref.value_hash for ref in refs]
    repository.flush()
    with StatementCounter(repository.database) as counter:
        found = repository.get_many(reversed(asked))
    assert found == objects[::-1]
    assert len(counter.of("SELECT")) == 2
    assert repository.get_many([]) == []
    first, second = repository.get_many([asked[0], asked[0]])
    assert first == second
    assert first is not second


def test_the_first_of_many_that_is_not_there_is_named(repository):
    ref = repository.put("there")
    missing = ["0" * len(ref.value_hash), "1" * len(ref.value_hash)]
    with pytest.raises(NotFound, match=missing[0]):
        repository.get_many([ref.value_hash, *missing])
    with pytest.raises(BadKey):
        repository.get_many(["nothing"])


def test_of_many_values_those_before_one_that_is_refused_are_kept(repository):
    with pytest.raises(NotHashableError):
        repository.put_many(["kept", (_ for _ in ()), "not reached"])
    assert {value.preview for value in repository.history.values()} == {'"kept"'}


def test_damage_in_one_of_many_is_told_and_healed_by_the_next_put(repository):
    refs = repository.put_many(["first", "second"])
    repository.flush()
    with repository.database.write() as connection:
        connection.execute(text("UPDATE value SET size = 3, inline = :inline"), {"inline": b"bad"})
    with pytest.raises(PayloadCorrupt):
        repository.get_many([ref.value_hash for ref in refs])
    repository.put_many(["first", "second"])
    assert repository.get_many([ref.value_hash for ref in refs]) == ["first", "second"]
