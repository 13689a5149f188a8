"""What ``@task`` is put on: functions and what stands for them; all else is refused with what to do."""

from __future__ import annotations

import contextlib
import functools
import inspect
import operator
import sqlite3
import types
import warnings

import pytest
import wrapt

from valuestore import Repository, Scheduler, task
from valuestore.errors import ArgumentError, TaskError, ValuestoreWarning
from valuestore.tasks import definition
from valuestore.tasks.task import find_task
from valuestore.values.registry import get_type_registry


@pytest.fixture
def run(tmp_path):
    """The value of a call, as the scheduler makes it once it says what was given."""
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        yield scheduler.run


def called(call):
    """What the body gets when the scheduler passes on what was given."""
    args, kwargs = call._task.call_arguments(call._arguments, call._given)
    return call._task.func(*args, **kwargs)


class Scale:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * x

    def times(self, x):
        return self.factor * x

    @classmethod
    def made(cls, x):
        return [cls.__name__, x]


def scaled(factor, x, power=1):
    return (factor * x) ** power


@pytest.mark.parametrize(
    "function",
    [
        functools.partial(scaled, 3),
        functools.partial(functools.partial(scaled, factor=3), power=1),
        Scale(3),
        Scale(3).times,
        lambda x: 3 * x,
        staticmethod(lambda x: 3 * x),
        types.MethodType(scaled, 3),
    ],
)
def test_what_can_be_called_can_be_a_task(run, function):
    thrice = task(name="thrice")(function)
    assert thrice.namespace in (__name__, "functools")
    assert thrice.name == f"{__name__}.thrice"
    call = thrice(x=5) if "factor" in getattr(function, "keywords", ()) else thrice(5)
    assert run(call) == 15
    assert run(task(operator.neg)(2)) == -2
    assert run(task(Scale.made)(2)) == ["Scale", 2]
    assert run(task(Scale, name="scale")(3)).factor == 3


@pytest.mark.parametrize("version", [None, "1"])
def test_what_a_partial_or_a_method_brings_along_counts(version):
    for name, bind in (
        ("partial", lambda k: functools.partial(scaled, k)),
        ("method", lambda k: Scale(k).times),
    ):
        hashes = {task(bind(k), name=name, version=version).hash(get_type_registry()) for k in (3, 4, 3.0)}
        assert len(hashes) == 3


def generating():
    yield 1


async def coroutine():
    return 1


async def both():
    yield 1


class Awaited:
    async def __call__(self, x):
        return x


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (5, "a function, not a int"),
        ("name", "a function, not a str"),
        (property(scaled), "a function, not a property"),
        (classmethod(scaled), "a function, not a classmethod"),
        (functools.partial(scaled, 1), r"a partial has no name of its own; say it: task\(name=\.\.\.\)"),
        (Scale(1), "a Scale has no name of its own"),
        (generating, "have generating return a list"),
        (both, "have both return a list"),
        (max, "Python cannot tell its parameters; write a function that calls it"),
    ],
)
def test_what_cannot_says_what_to_do(given, why):
    with pytest.raises(TaskError, match=why):
        task(given)


@pytest.mark.parametrize(
    ("given", "arguments"), [(coroutine, ()), (functools.partial(coroutine), ()), (Awaited(), (1,))]
)
def test_what_is_async_is_run_to_its_end(tmp_path, given, arguments):
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.run(task(given, name=f"awaited_{type(given).__name__}")(*arguments)) == 1


def test_a_class_that_is_being_defined_is_no_task():
    with pytest.raises(TaskError, match="Row is a class; write a function that makes one"):

        @task
        class Row:
            pass


def test_a_task_is_no_task_again():
    inner = task(scaled, name="inner")
    with pytest.raises(TaskError, match="is a task already"):
        task(inner, name="inner")
    assert task(inner, name="outer").name == f"{__name__}.outer"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"chache": False}, "no option 'chache'; did you mean 'cache'"),
        ({"cache": "NONE"}, "cache='NONE': it is true or false"),
        ({"version": 1.1}, r'version=1\.1: it is a str, such as "1\.10", or a whole number'),
        ({"version": True}, "a whole number"),
        ({"version": ["1"]}, "a whole number"),
        ({"tags": 5}, "tags=5: it is a dict of names, or pairs"),
        ({"tags": "ab"}, "a dict of names, or pairs"),
        ({"tags": {1: 2}}, "a dict of names, or pairs"),
        ({"tags": ["abc"]}, "a dict of names, or pairs"),
        ({"executor": 3}, "executor=3: it is text"),
        ({"name": 3}, "name=3: it is a str"),
        ({"namespace": b"x"}, "it is a str"),
        ({"capture": "x"}, "capture='x': it is False, True or 'overwrite'"),
    ],
)
def test_an_option_of_another_kind_says_what_it_is(options, why):
    for make in (lambda: task(**options)(scaled), lambda: task(scaled, **options)):
        with pytest.raises(TaskError, match=why):
            make()


def test_options_beside_the_function_count():
    made = task(scaled, name="beside", version=3, cache=False, tags=[("a", 1), ("a", 2)])
    assert (made.name, made.version, made.said) == (f"{__name__}.beside", "3", {"cache": False})
    assert made.tags == [("a", 1), ("a", 2)]


def test_pairs_of_one_key_are_both_kept(tmp_path):
    both_kept = task(scaled, name="both_kept", tags=(pair for pair in [("a", 1), ("a", 2)]))
    with Scheduler(str(tmp_path)) as scheduler:
        scheduler.run(both_kept(1, 2))
    with contextlib.closing(sqlite3.connect(tmp_path / ".valuestore/valuestore.db")) as connection:
        rows = connection.execute("SELECT value FROM tag WHERE key = 'a' ORDER BY value").fetchall()
    assert rows == [("1",), ("2",)]


@pytest.mark.parametrize(
    "name", ["self", "task", "args", "kwargs", "func", "name", "cls", "given", "arguments"]
)
def test_parameters_may_be_called_as_ours_are(run, name):
    namespace = {}
    exec(f"def named({name}, other=1): return {name} + other", namespace)
    made = task(namespace["named"], name=f"called_{name}", namespace="t", version="1")
    assert run(made(**{name: 2})) == 3
    assert run(made(2, other=2)) == 4


# --- wrappers: bound is what is called --------------------------------------------------------------


def wrapping(function, **options):
    def decorate(wrapper):
        return task(functools.wraps(function)(wrapper), name=wrapper.__name__, **options)

    return decorate


def add(x, y, z=3):
    return [x, y, z]


@wrapping(add)
def gives_the_last(x):
    return add(x, 20)


@wrapping(add)
def gives_by_name(*args, **kwargs):
    return add(*args, y=20, **kwargs)


@wrapping(add)
def gives_the_first(*args, **kwargs):
    return add("first", *args, **kwargs)


@wrapping(add)
def gives_what_has_a_default(*args, **kwargs):
    return add(*args, z=20, **kwargs)


@wrapping(add)
def other_default(x, y=7, z=8):
    return add(x, y, z)


@wrapping(add)
def default_at_last(*args, **kwargs):
    kwargs.setdefault("z", 9)
    return add(*args, **kwargs)


@wrapping(add)
def other_order(y, x):
    return add(x, y)


@wrapping(add)
def takes_more(*args, times=1, **kwargs):
    return add(*args, **kwargs) * times


@wrapping(add)
def passes_all(*args, **kwargs):
    return add(*args, **kwargs)


@wrapping(add)
def takes_names(**kwargs):
    return add(**kwargs)


def by_keyword(x, *, rate=1, unit):
    return [x, rate, unit]


@wrapping(by_keyword)
def gives_keyword(*args, **kwargs):
    return by_keyword(*args, unit="m", **kwargs)


@wrapping(by_keyword)
def default_of_keyword(*args, **kwargs):
    return by_keyword(*args, **{"rate": 5, "unit": "m", **kwargs})


def signed_by_hand(*args):
    return list(args)


signed_by_hand.__signature__ = inspect.Signature(
    [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in ("a", "b")]
)
signed = task(signed_by_hand, name="signed")


@wrapt.decorator
def injecting(wrapped, instance, args, kwargs):
    return wrapped(*args, 20, **kwargs)


injected = task(injecting(add), name="injected")


class Resource:
    @contextlib.contextmanager
    def opened(self):
        yield "resource"


def with_resource(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        with Resource().opened() as resource:
            return function(resource, *args, **kwargs)

    return wrapper


opened = task(with_resource(add), name="opened")


class Retried:
    def __init__(self, function):
        functools.update_wrapper(self, function)
        self.function = function

    def __call__(self, x):
        return self.function(x, 20)


retried = task(Retried(add), name="retried")

AS_PYTHON = {
    "gives the last": lambda: gives_the_last(1),
    "gives by name": lambda: gives_by_name(1),
    "gives by name, the default given": lambda: gives_by_name(1, z=4),
    "gives the first": lambda: gives_the_first(2),
    "gives the first, more given": lambda: gives_the_first(2, z=4),
    "other default": lambda: other_default(1),
    "other order": lambda: other_order(y=1, x=2),
    "other order by place": lambda: other_order(1, 2),
    "takes more": lambda: takes_more(1, 2, times=2),
    "takes no more": lambda: takes_more(1, 2),
    "passes all": lambda: passes_all(1, y=2),
    "takes names": lambda: takes_names(x=1, y=2),
    "gives keyword": lambda: gives_keyword(1, rate=2),
    "gives keyword alone": lambda: gives_keyword(1),
    "signed by hand": lambda: signed(1, b=2),
    "wrapt": lambda: injected(1),
    "context manager": lambda: opened(1),
    "class of a wrapper": lambda: retried(1),
}
AS_PYTHON_ONCE_TOLD = {
    "gives what has a default": lambda: gives_what_has_a_default(1, 2),
    "default at last": lambda: default_at_last(1, 2),
    "default of keyword": lambda: default_of_keyword(1),
    "default of keyword given": lambda: default_of_keyword(1, rate=1),
}
TRUTH = {
    "gives the last": [1, 20, 3],
    "gives by name": [1, 20, 3],
    "gives by name, the default given": [1, 20, 4],
    "gives the first": ["first", 2, 3],
    "gives the first, more given": ["first", 2, 4],
    "other default": [1, 7, 8],
    "other order": [2, 1, 3],
    "other order by place": [2, 1, 3],
    "takes more": [1, 2, 3] * 2,
    "takes no more": [1, 2, 3],
    "passes all": [1, 2, 3],
    "takes names": [1, 2, 3],
    "gives keyword": [1, 2, "m"],
    "gives keyword alone": [1, 1, "m"],
    "signed by hand": [1, 2],
    "wrapt": [1, 20, 3],
    "context manager": ["resource", 1, 3],
    "class of a wrapper": [1, 20, 3],
    "gives what has a default": [1, 2, 20],
    "default at last": [1, 2, 9],
    "default of keyword": [1, 5, "m"],
    "default of keyword given": [1, 1, "m"],
}


@pytest.mark.parametrize("name", AS_PYTHON)
def test_a_wrapper_is_called_as_it_is_in_python(run, name):
    assert run(AS_PYTHON[name]()) == TRUTH[name]


@pytest.mark.parametrize("name", AS_PYTHON | AS_PYTHON_ONCE_TOLD)
def test_a_wrapper_is_given_what_was_given(name):
    assert called((AS_PYTHON | AS_PYTHON_ONCE_TOLD)[name]()) == TRUTH[name]


def test_a_default_that_is_given_is_another_call_for_a_wrapper_that_can_tell():
    assert default_at_last(1, 2)._arguments == {"x": 1, "y": 2, "z": 3}  # as ever
    assert default_at_last(1, 2, 3)._arguments != default_at_last(1, 2)._arguments
    assert default_at_last(1, 2, 4)._arguments == {"x": 1, "y": 2, "z": 4}
    assert task(add)(1, 2)._arguments == task(add)(1, 2, 3)._arguments


def test_what_fits_neither_is_refused_when_the_call_is_made():
    for make in (lambda: gives_the_last(), lambda: gives_the_last(1, 2), lambda: task(add)(1, bogus=2)):
        with pytest.raises(ArgumentError):
            make()


def test_a_default_of_what_is_wrapped_counts_though_the_wrapper_hides_it():
    assert injected(1)._arguments == {"*args": (1,), "**kwargs": {}, "z": 3}


# --- defined twice ------------------------------------------------------------------------------------


def module_of(tmp_path, folder, text, name="steps_of_two"):
    file = tmp_path / folder / f"{name}.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    module = types.ModuleType(name)
    module.__file__ = str(file)
    exec(compile(text, str(file), "exec"), vars(module))
    return module


STEP = "from valuestore import task\n@task(version='1')\ndef load():\n    return {}\n"


def test_two_files_cannot_have_one_name_and_version(tmp_path):
    module_of(tmp_path, "a", STEP.format(1))
    with pytest.raises(TaskError, match=r"load of version 1 is defined twice, with other code: .*a/.*b/"):
        module_of(tmp_path, "b", STEP.format(2))
    module_of(tmp_path, "c", STEP.format(1))  # the same code is no other task
    module_of(tmp_path, "d", STEP.format(3).replace("'1'", "'2'"))


def test_two_functions_cannot_have_one_name_and_version(tmp_path):
    two = STEP.format(1).replace("version", "name='both', version")
    with pytest.raises(TaskError, match=r"steps_of_two\.load in .* and steps_of_two\.other in "):
        module_of(tmp_path, "a", two + two.replace("load", "other").replace("return 1", "return 2"))


def test_a_module_may_be_run_again(tmp_path):
    module_of(tmp_path, "a", STEP.format(1), name="run_again")
    again = module_of(tmp_path, "a", STEP.format(2), name="run_again")
    assert find_task("run_again.load") is again.load


def test_a_factory_makes_tasks_of_one_version():
    def make(k):
        @task(name="by_factory", version="1")
        def made(x):
            return k * x

        return made

    assert make(1).hash(get_type_registry()) != make(2).hash(get_type_registry())


def test_a_version_in_main_asks_for_a_namespace_once():
    definition._warn_of_main.cache_clear()
    function = types.FunctionType(scaled.__code__, {"__name__": "main"}, "scaled")
    function.__module__ = "main"
    with pytest.warns(ValuestoreWarning, match=r"main\.scaled has a version.*give it a namespace") as caught:
        task(function, version="1")
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        task(function, version="1")
        task(function, version="1", namespace="census", name="other")
        task(function, name="unversioned")


@task
def count():
    return 1


first_count = count


@task
def count():
    return 2


@task
def both_counts():
    return [first_count(), count()]


def test_a_call_of_a_task_that_another_replaced_is_not_kept(tmp_path):
    for _ in range(2):
        with (
            Repository.open(tmp_path) as repository,
            Scheduler(repository) as scheduler,
            pytest.warns(ValuestoreWarning, match="another task is called .*count by now"),
        ):
            assert scheduler.run(both_counts()) == [1, 2]
