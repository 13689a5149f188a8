"""Values that are told when a task is about to get them, and when a task has returned them."""

from __future__ import annotations

import pytest

from valuestore import Scheduler, Value, task

RAN: list[str] = []


class Traced(Value):
    type_name = "tests.Traced"

    def __init__(self, history: tuple[str, ...] = ()) -> None:
        self.history = history

    def preprocess(self, *, position):
        return Traced((*self.history, f"given to call {position}"))

    def postprocess(self, *, eval_hash):
        return Traced((*self.history, "returned" if len(eval_hash) == 32 else f"bad {eval_hash!r}"))


class Angry(Value):
    def preprocess(self, *, position):
        raise ZeroDivisionError("not before")

    def postprocess(self, *, eval_hash):
        raise ZeroDivisionError("not after")


@task
def use(traced, note):
    RAN.append(note)
    return {"traced": [traced]}


@task
def history_of(result):
    return result["traced"][0].history


@task
def twice(traced):
    return [use(traced, "one"), use(traced, "two")]


@task
def angry():
    return [Angry()]


@task
def plain(x):
    return 1


@pytest.fixture(autouse=True)
def forget():
    RAN.clear()


def test_a_value_is_preprocessed_by_position_and_postprocessed_before_it_is_kept(tmp_path):
    for ran in (["one", "two"], []):
        with Scheduler(tmp_path) as scheduler:
            one, two = scheduler.run(twice(Traced()))
        assert one["traced"][0].history == ("given to call 0", "given to call 0", "returned")
        assert two["traced"][0].history == ("given to call 0", "given to call 1", "returned")
        assert sorted(RAN) == ran
        RAN.clear()


def test_results_of_tasks_are_preprocessed_too(tmp_path):
    for ran in (["x"], []):
        with Scheduler(tmp_path) as scheduler:
            history = scheduler.run(history_of(use(Traced(), "x")))
        assert history == ("given to call 0", "returned", "given to call 1")
        assert ran == RAN
        RAN.clear()  # it counts as code, so it has to be as it was


def test_identity_is_that_of_what_the_task_is_given(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        one, two = scheduler.run([history_of(use(Traced(), "x")), history_of(use(Traced(), "y"))])
    assert one != two  # though both tasks were given equal values
    assert sorted(RAN) == ["x", "y"]


def test_errors_of_hooks_are_errors_of_the_call(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        with pytest.raises(ZeroDivisionError, match="not before"):
            scheduler.run(plain([Angry()]))
        with pytest.raises(ZeroDivisionError, match="not after"):
            scheduler.run(angry())
        assert scheduler.run(plain(2)) == 1
