"""Why a job ran, and what sets two executions apart."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import pandas as pd
import polars as pl
import pytest

from valuestore import File, Scheduler
from valuestore.errors import RecordNotFound
from valuestore.values.difference import difference

CODE = """
from valuestore import File, task

SCALE = 2

def helper(x):
    return x * SCALE

@task(namespace="w")
def scaled(x: object) -> object:
    return helper(x)

@task(namespace="w", version="1")
def versioned(x: int) -> int:
    return x

@task(namespace="w", cache=False)
def uncached(x: int) -> int:
    return x

@task(namespace="w")
def write(path: str) -> File:
    file = File(path)
    file.write("as it was written")
    return file

@task(namespace="w")
def read(file: File) -> str:
    return file.read_text()

@task(namespace="w")
def large(n: int) -> bytes:
    return bytes(range(256)) * n

@task(namespace="w")
def fails(x: int) -> int:
    raise ValueError(x)

@task(namespace="w")
def outer(n: int) -> list:
    return [scaled(x) for x in range(n)]
"""


def module(tmp_path: Path, code: str) -> types.ModuleType:
    """The code as a module, as if its file had been edited between two processes."""
    file = tmp_path / f"version_{len(list(tmp_path.glob('version_*')))}.py"
    file.write_text(code)
    spec = importlib.util.spec_from_file_location("pipeline_of_why", file)
    made = importlib.util.module_from_spec(spec)
    sys.modules["pipeline_of_why"] = made
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def run(repository, tmp_path):
    """Run a call of the module; why its last job ran."""

    def go(make_call, code=CODE):
        with Scheduler(repository) as scheduler:
            scheduler.run(make_call(module(tmp_path, code)))
        return repository.history.why(repository.history.jobs("-").all()[0])

    yield go
    sys.modules.pop("pipeline_of_why", None)


def kinds(explanation):
    return [reason.kind for reason in explanation.reasons]


def test_a_first_run_and_a_cached_one(run):
    first = run(lambda m: m.scaled(1))
    assert kinds(first) == ["first run"]
    assert first.compared_with is None
    again = run(lambda m: m.scaled(1))
    assert kinds(again) == ["cached"]
    assert again.compared_with == first.job_id


def test_a_job_without_a_call_was_an_earlier_one(run, repository):
    run(lambda m: m.versioned(1))
    repository.database.change(lambda driver: driver.change("UPDATE job SET call_hash = NULL"))
    assert run(lambda m: m.versioned(2)).compared_with is not None


def test_a_changed_argument_is_told_by_what_differs_inside(run):
    run(lambda m: m.scaled([1, 2, [3, 4], "text"]))
    [reason] = run(lambda m: m.scaled([1, 2, [3, 5], "text"])).reasons
    assert (reason.kind, reason.subject) == ("argument", "x")
    assert [(change.path, change.before, change.after) for change in reason.changes] == [("[2][1]", "4", "5")]


def test_a_changed_helper_is_told_with_a_diff_of_its_source(run):
    run(lambda m: m.scaled(1))
    found = run(lambda m: m.scaled(1), CODE.replace("x * SCALE", "x * SCALE + 0"))
    [reason] = found.reasons
    assert reason.kind == "code"
    assert "helper" in reason.subject, reason
    assert "-    return x * SCALE" in reason.diff
    assert "+    return x * SCALE + 0" in reason.diff


def test_a_changed_constant_is_told(run):
    run(lambda m: m.scaled(1))
    [reason] = run(lambda m: m.scaled(1), CODE.replace("SCALE = 2", "SCALE = 3")).reasons
    assert reason.kind == "code"
    assert "SCALE" in reason.subject


def test_code_and_arguments_may_both_have_changed(run):
    run(lambda m: m.scaled(1))
    found = run(lambda m: m.scaled(2), CODE.replace("SCALE = 2", "SCALE = 3"))
    assert kinds(found) == ["code", "argument"]


def test_a_bumped_version_is_told(run):
    run(lambda m: m.versioned(1))
    [reason] = run(lambda m: m.versioned(1), CODE.replace('version="1"', 'version="2"')).reasons
    assert reason.kind == "version"
    assert "1, then 2" in reason.sentence


def test_a_task_without_cache_says_so(run):
    run(lambda m: m.uncached(1))
    assert kinds(run(lambda m: m.uncached(1))) == ["not cached"]


def test_a_file_that_was_returned_and_changed_is_named(run, tmp_path):
    path = tmp_path / "out.txt"
    run(lambda m: m.write(str(path)))
    path.write_text("changed by somebody")
    [reason] = run(lambda m: m.write(str(path))).reasons
    assert (reason.kind, reason.subject) == ("file", str(path))


def test_a_file_that_was_given_and_changed_is_named(run, tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("before")
    run(lambda m: m.read(File(str(path))))
    path.write_text("after it")
    [reason] = run(lambda m: m.read(File(str(path)))).reasons
    assert (reason.kind, reason.subject) == ("file", str(path))


def test_one_of_many_files_is_compared_with_what_it_was_itself(run, tmp_path):
    paths = [tmp_path / name for name in ("a.txt", "b.txt")]
    for path in paths:
        path.write_text("before")
    for path in paths:
        run(lambda m, path=path: m.read(File(str(path))))
    paths[0].write_text("after")
    [reason] = run(lambda m: m.read(File(str(paths[0])))).reasons
    assert (reason.kind, reason.subject) == ("file", str(paths[0]))


@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
def test_a_lost_payload_is_told(run, repository):
    run(lambda m: m.large(1000))
    for digest in repository.history.payload_digests():
        repository.payloads.delete(digest)
    assert kinds(run(lambda m: m.large(1000))) == ["payload"]


def test_a_failure_before_is_told(run, repository):
    for _ in range(2):
        with pytest.raises(ValueError, match="3"):
            run(lambda m: m.fails(3))
    job = repository.history.jobs("-").all()[0]
    assert kinds(repository.history.why(job)) == ["failed"]


def test_the_nearest_call_shares_most_arguments(run, repository):
    run(lambda m: m.outer(3))
    found = run(lambda m: m.outer(4))
    jobs = repository.history.jobs("-").all()
    assert found.task == "w.outer"
    assert {kinds(repository.history.why(job))[0] for job in jobs} == {"cached", "argument"}


def test_why_is_asked_of_jobs(run, repository):
    run(lambda m: m.scaled(1))
    for wrong in ("-", "nothing", repository.history.calls().first()):
        with pytest.raises(RecordNotFound):
            repository.history.why(wrong)


def test_executions_are_compared_job_by_job(run, repository):
    run(lambda m: m.outer(2))
    run(lambda m: m.outer(3))
    run(lambda m: m.outer(3))
    run(lambda m: m.outer(3), CODE.replace("SCALE = 2", "SCALE = 5"))
    history = repository.history
    grown = history.diff("~3", "~2")
    assert [job.result for job in grown.added] == ["4"]
    assert [pair.after.task for pair in grown.changed] == ["w.outer"]
    assert (grown.removed, grown.differ, grown.rerun, grown.equal) == ((), (), (), 2)
    same = history.diff("~2", "~1")
    assert same.is_same
    assert same.equal >= 1
    changed = history.diff("~2", "-")
    assert {(pair.before.result, pair.after.result) for pair in changed.differ} >= {("2", "5"), ("4", "10")}
    assert {pair.after.status for pair in changed.rerun} == {"done"}
    assert not changed.is_same


def test_a_call_made_twice_is_compared_once(run, repository):
    twice = (
        CODE
        + """
@task(namespace="w")
def shared(n: int) -> list:
    one = scaled(n)
    return [one, versioned(one), versioned(one + 0)]
"""
    )
    run(lambda m: m.shared(2), twice)
    run(lambda m: m.shared(2), twice)
    found = repository.history.diff("~1", "-")
    assert (found.added, found.removed, found.differ) == ((), (), ())
    assert found.equal == 3


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ({"a": 1}, {"a": 2}, ['["a"] 1 2']),
        ({"a": 1}, {"b": 1}, ['["a"] 1 None', '["b"] None 1']),
        ([1, 2, 3], [1, 9, 2, 3], ["[1] None 9"]),
        ([1, 2, 3], [1, 3], ["[1] 2 None"]),
        ([1], [1.0], ["[0] 1 1.0"]),
        (1, "1", [' 1 "1"']),
        ([True], [1], ["[0] true 1"]),
        ([], [], []),
        ({"a": [{"b": (1, 2)}]}, {"a": [{"b": (1, 3)}]}, ['["a"][0]["b"][1] 2 3']),
    ],
)
def test_differences_name_the_place(before, after, changes):
    found = [f"{change.path} {change.before} {change.after}" for change in difference(before, after)]
    assert found == changes


def test_differences_are_bounded():
    assert len(difference(list(range(10_000)), list(range(1, 20_000, 2)))) == 20
    deep, other = [1], [2]
    for _ in range(500):
        deep, other = [deep], [other]
    [change] = difference(deep, other)
    assert len(change.before) <= 200
    assert json.loads(json.dumps(change.path))


# --- frames ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [pd.DataFrame, lambda columns: {"inside": pl.DataFrame(columns)}])
def test_a_frame_says_which_column_changed(repository, tmp_path, make):
    code = CODE.replace("x * SCALE", "[x]")
    with Scheduler(repository) as scheduler:
        for price in (3.0, 4.0):
            call = module(tmp_path, code).scaled(make({"price": [1.0, price] * 5000, "city": ["x"] * 10_000}))
            scheduler.run(call)
    [reason] = repository.history.why(repository.history.jobs("-").all()[0]).reasons
    assert reason.sentence.endswith("column `price` differs in 5,000 of 10,000 rows, first in 1")
    assert [(change.path[-9:], change.before, change.after) for change in reason.changes] == [
        ('["price"]', "3.0", "4.0")
    ]


def test_frames_that_are_too_large_or_gone_differ_by_their_previews(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("valuestore.values.difference._COMPARED_TABLE_MAX_BYTES", 100)
    code = CODE.replace("x * SCALE", "[x]")
    with Scheduler(repository) as scheduler:
        for price in (3.0, 4.0):
            scheduler.run(module(tmp_path, code).scaled(pd.DataFrame({"price": [price]})))
    [reason] = repository.history.why(repository.history.jobs("-").all()[0]).reasons
    assert reason.sentence == "the argument x is another"
    assert "[[3.0]]" in reason.changes[0].before
