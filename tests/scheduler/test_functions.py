"""Functions and tasks as arguments and results: what they do counts, and one that is gone is no crash."""

from __future__ import annotations

import functools
import importlib
import sys

import pytest

from valuestore import Scheduler
from valuestore.errors import NotHashableError

SOURCE = """
import functools
from valuestore import task
import tests.scheduler.test_functions as log

FACTOR = 2

def helper(x):
    return x * FACTOR

def scale(x):
    return helper(x)

@task(version="1")
def apply(function, x):
    log.ran("apply")
    return function(x)

@task(version="1")
def choose(name):
    log.ran("choose")
    return {"chosen": globals()[name], "name": name}

@task
def inc(x):
    return x + 1

@task(version="1")
def call_task(what, x):
    log.ran("call_task")
    return what(x)
"""

RAN: list[str] = []


def ran(name):
    RAN.append(name)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """``program(source)`` is the module of that source, as a program started anew has it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def load(source=SOURCE):
        (tmp_path / "funcprogram.py").write_text(source)
        sys.modules.pop("funcprogram", None)
        importlib.invalidate_caches()
        return importlib.import_module("funcprogram")

    yield load
    sys.modules.pop("funcprogram", None)


@pytest.fixture
def run(tmp_path):
    """``run(call)`` gives the result and what ran, in a repository opened anew."""

    def run(call):
        RAN.clear()
        with Scheduler(tmp_path / "repository") as scheduler:
            return scheduler.run(call), list(RAN)

    return run


def test_a_task_given_a_function_reruns_when_a_helper_of_the_function_changes(program, run):
    own = program()
    assert run(own.apply(own.scale, 5)) == (10, ["apply"])
    own = program(SOURCE + "# a comment\n")
    assert run(own.apply(own.scale, 5)) == (10, [])
    own = program(SOURCE.replace("FACTOR = 2", "FACTOR = 3"))
    assert run(own.apply(own.scale, 5)) == (15, ["apply"])


def test_partials_and_library_functions_are_arguments(program, run):
    own = program()
    assert run(own.apply(functools.partial(pow, 2), 5)) == (32, ["apply"])
    assert run(own.apply(functools.partial(pow, 2), 5)) == (32, [])
    assert run(own.apply(functools.partial(pow, 3), 5)) == (243, ["apply"])
    assert run(own.apply(str, 5)) == ("5", ["apply"])


def test_a_cached_function_that_changed_or_went_away_is_computed_again(program, run):
    own = program()
    assert run(own.choose("scale")) == ({"chosen": own.scale, "name": "scale"}, ["choose"])
    assert run(own.choose("scale"))[1] == []
    changed = program(SOURCE.replace("FACTOR = 2", "FACTOR = 3"))
    result, names = run(changed.choose("scale"))
    assert (result["chosen"](1), names) == (3, ["choose"])
    gone = program(SOURCE.replace("def scale", "def rescale") + "\nscale = len\n")
    result, names = run(gone.choose("scale"))
    assert (result["chosen"]("abc"), names) == (3, ["choose"])


def test_tasks_are_arguments_and_count_by_their_code(program, run):
    own = program()
    assert run(own.call_task(own.inc, 1)) == (2, ["call_task"])
    assert run(own.call_task(own.inc, 1)) == (2, [])
    own = program(SOURCE.replace("x + 1", "x + 10"))
    assert run(own.call_task(own.inc, 1)) == (11, ["call_task"])
    assert run(own.call_task(functools.partial(own.inc), 1)) == (11, ["call_task"])


def test_local_functions_are_refused_by_name_of_the_argument(program, run):
    with pytest.raises(NotHashableError, match="argument function.*lambda"):
        run(program().apply(lambda x: x, 1))


@pytest.mark.timeout(30)
def test_arguments_that_share_parts_exponentially_often_are_refused_at_once(program, run):
    shared = [1]
    for _ in range(60):
        shared = [shared, shared]
    with pytest.raises(NotHashableError, match="argument x.*shared so often"):
        run(program().apply(str, shared))
