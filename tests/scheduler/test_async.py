"""Async tasks: bodies that are coroutines, which may await other calls of the same run."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from valuestore import File, Scheduler, catch, map_, task
from valuestore.errors import EndlessCall, LazyValueError, TaskError

RAN: list[Any] = []


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    RAN.clear()
    with Scheduler(tmp_path / "repository", workers=2) as scheduler:
        yield scheduler


def ran(scheduler: Scheduler, call: Any, **asked: Any) -> tuple[Any, list[Any]]:
    RAN.clear()
    return scheduler.run(call, **asked), sorted(RAN, key=str)


FACTOR = 2


@task(namespace="async", version="1")
def double(n: int) -> int:
    RAN.append(("double", n))
    return FACTOR * n


@task(namespace="async")
async def total(count: int) -> int:
    RAN.append(("total", count))
    parts = await asyncio.gather(*[double(n) for n in range(count)])
    again = await double(parts[-1])
    return sum(parts) + again


@task(namespace="async")
async def alone(n: int) -> int:
    RAN.append(("alone", n))
    await asyncio.sleep(0)
    return n + 1


def test_a_body_awaits_calls_and_is_found_again_with_them(scheduler):
    value, bodies = ran(scheduler, total(3))
    assert (value, [body[0] for body in bodies]) == (14, ["double"] * 4 + ["total"])
    assert ran(scheduler, total(3)) == (14, [])
    assert scheduler.execution.counts.replayed > 4
    assert ran(scheduler, alone(1)) == (2, [("alone", 1)])
    assert ran(scheduler, [alone(1), alone(2)]) == ([2, 3], [("alone", 2)])


def test_what_was_awaited_is_recorded_below_and_counts_by_its_code(scheduler, monkeypatch):
    scheduler.run(total(2))
    history = scheduler.repository.history
    [top] = history.jobs().where(task="async.total").all()
    below = [job for job in history.jobs().all() if job.job_id != top.job_id]
    assert {job.task for job in below} == {"async.double", "valuestore.identity"}
    monkeypatch.setattr(sys.modules[__name__], "double", task(tripled, name="double", namespace="async"))
    assert ran(scheduler, total(2))[1] == [("total", 2), "changed", "changed", "changed"]


def tripled(n: int) -> int:
    RAN.append("changed")
    return 3 * n


def test_more_bodies_wait_than_there_are_workers(scheduler):
    began = time.monotonic()
    assert scheduler.run(map_(nested, [*range(20)])) == [[n, n] for n in range(20)]
    assert time.monotonic() - began < 10


@task(namespace="async")
async def nested(n: int) -> list[int]:
    return await nested_once_more(n)


@task(namespace="async")
async def nested_once_more(n: int) -> list[int]:
    return [n, await alone(n) - 1]


@task(namespace="async", version="1")
def fails(n: int) -> int:
    RAN.append(("fails", n))
    raise KeyError(n)


@task(namespace="async")
async def careful(n: int) -> str:
    try:
        return str(await fails(n))
    except KeyError as error:
        return f"no {error}"


@task(namespace="async")
async def careless(n: int) -> str:
    return str(await fails(n))


def test_errors_of_what_is_awaited_are_raised_where_it_is(scheduler):
    assert ran(scheduler, careful(1)) == ("no 1", [("fails", 1)])
    assert ran(scheduler, careful(1)) == ("no 1", [])
    with pytest.raises(KeyError, match="2"):
        scheduler.run(careless(2))
    assert scheduler.run(catch(careless(3), KeyError, str)) == "3"


@task(namespace="async")
async def changes(given: list[int]) -> list[Any]:
    call = asyncio.ensure_future(length(given))
    found = await asyncio.gather(call, length(given))
    given.append(9)
    return [found, await length(given)]


@task(namespace="async", version="1")
def length(given: list[int]) -> int:
    return len(given)


def test_what_a_call_was_given_is_what_it_was_when_it_was_awaited(scheduler):
    for _ in range(2):
        assert scheduler.run(changes([1, 2])) == [[2, 2], 3]


@task(namespace="async")
async def reads(file: File) -> str:
    return (await written(file)).read()


@task(namespace="async", version="1")
def written(file: File) -> File:
    RAN.append("written")
    Path("out.txt").write_text(file.read().upper())
    return File("out.txt")


def test_files_of_what_was_awaited_count(scheduler):
    Path("in.txt").write_text("a")
    assert ran(scheduler, reads(File("in.txt"))) == ("A", ["written"])
    assert ran(scheduler, reads(File("in.txt"))) == ("A", [])
    Path("out.txt").write_text("other")
    assert ran(scheduler, reads(File("in.txt"))) == ("A", ["written"])
    Path("in.txt").write_text("b")
    assert ran(scheduler, reads(File("in.txt"))) == ("B", ["written"])


@task(namespace="async")
async def endless(n: int) -> int:
    return await endless(n)


@task(namespace="async")
async def ping(n: int) -> int:
    return await pong(n)


@task(namespace="async")
async def pong(n: int) -> int:
    return await ping(n)


@pytest.fixture
def attentive(monkeypatch):
    """That no body can go on is seen at once."""
    monkeypatch.setattr("valuestore.scheduler.bodies.running._ATTENTION_SECONDS", 0.05)


@pytest.mark.parametrize("call", [endless(1), ping(1), [ping(2), pong(2)]])
def test_bodies_that_wait_for_each_other_end(scheduler, attentive, call):
    with pytest.raises(EndlessCall):
        scheduler.run([call, double(1)])
    assert ("double", 1) in RAN


@task(namespace="async", timeout_seconds=0.1)
async def slow(n: int) -> int:
    await asyncio.sleep(n)
    return n


def test_options_and_the_end_of_a_run(scheduler):
    with pytest.raises(TimeoutError):
        scheduler.run(slow(2))
    with pytest.raises(KeyError):
        scheduler.run([careless(1), waits_long(1)], on_error="stop")


@task(namespace="async")
async def waits_long(n: int) -> int:
    return await sleeper(n)


@task(namespace="async")
def sleeper(n: int) -> int:
    time.sleep(0.2)
    return n


def test_bad_input():
    with pytest.raises(LazyValueError, match="no value to await here"):
        asyncio.run(outside())
    with pytest.raises(TaskError, match="what a generator gives can be taken once"):

        @task
        async def generates():
            yield 1


async def outside() -> int:
    return await double(1)


def test_a_run_is_awaited(scheduler):
    async def main() -> list[int]:
        futures = [asyncio.wrap_future(scheduler.submit(total(n))) for n in (1, 2)]
        return await asyncio.gather(*futures)

    assert asyncio.run(main()) == [0, 6]


# --- what goes wrong


@task(namespace="async", version="1")
def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


@task(namespace="async", version="1")
def stops(n: int) -> int:
    raise StopIteration(n)


@task(namespace="async")
async def awaits_what_stops(n: int) -> int:
    return await stops(n)


@task(namespace="async")
async def cancels(n: int) -> int:
    call = asyncio.ensure_future(sleeper(n))
    await asyncio.sleep(0)
    call.cancel()
    return await call


@task(namespace="async", version="1")
def lock(n: int) -> Any:
    return threading.Lock()


@task(namespace="async")
async def awaits_a_lock(n: int) -> Any:
    return bool(await lock(n))


@task(namespace="async", executor="threads")
async def deep(n: int) -> int:
    return await deep(n - 1) if n else 0


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (awaits_what_stops(1), "RuntimeError: a call raised StopIteration"),
        (cancels(1), "TaskError: the body was cancelled"),
        (awaits_a_lock(1), "TaskError: what async.lock.n=1. gave cannot be stored"),
        (deep(9), "TaskError: async.deep.n=.. cannot begin: all bodies that run"),
    ],
)
@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
def test_what_goes_wrong_is_an_error_of_that_body(scheduler, attentive, call, problem):
    value, other = scheduler.run([catch(call, Exception, told), double(1)])
    assert re.match(problem, value)
    assert other == 2


@task(namespace="async", version="1")
def waits(n: float) -> str:
    time.sleep(n)
    return "in time"


@task(namespace="async")
async def impatient(n: float) -> str:
    try:
        return await asyncio.wait_for(waits(n), 0.25)
    except TimeoutError:
        return "too late"


@pytest.mark.parametrize("prov", [True, False])
def test_what_was_not_waited_for_counts(scheduler, monkeypatch, prov):
    call = impatient.options(prov=prov)
    assert scheduler.run(call(0.6)) == "too late"
    monkeypatch.setattr(sys.modules[__name__], "waits", task(at_once, name="waits", namespace="async"))
    assert scheduler.run(call(0.6)) == "in time"


def at_once(n: float) -> str:
    return "in time"


@task(namespace="async", timeout_seconds=0.05)
async def asks_too_late(n: int) -> int:
    await asyncio.sleep(0.2)
    return await double(n)


def test_a_body_that_was_given_up_asks_nobody(scheduler):
    with pytest.raises(TimeoutError):
        scheduler.run(asks_too_late(5))
    time.sleep(0.4)
    assert RAN == []
    assert not [one for one in threading.enumerate() if one.name == "valuestore-async"]


@task(namespace="async")
async def falls_back(n: int) -> int:
    await asyncio.sleep(0.1)
    try:
        return await double(n)
    except asyncio.CancelledError:
        return -1


def test_what_a_body_made_of_the_end_of_its_run_is_not_kept(scheduler):
    with pytest.raises(KeyError):
        scheduler.run([fails(1), falls_back(1)], on_error="stop")
    assert scheduler.run(falls_back(1)) == 2
