"""Counts of jobs by task and status: exact whatever is written twice, at once, or by several (I7)."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from copy import copy

import pytest
from sqlalchemy import text

from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler
from valuestore.db.ids import new_id
from valuestore.db.record import recorder as recorder_module
from valuestore.db.record.rows import ExecutionRow, FinishedJob, JobRow, TaskRow
from valuestore.db.record.writer import Writer
from valuestore.errors import DatabaseUnavailable

RUN = "e" * 32


def rows(repository, sql):
    with repository.database.read() as connection:
        return [tuple(row) for row in connection.execute(text(sql))]


def kept(repository):
    return rows(
        repository,
        "SELECT task_no, status, CAST(sum(jobs) AS BIGINT), CAST(sum(micros) AS BIGINT) FROM task_count "
        "GROUP BY 1, 2 ORDER BY 1, 2",
    )


def counted(repository):
    """The oracle: every job, read."""
    micros = "CAST(sum(ended - started) AS BIGINT)"
    return rows(
        repository, f"SELECT task_no, status, count(*), {micros} FROM job GROUP BY 1, 2 ORDER BY 1, 2"
    )


@pytest.fixture
def recorder(repository, monkeypatch):
    """One that writes when it is told to, and not by itself meanwhile."""
    monkeypatch.setattr(recorder_module, "FLUSH_SECONDS", 3600.0)
    for number in range(3):
        repository.recorder.record_task(TaskRow(f"{number:032x}", f"ns.t{number}", None, ""))
    repository.recorder.record_execution(ExecutionRow(RUN, "label", "running", 1, None))
    return repository.recorder


def finished(number):
    status = ("done", "cached", "failed")[number % 3]
    times = 1000, 1000 + 7 * number
    row = JobRow(new_id(), RUN, None, f"{number % 2:032x}", None, None, status, *times, None, None)
    return FinishedJob(row)


def test_counts_are_those_of_the_jobs(repository):
    with Scheduler(repository) as scheduler:
        for _ in range(2):
            scheduler.run(p.total([p.double(n) for n in range(20)]))
        with pytest.raises(KeyError):
            scheduler.run(p.fails(1))
    assert kept(repository) == counted(repository)
    assert sum(row[2] for row in kept(repository)) == 43
    assert {row[1] for row in kept(repository)} == {"done", "cached", "failed"}


def test_batch_that_is_written_twice_counts_once(repository, recorder):
    recorder.record_jobs([finished(number) for number in range(50)])
    batch = recorder._batch
    recorder.flush()
    Writer.transact(repository.database, batch.write)
    assert kept(repository) == counted(repository)
    assert sum(row[2] for row in kept(repository)) == 50


def test_of_a_batch_that_was_there_in_part_the_rest_is_counted(repository, recorder):
    jobs = [finished(number) for number in range(30)]
    recorder.record_jobs(jobs[10:20])
    recorder.flush()
    recorder.record_jobs([*jobs, *jobs[:5]])
    recorder.flush()
    assert kept(repository) == counted(repository)
    assert sum(row[2] for row in kept(repository)) == 30


@pytest.mark.parametrize("arrives", [True, False])
def test_commit_whose_answer_was_lost_is_counted_once(repository, recorder, monkeypatch, arrives):
    change = repository.database.change

    def lost(work, **_):
        if arrives:
            change(work)
        raise DatabaseUnavailable(repository.database.name, "the connection was lost")

    recorder.record_jobs([finished(number) for number in range(20)])
    with monkeypatch.context() as patch:
        patch.setattr(repository.database, "change", lost)
        with pytest.raises(DatabaseUnavailable):
            recorder.flush()
    recorder.flush()
    assert kept(repository) == counted(repository)
    assert sum(row[2] for row in kept(repository)) == 20


def test_transaction_that_fails_after_the_jobs_counts_none(repository, recorder):
    recorder.record_jobs([finished(number) for number in range(20)])

    def broken(writer):
        recorder._batch.write(writer)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Writer.transact(repository.database, broken)
    assert kept(repository) == counted(repository) == []
    recorder.flush()
    assert sum(row[2] for row in kept(repository)) == 20


def test_same_batch_in_several_transactions_at_once_counts_once(repository, recorder):
    """As when a lost connection's transaction is still at work while the batch is written again."""
    for round_ in range(5):
        recorder.flush()
        recorder.record_jobs([finished(number) for number in range(200)])
        batch = recorder._batch
        barrier = threading.Barrier(4)

        def write(batch=batch, barrier=barrier):
            own = copy(batch)
            own.rows = dict(batch.rows)
            barrier.wait()
            Writer.transact(repository.database, own.write)

        writers = [threading.Thread(target=write) for _ in range(4)]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
        assert kept(repository) == counted(repository)
        assert sum(row[2] for row in kept(repository)) == 200 * (round_ + 1)


def test_four_processes_that_write_all_twice_count_each_job_once(tmp_path, database_url):
    code = textwrap.dedent(
        """
        import sys
        from valuestore import Repository
        from valuestore.db.ids import new_id
        from valuestore.db.record.rows import ExecutionRow, FinishedJob, JobRow, TaskRow
        from valuestore.db.record.writer import Writer
        folder, url, own = sys.argv[1:]
        with Repository.open(folder, database=url) as repository:
            recorder = repository.recorder
            tasks = [f"{number:032x}" for number in range(6)]
            for task in tasks[:: 1 if own in "02" else -1]:
                recorder.record_task(TaskRow(task, "ns.t" + task[-1], None, ""))
            recorder.record_execution(ExecutionRow(own * 32, "label", "running", 1, None))
            for n in range(600):
                status = ("done", "cached", "failed")[n % 3]
                row = (own * 32, None, tasks[n % 6], None, None, status, n, n + 5, None, None)
                recorder.record_jobs([FinishedJob(JobRow(new_id(), *row))])
                if n % 40 == 0:
                    batch = recorder._batch
                    recorder.flush()
                    Writer.transact(repository.database, batch.write)
        """
    )
    Repository.open(tmp_path, database=database_url).close()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), database_url, str(own)],
            stderr=subprocess.PIPE,
            text=True,
        )
        for own in range(4)
    ]
    assert [writer.communicate(timeout=120)[1] for writer in writers] == [""] * 4
    with Repository.open(tmp_path, database=database_url) as repository:
        assert kept(repository) == counted(repository)
        counts = repository.history.task_counts()
    assert [(one.task, one.jobs) for one in counts] == [(f"ns.t{number}", 400) for number in range(6)]
