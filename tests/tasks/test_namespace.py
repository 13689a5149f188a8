"""Namespaces: what a module says of its tasks' names, in our spelling and in redun's."""

from __future__ import annotations

import sys
import types

import pytest

from valuestore import Scheduler, map_, task
from valuestore.errors import TaskError
from valuestore.values.registry import get_type_registry

PROGRAM = """
import functools
from valuestore import task

{said}

def twice(function):
    @functools.wraps(function)
    def both(*args):
        return 2 * function(*args)
    return both

@task
def plain(n: int) -> int:
    return n + 1

@task(namespace="mine")
def explicit(n: int) -> int:
    return n

@task(namespace="", name="bare")
def nowhere(n: int) -> int:
    return n

@task
@twice
def wrapped(n: int) -> int:
    return n

def outer():
    @task
    def inner(n: int) -> int:
        return n
    return inner

def helper(n: int) -> int:
    return 10 * n
"""


def module(said="", name="ns_program"):
    made = types.ModuleType(name)
    made.__file__ = f"/nowhere/{name}.py"
    exec(PROGRAM.format(said=said), vars(made))
    return made


@pytest.mark.parametrize(
    ("said", "namespace"),
    [
        ("", "ns_program"),
        ("valuestore_namespace = 'etl.daily'", "etl.daily"),
        ("redun_namespace = 'theirs'", "theirs"),
        ("redun_namespace = 'theirs'; valuestore_namespace = 'ours'", "ours"),
    ],
)
def test_a_module_names_its_tasks(said, namespace):
    made = module(said)
    assert made.plain.name == f"{namespace}.plain"
    assert made.wrapped.name == f"{namespace}.wrapped"
    assert made.outer().name == f"{namespace}.outer.inner"
    assert (made.explicit.name, made.nowhere.name) == ("mine.explicit", "bare")


def test_an_empty_namespace_is_none():
    assert module("valuestore_namespace = ''").plain.name == "plain"


def test_a_namespace_that_is_no_text_is_refused():
    with pytest.raises(TaskError, match="redun_namespace = 5 in ns_program: it is a str"):
        module("redun_namespace = 5")


def test_the_name_is_part_of_what_a_task_is_and_of_a_version_all_of_it():
    registry = get_type_registry()
    hashes = {
        (said, name, version): task(version=version)(
            module(f"valuestore_namespace = {said!r}", name).helper
        ).hash(registry)
        for said in ("one", "two")
        for name in ("here", "there")
        for version in (None, "1")
    }
    assert hashes["one", "here", None] != hashes["two", "here", None]
    assert hashes["one", "here", "1"] != hashes["two", "here", "1"]
    assert hashes["one", "here", "1"] == hashes["one", "there", "1"]
    assert hashes["one", "here", None] != hashes["one", "there", None]


SCRIPT = """
import sys
from valuestore import Scheduler, map_, task

valuestore_namespace = "study"

def shifted(n: int) -> int:
    return n + 1

@task(version="1")
def double(n: int) -> int:
    return 2 * n

@task
def main(n: int = 3) -> list[int]:
    return map_(shifted, [double(n)])

if __name__ == "__main__":
    with Scheduler("repository") as scheduler:
        print(main.name, scheduler.run(main()), scheduler.execution.counts.done)
"""


def test_a_script_may_move_and_is_not_warned_of(tmp_path, scripts):
    """Not even one that is called main.py, for its tasks are called ``study``; plain functions are found."""
    said = []
    for name in ("main.py", "main.py", "elsewhere.py"):
        (tmp_path / name).write_text(SCRIPT)
        ran = scripts.run(tmp_path / name, strict=True)
        assert ran.code == 0, ran.err
        said.append(ran.out)
    assert said[:2] == ["study.main [7] 4\n", "study.main [7] 0\n"]
    assert said[2].startswith("study.main [7] ")


def test_plain_functions_keep_the_name_of_their_module(tmp_path, monkeypatch):
    made = module("valuestore_namespace = 'spaced'")
    monkeypatch.setitem(sys.modules, "ns_program", made)
    for ran in (2, 0):
        with Scheduler(tmp_path) as scheduler:
            assert scheduler.run(map_(made.helper, [1])) == [10]
            assert scheduler.execution.counts.done == ran


def test_a_notebook_says_it_in_a_cell(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "__main__", main := types.ModuleType("__main__"))
    exec("valuestore_namespace = 'notebook'", vars(main))
    exec("from valuestore import task\n@task(version=1)\ndef cell():\n    return 1", vars(main))
    assert main.cell.name == "notebook.cell"


valuestore_namespace = "tests.own"


def test_a_nested_function_is_of_its_module():
    @task
    def nested() -> int:
        return 1

    assert nested.name == "tests.own.test_a_nested_function_is_of_its_module.nested"
