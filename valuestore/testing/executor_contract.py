"""What every executor keeps: ExecutorContract. Subclass it for an executor of your own::

    class TestMyExecutor(ExecutorContract):
        @pytest.fixture
        def make_executor(self):
            return lambda: MyExecutor(workers=2)

Workers import this module, so they need pytest too. Where one takes long to start, override ``executor`` with
one that lasts longer: each test shares it, but the one that shuts one down.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from valuestore.errors import NotSendable, TaskError, TaskTimeout, ValuestoreWarning, WorkerLost
from valuestore.executors.threads import shares_memory
from valuestore.repository import Repository
from valuestore.scheduler.scheduler import Scheduler
from valuestore.tasks.context import JobInfo, get_context
from valuestore.tasks.control import catch, cond
from valuestore.tasks.lists import map_
from valuestore.tasks.task import task
from valuestore.values.files.file import File
from valuestore.values.handles.handle import Handle

_LARGE, _SMALL = 1_000_000, 20_000
"""Bytes of a value that must not pass through, and what may: work, and what came of it."""
_ours = task(namespace="executor_contract", version="1")


@dataclass
class Station:
    name: str
    readings: list[float]


class Ledger(Handle):
    type_name = "executor_contract.Ledger"

    def __init__(self, path: str) -> None:
        self.instance = Path(path)


@_ours
def station(name: str, many: int = 2) -> Station:
    return Station(name, [n / 2 for n in range(many)])


@_ours
def mean(of: Station) -> float:
    return sum(of.readings) / len(of.readings)


@_ours
def means(names: list[str]) -> Any:
    return [mean(station(name, len(name))) for name in names]


@_ours
async def awaited(name: str) -> Any:
    call: Any = mean(station(name))
    return 1 + await call


@_ours
def fail(problem: str, lock: bool = False) -> Any:
    error = ZeroDivisionError(problem, 7)
    error.lock = threading.Lock() if lock else None  # type: ignore[attr-defined]  # which no pickle holds
    raise error


@_ours
def recover(error: Exception) -> str:
    return f"{type(error).__name__} {error.args}"


@_ours
def who(job: JobInfo) -> tuple[str, int]:
    return job.task, len(job.job_id)


@_ours
def copied(source: File, target: str) -> File:
    Path(target).write_text(source.read() + " copied")
    return File(target)


@_ours
def entered(ledger: Ledger, line: str) -> Ledger:
    with ledger.instance.open("a") as stream:
        stream.write(line)
    return ledger


@_ours
def large(n: int) -> bytes:
    return bytes([n]) * _LARGE


@_ours
def size(data: bytes) -> int:
    return len(data)


@_ours
def lock() -> Any:
    return threading.Lock()


@_ours
def held(n: int, seconds: float) -> tuple[float, float, int]:
    began = time.time()
    time.sleep(seconds)
    return began, time.time(), n


@_ours
def at_second_try(folder: str) -> int:
    with Path(folder, "tries").open("a") as tries:
        tries.write("x")
        if tries.tell() < 2:
            raise OSError("busy")
    return tries.name.count("tries")


def everything(folder: Path) -> dict[str, Any]:
    (folder / "source").write_text("text")
    (folder / "ledger").write_text("")
    return {
        "nested": means(["abc", "d"]),
        "mapped": map_(mean, [station("abcdefg", 7), station("b")]),
        "branch": cond(mean(station("abcdefg", 7)) > 1, station("b"), fail("not this one")),
        "caught": catch(fail("no"), ZeroDivisionError, recover),
        "context": station("c", get_context("many")),
        "awaited": awaited("e"),
        "job": who(),  # type: ignore[call-arg]  # it is told
        "file": copied(File(str(folder / "source")), str(folder / "target")),
        "handle": entered(entered(Ledger(str(folder / "ledger")), "one "), "two"),
        "large": size(large(1)),
    }


def recorded(repository: Repository) -> list[str]:
    """Its rows, but ids, times and the numbers that link them."""
    repository.flush()
    rows = {select: repository.history.query(select).rows for select in _RECORDED}
    return sorted(f"{select.split()[-1]} {row}" for select, found in rows.items() for row in found)


_RECORDED = (
    "select value_hash, type_name, codec, size, preview from value",
    "select value_hash, path, kind from file",
    "select value_hash, key, is_valid from handle",
    "select task_hash, task_name, version, source, code_hash from task",
    "select task_hash, name, digest from dependency",
    "select eval_hash, trace_hash, value_hash, checksum from evaluation",
    "select call_hash, args_hash, value_hash, task_set_hash, external_set_hash, replayable, calls"
    " from call_node",
    "select args_hash, position, name, value_hash from argument",
    "select set_hash, member_hash, is_set from set_member",
    "select j.call_hash, j.args_hash, j.status, j.error, j.traceback, j.classes_hash, j.trace_hash, j.calls,"
    " p.args_hash from job j left join job p on p.job_id = j.parent_id",
    "select key, value from tag where entity <> 'execution'",
)


class Seen(Executor):
    """Gives all to another executor, and keeps the sizes of it and of what comes back."""

    def __init__(self, executor: Executor, *, cancels: bool = False) -> None:
        self.executor = executor
        self.cancels = cancels
        self.sizes: list[int] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        if self.cancels:
            future.cancel()
            return future
        future = self.executor.submit(fn, *args, **kwargs)
        future.add_done_callback(lambda done: self._see(args, done.result()))
        return future

    def _see(self, *passed: Any) -> None:
        self.sizes += [len(pickle.dumps(each)) for each in passed]


class ExecutorContract:
    """The facts. ``make_executor`` returns what opens one that nobody else has, with two workers or more."""

    @pytest.fixture
    def executor(self, make_executor: Callable[[], Executor]) -> Iterator[Executor]:
        with make_executor() as executor:
            yield executor

    @pytest.fixture
    def scheduler(self, tmp_path: Path, executor: Executor) -> Iterator[Scheduler]:
        with Scheduler(tmp_path / "repository", executor=executor) as scheduler:
            yield scheduler

    def test_results_and_history_are_those_of_threads(self, tmp_path: Path, scheduler: Scheduler) -> None:
        with Scheduler(tmp_path / "threads") as threads:
            expected = str(threads.run(everything(tmp_path), context={"many": 3}))
            rows = recorded(threads.repository)
        assert str(scheduler.run(everything(tmp_path), context={"many": 3})) == expected
        assert (tmp_path / "ledger").read_text() == "one two"
        assert recorded(scheduler.repository) == rows
        assert str(scheduler.run(everything(tmp_path), context={"many": 3})) == expected
        assert _bodies(scheduler) == 0

    def test_an_error_comes_home_as_it_is(self, scheduler: Scheduler) -> None:
        with pytest.raises(ZeroDivisionError) as caught:
            scheduler.run([fail("x"), size(large(2))])
        assert caught.value.args == ("x", 7)
        query = scheduler.repository.history.query
        [[text]] = query("select traceback from job where status = 'failed'").rows
        assert "in fail\n    raise error" in text
        assert scheduler.run(size(large(2))) == _LARGE
        assert _bodies(scheduler) == 0  # it was recorded beside the error

    def test_an_error_that_cannot_be_pickled_is_told_of(self, scheduler: Scheduler) -> None:
        with pytest.raises((ZeroDivisionError, NotSendable), match="it holds a lock"):
            scheduler.run(fail("it holds a lock", lock=True))

    def test_a_result_that_cannot_be_stored_says_so(self, scheduler: Scheduler, executor: Executor) -> None:
        if shares_memory(executor):
            with pytest.warns(ValuestoreWarning, match="lock"):
                scheduler.run(lock())
        else:
            with pytest.raises(NotSendable, match="lock"):
                scheduler.run(lock())
        assert scheduler.run(size(b"x")) == 1

    def test_large_values_do_not_pass_through(self, tmp_path: Path, executor: Executor) -> None:
        seen = Seen(executor)
        with Scheduler(tmp_path, executor=seen) as scheduler:
            assert scheduler.run([size(large(4)), size(b"given" * _LARGE)]) == [_LARGE, 5 * _LARGE]
        assert len(seen.sizes) == 6
        assert max(seen.sizes) < _SMALL

    def test_a_body_that_fails_is_run_again(self, tmp_path: Path, scheduler: Scheduler) -> None:
        call = at_second_try.options(retries=2, retry_wait_seconds=0.01)(str(tmp_path))
        assert scheduler.run(call) == 1

    def test_a_body_that_takes_too_long_is_given_up(self, scheduler: Scheduler) -> None:
        with pytest.raises(TaskTimeout, match=r"0\.1"):
            scheduler.run(held.options(timeout_seconds=0.1)(0, 0.5))

    def test_limits_hold(self, scheduler: Scheduler) -> None:
        times = sorted(scheduler.run([held.options(limits=["line"])(n, 0.05) for n in range(3)]))
        assert all(one[1] <= other[0] for one, other in pairwise(times))

    def test_what_is_cancelled_has_failed(self, tmp_path: Path, executor: Executor) -> None:
        gone = Seen(executor, cancels=True)
        with Scheduler(tmp_path, executor=gone) as s, pytest.raises(WorkerLost, match="cancelled"):
            s.run(size(b"x"))

    def test_one_that_is_shut_down_takes_nothing(
        self, tmp_path: Path, make_executor: Callable[[], Executor]
    ) -> None:
        executor = make_executor()
        executor.shutdown()
        with Scheduler(tmp_path, executors={"gone": executor}) as scheduler:
            with pytest.raises(TaskError, match=r"executor of executor_contract\.size takes nothing"):
                scheduler.run([size.options(executor="gone")(b"x"), size(b"other")])
            scheduler.run(size(b"other"))
        assert _bodies(scheduler) == 0


def _bodies(scheduler: Scheduler) -> int:
    """How many ran in the newest run."""
    assert scheduler.execution is not None
    return scheduler.execution.counts.done
