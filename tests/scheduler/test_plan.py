"""What a plan says, against what the run then does; and that making one leaves nothing behind."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tests.scheduler import handle_pipelines as handles
from tests.statements import StatementCounter
from valuestore import File, Scheduler
from valuestore.values.code.trace import trace_refused

PIPELINE = """
    import importlib
    from pathlib import Path
    from valuestore import File, catch, cond, map_, task

    RATE = 2

    def rated(n):
        return n * RATE

    @task
    def load(file: File) -> str:
        return file.read_text()

    @task
    def scale(n: int) -> int:
        Path("ran").touch()
        return rated(n)

    @task
    def total(text: str, parts: list) -> int:
        return len(text) + sum(parts)

    @task
    def fails(n: int) -> int:
        raise ValueError(n)

    @task
    def rescue(error: Exception) -> int:
        return -1

    @task
    def main(path: str, count: int) -> int:
        return total(load(File(path)), [scale(n) for n in range(count)])

    @task
    def plain(n: int) -> list:
        return [scale(n), scale(n)]

    @task
    def reaches(name: str) -> int:
        return importlib.import_module(name).area()

    @task(cache=False)
    def now() -> int:
        return 1

    def flow(n):
        caught = catch(fails(n), Exception, rescue)
        return [cond(scale(n) > 3, scale(10), scale(20)), caught, map_(scale, [1, 2])]
"""


@pytest.fixture
def made(tmp_path, monkeypatch):
    """The pipeline as a module, with edits made to it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "a.txt").write_text("hello")
    serial = iter(range(100))

    def make(old="", new=""):
        text = textwrap.dedent(PIPELINE).replace(old, new) if old else textwrap.dedent(PIPELINE)
        sys.modules.pop("planned", None)
        (tmp_path / "planned.py").write_text(text + f"\n# {next(serial)}\n")
        import linecache

        linecache.clearcache()
        module = type(sys)("planned")
        module.__file__ = str(tmp_path / "planned.py")
        sys.modules["planned"] = module
        exec(compile(text, module.__file__, "exec"), module.__dict__)
        return module

    yield make
    sys.modules.pop("planned", None)


@pytest.fixture
def scheduler(tmp_path):
    with Scheduler(tmp_path / "repository") as scheduler:
        yield scheduler


def told(plan):
    return [(call.task.rpartition(".")[2], call.status) for call in plan.calls]


def reason(plan, task):
    return next(call.reason for call in plan.calls if call.task == f"planned.{task}")


def test_a_call_that_never_ran_would_run_and_nothing_runs(made, scheduler, tmp_path):
    p = made()
    plan = scheduler.plan([p.scale(1), p.total("x", [p.scale(1), p.scale(2)])])
    assert sorted(told(plan)) == [("scale", "run"), ("scale", "run"), ("total", "unknown")]
    assert reason(plan, "scale") == "no earlier execution ran this task"
    assert reason(plan, "total") == "until planned.scale has run"
    assert next(call.arguments for call in plan.calls if call.task == "planned.scale") == "n=1"
    assert not (tmp_path / "ran").exists()


def test_a_call_that_ran_is_cached_with_all_below_it(made, scheduler):
    p = made()
    scheduler.run(p.main("a.txt", 3))
    [call] = scheduler.plan(p.main("a.txt", 3)).calls
    assert (call.status, call.reason, call.arguments) == (
        "cached",
        "with the 5 calls below it",
        "path='a.txt', count=3",
    )


def test_a_file_that_changed_is_the_reason(made, scheduler, tmp_path):
    p = made()
    scheduler.run(p.main("a.txt", 2))
    (tmp_path / "a.txt").write_text("other words")
    plan = scheduler.plan([p.main("a.txt", 2), p.load(File("a.txt"))])
    assert told(plan) == [("main", "run"), ("load", "run")]
    assert reason(plan, "main") == "the file a.txt, which a call below it had, had changed"
    assert reason(plan, "load") == "the file a.txt, argument file, has changed"


def test_below_a_body_that_is_known_each_call_is_told(made, scheduler):
    scheduler.run(made().main("a.txt", 2))
    p = made("return rated(n)", "return rated(n) + 1")
    plan = scheduler.plan(p.main("a.txt", 2))
    assert told(plan) == [
        ("main", "cached"),
        ("total", "unknown"),
        ("load", "cached"),
        ("scale", "run"),
        ("scale", "run"),
    ]
    scheduler.run(p.main("a.txt", 2))
    assert (scheduler.execution.counts.done, scheduler.execution.counts.cached) == (3, 2)


def test_another_argument_is_the_reason(made, scheduler):
    p = made()
    scheduler.run(p.scale(1))
    assert reason(scheduler.plan(p.scale(5)), "scale") == "the argument n is another: 1 -> 5"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("RATE = 2", "RATE = 3", "planned.rated:RATE has changed"),
        ("return n * RATE", "return RATE * n", "planned.rated has changed"),
        ('Path("ran")', 'Path("run")', "planned.scale has changed"),
        (
            "@task\ndef scale",
            '@task(version="2")\ndef scale',
            "the version of the task is another: its code, then 2",
        ),
    ],
)
def test_the_code_that_changed_is_the_reason(made, scheduler, old, new, expected):
    scheduler.run(made().scale(1))
    plan = scheduler.plan(made(old, new).scale(1))
    assert told(plan) == [("scale", "run")]
    assert expected in reason(plan, "scale")


def test_what_is_not_cached_and_what_failed_run_again(made, scheduler):
    p = made()
    scheduler.run(p.now())
    assert (
        reason(scheduler.plan(p.now()), "now")
        == "results of this task are not cached, or could not be stored"
    )
    with pytest.raises(ValueError, match="1"):
        scheduler.run(p.fails(1))
    assert (
        reason(scheduler.plan(p.fails(1)), "fails") == "the call before it failed, and failures are not kept"
    )


def test_control_flow_goes_as_far_as_is_known(made, scheduler):
    p = made()
    assert ("rescue", "run") not in told(scheduler.plan(p.flow(3)))  # nobody catches what has not failed
    scheduler.run(p.scale(3))
    plan = scheduler.plan(p.flow(3))
    assert ("scale", "cached") in told(plan)
    assert [call.arguments for call in plan.calls if call.task == "planned.scale"] == [
        "n=3",
        "n=1",
        "n=2",
        "n=10",
    ]
    scheduler.run(p.flow(3))
    assert all(status == "cached" for task, status in told(scheduler.plan(p.flow(3))) if task != "fails")


def test_a_plan_writes_nothing(made, scheduler, tmp_path):
    p = made()
    scheduler.run(p.main("a.txt", 2))
    database = tmp_path / "repository" / ".valuestore" / "valuestore.db"
    before = scheduler.repository.stats(), sorted(map(str, tmp_path.rglob("*")))
    (tmp_path / "a.txt").write_text("x" * 50_000)
    with StatementCounter(scheduler.repository.database) as counted:
        scheduler.plan([p.main("a.txt", 2), p.plain(7), p.flow(1), p.total("y" * 50_000, [])])
        scheduler.repository.flush()
    assert {kind for kind in ("INSERT", "UPDATE", "DELETE") if counted.of(kind)} == set()
    assert (scheduler.repository.stats(), sorted(map(str, tmp_path.rglob("*")))) == before
    assert scheduler.execution.label.startswith("planned.main")
    assert database.exists()


def test_an_argument_without_identity_is_said(made, scheduler):
    [call] = scheduler.plan(made().scale(lambda: (yield))).calls
    assert (call.status, call.reason[:14]) == ("unknown", "it cannot run:")


@pytest.mark.skipif(bool(trace_refused()), reason=f"{trace_refused()}: nobody knows what a body reached")
def test_code_that_a_body_reached_is_the_reason(made, scheduler, tmp_path):
    p = made()
    (tmp_path / "shapes.py").write_text("def area():\n    return 4\n")
    scheduler.run(p.reaches("shapes"))
    assert told(scheduler.plan(p.reaches("shapes"))) == [("reaches", "cached")]
    del sys.modules["shapes"]
    (tmp_path / "shapes.py").write_text("def area():\n    return 5 + 0\n")
    plan = scheduler.plan(p.reaches("shapes"))
    assert told(plan) == [("reaches", "run")]
    assert "module shapes has changed; planned.reaches reached it when it ran" in reason(plan, "reaches")


def test_states_of_handles_are_neither_entered_nor_rolled_back(scheduler, tmp_path):
    def database():
        return handles.Database("db", str(tmp_path / "db"))

    scheduler.run(handles.read(handles.write_a(database())))
    plan = scheduler.plan(
        handles.read(handles.write_b(database()))
    )  # a run would roll back what write_a gave
    assert told(plan) == [("read", "unknown"), ("write_b", "run")]
    assert told(scheduler.plan(handles.read(handles.write_a(database())))) == [
        ("read", "cached"),
        ("write_a", "cached"),
    ]
    scheduler.run(handles.read(handles.write_a(database())))
    assert (scheduler.execution.counts.done, scheduler.execution.counts.cached) == (0, 2)
