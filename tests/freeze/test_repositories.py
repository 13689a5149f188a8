"""Repositories that an earlier valuestore made are read whole, and a rerun in them runs no body.

If a body runs here, some digest, stored format or type name has moved. The fixture is not to be remade: see
make.py.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from contextlib import ExitStack

import pytest

from tests.freeze import pipeline, values
from tests.freeze.fixture import HERE, lay_out_postgres, lay_out_sqlite
from valuestore import Handle, Repository, Scheduler
from valuestore.cli.keep.adopt import find_unsigned, sign_value
from valuestore.errors import ValuestoreWarning
from valuestore.stores.wrappers import Cached, Layered
from valuestore.tasks.call import find_expressions

BECAME_VOUCHED = {
    "default dict": "what it calls for a missing key",
    **dict.fromkeys(
        [
            *["builtin function", "library function", "library class", "library module", "function", "class"],
            *["method", "module", "functions inside", "class of ours", "store class of ours"],
            *["wrapper class of ours", "method descriptor", "class method"],
        ],
        "a function, class or module by name",
    ),
    **dict.fromkeys(
        [
            *["bound method", "partial", "library partial", "item getter", "attribute getter"],
            "method caller",
        ],
        "calls others",
    ),
    **dict.fromkeys(["own class", "own list"], "an object of any class, by its state"),
    **dict.fromkeys(["opaque inside", "stores inside"], "a signed pickle that was not bound to its place"),
}
"""Values that load with a signature alone by now (docs/decisions/0017), and why."""
TASKS_BECAME_VOUCHED = {
    "apply": "is given a function",
    "countdown": "returns a call",
    "fan": "returns a call",
    "filled": "returns a call",
    "keep made": "returns a signed pickle inside a list",
    "keep_task": "returns a task",
    "nested": "returns calls",
    "put_on": "returns a handle",
    "tagged": "returns a call",
}
"""The same of what other tasks returned: a stored call, a task, a handle."""
EXECUTIONS = {"sqlite": 4, "postgresql": 3}
"""Cold, again, failed; and script.py on SQLite."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def again_from_nothing(request, tmp_path_factory):
    """The frozen repository, and a new one in which the pipeline ran cold, in the same folder."""
    place = tmp_path_factory.mktemp("cold")
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.chdir(place)
        patch.setenv("XDG_CONFIG_HOME", str(place / "config"))
        if request.param == "sqlite":
            frozen = lay_out_sqlite(place)
        else:
            url = stack.enter_context(request.getfixturevalue("postgres_server").database())
            frozen = lay_out_postgres(place, url)
        old = stack.enter_context(frozen())
        new = stack.enter_context(Repository.open(place / "new", digest=old.algorithm))
        run_again(new)
        yield old, new


def run_again(repository):
    with Scheduler(repository) as scheduler:
        return scheduler.run(pipeline.everything()), scheduler.execution.counts


OTHER_STORES = {"keep tiered first", "keep tiered through"}
"""See BECAME_OTHERS."""


def test_a_rerun_runs_no_body_but_of_what_became_vouched(frozen, bodies):
    with frozen() as repository:
        with pytest.warns(ValuestoreWarning, match="no key signed it") as warned:
            run_again(repository)
        assert [each.category for each in warned].count(ValuestoreWarning) == 1
        vouched = {f"{verb} {name}" for verb in ("keep", "make") for name in BECAME_VOUCHED}
        assert set(bodies) == vouched | {*TASKS_BECAME_VOUCHED} | OTHER_STORES
        bodies.clear()
        assert run_again(repository)[1].done == 0
        assert bodies == []


def test_a_rerun_runs_no_body_and_gives_the_same_values(frozen, bodies):
    with frozen() as repository:
        adopt(repository)
        result, counts = run_again(repository)
        assert set(bodies) == OTHER_STORES
        assert (counts.done, counts.failed) == (2, 0)
        for name, value in values.every_value().items():
            expected = repository.put(value).value_hash
            for came in (result["kept"][name], result["made"][name]):
                assert type(came) is type(value), name
                assert repository.put(came).value_hash == expected, name
    assert result["code"] == [4, 11, 15, 10, 3.0]
    assert result["versions"] == [1, 6]
    assert result["calls"][0] == 6
    assert result["calls"][1]["operators"] == -20
    assert result["calls"][1]["containers"] == [12, (2, {2: 4}), {4, 7}]
    assert result["files"]["read all"] == ["one\n", "two\n", "x\n", "y\n"]
    assert result["files"]["script"].read_text() == "one\ntwo\n"
    assert result["files"]["captured"][0].read_text() == "captured"
    assert result["handle"]["on"] == ["first", "left", "right"]
    assert isinstance(result["handle"]["shelf"], Handle)
    assert result["stored calls"] == 16


def adopt(repository):
    """Sign what became vouched, as ``valuestore keys adopt --yes`` does."""
    for found in find_unsigned(repository):
        sign_value(repository, found)
    repository.flush()


def test_a_changed_argument_runs_its_own_body_alone(frozen, bodies):
    with frozen() as repository, Scheduler(repository) as scheduler:
        assert scheduler.run([pipeline.double(2), pipeline.double(77)]) == [4, 154]
    assert bodies == ["double"]


BECAME_OTHERS = (Cached, Layered)
"""What ``Tiered`` makes, which was a class of its own: such a store loads, and counts as another value.

So do expressions, which were trees and are graphs (docs/decisions/0021).
"""


def test_every_stored_value_comes_back_as_what_it_was(frozen, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setitem(sys.modules, "script", importlib.import_module("script"))
    with frozen() as repository:
        adopt(repository)
        hashes = [record.value_hash for record in repository.history.values()]
        run_again(repository)  # puts the captured file back, or its File would be another value by now
        assert len(hashes) > 300
        for value_hash in hashes:
            value = repository.get(value_hash)
            if not isinstance(value, BECAME_OTHERS) and not find_expressions(value):
                assert repository.put(value).value_hash == value_hash


def test_signed_values_are_signed_still(frozen, tmp_path):
    with frozen() as repository:
        adopt(repository)
    for key in (tmp_path / "config" / "valuestore" / "keys").iterdir():
        key.unlink(missing_ok=True)
    with frozen() as repository, pytest.raises(Exception, match="signed by key") as refused:
        for record in repository.history.values():
            repository.get(record.value_hash)
    assert type(refused.value).__name__ == "UntrustedPayload"


def test_history_is_there_to_be_asked(frozen, request):
    kind = request.node.callspec.params["frozen"]
    with frozen() as repository:
        history = repository.history
        executions = list(history.executions().order("oldest"))
        assert len(executions) == EXECUTIONS[kind]
        assert [one.status for one in executions[:3]] == ["done", "done", "failed"]
        assert history.jobs(executions[1].execution_id).where(status="cached").count() > 400
        failed = history.jobs().where(status="failed").one()
        assert failed.task == "tests.freeze.pipeline.fails"
        assert "no 1" in failed.error
        assert history.why(failed.job_id) is not None
        assert history.upstream("outputs/sorted.txt").steps
        assert history.downstream("inputs/a.txt").steps
        assert not history.diff(executions[0].execution_id, executions[1].execution_id).added
        assert {(one.key, one.value) for one in history.tags()} >= {
            ("run", "cold"),
            ("stage", "trial"),
            ("in", "job"),
            ("in", "execution"),
            ("checked", True),
            ("kind", "frozen"),
        }
        assert history.files().count() > 8
        assert len(history.query("SELECT * FROM jobs").rows) == history.jobs().count()


def test_a_program_finds_its_own_classes_in_signed_values(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with lay_out_sqlite(tmp_path)() as repository:
        adopt(repository)
    command = [sys.executable, "-W", "error", "script.py"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.stdout, ran.stderr) == ("0\n", "")


ROWS_OF_OTHER_RUNS = 15
"""Of the run that failed, of script.py, and of the value that was put by hand."""
ROWS_OF_OTHERS = {"argument": 4, "evaluation": 4 + 6, "call": 4 + 1}
"""Of two calls that are given a store that Tiered makes (see BECAME_OTHERS), of two that give one, and of six
that give calls with calls in their arguments: a step has another hash, and nothing else has. One call depends
on a file in what its body returned. What code calls depend on is said in more detail, and not compared."""
SIGNED = b"valuestore-signed"
ROWS = {
    "value": (
        "SELECT value_hash, type_name, codec, payload_digest, size, inline FROM value "
        "WHERE codec NOT IN ('arrow', 'png', 'pickle', 'signed') ORDER BY value_hash"
    ),
    "file": "SELECT value_hash, path, kind FROM file ORDER BY value_hash",
    "handle": "SELECT value_hash, name, class_name, key, is_valid FROM handle ORDER BY value_hash",
    "task": "SELECT task_hash, task_name, version FROM task ORDER BY task_hash",
    "dependency": (
        "SELECT task_hash, name, digest FROM dependency WHERE task_hash IN (SELECT task_hash FROM task) "
        "ORDER BY task_hash, name"
    ),
    "evaluation": "SELECT eval_hash, value_hash FROM evaluation ORDER BY eval_hash",
    "argument": "SELECT args_hash, position, name, value_hash FROM argument ORDER BY args_hash, position",
    "call": ("SELECT call_hash, args_hash, value_hash, external_set_hash FROM call_node ORDER BY call_hash"),
}


def rows(repository, query):
    """Those without a signature inside, which depends on the repository."""
    found = repository.history.query(query).rows
    texts = (tuple(bytes(part) if isinstance(part, memoryview) else part for part in row) for row in found)
    return {row for row in texts if not any(SIGNED in part for part in row if isinstance(part, bytes))}


@pytest.mark.parametrize("table", ROWS)
def test_a_cold_run_writes_the_rows_of_then(table, again_from_nothing):
    """Every digest of values, arguments, tasks, evaluations and calls, and all stored bytes that are ours."""
    old, new = again_from_nothing
    then, now = (rows(repository, ROWS[table]) for repository in (old, new))
    if table == "value":  # what became vouched has a signature beside its bytes
        signed = {row[0] for row in rows(new, "SELECT value_hash FROM value WHERE codec = 'signed'")}
        assert len(signed) > 30
        then = {row for row in then if row[0] not in signed}
    assert len(now - then) <= ROWS_OF_OTHERS.get(table, 0)
    assert len(then - now) <= ROWS_OF_OTHER_RUNS
