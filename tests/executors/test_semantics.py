"""What tasks mean is what it is on threads: files, captured files, handles, hooks, warnings, classes.

Each pipeline runs on threads and then, in a repository of its own, on processes; what is recorded is equal.
"""

from __future__ import annotations

import warnings

import pytest

from tests.executors import pipelines
from tests.scheduler import handle_pipelines, test_capture
from tests.scheduler.test_hooks import Traced
from tests.scripts import printed
from valuestore import File, Repository, Scheduler
from valuestore.errors import UndeclaredReadWarning, ValuestoreWarning, WorkerMismatch
from valuestore.testing.executor_contract import recorded


@pytest.fixture
def both(tmp_path, processes, monkeypatch):
    """Runs what each maker makes, one after the other: what that gave, and how many bodies ran."""

    def both(*makers, begin=lambda: None):
        found = []
        for name, executor in (("threads", "threads"), ("processes", processes)):
            folder = tmp_path / "run"
            folder.mkdir(exist_ok=True)
            monkeypatch.chdir(folder)
            begin()
            with (
                Repository.open(tmp_path / name) as repository,
                Scheduler(repository, executor=executor) as scheduler,
            ):
                given = [(str(scheduler.run(make())), scheduler.execution.counts.done) for make in makers]
                found.append((given, recorded(repository)))
        assert found[1] == found[0]
        return found[0][0]

    return both


def test_a_file_that_changes_while_its_body_runs_makes_no_result(tmp_path, both):
    with pytest.warns(ValuestoreWarning, match="not cached: given.txt .*changed while it ran") as said:
        (first, second) = both(
            *[lambda: pipelines.read_slowly(File("given.txt"), "given.txt")] * 2,
            begin=lambda: File("given.txt").write("as it was"),
        )
    assert first == ("as it was", 1)
    assert second[0] == "changed"
    assert len(said) >= 2  # once on threads, once at home for the worker


def test_what_is_kept_verifies(tmp_path, processes):
    with Repository.open(tmp_path) as repository, Scheduler(repository, executor=processes) as scheduler:
        assert scheduler.run(pipelines.length(pipelines.give(1, 1))) == 1 << 20
        assert (repository.verify().exit_code, repository.verify().findings) == (0, [])


def test_captured_files_come_back(both):
    def again():
        File("made.txt").remove()
        return test_capture.write("made.txt", "x" * 100_000)

    first, second = both(lambda: test_capture.write("made.txt", "x" * 100_000), again)
    assert (first[1], second[1]) == (1, 0)


def test_handles_advance_and_are_rolled_back(tmp_path, both):
    def database():
        return handle_pipelines.Database("main", str(tmp_path / "database.db"))

    def begin():
        (tmp_path / "database.db").unlink(missing_ok=True)

    def longer():
        return handle_pipelines.write_named(handle_pipelines.write_a(database()), "c")

    found = both(
        lambda: handle_pipelines.read(handle_pipelines.write_b(handle_pipelines.write_a(database()))),
        longer,  # on an older state: what came from it is rolled back
        longer,
        lambda: handle_pipelines.read(handle_pipelines.write_b(handle_pipelines.write_a(database()))),
        begin=begin,
    )
    assert found[0] == ("['a', 'b']", 3)
    assert found[2][1] == 0
    assert found[3][1] > 0


def test_hooks_are_called_there(both):
    first, second = both(*[lambda: pipelines.history_of(pipelines.pass_on(Traced()))] * 2)
    assert first[0] == second[0]
    assert "returned" in first[0]
    assert second[1] == 0


def test_an_undeclared_read_is_said_once_and_at_home(tmp_path, processes, capfd):
    with warnings.catch_warnings(record=True) as said, Scheduler(tmp_path, executor=processes) as scheduler:
        warnings.simplefilter("always")
        scheduler.run([pipelines.read_environment(n) for n in range(8)])
    [told] = [one for one in said if one.category is UndeclaredReadWarning]
    assert "EXECUTORS_TEST" in str(told.message)
    assert capfd.readouterr().err == ""


def test_a_global_that_only_the_scheduler_changed_is_told_of(tmp_path, processes, monkeypatch):
    monkeypatch.setitem(pipelines.SETTINGS, "factor", 3)
    match = "or other globals; .* sees no globals that the program changed"
    with (
        Scheduler(tmp_path, executor=processes) as scheduler,
        pytest.raises(WorkerMismatch, match=match),
    ):
        scheduler.run(pipelines.scaled(2))


CLASS = """
from dataclasses import dataclass
from valuestore import task

@dataclass
class Shape:
    n: int
    def area(self):
        return {area}

@task(namespace="shapes")
def measure(shape):
    return shape.area()
"""
RUNS = """
import shapes
from valuestore import Scheduler

with Scheduler(".", executor="processes", workers=1) as scheduler:
    print(scheduler.run(shapes.measure(shapes.Shape(3))), scheduler.execution.counts.done)
"""


def test_methods_of_classes_of_arguments_count(tmp_path):
    def prints(area):
        (tmp_path / "shapes.py").write_text(CLASS.format(area=area))
        return printed(RUNS, tmp_path)

    assert prints("self.n * 2") == "6 1\n"
    assert prints("self.n * 2") == "6 0\n"
    assert prints("self.n * self.n") == "9 1\n"
