"""Submitted runs: several at once on one scheduler, from threads and from asyncio."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress

import pytest

from valuestore import Scheduler, task
from valuestore.errors import TaskError

OPEN = threading.Event()
BEGUN = threading.Semaphore(0)


@task(version="1")
def doubled(x):
    return 2 * x


@task(version="1")
def total(parts):
    return sum(parts)


@task(version="1")
def waits(x):
    BEGUN.release()
    assert OPEN.wait(20)
    return x


@task(version="1")
def fails(x):
    raise KeyError(x)


@pytest.fixture
def scheduler():
    OPEN.clear()
    with Scheduler(":memory:", workers=2) as scheduler:
        yield scheduler
        OPEN.set()


def pipeline(n):
    return total([doubled(n + i) for i in range(20)])


def test_several_at_once_each_give_their_own_value_and_are_recorded_apart(scheduler):
    futures = [scheduler.submit(pipeline(n), tags={"n": n}) for n in range(40)]
    assert [future.result(30) for future in futures] == [40 * n + 380 for n in range(40)]
    history = scheduler.repository.history
    assert {each.status for each in history.executions()} == {"done"}
    counts = history.query("select count(*), sum(status = 'cached') from job group by execution_no").rows
    assert [count for count, _ in counts] == [21] * 40


def test_the_future_has_what_the_run_raises(scheduler):
    with pytest.raises(KeyError, match="7"):
        scheduler.submit(fails(7)).result(20)
    with pytest.raises(TaskError, match="on_error"):
        scheduler.submit(doubled(1), on_error="what").result(20)


def test_with_asyncio(scheduler):
    async def main():
        calls = [asyncio.wrap_future(scheduler.submit(doubled(n))) for n in range(10)]
        return await asyncio.gather(*calls)

    assert asyncio.run(main()) == [2 * n for n in range(10)]


def test_one_that_has_not_begun_can_be_cancelled(scheduler, monkeypatch):
    monkeypatch.setattr("valuestore.scheduler.scheduler._RUNS_AT_ONCE", 1)
    first, second = scheduler.submit(waits(1)), scheduler.submit(waits(2))
    assert BEGUN.acquire(timeout=20)
    assert second.cancel()
    assert not first.cancel()
    OPEN.set()
    assert first.result(20) == 1
    assert scheduler.repository.stats().rows["execution"] == 1


def test_closing_waits_for_what_runs_and_cancels_the_rest(scheduler, monkeypatch):
    monkeypatch.setattr("valuestore.scheduler.scheduler._RUNS_AT_ONCE", 1)
    first, second = scheduler.submit(waits(3)), scheduler.submit(waits(4))
    assert BEGUN.acquire(timeout=20)
    threading.Timer(0.1, OPEN.set).start()
    scheduler.close()
    assert first.result(0) == 3
    with pytest.raises(CancelledError):
        second.result(0)


def test_a_body_does_not_wait_for_its_own_scheduler(scheduler):
    asked = []

    @task(version="1")
    def asks():
        with suppress(TaskError):
            asked.append(scheduler.submit(doubled(1)))
        return 0

    scheduler.run(asks())
    assert asked == []


def test_runs_and_submitted_runs_may_be_at_once(scheduler):
    future = scheduler.submit(waits(5))
    assert BEGUN.acquire(timeout=20)
    assert scheduler.run(doubled(4)) == 8
    assert scheduler.execution.label.startswith("tests.scheduler.test_submit.doubled")
    OPEN.set()
    assert future.result(20) == 5
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: scheduler.run(pipeline(n)), range(8)))
    assert found == [40 * n + 380 for n in range(8)]


def test_a_child_submits_to_threads_of_its_own(scheduler):
    assert scheduler.submit(doubled(1)).result(20) == 2
    if (child := os.fork()) == 0:
        os._exit(0 if scheduler.submit(doubled(3)).result(20) == 6 else 1)
    assert os.waitpid(child, 0)[1] == 0
