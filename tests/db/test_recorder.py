"""Recorder: batches, nothing lost that was flushed, the same thing twice is one row (I2, I7, I11)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from sqlalchemy import event, text

from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler
from valuestore.db import recorder as recorder_module
from valuestore.errors import DatabaseBusy, NotFound, StoreClosed


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path) as repository:
        yield repository


class Statements:
    """Counts what is sent to a repository's database."""

    def __init__(self, repository):
        self.executed = []
        self.commits = 0
        event.listen(repository.database._engine, "before_cursor_execute", self._execute)
        event.listen(repository.database._engine, "commit", self._commit)

    def _execute(self, _connection, _cursor, statement, *_):
        self.executed.append(statement)

    def _commit(self, _connection):
        self.commits += 1

    def of(self, kind):
        return [statement for statement in self.executed if statement.lstrip().startswith(kind)]


def count(repository, table):
    with repository.database.read() as connection:
        return connection.execute(text(f"SELECT count(*) FROM {table}")).scalar()


def test_ten_thousand_jobs_take_few_commits_and_few_lookups(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        statements = Statements(scheduler.repository)
        scheduler.run(p.total([p.double(i) for i in range(10_000)]))
        assert scheduler.execution.counts.done == 10_001
        assert statements.commits <= 40
        assert len([one for one in statements.of("SELECT") if "FROM evaluation" in one]) <= 10_000 / 400
        assert count(scheduler.repository, "job") == 10_001


def test_rows_are_written_within_a_moment_without_a_flush(repository):
    ref = repository.put("soon")
    deadline = time.monotonic() + 20
    while repository.recorder.pending and time.monotonic() < deadline:
        time.sleep(0.01)
    with sqlite3.connect(repository.database.path) as other:
        assert other.execute("SELECT value_hash FROM value").fetchall() == [(ref.value_hash,)]
    other.close()


def test_the_same_value_twice_is_one_row(repository):
    assert repository.put([1, 2]) == repository.put([1, 2])
    repository.flush()
    repository.recorder._seen.hashes.clear()
    repository.put([1, 2])
    repository.flush()
    assert count(repository, "value") == 1


def test_payload_is_durable_before_its_row(repository):
    order = []
    repository.recorder._make_durable = lambda: order.append("payloads")
    event.listen(repository.database._engine, "begin", lambda _: order.append("rows"))
    repository.put(b"x" * 100_000)
    repository.flush()
    assert order[:2] == ["payloads", "rows"]


def test_eight_processes_record_the_same_things_as_one_row_each(tmp_path):
    code = textwrap.dedent(
        """
        import sys
        from valuestore import Repository
        with Repository.open(sys.argv[1]) as repository:
            for i in range(300):
                repository.put(["shared", i % 150])
                repository.put([sys.argv[2], i])
        """
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(n)], stderr=subprocess.PIPE)
        for n in range(8)
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [b""] * 8
    with Repository.open(tmp_path) as repository:
        assert count(repository, "value") == 150 + 8 * 300


def test_locked_database_is_waited_for(repository):
    locker = sqlite3.connect(repository.database.path, isolation_level=None, check_same_thread=False)
    locker.execute("BEGIN EXCLUSIVE")
    release = threading.Timer(1.0, locker.execute, ["COMMIT"])
    release.start()
    ref = repository.put("waited")
    repository.flush()
    assert repository.get(ref.value_hash) == "waited"
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
