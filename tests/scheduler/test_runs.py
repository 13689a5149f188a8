"""Runs: what is computed, what is not, and what the caller gets."""

from __future__ import annotations

import inspect
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.scheduler import pipelines as p
from valuestore import File, Repository, Scheduler
from valuestore.errors import (
    ArgumentError,
    ConfigError,
    LazyValueError,
    NotHashableError,
    TaskError,
    ValuestoreWarning,
)
from valuestore.scheduler.code import Code


@pytest.fixture(autouse=True)
def forget():
    p.RAN.names.clear()


@pytest.fixture
def scheduler(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        yield scheduler


def ran():
    names = sorted(p.RAN.names)
    p.RAN.names.clear()
    return names


def again(tmp_path, call):
    """Run in a scheduler and repository opened anew."""
    with Scheduler(tmp_path) as other:
        return other.run(call)


def test_a_call_is_run_once_and_remembered_by_a_fresh_repository(tmp_path):
    assert again(tmp_path, p.double(4)) == 8
    assert ran() == ["double"]
    assert again(tmp_path, p.double(4)) == 8
    assert ran() == []


def test_a_task_that_could_not_be_told_once_is_told_at_the_next_call(tmp_path, monkeypatch):
    rows, failures = Code.task_row, [NotHashableError("code", "other threads change it")]

    def told(code, task):
        if failures:
            raise failures.pop()
        return rows(code, task)

    monkeypatch.setattr(Code, "task_row", told)
    with Scheduler(tmp_path) as scheduler:
        with pytest.raises(NotHashableError):
            scheduler.run([p.double(1), p.double(2)])
        assert scheduler.repository.history.jobs().where(task="double").count() == 2
    assert again(tmp_path, p.double(2)) == 4
    assert ran() == ["double"]


@pytest.mark.parametrize("value", [None, False, 0, "", [], ()])
def test_empty_results_are_results(tmp_path, value):
    from valuestore import task

    calls = []

    @task(name=f"empty{value!r}", version="1")
    def empty():
        calls.append(1)
        return value

    assert again(tmp_path, empty()) == value
    assert again(tmp_path, empty()) == value
    assert calls == [1]


def test_calls_nest_in_containers_arguments_and_operators(scheduler):
    expression = {
        "sum": p.add(p.double(1), y=p.double(2)),
        "tuple": (p.double(3) + 1, [1 - p.double(4)], -p.double(5)),
        "compare": p.double(2) > 3,
        "item": p.nested(1)["list"][1][0],
        "attribute": p.shape(3).height * 2,
        p.double(50): {p.double(6)},
    }
    assert scheduler.run(expression) == {
        "sum": 6,
        "tuple": (7, [-7], -10),
        "compare": True,
        "item": 4,
        "attribute": 8,
        100: {12},
    }


def test_tasks_may_return_calls_in_any_structure(tmp_path):
    expected = {"double": 6, "list": [13, (8, 5)], "plain": 3}
    assert again(tmp_path, p.nested(3)) == expected
    assert ran() == ["add", "double", "double", "nested"]
    assert again(tmp_path, p.nested(3)) == expected
    assert ran() == []


def test_equal_calls_in_one_run_are_run_once_however_they_are_spelt(scheduler):
    calls = [p.add(1), p.add(1, 10), p.add(1, y=10), p.add(x=1, y=10), p.add(y=10, x=1)]
    assert scheduler.run(calls) == [11] * 5
    assert ran() == ["add"]
    assert (scheduler.execution.counts.done, scheduler.execution.counts.cached) == (1, 4)


def test_variadic_and_keyword_only_parameters(scheduler):
    assert scheduler.run(p.variadic(1, 2, 3, scale=4, other=5)) == [1, 2, 3, 4, 5]
    assert scheduler.run(p.variadic(1)) == [1, 1]
    scheduler.run(p.variadic(1, scale=1))
    assert ran() == ["variadic", "variadic"]


def test_one_changed_leaf_runs_only_what_is_above_it(tmp_path):
    again(tmp_path, p.total([p.double(i) for i in range(20)]))
    ran()
    again(tmp_path, p.total([p.double(i) for i in [*range(19), 99]]))
    assert ran() == ["double", "total"]


def test_long_chains_of_calls_and_operators_do_not_overflow_the_stack(scheduler):
    call = p.double(0)
    for _ in range(2_000):
        call = p.add(call, 1)
    assert scheduler.run(call) == 2_000
    summed = p.double(0)
    for _ in range(3_000):
        summed = summed + 1
    assert scheduler.run(summed) == 3_000
    assert scheduler.run(p.countdown(1_500)) == 0


def test_call_that_waits_for_itself_is_an_error_not_a_hang(scheduler):
    with pytest.raises(TaskError, match="own result"):
        scheduler.run(p.make_endless(1))


def test_uncached_task_runs_in_every_execution_and_once_in_each(tmp_path):
    for _ in range(2):
        assert again(tmp_path, [p.uncached(1), p.uncached(1)]) == [1, 1]
    assert ran() == ["uncached", "uncached"]


def test_version_takes_the_place_of_code(tmp_path, monkeypatch):
    again(tmp_path, p.versioned(1))
    ran()
    monkeypatch.setattr(p.versioned, "func", lambda x: -1)
    with pytest.warns(ValuestoreWarning, match="version 1, ran with other code before"):
        assert again(tmp_path, p.versioned(1)) == 1
    assert again(tmp_path, p.versioned(1)) == 1  # said once
    monkeypatch.setattr(p.versioned, "version", "2")
    assert again(tmp_path, p.versioned(1)) == -1


def test_changed_constant_makes_a_task_run_again_in_the_same_process(scheduler, monkeypatch):
    assert scheduler.run(p.double(1)) == 2
    monkeypatch.setattr(p, "FACTOR", 3)
    assert scheduler.run(p.double(1)) == 3


def test_options_reach_the_task():
    assert p.versioned.name == "other.renamed"
    assert p.double.name == "tests.scheduler.pipelines.double"
    assert p.versioned.tags == {"kind": "test"}
    assert p.double.func(3) == 6


def test_named_executor_and_executor_object_run_the_body(tmp_path):
    with (
        ThreadPoolExecutor(1, thread_name_prefix="mine") as pool,
        Scheduler(tmp_path, executor=pool) as scheduler,
    ):
        assert scheduler.run(p.where()).startswith("mine")
    with pytest.raises(ConfigError, match="threads"), Scheduler(tmp_path, executor="abacus") as scheduler:
        scheduler.run(p.double(1))


def test_no_body_sees_what_another_did_to_its_argument(scheduler):
    shared = [1, 2]
    assert scheduler.run([p.spoil(shared), p.total(shared)]) == [3, 3]
    assert shared == [1, 2]


def test_result_of_a_dataclass_comes_back_as_one(tmp_path):
    for _ in range(2):
        assert again(tmp_path, p.shape(2)) == p.Shape(2, 3)
    assert ran() == ["shape"]


def test_plain_values_need_no_task(scheduler):
    assert scheduler.run([1, {"a": None}]) == [1, {"a": None}]


# --- files -----------------------------------------------------------------------------------------


def test_file_results_are_reused_until_they_change_or_vanish(tmp_path):
    path = str(tmp_path / "out.txt")
    call = lambda: p.read(p.write(path, "hello"))  # noqa: E731
    assert again(tmp_path, call()) == "hello"
    assert ran() == ["read", "write"]
    assert again(tmp_path, call()) == "hello"
    assert ran() == []
    os.utime(path, (1, 1))
    again(tmp_path, call())
    assert ran() == []
    File(path).write("tampered")
    assert again(tmp_path, call()) == "hello"
    assert ran() == ["write"]
    os.unlink(path)
    assert again(tmp_path, call()) == "hello"
    assert ran() == ["write"]


def test_file_argument_counts_by_content(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("one")
    assert again(tmp_path, p.read(File(path))) == "one"
    path.write_text("two")
    assert again(tmp_path, p.read(File(path))) == "two"
    path.write_text("one")
    os.utime(path, (1, 1))
    assert again(tmp_path, p.read(File(path))) == "one"
    assert ran() == ["read", "read"]


# --- large results -----------------------------------------------------------------------------------


def test_large_results_go_to_the_payload_store_and_are_not_read_when_unneeded(tmp_path):
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        assert scheduler.run(p.size(p.big(100_000))) == 100_000
        reads = []
        real = repository.payloads.get
        repository.payloads.get = lambda digest: reads.append(digest) or real(digest)  # type: ignore[method-assign]
        assert scheduler.run(p.size(p.big(100_000))) == 100_000
        assert reads == []
    assert ran() == ["big", "size"]


@pytest.mark.filterwarnings("ignore:payload")
@pytest.mark.parametrize("harm", ["delete", "truncate", "flip", "empty"])
def test_damaged_payload_is_computed_again_and_healed(tmp_path, harm):
    again(tmp_path, p.big(100_000))
    [payload] = [
        file
        for file in (tmp_path / ".valuestore" / "payloads").rglob("*")
        if file.is_file() and file.stat().st_size == 100_000
    ]
    if harm == "delete":
        payload.unlink()
    elif harm == "truncate":
        os.truncate(payload, 500)
    elif harm == "empty":
        os.truncate(payload, 0)
    else:
        payload.write_bytes(b"y" + payload.read_bytes()[1:])
    ran()
    assert again(tmp_path, p.size(p.big(100_000))) == 100_000
    assert again(tmp_path, p.big(100_000)) == b"x" * 100_000
    assert "big" in ran()
    assert payload.read_bytes() == b"x" * 100_000


# --- errors ------------------------------------------------------------------------------------------


def test_error_is_raised_with_its_type_and_a_note(scheduler):
    with pytest.raises(KeyError, match="no 1") as caught:
        scheduler.run(p.fails(1))
    assert "valuestore show" in caught.value.__notes__[0]
    assert caught.traceback[-1].name == "fails"


def test_what_finished_before_an_error_is_kept_and_the_failure_is_not(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyError):
            again(tmp_path, p.calls_failing())
    assert ran().count("fails") == 2
    assert again(tmp_path, p.double(3)) == 6


def test_scheduler_is_usable_after_an_error(scheduler):
    with pytest.raises(KeyError):
        scheduler.run(p.fails(1))
    assert scheduler.run(p.double(2)) == 4


def test_failure_is_recorded_with_traceback_on_the_job_and_its_parents(scheduler):
    with pytest.raises(KeyError):
        scheduler.run(p.calls_failing())
    jobs = scheduler.repository.history.jobs(scheduler.execution.execution_id).dicts()
    failed = {job["task"].rpartition(".")[2]: job for job in jobs if job["status"] == "failed"}
    assert set(failed) == {"calls_failing", "fails"}
    assert failed["fails"]["error"] == "KeyError: 'no 1'"
    [found] = scheduler.repository.history.find(failed["fails"]["job_id"])
    trace = scheduler.repository.history.describe(found)["traceback"]
    assert "in fails" in trace
    assert "worker.py" not in trace


@pytest.mark.parametrize(("call", "kind"), [(p.fails_unpicklably, p.Unpicklable), (p.fails_rudely, p.Rude)])
def test_exceptions_that_cannot_be_pickled_or_printed_are_still_raised(scheduler, call, kind):
    with pytest.raises(kind):
        scheduler.run(call())
    [job] = scheduler.repository.history.jobs(scheduler.execution.execution_id).dicts()
    assert kind.__name__ in job["error"]


def test_argument_without_identity_is_named(scheduler):
    with pytest.raises(NotHashableError, match=r"argument xs\[1\]"):
        scheduler.run(p.total([1, (i for i in ())]))
    assert scheduler.run(p.double(1)) == 2


def test_result_without_identity_is_returned_uncached_with_one_warning(scheduler):
    with pytest.warns(ValuestoreWarning, match="unstorable is not cached.*generator") as caught:
        assert list(scheduler.run(p.unstorable())) == [0, 1, 2]
    assert len(caught) == 1
    with pytest.warns(ValuestoreWarning):
        scheduler.run(p.unstorable())
    assert ran() == ["unstorable", "unstorable"]


def test_arguments_that_do_not_fit_are_refused_when_the_call_is_made():
    with pytest.raises(ArgumentError, match="double.*'x'"):
        p.double()
    with pytest.raises(ArgumentError, match="double"):
        p.double(1, 2)


@pytest.mark.parametrize(
    "use",
    [
        bool,
        list,
        len,
        lambda call: 3 in call,
        lambda call: range(call),
        lambda call: [1][call],
        lambda call: call.bit_length(),
        lambda call: f"{call}.csv",
    ],
)
def test_lazy_value_says_that_it_has_not_run(use):
    with pytest.raises(LazyValueError, match="has not run yet"):
        use(p.double(1))


def test_error_in_an_operator_on_results_reaches_the_caller(scheduler):
    with pytest.raises(ZeroDivisionError):
        scheduler.run(p.add(1 // p.double(0)))
    with pytest.raises(IndexError):
        scheduler.run(p.nested(1)["list"][9])
    assert scheduler.execution.status == "failed"


def test_warning_that_is_an_error_does_not_lose_what_was_recorded(scheduler):
    with pytest.raises(ValuestoreWarning):
        scheduler.run([p.double(21), p.unstorable()])
    ran()
    assert scheduler.run(p.double(21)) == 42
    assert ran() == []


@pytest.mark.filterwarnings("ignore:payload")
def test_payload_that_vanishes_between_hit_and_use_is_computed_again_for_all_who_wait(tmp_path):
    again(tmp_path, p.big(100_000))
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        real = repository.archive.missing

        def lose_after_the_check(refs):
            found = real(refs := list(refs))
            for ref in refs:
                if ref.inline is None:
                    repository.payloads.delete(ref.payload_digest)
            return found

        repository.archive.missing = lose_after_the_check  # type: ignore[method-assign]
        data = p.big(100_000)
        ran()
        expression = [p.size(data), p.size(p.big(100_000)), data[0], p.size(data) + 1]
        assert scheduler.run(expression) == [100_000, 100_000, ord("x"), 100_001]
        assert ran().count("big") == 1


def test_versioned_task_may_close_over_anything(tmp_path):
    from valuestore import task

    class Connection:
        def __init__(self):
            self.lock = threading.Lock()

    connection = Connection()

    @task(version="1")
    def uses():
        return connection is not None

    @task
    def refused():
        return connection is not None

    assert again(tmp_path, uses()) is True
    with pytest.raises(NotHashableError, match="version"):
        again(tmp_path, refused())


@pytest.mark.filterwarnings("ignore:payload")
def test_lost_results_with_many_equal_calls_never_mix_up_values(tmp_path):
    """Calls are told apart by identity while a run lasts, so none may be freed before its end."""
    with Scheduler(tmp_path) as scheduler:
        lazy = p.pairs(1000)
        wiped = p.wipe(lazy[1], str(tmp_path / ".valuestore" / "payloads"))
        used = scheduler.run(p.first(lazy, [lazy[0], lazy[-1]], wiped))
    assert used == [f"{i:08d}" for i in range(1000) for _ in range(2)]


@pytest.mark.parametrize("shape", ["list", "dict"])
def test_argument_or_result_that_contains_itself_is_refused(scheduler, shape):
    endless: Any = [] if shape == "list" else {}
    endless.append(endless) if shape == "list" else endless.update(a=endless)
    with pytest.raises(NotHashableError, match="contains itself"):
        scheduler.run(p.total(endless))


def test_stored_call_runs_with_the_defaults_of_its_day(tmp_path, monkeypatch):
    assert again(tmp_path, p.delegate(5)) == 15
    monkeypatch.setattr(p.add, "signature", inspect.signature(lambda x, y=20: None))
    assert again(tmp_path, p.delegate(5)) == 25
    assert ran() == ["add", "add", "delegate"]


def test_products_of_a_task_factory_are_never_mixed_up(tmp_path):
    for _ in range(2):
        with pytest.warns(ValuestoreWarning, match="inside a function"):
            assert again(tmp_path, [p.make_and_call(1), p.make_and_call(2)]) == [10, 20]


def test_file_that_changes_while_a_body_reads_it_does_not_reach_the_cache(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("one")
    with pytest.warns(ValuestoreWarning, match="changed while it ran"):
        assert again(tmp_path, p.overwrite_and_read(File(path), "two")) == "two"
    path.write_text("one")
    with pytest.warns(ValuestoreWarning):
        again(tmp_path, p.overwrite_and_read(File(path), "three"))
    path.write_text("one")
    with pytest.warns(ValuestoreWarning):
        again(tmp_path, p.overwrite_and_read(File(path), "two"))
    assert ran() == ["overwrite_and_read"] * 3


def test_file_inside_a_value_is_checked_too(tmp_path):
    path = tmp_path / "out.txt"
    for _ in range(2):
        assert again(tmp_path, p.bundle(str(path))).file.read_text() == "bundled"
    assert ran() == ["bundle"]
    path.write_text("tampered")
    assert again(tmp_path, p.bundle(str(path))).file.read_text() == "bundled"


def test_run_inside_a_body_is_refused_instead_of_waiting_for_ever(scheduler):
    p.SCHEDULER.append(scheduler)
    try:
        with pytest.raises(TaskError, match="return the call"):
            scheduler.run(p.runs_another())
    finally:
        p.SCHEDULER.clear()


def test_child_of_a_fork_can_run(scheduler):
    scheduler.run(p.double(1))
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if scheduler.run(p.double(2)) == 4 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("text", ["bad \udcff text", "NUL \0 text", "long " * 1_000_000])
def test_error_text_of_any_kind_is_recorded(scheduler, text):
    with pytest.raises(ValueError, match="text|long"):
        scheduler.run(p.fails_with(text))
    [job] = scheduler.repository.history.jobs(scheduler.execution.execution_id).dicts()
    assert len(job["error"]) < 30_000


def test_argument_whose_repr_raises_is_no_failure(scheduler):
    assert scheduler.run(p.total([1, 2])) == 3
    assert "Ugly" in repr(p.shown(p.Ugly(1)))


def test_shared_operations_are_searched_once(scheduler):
    value = p.double(1)
    for _ in range(40):
        value = value + value
    assert scheduler.run(value) == 2 << 40


def test_missing_file_may_be_given_to_be_written(tmp_path):
    file = again(tmp_path, p.write_to(File(tmp_path / "new.txt")))
    assert file.read_text() == "written"
