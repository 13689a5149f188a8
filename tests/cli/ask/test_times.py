"""``valuestore show EXECUTION --times``: where the time went, by task, and what held the run up."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from tests.cli.conftest import Cli
from valuestore.cli.ask.show import _COLUMNS, times_of

SLEEPING = """
import time
from valuestore import task

@task
def nap(n: int) -> int:
    time.sleep(0.05)
    return n

@task
def wake(naps: list) -> int:
    time.sleep(0.1)
    return sum(naps)

@task
def wrong() -> int:
    raise ValueError

@task
def day(count: int) -> int:
    return wake([nap(n) for n in range(count)])
"""


def test_times_say_which_task_took_how_long(here: Path, cli: Cli) -> None:
    (here / "sleeping.py").write_text(SLEEPING)
    cli("run", "sleeping.py", "day", "--count", "4", "--workers", "2")
    told = json.loads(cli("show", "-", "--times", "--json").out)
    assert {task["task"]: task["executed"] for task in told["tasks"]} == {
        "sleeping.nap": 4,
        "sleeping.wake": 1,
        "sleeping.day": 1,
    }
    nap, wake, day = (next(t for t in told["tasks"] if t["task"].endswith(n)) for n in ("nap", "wake", "day"))
    assert 0.2 <= nap["seconds"] <= told["seconds"] * 2
    assert 0.05 <= nap["mean"] <= nap["longest"]
    assert day["seconds"] < nap["seconds"]  # its calls' time is theirs
    assert 0.1 <= nap["in_chain"] < nap["seconds"]  # two at a time: two of four
    assert wake["in_chain"] == wake["seconds"]
    assert told["idle_seconds"] < told["seconds"]
    assert nap["share"] == nap["seconds"] / told["seconds"]
    assert len(told["chain"]) >= 3


def test_what_was_cached_took_no_time_and_what_failed_some(here: Path, cli: Cli) -> None:
    (here / "sleeping.py").write_text(SLEEPING)
    for _ in range(2):
        cli("run", "sleeping.py", "nap", "--n", "1")
    [task] = json.loads(cli("show", "-", "--times", "--json").out)["tasks"]
    assert (task["executed"], task["cached"], task["seconds"], task["mean"]) == (0, 1, 0.0, 0.0)
    cli("run", "sleeping.py", "wrong")
    [task] = json.loads(cli("show", "-", "--times", "--json").out)["tasks"]
    assert task["failed"] == 1
    assert task["longest"] > 0


def test_of_a_repository_on_postgres_as_a_table(
    here: Path, cli: Cli, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VALUESTORE_DATABASE", postgres_url)
    (here / "sleeping.py").write_text(SLEEPING)
    cli("run", "sleeping.py", "nap", "--n", "1")
    *_, header, row = cli("show", "-", "--times").out.splitlines()
    assert header.split() == [*_COLUMNS[:-1], "in", "chain"]
    assert row.split()[:4] == ["sleeping.nap", "1", "0", "0"]


def test_other_records_have_no_times(here: Path, cli: Cli) -> None:
    cli("run", "pipe.py", "square", "--n", "1")
    done = cli("show", "pipe.square", "--times")
    assert done.code == 2
    assert "is a task; name an execution" in done.err


spans = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(sorted)


@given(st.lists(st.tuples(spans, st.integers(0, 5), st.booleans()), max_size=8))
def test_times_are_those_of_counting_moment_by_moment(made: Any) -> None:
    jobs = [
        SimpleNamespace(
            job_id=str(number),
            parent_id=str(parent) if parent < number else None,
            task=f"t{number % 2}",
            status="cached" if is_cached else "done",
            started=datetime.fromtimestamp(1000 + start, UTC),
            seconds=float(end - start),
        )
        for number, ((start, end), parent, is_cached) in enumerate(made)
    ]
    execution = SimpleNamespace(execution_id="e", started=datetime.fromtimestamp(1000, UTC), seconds=20.0)
    told = times_of(execution, jobs)  # type: ignore[arg-type]  # as much as is asked of them

    def runs(job: Any, moment: int) -> bool:
        return 0 <= moment - (job.started.timestamp() - 1000) < job.seconds

    def is_own(job: Any, moment: int) -> bool:
        children = (each for each in jobs if each.parent_id == job.job_id)
        return job.status == "done" and runs(job, moment) and not any(runs(each, moment) for each in children)

    for task in told["tasks"]:
        those = [job for job in jobs if job.task == task["task"]]
        assert task["seconds"] == sum(is_own(job, moment) for job in those for moment in range(20))
        assert task["in_chain"] <= task["seconds"]
    assert told["idle_seconds"] == sum(not any(is_own(job, m) for job in jobs) for m in range(20))
    assert sum(task["in_chain"] for task in told["tasks"]) <= 20 - told["idle_seconds"]
