"""Subrun: a part of a pipeline in a scheduler of its own, linked in the record."""

from __future__ import annotations

import os
from typing import Any

import pytest

from valuestore import Scheduler, catch, get_context, subrun, task
from valuestore.errors import TaskError

RAN: list[int] = []


@task(namespace="subrun", version="1")
def leaf(n: int) -> int:
    RAN.append(n)
    return n + 1


@task(namespace="subrun", version="1")
def branch(count: int) -> list[int]:
    return [leaf(n) for n in range(count)]


@task(namespace="subrun", version="1")
def where() -> int:
    return os.getpid()


@task(namespace="subrun", version="1")
def fails(text: str) -> None:
    raise KeyError(text)


@task(namespace="subrun", version="1")
def recovered(error: KeyError) -> str:
    return f"recovered {error}"


@task(namespace="subrun", version="1")
def whole(count: int, executor: str) -> list[Any]:
    return [subrun(branch(count), executor), leaf(100)]


@pytest.fixture
def scheduler(tmp_path):
    RAN.clear()
    with Scheduler(tmp_path, workers=2) as scheduler:
        yield scheduler


def test_it_is_an_execution_of_its_own_that_names_its_job(scheduler):
    assert scheduler.run(whole(2, "threads")) == [[1, 2], 101]
    history, tags = scheduler.repository.history, scheduler.repository.tags
    inner, outer = history.executions()
    [job] = [job for job in history.jobs_of(outer, 9) if job.task == "valuestore.subrun.run"]
    assert tags.get(inner)["subrun"] == job.job_id
    assert "subrun" not in tags.get(outer)
    assert {job.task for job in history.jobs_of(inner, 9)} == {"subrun.branch", "subrun.leaf"}


def test_a_rerun_runs_no_body_of_the_pipeline(scheduler):
    for _ in range(2):
        assert scheduler.run(whole(3, "threads")) == [[1, 2, 3], 101]
    assert sorted(RAN) == [0, 1, 2, 100]
    scheduler.run(branch(3))  # what it ran is found by others, too
    assert sorted(RAN) == [0, 1, 2, 100]


def test_in_another_process(scheduler):
    here, there = scheduler.run([where(), subrun([where(), branch(2)], "processes", inside="threads")])
    assert here == os.getpid() == there[0]  # it has run here already
    assert scheduler.run(subrun(whole(2, "threads"), "processes")) == [[1, 2], 101]
    assert RAN == []


def test_errors_pass_through_it_and_are_caught(scheduler):
    with pytest.raises(KeyError, match="no"):
        scheduler.run(subrun(fails("no"), "threads"))
    assert scheduler.run(catch(subrun(fails("no"), "processes"), KeyError, recovered)) == "recovered 'no'"


@task(namespace="subrun", version="1")
def told(n: int, key: str = get_context("key", "none")) -> str:
    RAN.append(n)
    return f"{n} {key}"


@task(namespace="subrun", version="1")
def tells(executor: str) -> list[str]:
    return [subrun(told(1), executor), told(2)]


@task(namespace="subrun", version="1")
def busy(n: int) -> int:
    RAN.append(n)
    raise OSError(n)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_it_is_asked_for_what_the_run_around_it_is(scheduler, executor):
    assert scheduler.run(tells(executor), context={"key": "a"}) == ["1 a", "2 a"]
    assert scheduler.run(tells.update_context(key="b")(executor)) == ["1 b", "2 b"]
    assert scheduler.run(tells(executor)) == ["1 none", "2 none"]
    if executor == "threads":
        for asked, again in (({"only": [told]}, [1, 2]), ({"cache": False}, [1, 2]), ({}, [])):
            RAN.clear()
            scheduler.run(tells(executor), **asked)
            assert sorted(RAN) == again
        RAN.clear()
        with pytest.raises(OSError, match="7"):
            scheduler.run(subrun(busy(7)), options={"retries": 1, "retry_wait_seconds": 0.01})
        assert RAN == [7, 7]


def test_it_says_what_it_cannot_be_told(scheduler):
    with pytest.raises(TaskError, match="subrun has no option 'inwards'"):
        subrun(leaf(1), inwards="threads")
    assert scheduler.run(subrun(7)) == 7
