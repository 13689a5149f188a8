"""Control flow: what runs and what does not, cold and again, and what is said of bad input."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import pytest

from tests.scheduler import pipelines as p
from valuestore import (
    Repository,
    Scheduler,
    as_task,
    catch,
    catch_all,
    compose,
    cond,
    const,
    flat_map,
    flatten,
    fork,
    identity,
    join,
    map_,
    seq,
    starmap,
    task,
    throw,
    zip_,
)
from valuestore.errors import ArgumentError, EndlessCall, LazyValueError, NotUnpackable, TaskError

ROOT = Path(__file__).parents[2]


@task
def numbers(n: int) -> list[int]:
    return list(range(n))


@task
def told(error: Exception) -> str:
    p.ran("told")
    return f"told {error}"


@task
def counted(found: list[Any]) -> list[str]:
    return [type(one).__name__ for one in found]


@task
def halves(n: int) -> tuple[int, int]:
    return n // 2, n - n // 2


@task(nout=3)
def pair(n: int) -> Any:
    return [n, n]


@task
def chosen(n: int) -> Any:
    return p.double


@task
def threefold(a: int, b: int, c: int) -> list[int]:
    return [a, b, c]


@task
def some_partial(n: int) -> Any:
    return threefold.partial(n).options(retries=1).partial(b=2)


@task
def joined_later(branch: Any) -> Any:
    return join(branch)


@task(version="1")
def slow(seconds: float) -> float:
    time.sleep(seconds)
    p.ran("slow")
    return seconds


RETURNED = threading.Event()


@task(version="1")
def waits() -> None:
    assert RETURNED.wait(30)
    p.ran("waits")


@task
def careful(n: int) -> Any:
    return [catch(p.fails(n), KeyError, told), p.double(n)]


def plus_hundred(n: int) -> int:
    return n + 100


@pytest.fixture(autouse=True)
def forget():
    p.RAN.names.clear()


@pytest.fixture
def run(tmp_path):
    """Run in a scheduler opened anew; the value and the bodies that ran."""

    def once(call, **options):
        p.RAN.names.clear()
        with Scheduler(tmp_path) as scheduler:
            once.scheduler = scheduler
            return scheduler.run(call, **options), sorted(p.RAN.names)

    return once


EXPRESSIONS = {
    "cond": (lambda: cond(p.double(1) > 1, p.double(5), p.fails(1)), 10, ["double"] * 2),
    "cond, several tests": (lambda: cond(0, p.fails(1), [], p.fails(2), p.add(1, 2)), 3, ["add"]),
    "nested cond": (lambda: p.add(cond(1, cond(0, 1, p.double(2)), 5), 1), 5, ["add", "double"]),
    "catch, all well": (lambda: catch(p.double(1), ValueError, told), 2, ["double"]),
    "catch of an operator": (
        lambda: catch(p.double(1) / p.double(0), ZeroDivisionError, told),
        "told division by zero",
        ["double", "double", "told"],
    ),
    "catch by a base class": (
        lambda: catch(p.fails(1), (OSError, LookupError), told),
        "told 'no 1'",
        ["fails", "told"],
    ),
    "catch, second handler": (
        lambda: catch(p.fails(1), OSError, told, KeyError, plus_nothing),
        "nothing",
        ["fails"],
    ),
    "catch_all": (
        lambda: catch_all([p.double(1), p.fails(2), p.double(3)], KeyError, counted),
        ["int", "KeyError", "int"],
        ["double", "double", "fails"],
    ),
    "catch_all of what was caught": (
        lambda: catch_all(catch([p.fails(1)], KeyError, numbers_for), KeyError, counted),
        [0, 1],
        ["fails"],
    ),
    "catch_all, all well": (
        lambda: catch_all(map_(p.double, numbers(2)), KeyError, counted),
        [0, 2],
        ["double"] * 2,
    ),
    "caught throw": (lambda: catch(throw(KeyError("k")), KeyError, told), "told 'k'", ["told"]),
    "seq": (lambda: seq([p.double(1), p.double(2)]), [2, 4], ["double"] * 2),
    "map_": (lambda: map_(p.double, numbers(3)), [0, 2, 4], ["double"] * 3),
    "map_ of a partial": (
        lambda: map_(p.add.partial(y=p.double(1)), [1, 2]),
        [3, 4],
        ["add", "add", "double"],
    ),
    "map_ of a partial of a partial": (
        lambda: map_(threefold.options(retries=0).partial(b=2).update_context(x=1).partial(c=4), [1, 2]),
        [[1, 2, 4], [2, 2, 4]],
        [],
    ),
    "map_ with a lazy option": (
        lambda: map_(p.double.options(retries=p.add(1, 2)), [1, 2]),
        [2, 4],
        ["add", "double", "double"],
    ),
    "a partial of a lazy task": (lambda: some_partial(1)(c=5), [1, 2, 5], []),
    "map_ of a function": (lambda: map_(plus_hundred, numbers(2)), [100, 101], []),
    "map_ of a class": (lambda: map_(str, numbers(2)), ["0", "1"], []),
    "starmap": (lambda: starmap(p.add, [(1, 2), {"x": 3}, [4]]), [3, 13, 14], ["add"] * 3),
    "flat_map": (lambda: flat_map(numbers, numbers(4)), [0, 0, 1, 0, 1, 2], []),
    "flatten": (lambda: flatten([numbers(1), [p.double(1)], ()]), [0, 2], ["double"]),
    "zip_": (lambda: zip_(numbers(3), [p.double(1), 5]), [(0, 2), (1, 5)], ["double"]),
    "const": (lambda: const(p.double(1), p.double(2)), 2, ["double"] * 2),
    "identity": (lambda: identity(p.double(1)) + identity(5), 7, ["double"]),
    "compose": (lambda: compose(p.double, p.add)(1, y=p.double(2)), 10, ["add", "double", "double"]),
    "map_ of compose": (
        lambda: map_(compose(p.double, plus_hundred), numbers(2)),
        [200, 202],
        ["double"] * 2,
    ),
    "as_task": (lambda: as_task(plus_hundred)(p.double(1)), 102, ["double"]),
    "call of a lazy task": (lambda: chosen(1)(4), 8, ["double"]),
    "unpacked": (lambda: p.add(*halves(5)), 5, ["add"]),
    "join": (lambda: join(fork(p.double(3))), 6, ["double"]),
}


def numbers_for(error: Exception) -> list[int]:
    return [0, 1]


def plus_nothing(error: Exception) -> str:
    return "nothing"


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_only_what_is_needed_runs_and_nothing_again(run, name):
    make, expected, bodies = EXPRESSIONS[name]
    assert run(make()) == (expected, bodies)
    assert run(make()) == (expected, [])
    assert run(p.first([make()])) == ([expected], [])
    assert run.scheduler.execution.status == "done"
    assert run.scheduler.execution.counts.waiting == 0


def test_it_is_recorded_as_what_it_is(run):
    run(careful(1))
    with Repository.open(run.scheduler.repository.folder) as repository:
        jobs = {job.task.rpartition(".")[2]: job for job in repository.history.jobs().all()}
        assert {name: job.status for name, job in jobs.items()} == {
            "careful": "done",
            "catch": "done",
            "fails": "failed",
            "told": "done",
            "double": "done",
        }
        assert jobs["fails"].parent_id == jobs["told"].parent_id == jobs["catch"].job_id
        assert jobs["fails"].error == "KeyError: 'no 1'"
        assert repository.history.upstream(jobs["careful"].job_id).calls


def test_a_recovered_call_is_replayed_until_a_part_changes(run):
    assert run(careful(1)) == (["told 'no 1'", 2], ["double", "fails", "told"])
    assert run(careful(1))[1] == []
    assert run.scheduler.execution.counts.replayed == 4
    p.FACTOR, before = 3, p.FACTOR
    try:
        assert run(careful(1)) == (["told 'no 1'", 3], ["double"])
    finally:
        p.FACTOR = before


def test_an_error_that_nobody_caught_is_not_reused(run):
    for _ in range(2):
        with pytest.raises(KeyError):
            run(catch(p.fails(1), OSError, told))
        assert p.RAN.names == ["fails"]


def test_siblings_of_a_failing_call_run_to_their_end(run):
    with pytest.raises(KeyError, match="no 1") as caught:
        run([p.add(p.fails(1)), p.double(p.double(3)), p.fails(2)])
    assert sorted(p.RAN.names) == ["double", "double", "fails", "fails"]
    assert "in task tests.scheduler.pipelines.fails" in caught.value.__notes__[0]
    assert len(caught.value.__notes__) == 1
    counts = run.scheduler.execution.counts
    assert (counts.done, counts.failed, counts.waiting, counts.running) == (2, 2, 0, 0)


def test_all_errors_come_as_a_group_if_asked_for(run):
    with pytest.raises(ExceptionGroup) as caught:
        run([p.add(p.fails(1)), p.nested(p.fails(2)), p.fails(1)], errors="group")
    assert [str(error) for error in caught.value.exceptions] == ["'no 1'", "'no 2'"]


def test_stop_ends_the_run_at_the_first_error_that_nobody_catches(run):
    with pytest.raises(KeyError, match="no 2"):
        run([catch(p.fails(1), KeyError, told), seq([slow(0.2), p.fails(2), p.double(1)])], on_error="stop")
    assert sorted(p.RAN.names) == ["fails", "fails", "slow", "told"]
    with pytest.raises(TaskError, match="on_error='maybe'"):
        run(p.double(1), on_error="maybe")


def test_the_same_error_is_caught_whichever_came_first(run):
    assert run(catch([const(p.fails(1), slow(0.1)), p.fails(2)], KeyError, told))[0] == "told 'no 1'"


def test_a_side_branch_holds_nothing_back(tmp_path):
    RETURNED.clear()
    with Scheduler(tmp_path, workers=2) as scheduler:
        assert scheduler.run([const(1, fork(waits())), const(2, fork(p.fails(1)))]) == [1, 2]
        RETURNED.set()
    assert "waits" in p.RAN.names
    assert scheduler.execution.status == "done"
    with Repository.open(tmp_path) as repository:
        assert {job.status for job in repository.history.jobs().where(task="waits").all()} == {"done"}


def test_a_branch_may_be_joined_by_another_task_and_by_no_other_run(run):
    branch = fork(p.double(4))
    assert run(joined_later(branch))[0] == 8
    assert run(joined_later(branch)) == (8, [])
    with pytest.raises(KeyError):
        run(join(fork(p.fails(1))))
    left = run(fork(p.double(5)))[0]
    with pytest.raises(ArgumentError, match="the run that forks it"):
        run(join(left))


def test_items_of_an_iterator_are_drawn_as_workers_free_up(tmp_path):
    drawn, most, lock = [0], [0], threading.Lock()
    done = [0]

    def items():
        for i in range(300):
            with lock:
                drawn[0] += 1
                most[0] = max(most[0], drawn[0] - done[0])
            yield i

    @task(version="1", name="drawn", namespace="control")
    def body(i: int) -> int:
        with lock:
            done[0] += 1
        return i

    with Scheduler(tmp_path, workers=2) as scheduler:
        assert scheduler.run(map_(body, items())) == list(range(300))
    assert most[0] <= 8
    with Scheduler(tmp_path, workers=2) as scheduler:
        assert scheduler.run(map_(body, items())) == list(range(300))
        assert done[0] == 300


MEMORY = """
import sys
from valuestore import Scheduler, map_, task
@task(version="1", namespace="memory")
def size(data: bytes) -> int:
    return len(data)
def items():
    for i in range(400):
        yield i.to_bytes(4, "big") * 250_000
with Scheduler(sys.argv[1], workers=2) as scheduler:
    assert scheduler.run(map_(size, items())) == [1_000_000] * 400
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]  # see memory.py
print(int(peak.split()[1]) // 1024)
"""


def test_an_iterator_is_never_whole_in_memory(tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(ran.stdout) < 300  # MiB; the items are 400


def test_an_iterator_is_drawn_once_and_its_own_errors_are_the_calls(run):
    call = map_(p.double, iter([1, 2]))
    assert run(call)[0] == [2, 4]
    with pytest.raises(ArgumentError, match="drawn once"):
        run(call)

    def broken():
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        run([map_(p.double, broken()), p.double(7)])
    assert run(p.double(7))[1] == []
    with pytest.raises(KeyError, match="no 0"):
        run(map_(p.fails, iter(range(3))))
    assert p.RAN.names == ["fails"] * 3


def test_errors_of_the_items_of_an_iterator_are_caught_one_by_one(run):
    calls = catch_all(map_(p.fails, (n for n in range(2))), KeyError, counted)
    assert run(calls) == (["KeyError"] * 2, ["fails"] * 2)


# --- bad input


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (lambda: cond(1, 2, 3, 4), ArgumentError, "pairs of a test"),
        (lambda: catch(1, KeyError, told, OSError), ArgumentError, "followed by what to do"),
        (lambda: catch(1, "KeyError", told), ArgumentError, "no class of Exceptions"),
        (lambda: catch(1, KeyboardInterrupt, told), ArgumentError, "no class of Exceptions"),
        (lambda: catch(1, KeyError, 5), ArgumentError, "a task or a function is needed, not a int"),
        (lambda: throw(5), ArgumentError, "an Exception is needed"),
        (lambda: compose(), ArgumentError, "at least one"),
        (lambda: seq(5), ArgumentError, "a list is needed"),
        (lambda: p.add.partial(z=1), ArgumentError, "unexpected keyword argument 'z'"),
        (lambda: p.add.partial(1).partial(2, 3), ArgumentError, "too many positional"),
        (lambda: p.add.partial(1).options(retry=3), TaskError, "no option 'retry'"),
        (lambda: p.double(1).bit_length(), LazyValueError, "has not run yet"),
        (lambda: list(p.double(1)), LazyValueError, "has not run yet"),
        (lambda: task(nout=0)(plus_hundred), TaskError, "at least 1"),
        (lambda: task(nout=True)(plus_hundred), TaskError, "at least 1"),
    ],
)
def test_what_cannot_be_is_said_when_it_is_written(make, error, problem):
    with pytest.raises(error, match=problem):
        make()


@pytest.mark.parametrize(
    ("make", "error", "problem"),
    [
        (lambda: map_(p.double, p.double(3)), ArgumentError, "a list is needed, and this is a int: 6"),
        (lambda: map_(p.double, "text"), ArgumentError, "this is a str"),
        (lambda: flatten([[1], p.double(1)]), ArgumentError, "this is a int"),
        (lambda: starmap(p.add, numbers(1)), ArgumentError, "this is a int"),
        (lambda: catch_all(p.double(1), KeyError, counted), ArgumentError, "this is a int"),
        (lambda: p.double(1)(2), ArgumentError, "turned out to be a int"),
        (lambda: join(p.double(1)), ArgumentError, "what fork gives is needed"),
        (lambda: [*pair(1)], NotUnpackable, "taken apart into 3, and has 2"),
        (lambda: p.make_endless(1), EndlessCall, "waits for its own result"),
        (lambda: p.add(p.make_endless(1)), EndlessCall, "waits for its own result"),
        (lambda: catch(p.fails_rudely(), p.Rude, p.fails_rudely), ArgumentError, "fails_rudely"),
        (lambda: catch(p.fails_rudely(), OSError, told), p.Rude, ""),
    ],
)
def test_what_turns_out_wrong_is_said_and_harms_no_sibling(run, make, error, problem):
    with pytest.raises(error) as caught:
        run([make(), p.double(77)])
    assert error is p.Rude or problem in str(caught.value)
    assert run(p.double(77)) == (154, [])


def test_a_rude_error_is_caught_like_any_other(run):
    assert run(catch(p.fails_rudely(), p.Rude, plus_nothing))[0] == "nothing"
    assert run(catch([p.make_endless(1), p.double(1)], TaskError, plus_nothing)) == ("nothing", ["double"])
    with pytest.raises(TypeError):
        run(catch(p.fails_unpicklably(), p.Unpicklable, plus_nothing))


def test_a_branch_that_is_not_taken_is_no_reason_to_run_again(run):
    run(cond(p.double(1) > 1, p.add(1), p.total([1])))
    assert run(cond(p.double(1) > 1, p.add(1), p.total([1]))) == (11, [])


def test_tasks_of_a_function_work_and_are_looked_up_one_by_one(run):
    ran = []

    @task(version="1", namespace="control")
    def inner(x: int) -> int:
        ran.append(x)
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert run(cond(inner(1), catch(inner(2), KeyError, lambda error: 0), 3))[0] == 2
            assert run(map_(inner, [1, 2]))[0] == [1, 2]
    assert ran == [1, 2]


def test_a_chain_of_failures_is_no_recursion(run):
    call = p.fails(1)
    for _ in range(3000):
        call = p.add(call)
    with pytest.raises(KeyError):
        run(call)
    nested: Any = p.double(1)
    for _ in range(60):
        nested = cond(True, nested, 0)
    assert run(nested)[0] == 2


@pytest.mark.thorough
def test_to_a_type_checker_it_is_the_result(tmp_path):
    source = tmp_path / "typed.py"
    source.write_text(
        "from valuestore import catch, cond, const, fork, join, map_, seq, task, zip_\n"
        "@task\ndef f(x: int) -> int: return x\n"
        "@task\ndef g(x: int) -> str: return str(x)\n"
        "@task\ndef h(x: int) -> tuple[int, str]: return x, ''\n"
        "@task\ndef r(e: ValueError) -> bytes: return b''\n"
        "reveal_type(cond(True, f(1), g(1)))\n"
        "reveal_type(catch(f(1), ValueError, r))\n"
        "reveal_type(seq([f(1), f(2)]))\n"
        "reveal_type(map_(g, [1]))\n"
        "reveal_type(zip_([f(1)], [g(1)]))\n"
        "reveal_type(const(f(1), g(1)))\n"
        "reveal_type(join(fork(g(1))))\n"
        "a, b = h(1)\n"
        "reveal_type(b)\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(source)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "MYPYPATH": str(ROOT)}
    )
    shown = [
        line.partition("Revealed type is ")[2].strip('"')
        for line in ran.stdout.splitlines()
        if "Revealed" in line
    ]
    assert [each.replace("builtins.", "") for each in shown] == [
        "int | str", "int | bytes", "list[int]", "list[str]", "list[tuple[int, str]]", "int", "str", "str",
    ], ran.stdout  # fmt: skip


def test_errors_of_the_items_of_a_lazy_list_are_caught_one_by_one(run):
    ran = run(catch_all(map_(p.fails, identity([0, 1])), KeyError, as_task(texts)))
    assert ran[0] == ["'no 0'", "'no 1'"]


def texts(found: list[Any]) -> list[str]:
    return [str(one) for one in found]


def test_the_note_of_an_error_names_the_job_that_failed(run):
    with pytest.raises(KeyError) as caught:
        run(const(1, seq([p.fails(3)])))
    assert "control_pipeline.fails" in caught.value.__notes__[0] or ".fails, job" in caught.value.__notes__[0]
