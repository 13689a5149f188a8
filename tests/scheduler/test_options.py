"""Options: how tasks are run, who says it, and that they are no part of a call; context; JobInfo."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from valuestore import (
    File,
    JobInfo,
    Repository,
    Scheduler,
    catch,
    cond,
    fork,
    get_context,
    join,
    map_,
    task,
    throw,
)
from valuestore.errors import (
    ConfigError,
    ContextError,
    NotHashableError,
    TaskError,
    TaskNotFound,
    TaskTimeout,
    ValuestoreWarning,
)

RAN: list[Any] = []


@pytest.fixture
def open_in(tmp_path):
    opened = []

    def open_in(**settings: Any) -> Scheduler:
        opened.append(Repository.open(tmp_path / "repository", **settings))
        return Scheduler(opened[-1], workers=8)

    RAN.clear()
    FAILS.clear()
    yield open_in
    for repository in opened:
        repository.close()


def ran(scheduler: Scheduler, call: Any, **asked: Any) -> tuple[Any, list[Any]]:
    """What it gives, and which bodies ran."""
    RAN.clear()
    return scheduler.run(call, **asked), sorted(RAN, key=str)


@task(namespace="opt", version="1")
def double(n: int) -> int:
    RAN.append(("double", n))
    return 2 * n


@task(namespace="opt", version="1")
def parent(n: int) -> Any:
    RAN.append(("parent", n))
    return [double(n), double(n + 1)]


FAILS: dict[str, int] = {}


@task(namespace="opt", version="1", retry_wait_seconds=0.01)
def flaky(name: str, fails: int, given: list[int]) -> list[int]:
    """Fails so many times; what it does to its argument must not be there the next time."""
    given.append(FAILS.get(name, 0))
    FAILS[name] = FAILS.get(name, 0) + 1
    if FAILS[name] <= fails:
        raise OSError(name)
    return given


# --- retries, time, limits


def test_a_body_is_run_again_with_its_arguments_as_they_were(open_in):
    scheduler = open_in()
    assert scheduler.run(flaky.options(retries=3)("a", 2, [])) == [2]
    [job] = scheduler.repository.history.jobs().where(task="opt.flaky").all()
    scheduler.repository.flush()
    assert (job.status, scheduler.repository.tags.get(job)) == ("done", {"attempts": 3})
    with pytest.raises(OSError, match="b"):
        scheduler.run(flaky.options(retries=1)("b", 2, []))
    assert FAILS["b"] == 2


def test_only_errors_of_retry_on_are_tried_again(open_in):
    with pytest.raises(OSError, match="a"):
        open_in().run(flaky.options(retries=3, retry_on=(KeyError, ValueError))("a", 2, []))
    assert FAILS["a"] == 1


@task(namespace="opt", version="1", timeout_seconds=0.1)
def sleeper(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


@task(namespace="opt", version="1")
def told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def test_a_body_that_takes_too_long_is_given_up_and_its_siblings_are_not(open_in):
    scheduler = open_in()
    began = time.monotonic()
    value = scheduler.run([catch(sleeper(4.0), TimeoutError, told), sleeper(0.01), double(1)])
    assert time.monotonic() - began < 3.5
    assert value == ["TaskTimeout: opt.sleeper took more than 0.1 s, and was given up", 0.01, 2]
    with pytest.raises(TaskTimeout):
        scheduler.run(sleeper.options(retries=1)(0.5))


class Pool:
    """How many bodies hold it at once."""

    lock, now, most = threading.Lock(), 0, 0


@task(namespace="opt", version="1", limits=["db"])
def query(n: int) -> int:
    with Pool.lock:
        Pool.now += 1
        Pool.most = max(Pool.most, Pool.now)
    time.sleep(0.02)
    with Pool.lock:
        Pool.now -= 1
    return n


@pytest.mark.parametrize(("limits", "most"), [({}, 1), ({"db": 3}, 3)])
def test_no_more_bodies_run_at_once_than_there_is_of_what_they_take(open_in, limits, most):
    Pool.most = 0
    others = [double(n) for n in range(20)]
    assert open_in(limits=limits).run([[query(n) for n in range(9)], others])[0] == [*range(9)]
    assert Pool.most <= most
    assert Pool.most > 1 or most == 1


def test_a_limit_that_no_run_can_meet_is_an_error_of_that_call(open_in):
    scheduler = open_in(limits={"db": 4})
    call = query.options(limits={"db": 5})(1)
    assert scheduler.run([catch(call, TaskError, told), double(3)]) == [
        "TaskError: opt.query takes 5 of 'db', and there is 4: "
        "say how much there is in [limits] of valuestore.toml",
        6,
    ]


def test_what_failed_gives_back_what_it_took(open_in):
    scheduler = open_in()
    calls = [catch(flaky.options(limits=["x"], retries=1)(str(n), 5, []), OSError, told) for n in range(4)]
    assert scheduler.run(calls) == [f"OSError: {n}" for n in range(4)]


# --- who says what, and what it changes


def test_what_is_said_nearer_to_the_call_goes_first(open_in):
    said = {"opt.*": {"retries": 1}, "opt.fl*": {"retries": 2}, "opt.flaky": {"retry_wait_seconds": 0.02}}
    scheduler = open_in(tasks=said)
    with pytest.raises(OSError, match="pattern"):
        scheduler.run(flaky("pattern", 9, []))
    with pytest.raises(OSError, match="run"):
        scheduler.run(flaky("run", 9, []), options={"retries": 3})
    with pytest.raises(OSError, match="call"):
        scheduler.run(flaky.options(retries=0)("call", 9, []), options={"retries": 3})
    assert FAILS == {"pattern": 3, "run": 4, "call": 1}


def test_options_do_not_change_what_a_call_is(open_in):
    scheduler = open_in()
    assert ran(scheduler, double(1))[1] == [("double", 1)]
    again = double.options(retries=2, limits={"x": 1}, label="mine", tags={"k": 1}, timeout_seconds=9)
    assert ran(scheduler, [again(1), map_(again, [1])]) == ([2, [2]], [])


def test_an_option_may_be_lazy(open_in):
    scheduler = open_in()
    assert scheduler.run(flaky.options(retries=double(2))("lazy", 4, [])) == [4]
    with pytest.raises(TaskError, match="retries='many': it is a whole number"):
        scheduler.run(flaky.options(retries=get_context("r", "many"))("lazy", 0, []))


@task(namespace="opt", version="1")
def careful(n: int) -> Any:
    RAN.append(("careful", n))
    return flaky.options(retries=3)(str(n), n, [])


def test_a_call_that_a_body_returned_keeps_its_options_when_it_is_found_again(open_in):
    scheduler = open_in()
    assert ran(scheduler, careful(2)) == ([2], [("careful", 2)])
    FAILS.clear()
    assert ran(scheduler, careful(2), only=[flaky]) == ([2], [])
    assert FAILS == {"2": 3}


def test_a_call_that_is_not_cached_runs_in_every_execution(open_in):
    scheduler = open_in()
    for _ in range(2):
        assert ran(scheduler, double.options(cache=False)(1))[1] == [("double", 1)]
        assert ran(scheduler, uncached_below(1))[1][-1] == ("double", 1)


@task(namespace="opt", version="1")
def uncached_below(n: int) -> Any:
    return double.options(cache=False)(n)


@pytest.mark.parametrize("setting", [{"opt.double": {"cache": False}}, {"*": {"cache": False}}])
def test_a_task_may_be_uncached_by_configuration(open_in, setting):
    scheduler = open_in(tasks=setting)
    assert ran(scheduler, parent(1))[0] == [2, 4]
    assert {("double", 1), ("double", 2)} <= set(ran(scheduler, parent(1))[1])


def test_a_run_without_the_cache_runs_all_and_only_runs_these(open_in):
    scheduler = open_in()
    everything = [("double", 1), ("double", 2), ("parent", 1)]
    assert ran(scheduler, parent(1))[1] == everything
    assert ran(scheduler, parent(1))[1] == []
    assert ran(scheduler, parent(1), only=["opt.double"]) == ([2, 4], everything[:2])
    assert ran(scheduler, parent(1), cache=False) == ([2, 4], everything)
    assert ran(scheduler, parent(1))[1] == []


def test_a_label_and_tags_are_set_on_jobs(open_in):
    scheduler = open_in(tasks={"opt.parent": {"tags": {"team": "a"}}})
    scheduler.run(parent.options(label="first")(1), label="the run")
    history, tags = scheduler.repository.history, scheduler.repository.tags
    [job] = history.jobs().where(task="opt.parent").all()
    assert tags.get(job) == {"team": "a", "label": "first"}
    assert history.executions().first().label == "the run"


def test_what_is_called_without_a_record_is_found_again_as_a_whole(open_in):
    scheduler = open_in()
    quiet = parent.options(prov=False)
    assert ran(scheduler, quiet(1))[0] == [2, 4]
    history = scheduler.repository.history
    assert [job.task for job in history.jobs().all()] == ["opt.parent"]
    assert ran(scheduler, quiet(1)) == ([2, 4], [])
    assert scheduler.execution.counts.replayed == 2
    assert ran(scheduler, parent(1)) == ([2, 4], [])
    assert ran(scheduler, double(1))[1] == [("double", 1)]


# --- context, and who one is


@task(namespace="opt", version="1")
def sized(n: int, memory: int = get_context("etl.memory", 1)) -> list[int]:
    RAN.append(("sized", n, memory))
    return [n, memory]


@task(namespace="opt", version="1")
def sizes(n: int) -> Any:
    RAN.append(("sizes", n))
    return [sized(n), double(n)]


def test_only_who_reads_a_key_of_the_context_depends_on_it(open_in):
    scheduler = open_in(context={"etl": {"memory": 4, "disk": 5}})
    everything = [("double", 1), ("sized", 1, 4), ("sizes", 1)]
    assert ran(scheduler, sizes(1)) == ([[1, 4], 2], everything)
    assert ran(scheduler, sizes(1), context={"etl": {"disk": 6}}) == ([[1, 4], 2], [])
    assert scheduler.execution.counts.replayed > 0
    assert ran(scheduler, sizes(1), context={"etl": {"memory": 8}}) == ([[1, 8], 2], [("sized", 1, 8)])
    assert ran(scheduler, sizes(1), context={"etl": {"memory": 8}})[1] == []
    assert ran(scheduler, sizes(1)) == ([[1, 4], 2], [])


def test_a_context_may_be_updated_for_what_is_called_below(open_in):
    scheduler = open_in(context={"etl": {"memory": 4}})
    more = sizes.update_context(etl={"memory": 9})
    for _ in range(2):
        assert scheduler.run([sizes(1), more(1), sizes(1)]) == [[[1, 4], 2], [[1, 9], 2], [[1, 4], 2]]
    again = [more(1), sized.update_context({"etl": {"memory": 9}})(1)]
    assert ran(scheduler, again) == ([[[1, 9], 2], [1, 9]], [])


def test_two_contexts_of_one_call_do_not_share_what_it_calls(open_in):
    scheduler = open_in()
    for memory in (8, 9):
        scheduler.run(sizes(1), context={"etl": {"memory": memory}})
    other = sizes.update_context(etl={"memory": 64})
    quiet = sizes.options(prov=False)
    for calls in ([other(1), sizes(1)], [sizes(1), other(1)], [quiet(1), other(1), sizes(1)]):
        memories = [64 if call._options.get("context") else 1 for call in calls]
        assert [value[0][1] for value in scheduler.run(calls)] == memories


@task(namespace="opt", version="1")
def fails_with(memory: int = get_context("etl.memory", 1)) -> None:
    RAN.append(("fails", memory))
    raise ValueError(memory)


@task(namespace="opt", version="1")
def told_with(error: ValueError, disk: int = get_context("etl.disk", 0)) -> list[int]:
    return [error.args[0], disk]


@task(namespace="opt", version="1")
def rescued() -> Any:
    return catch(fails_with(), ValueError, told_with)


@task(namespace="opt", version="1")
def rescues() -> Any:
    return [rescued(), rescued.update_context(etl={"memory": 64})()]


@task(namespace="opt", version="1")
async def awaits() -> Any:
    RAN.append("awaits")
    return await rescues(), await sized.update_context({"etl.memory": 32})(1)


def test_what_a_call_says_of_the_context_is_part_of_what_calls_it(open_in):
    """What is around it holds as a whole, whatever the run's context is; what it does not say counts."""
    scheduler = open_in()
    for disk in (0, 5, 0):
        for context in ({"etl": {"disk": disk}}, {"etl": {"disk": disk}}):
            found, bodies = ran(scheduler, awaits(), context=context)
            assert found == ([[1, disk], [64, disk]], [1, 32])
        assert bodies == []
        assert scheduler.execution.counts.replayed > 8
    assert ran(scheduler, awaits(), context={"etl.memory": 64})[0] == ([[64, 0], [64, 0]], [1, 32])
    assert ran(scheduler, rescues(), context={"etl.memory": 65})[0] == [[65, 0], [64, 0]]
    assert ran(scheduler, rescues(), context={"etl.memory": 65}) == ([[65, 0], [64, 0]], [])
    assert ran(scheduler, rescued(), context={"etl.memory": 65}) == ([65, 0], [])
    assert ran(scheduler, rescued())[0] == [1, 0]


def test_a_value_of_a_context_without_identity_is_a_matter_of_who_asks_for_it(open_in):
    scheduler = open_in()
    scheduler.run([rescued(), double(1)])
    lock = threading.Lock()
    for told_so in ({"etl": {"memory": lock}}, {"etl": {"memory": double(2)}}):
        assert scheduler.run(double(3), context=told_so) == 6
        assert scheduler.run(double.update_context(told_so)(3)) == 6
    given = {"etl": {"memory": lock}}
    for call in (sized(1), sized.update_context(given)(1)):
        with pytest.warns(ValuestoreWarning, match="get_context is not cached"):
            assert scheduler.run([catch(call, NotHashableError, str), double(4)], context=given)[1] == 8
    with pytest.warns(ValuestoreWarning, match="get_context is not cached"):
        assert scheduler.run(get_context("etl.memory"), context=given) is lock


@task(namespace="opt", version="1")
def fails_once(n: int) -> int:
    RAN.append(("once", n))
    if RAN.count(("once", n)) == 1:
        raise OSError(n)
    return n


def test_of_equal_calls_in_several_contexts_one_body_is_run(open_in):
    scheduler = open_in()
    others = [sizes.update_context(etl={"memory": 9})(1), sizes.update_context(z=1)(1)]
    everything = [("double", 1), ("sized", 1, 1), ("sized", 1, 9), ("sizes", 1)]
    assert ran(scheduler, [sizes(1), *others]) == ([[[1, 1], 2], [[1, 9], 2], [[1, 1], 2]], everything)
    assert scheduler.execution.counts.waiting == 0
    calls = [catch(call(1), OSError, str) for call in (fails_once, fails_once.update_context(z=1))]
    assert ran(scheduler, calls)[0] == ["1", 1]


MEMORY = get_context("etl.memory")


@task(namespace="opt", version="1")
def named() -> Any:
    return [MEMORY, double(MEMORY)]


def test_a_call_that_several_name_has_the_context_of_each(open_in):
    """What is given to a call is of the context around it."""
    scheduler = open_in(context={"etl": {"memory": 4}})
    other = named.update_context(etl={"memory": 5})
    for _ in range(2):
        assert scheduler.run([named(), other(), MEMORY]) == [[4, 8], [5, 10], 4]
    assert scheduler.run(double.update_context(etl={"memory": 5})(MEMORY)) == 8


def test_the_context_in_control_flow_and_without_a_value(open_in):
    scheduler = open_in()
    choice = cond(get_context("fast", False), double(1), double(2))
    assert scheduler.run([choice, scheduler and get_context("a", double(3))]) == [4, 6]
    assert scheduler.run(choice, context={"fast": True}) == 2
    assert scheduler.run(choice) == 4
    with pytest.raises(ContextError, match="no 'a.b', and get_context no default for it; it has x.y"):
        scheduler.run(get_context("a.b"), context={"x.y": 1})


@task(namespace="opt", version="1")
def who(first: JobInfo, n: int, *, job: JobInfo) -> Any:
    RAN.append(n)
    return [first == job, job.task, job.job_id, job.execution_id]


def test_a_body_is_told_its_job_which_is_no_part_of_the_call(open_in):
    scheduler = open_in()
    (same, name, job_id, execution_id), bodies = ran(scheduler, who(3))
    assert (same, name, bodies) == (True, "opt.who", [3])
    assert execution_id == scheduler.execution.execution_id
    assert scheduler.repository.history.jobs().where(task="opt.who").first().job_id == job_id
    assert ran(scheduler, who(n=3))[1] == []


# --- bad input


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: double.options(retry=1), "options has no option 'retry'; did you mean 'retry_on'"),
        (lambda: double.options(cache="no"), "cache='no': it is true or false"),
        (lambda: double.options(retries=-1), "it is a whole number, 0 or more"),
        (lambda: double.options(retry_on="OSError"), "it is a class of Exceptions"),
        (lambda: double.options(timeout_seconds=0), "it is a number above 0"),
        (lambda: double.options(limits={"db": 0}), "it is names of resources, or"),
        (lambda: double.options(name="x"), "has no option 'name'"),
        (lambda: task(double.func, limit=["db"]), "@task has no option 'limit'; did you mean 'limits'"),
    ],
)
def test_an_option_that_nobody_knows_or_of_another_kind(make, problem):
    with pytest.raises(TaskError, match=problem):
        make()


def test_bad_input_to_a_run_and_in_the_configuration(open_in):
    scheduler = open_in()
    with pytest.raises(TaskNotFound, match="opt.treble"):
        scheduler.run(double(1), only=["opt.treble"])
    with pytest.raises(TaskError, match="say one of them"):
        scheduler.run(double(1), only=["opt.double"], cache=False)
    with pytest.raises(TaskError, match="run has no option 'retrys'"):
        scheduler.run(double(1), options={"retrys": 1})
    for asked, problem in (
        ({"options": {3: 1}}, "run has no option 3"),
        ({"options": {"retries": double(1)}}, "whole number, 0 or more, which may be lazy at a call alone"),
        ({"only": 3}, "only=3: it is tasks, or their names"),
        ({"only": [double(1)]}, "it is tasks, or their names"),
        ({"only": [len]}, "it is tasks, or their names"),
        ({"label": 3}, "label=3: it is text"),
        ({"tags": [("a", 1)]}, "tags=.*: it is a table"),
    ):
        with pytest.raises(TaskError, match=problem):
            scheduler.run(double(1), **asked)
    with pytest.raises(TaskError, match="lazy at a call alone"):
        task(limits=double(1))(lambda: 0)
    with pytest.raises(ConfigError, match="executors"):
        Scheduler(scheduler.repository, executors=["big"])
    with pytest.raises(TaskError, match="tasks.'opt.*'.* no option 'memori'"):
        open_in(tasks={"opt.*": {"memori": 4}}).run(double(1))
    with pytest.raises(ConfigError, match="limits"):
        open_in(limits={"db": 0})
    with pytest.raises(ConfigError, match="tasks"):
        open_in(tasks={"retries": 2})


def test_keys_of_a_context_that_are_no_text_are_those_of_its_values(open_in):
    scheduler, given = open_in(), {"sizes": {1: "one", "a.b": 2}, 3: "three"}
    assert scheduler.run(get_context("sizes"), context=given) == {1: "one", "a": {"b": 2}}
    with pytest.raises(ContextError, match=r"it has 3, sizes.1, sizes.a.b"):
        scheduler.run(get_context("x"), context=given)


# --- what is not to be shared


@task(namespace="opt", version="1")
def in_tables(d: Any = {"t": get_context("x", 0)}) -> Any:  # noqa: B006, B008  # nothing changes it
    return d["t"]


@task(namespace="opt", version="1")
def beside() -> Any:
    return join(fork(get_context("x", 0)))


@task(namespace="opt", version="1")
def locked() -> Any:
    return [X, threading.Lock()][0]


X = get_context("x", 0)


@pytest.mark.parametrize("made", [in_tables, beside, locked])
def test_each_call_has_its_own_context(open_in, made):
    scheduler = open_in()
    calls = [made.update_context(x=1)(), made(), made.update_context(x=2)()]
    assert scheduler.run(calls) == [1, 0, 2]


@task(namespace="opt", version="1")
def numbers() -> list[int]:
    return [1, 2]


@task(namespace="opt")
def appended(given: list[int], n: int) -> list[int]:
    given.append(n)
    return given


def test_a_cached_argument_is_no_object_of_another_body(open_in):
    open_in().run(numbers())
    scheduler = open_in()
    assert scheduler.run([appended(numbers(), n) for n in (7, 8)]) == [[1, 2, 7], [1, 2, 8]]
    scheduler = open_in()
    assert scheduler.run([appended(numbers(), n) for n in (9, 8, 7)] + [numbers()])[-1] == [1, 2]


@task(namespace="opt", version="1", retry_wait_seconds=0.01)
def grows(file: File) -> str:
    RAN.append("grows")
    text = file.read() + "+"
    Path(file.path).write_text(text)
    if len(RAN) == 1:
        raise OSError("once")
    return text


def test_what_a_failed_attempt_changed_is_not_given_to_the_next(open_in, tmp_path):
    (tmp_path / "file").write_text("a")
    with pytest.raises(OSError, match="once"):
        open_in().run(grows.options(retries=2)(File(tmp_path / "file")))


@task(namespace="opt", version="1")
def how() -> int:
    raise ValueError("how")


def test_the_error_of_an_option_is_that_of_its_call(open_in):
    scheduler = open_in()
    with pytest.raises(ValueError, match="how"):
        scheduler.run(double.options(retries=how())(8))
    assert scheduler.run(catch(double.options(retries=how())(8), ValueError, told)) == "ValueError: how"
    assert [call.status for call in scheduler.plan(double.options(retries=how())(8)).calls] == [
        "unknown",
        "run",
    ]


@task(namespace="opt", version="1")
def stops(n: int) -> int:
    raise StopIteration(n)


def test_stop_iteration_is_an_error_like_others(open_in):
    scheduler = open_in()
    assert scheduler.run(catch(cond(stops(1), 1, 2), StopIteration, told)) == "StopIteration: 1"
    assert scheduler.run(catch(throw(StopIteration(4)), StopIteration, told)) == "StopIteration: 4"


class Own:
    """A class of the user's own that is called so, too."""

    class JobInfo:
        """No JobInfo."""


def takes(n: int, job: Own.JobInfo) -> Any:
    return [n, type(job).__name__]


def test_only_our_job_info_is_filled_in(open_in):
    assert open_in().run(task(takes, name="takes", version="1")(1, 2)) == [1, "int"]


@task(namespace="opt", version="1")
def files(name: str) -> Any:
    return shown(put_down(name))


@task(namespace="opt", version="1")
def put_down(name: str) -> File:
    RAN.append("put down")
    Path(name).write_text("x")
    return File(name)


@task(namespace="opt", version="1")
def shown(file: File) -> str:
    return file.read()


def test_files_below_what_is_not_recorded_are_asked_for(open_in, tmp_path):
    scheduler = open_in()
    call = files.options(prov=False)
    name = str(tmp_path / "x.txt")
    assert [ran(scheduler, call(name))[1] for _ in range(2)] == [["put down"], []]
    Path(name).write_text("other")
    assert ran(scheduler, call(name)) == ("x", ["put down"])


@pytest.mark.parametrize(
    ("text", "setting", "right"),
    [
        ('executor = "nope"', "executor", "threads"),
        ('[executors.big]\nkind = "nope"', "executors.big", "processes"),
        ("[executors.big]\nkind = 5", "executors.big", "processes"),
        ('[executors.threads]\nworkers = "two"', "executors.threads.workers", "above 0"),
        ("[executors.processes]\nworkers = 0", "executors.processes.workers", "above 0"),
        ('[tasks."*"]\nretry = 1', "tasks", "retry_on"),
        ("[tasks.fit]\nretries = -1", "retries", "0 or more"),
        ('[tasks.fit]\ntimeout_seconds = "x"', "timeout_seconds", "above 0"),
    ],
)
def test_what_is_wrong_in_the_configuration_is_said_before_anything_runs(tmp_path, text, setting, right):
    """With the setting, and what would be right."""
    with Repository.open(tmp_path) as repository:
        (repository.folder / "valuestore.toml").write_text(text)
    with pytest.raises((ConfigError, TaskError), match=setting) as said:
        Scheduler(tmp_path)
    assert right in str(said.value)


def test_a_table_of_an_executor_that_is_given_needs_no_kind(tmp_path):
    with Repository.open(tmp_path) as repository:
        (repository.folder / "valuestore.toml").write_text("[executors.big]\nworkers = 2")
    with ThreadPoolExecutor(1) as pool, Scheduler(tmp_path, executors={"big": pool}):
        pass
