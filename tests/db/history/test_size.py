"""Questions that are answered at any size: counts by task, and the slowest jobs, by an index or without."""

from __future__ import annotations

import random

import pytest
from sqlalchemy import text

from tests.scheduler import pipelines as p
from tests.statements import StatementCounter
from valuestore import Scheduler
from valuestore.db.history.records import TaskCount
from valuestore.db.ids import new_id
from valuestore.db.record.rows import ExecutionRow, FinishedJob, JobRow, TaskRow

RUN = "e" * 32


def record(repository, lengths):
    """Jobs of so many microseconds, of two tasks, every third failed: (micros, id), slowest first."""
    recorder = repository.recorder
    recorder.record_execution(ExecutionRow(RUN, "label", "done", 1, 2))
    for number in range(2):
        recorder.record_task(TaskRow(f"{number:032x}", f"ns.t{number}", None, ""))
    made = []
    for number, micros in enumerate(lengths):
        status = "failed" if number % 3 == 0 else "done"
        of = new_id(), RUN, None, f"{number % 2:032x}"
        recorder.record_jobs([FinishedJob(JobRow(*of, None, None, status, 50, 50 + micros, None, None))])
        made.append((micros, of[0]))
    recorder.flush()
    return sorted(made, reverse=True)


def ids(records):
    return [each.job_id for each in records]


@pytest.mark.parametrize("slow", [0, 3, 40, 200])
def test_slowest_jobs_are_exact_however_many_are_in_the_index(repository, slow):
    draw = random.Random(slow)
    lengths = [draw.choice([9_999, 10_000, 10_001, draw.randrange(10_000, 10**9)]) for _ in range(slow)]
    lengths += [draw.randrange(-5, 9_999) for _ in range(200 - slow)]
    draw.shuffle(lengths)
    expected = [job_id for _, job_id in record(repository, lengths)]
    slowest = repository.history.jobs().order("slowest")
    assert ids(slowest.page(size=10).records) == expected[:10]
    assert ids(slowest.limit(45)) == expected[:45]
    paged, cursor = [], None
    while len(paged) < 200:
        page = slowest.page(cursor, size=7)
        paged, cursor = paged + ids(page.records), page.cursor
    assert paged == expected
    assert cursor is None
    of_one = [each.job_id for each in slowest.where(task="ns.t1", status="done").all()]
    assert of_one == [job_id for job_id in expected if job_id in set(of_one)]
    assert len(of_one) == 67


def plan(repository, sql):
    explain = "EXPLAIN QUERY PLAN" if repository.database.is_sqlite else "EXPLAIN"
    with repository.database.write() as connection:
        if not repository.database.is_sqlite:
            connection.execute(text("ANALYZE job"))
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            connection.execute(text("SET LOCAL enable_sort = off"))
        return " ".join(str(row[-1]) for row in connection.execute(text(f"{explain} {sql}")))


@pytest.mark.parametrize("condition", ["", "WHERE status = 'done'", "WHERE seconds > 2"])
def test_view_of_slow_jobs_is_sorted_by_the_index(repository, condition):
    expected = record(repository, [10_000 * number for number in range(300)])
    sql = f"SELECT job_id FROM slow_jobs {condition} ORDER BY seconds DESC LIMIT 5"
    assert "job_slow" in plan(repository, sql)
    assert repository.history.query("SELECT count(*) FROM slow_jobs").rows == [(299,)]
    if not condition:
        assert repository.history.query(sql).rows == [(job_id,) for _, job_id in expected[:5]]


def test_query_of_the_slowest_is_one_statement_that_takes_the_index(repository):
    record(repository, [20_000] * 50)
    with StatementCounter(repository.database) as counter:
        repository.history.jobs().where(status="done").order("slowest").page(size=20)
    assert len(counter.statements) == 1
    if repository.database.is_sqlite:
        with repository.database.read() as connection:
            explained = connection.exec_driver_sql(
                f"EXPLAIN QUERY PLAN {counter.statements[0]}", (0,) * counter.statements[0].count("?")
            )
            assert "job_slow" in " ".join(row[-1] for row in explained)


def test_task_counts_are_a_record_for_each_task(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run([p.double(n) for n in range(5)])
        scheduler.run([p.double(n) for n in range(7)])
        with pytest.raises(KeyError):
            scheduler.run(p.fails(1))
    doubles, fails = sorted(repository.history.task_counts(), key=lambda each: -each.jobs)
    assert isinstance(doubles, TaskCount)
    assert (doubles.jobs, doubles.executed, doubles.cached, doubles.failed) == (12, 7, 5, 0)
    assert (fails.jobs, fails.executed, fails.cached, fails.failed) == (1, 0, 0, 1)
    assert 0 < doubles.seconds < 60


def test_task_counts_of_nothing_are_none(repository):
    assert repository.history.task_counts() == []
