"""Memoize: eager calls that share identity, results and records with the tasks of their functions."""

from __future__ import annotations

import importlib
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.scheduler import handle_pipelines as handles
from valuestore import File, Repository, Scheduler, memoize, task
from valuestore.errors import NotHashableError, StoreClosed, TaskError, ValuestoreWarning
from valuestore.scheduler import memoize as room
from valuestore.values.code.trace import trace_refused

SOURCE = """
import importlib
from tests.scheduler import handle_pipelines as handles
from valuestore import File, memoize, task

FACTOR = 2
TABLE = {"factor": 2}

class Model:
    def __init__(self, weight):
        self.weight = weight
    def score(self):
        return self.weight + 1

def helper(x):
    return x * FACTOR

def scale(x, times=1):
    print("scale")
    return helper(x) * times

def score(model):
    print("score")
    return model.score()

def reach(name):
    print("reach")
    return importlib.import_module(name).Square().area()

def listed(*parts):
    print("listed")
    return [*parts, [0]]

scaled = memoize(scale)
scored = memoize(score)
reached = memoize(reach)
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """``program(source)`` is the module of that source, as a program started anew has it, in its folder."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)

    def load(source=SOURCE, name="memoprogram"):
        (tmp_path / f"{name}.py").write_text(source)
        for known in ("memoprogram", "shapes"):
            sys.modules.pop(known, None)
        importlib.invalidate_caches()
        return importlib.import_module("memoprogram") if name == "memoprogram" else None

    yield load
    for known in ("memoprogram", "shapes"):
        sys.modules.pop(known, None)
    for opened in room._opened.values():
        if (repository := opened.take()) is not None:
            repository.close()
    room._opened.clear()


@pytest.fixture
def ran(capsys):
    """``ran()`` is the names of the bodies that ran since."""
    return lambda: capsys.readouterr().out.split()


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path) as repository:
        yield repository


def rows(tmp_path):
    with Repository.open(tmp_path) as repository:
        return repository.stats().rows


# --- one cache and one record, with tasks -----------------------------------------------------------


def test_the_first_call_runs_the_body_and_the_next_finds_its_result(program, ran):
    own = program()
    assert (own.scaled(3), ran()) == (6, ["scale"])
    assert (own.scaled(3), ran()) == (6, [])
    assert (own.scaled(4), ran()) == (8, ["scale"])


def test_a_miss_is_recorded_as_a_run_of_one_job_and_a_hit_writes_no_row(program, repository):
    own = program()
    scaled = repository.memoize(own.scale)
    scaled(3)
    before = repository.stats().rows
    assert (before["execution"], before["job"], before["task"]) == (1, 1, 1)
    for _ in range(5):
        scaled(3)
    assert repository.stats().rows == before
    (job,) = repository.history.jobs()
    assert (job.task, job.status) == ("memoprogram.scale", "done")


def test_a_task_and_a_memoized_function_find_each_others_results(program, repository, ran):
    own = program()
    scaled, scale = repository.memoize(own.scale), task(own.scale)
    with Scheduler(repository) as scheduler:
        assert (scheduler.run(scale(3, times=2)), scaled(3, 2), ran()) == (12, 12, ["scale"])
        assert (scaled(x=4), scheduler.run(scale(4)), ran()) == (8, 8, ["scale"])
    assert repository.stats().rows["task"] == 1


def test_defaults_and_keywords_are_one_call(program, ran):
    own = program()
    assert [own.scaled(3), own.scaled(3, 1), own.scaled(x=3), own.scaled(times=1, x=3)] == [6] * 4
    assert ran() == ["scale"]
    with pytest.raises(TypeError):
        own.scaled(3, wrong=1)


def test_options_are_those_of_tasks(program, repository):
    own = program()
    repository.memoize(own.scale, version="3", name="other", namespace="here", tags={"a": 1})(3)
    (job,) = repository.history.jobs()
    assert job.task == "here.other"
    with pytest.raises(TaskError, match="executor"):
        memoize(own.scale, executor="threads")
    with pytest.raises(TaskError, match="timeout_seconds.*the thread of who calls it"):
        memoize(own.scale, timeout_seconds=1)
    with pytest.raises(TaskError, match="colour"):
        memoize(own.scale, colour="red")


def test_the_repository_may_be_a_place_and_is_opened_at_the_first_call(program, tmp_path, monkeypatch):
    own = program()
    there = memoize(repository=tmp_path / "there")(own.scale)
    assert not {"there", ".valuestore"} & {*os.listdir()}
    assert (there(3), own.scaled(3)) == (6, 6)
    assert {"there", ".valuestore"} <= {*os.listdir()}


def test_a_closed_repository_says_so(program, tmp_path):
    own = program()
    with Repository.open(tmp_path) as repository:
        scaled = repository.memoize(own.scale)
        scaled(3)
    with pytest.raises(StoreClosed):
        scaled(3)


# --- what changes what it gives ----------------------------------------------------------------------


@pytest.mark.parametrize("edit", [("FACTOR = 2", "FACTOR = 3"), ("x * FACTOR", "x + x + x")])
def test_an_edit_between_two_programs_runs_it_again(program, ran, edit):
    assert (program().scaled(3), ran()) == (6, ["scale"])
    assert (program(SOURCE.replace(*edit)).scaled(3), ran()) == (9, ["scale"])
    assert (program().scaled(3), ran()) == (6, [])


def test_a_name_that_leads_elsewhere_counts_at_once(program, ran):
    own = program()
    assert own.scaled(3) == 6
    own.FACTOR = 5
    assert own.scaled(3) == 15
    own.helper = lambda x: -x
    assert own.scaled(3) == -3
    own.FACTOR, own.helper = 2, program().helper
    assert own.scaled(3) == 6
    assert ran() == ["scale"] * 3


def test_code_that_arguments_bring_counts(program, ran):
    assert (program().scored(sys.modules["memoprogram"].Model(1)), ran()) == (2, ["score"])
    own = program()
    assert (own.scored(own.Model(1)), ran()) == (2, [])
    own = program(SOURCE.replace("weight + 1", "weight + 2"))
    assert (own.scored(own.Model(1)), ran()) == (3, ["score"])


def test_a_file_in_a_result_is_made_again_when_it_changes(program, tmp_path, ran):
    own = program(
        SOURCE
        + "@memoize\ndef written(text):\n    print('written')\n    file = File('out.txt')\n"
        + "    with file.open('w') as out:\n        out.write(text)\n    return {'file': file}\n"
    )
    assert own.written("a")["file"].read_text() == "a"
    assert (own.written("a")["file"].read_text(), ran()) == ("a", ["written"])
    (tmp_path / "out.txt").write_text("b")
    assert (own.written("a")["file"].read_text(), ran()) == ("a", ["written"])
    (tmp_path / "out.txt").unlink()
    assert (own.written("a")["file"].read_text(), ran()) == ("a", ["written"])


def test_a_file_among_the_arguments_counts_by_its_content(program, repository, tmp_path):
    program()
    read = repository.memoize(lambda file: file.read_text(), name="read", version=1)
    (tmp_path / "in.txt").write_text("a")
    assert read(File("in.txt")) == "a"
    (tmp_path / "in.txt").write_text("bb")
    assert read(File("in.txt")) == "bb"


def test_every_caller_has_an_object_of_its_own(program, repository):
    listed = repository.memoize(program().listed)
    given = [1]
    first = listed(given)
    first[1].append("mine")
    given.append(2)
    second = listed([1])
    second[0].append("mine")
    assert listed([1]) == [[1], [0]]
    assert listed(given) == [[1, 2], [0]]


def test_damage_is_computed_again(program, repository, ran):
    scaled = repository.memoize(program().scale)
    scaled(3)
    repository.database.change(
        lambda driver: driver.change("UPDATE value SET inline = x'00' WHERE preview = '6'")
    )
    with pytest.warns(ValuestoreWarning, match="computed again"):
        assert scaled(3) == 6
    assert (scaled(3), ran()) == (6, ["scale", "scale"])


def test_an_error_is_raised_as_it_is_and_recorded(program, repository):
    @repository.memoize
    def fails(x):
        raise KeyError(x)

    for _ in range(2):
        with pytest.raises(KeyError, match="7"):
            fails(7)
    assert [job.status for job in repository.history.jobs()] == ["failed", "failed"]


def test_what_has_no_identity_is_refused(program):
    with pytest.raises(NotHashableError, match="argument x"):
        program().scaled(threading.Lock())


# --- what it does not take, and calls -----------------------------------------------------------------


@task
def one_more(x):
    return x + 1


@pytest.mark.parametrize("given", [one_more(1), [one_more(1)], one_more(1) + 1, {"a": (one_more(1),)}])
def test_a_call_that_has_not_run_is_no_argument(program, repository, given):
    with pytest.raises(TaskError, match="has not run"):
        repository.memoize(program().listed)(given)


def test_async_functions_and_tasks_are_refused(program):
    async def coroutine():
        return 1

    with pytest.raises(TaskError, match="async"):
        memoize(coroutine)
    with pytest.raises(TaskError, match="already"):
        memoize(one_more)


def test_calls_that_a_function_returns_are_run(repository, ran):
    @repository.memoize
    def more(x):
        print("more")
        return [one_more(x), one_more(x + 1)]

    assert (more(1), more(1), ran()) == ([2, 3], [2, 3], ["more"])


def test_in_a_body_such_calls_are_refused(repository):
    @repository.memoize
    def more(x):
        return one_more(x)

    @repository.memoize
    def outer(x):
        return more(x)

    with pytest.raises(TaskError, match="returned calls"):
        outer(1)


def test_methods_take_their_object_as_an_argument(program, ran):
    own = program(SOURCE.replace("    def score(self)", "    @memoize\n    def score(self)"))
    ran()
    assert [own.Model(2).score(), own.Model(2).score(), own.Model(3).score()] == [3, 3, 4]


def test_a_handle_that_was_given_to_others_meanwhile_is_rolled_back(repository, tmp_path):
    handles.RAN.clear()
    database = handles.Database("d", str(tmp_path / "d.db"))
    write_a, write_b = (
        repository.memoize(one.func, version="1") for one in (handles.write_a, handles.write_b)
    )
    for write in (write_a, write_a, write_b, write_a):
        write(database)
    assert handles.RAN == ["a", "b", "a"]


# --- in bodies ----------------------------------------------------------------------------------------

OUTER = (
    SOURCE
    + """
@task
def outer(x):
    print("outer")
    return scaled(x) + 1

@task
def outer_reach(name):
    print("outer_reach")
    return reached(name) + 1
"""
)
SHAPES = "class Square:\n    def area(self):\n        return 4\n"


def test_a_task_that_calls_one_depends_on_its_code(program, repository, ran):
    with Scheduler(repository) as scheduler:
        assert (scheduler.run(program(OUTER).outer(3)), ran()) == (7, ["outer", "scale"])
        assert (scheduler.run(program(OUTER).outer(3)), ran()) == (7, [])
        edited = program(OUTER.replace("FACTOR = 2", "FACTOR = 3"))
        assert (scheduler.run(edited.outer(3)), ran()) == (10, ["outer", "scale"])


def test_having_called_it_changes_no_identity(program, repository):
    own = program(OUTER)
    registry = repository.archive.registry
    before = own.outer.code(registry)
    own.scaled(3)
    own.scaled(3)
    assert own.outer.code(registry) == before
    assert any("helper" in name for name in before)


@pytest.mark.skipif(bool(trace_refused()), reason=trace_refused())
@pytest.mark.parametrize("is_known", [False, True])
def test_a_task_that_calls_one_depends_on_what_that_reaches(program, repository, ran, is_known):
    program(SHAPES, "shapes")
    with Scheduler(repository) as scheduler:
        own = program(OUTER)
        if is_known:
            assert own.reached("shapes") == 4
            own = program(OUTER)
        assert scheduler.run(own.outer_reach("shapes")) == 5
        assert ran() == [*(["reach"] if is_known else []), "outer_reach", "reach"]
        program(SHAPES.replace("4", "9"), "shapes")
        assert scheduler.run(program(OUTER).outer_reach("shapes")) == 10


# --- threads and processes ----------------------------------------------------------------------------


def test_many_threads_may_call_it(program, ran):
    own = program()
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: own.scaled(i % 5), range(200))) == [2 * (i % 5) for i in range(200)]
        ran()
        assert list(pool.map(own.scaled, range(5))) == [0, 2, 4, 6, 8]
    assert ran() == []


def test_one_that_calls_itself(repository):
    @repository.memoize
    def fib(n):
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(20) == 6765
    assert repository.stats().rows["job"] == 21


def test_the_body_runs_in_the_thread_of_its_caller(repository):
    where = repository.memoize(lambda: threading.get_ident(), name="where", version=1)
    assert where() == threading.get_ident()


def test_a_child_finds_what_its_parent_knew_and_adds_to_it(program, ran):
    own = program()
    own.scaled(3)
    ran()
    if (child := os.fork()) == 0:
        os._exit(0 if own.scaled(3) == 6 and own.scaled(4) == 8 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (own.scaled(4), ran()) == (8, [])
