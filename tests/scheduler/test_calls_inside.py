"""Calls inside containers are evaluated, and calls inside anything else are refused: never handed on."""

from __future__ import annotations

import collections
import functools
import queue
import threading
import types
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import attrs
import msgspec
import numpy
import pandas
import pydantic
import pytest

from valuestore import File, Repository, Scheduler, Value, task
from valuestore.errors import MisplacedCall, ValuestoreWarning
from valuestore.tasks.call import Call, find_expressions


class Bodies:
    """Names of the bodies that ran. No task depends on what it holds."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __reduce_ex__(self, protocol: Any) -> Any:
        return "RAN"


RAN = Bodies()


@dataclass
class Record:
    part: Any
    made: Any = field(default=0, init=False)

    def __post_init__(self):
        self.made = [self.part]


@dataclass(frozen=True, slots=True)
class Frozen:
    part: Any


@attrs.frozen
class Framed:
    part: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    part: Any


class Rooted(pydantic.RootModel[Any]):
    pass


class Pair(NamedTuple):
    left: Any
    right: Any = 2


class Shifted(collections.namedtuple("_Shifted", "left right")):
    __slots__ = ()


class Plain:
    def __init__(self, attr):
        self.attr = attr


class Marked(Value):
    def __init__(self, part):
        self.part = part


class Items(list):  # type: ignore[type-arg]
    pass


class Locked:
    def __init__(self, part):
        self.lock = threading.Lock()
        self.part = part


class Struct(msgspec.Struct):
    part: Any


def identity(x: Any) -> Any:
    return x


@task
def one() -> int:
    RAN.names.append("one")
    return 1


@task
def double(x: int) -> int:
    RAN.names.append("double")
    return 2 * x


@task
def text(x: Any) -> str:
    """What a body sees of its argument: its content, and whether a call is left in it."""
    RAN.names.append("text")
    shown = dict(x) if isinstance(x, types.MappingProxyType) else x
    assert find_expressions(x) == []
    return f"{type(x).__name__} {sorted(shown, key=repr) if isinstance(x, set | frozenset) else shown}"


@task
def wrapped(name: str) -> Any:
    RAN.names.append("wrapped")
    return [CONTAINERS[name](double(one())), 3]


@task
def hidden(name: str) -> Any:
    return HIDDEN[name](one())


@task
def hidden_beside_a_call(name: str) -> Any:
    return [one(), HIDDEN[name](one())]


CONTAINERS = {
    "list": lambda x: [x],
    "dict": lambda x: {"a": x},
    "dict key": lambda x: {x: "a"},
    "set": lambda x: {x},
    "frozenset": lambda x: frozenset({x}),
    "deque": lambda x: collections.deque([x], maxlen=3),
    "OrderedDict": lambda x: collections.OrderedDict(a=x),
    "defaultdict": lambda x: collections.defaultdict(None, a=x),
    "Counter": lambda x: collections.Counter({"a": x}),
    "ChainMap": lambda x: collections.ChainMap({"a": x}),
    "namespace": lambda x: types.SimpleNamespace(a=x),
    "proxy": lambda x: types.MappingProxyType({"a": x}),
    "named tuple": lambda x: Pair(x),
    "named tuple's child": lambda x: Shifted(x, 2),
    "dataclass": Record,
    "frozen slots": Frozen,
    "attrs": Framed,
    "pydantic": lambda x: Model(part=x),
    "pydantic root": lambda x: Rooted({"a": x}),
    "many": lambda x: Record({"a": (Frozen([Pair(Framed(x))]),)}),
}


def array_of(x):
    array = numpy.empty(2, dtype=object)
    array[0] = x
    return array


def frame_of(x):
    frame = pandas.DataFrame({"a": [0, "b"]}, dtype=object)
    frame.iat[0, 0] = x
    return frame


def queue_of(make, x):
    made = make()
    made.put(x)
    return made


def closure(x):
    return lambda: x


HIDDEN = {
    "attribute": lambda x: Plain([0, 1, x]),
    "Value": Marked,
    "list's child": lambda x: Items([x]),
    "struct": Struct,
    "array": array_of,
    "frame": frame_of,
    "partial": lambda x: functools.partial(identity, x),
    "closure": closure,
    "queue": lambda x: queue_of(queue.Queue, x),
    "C queue": lambda x: queue_of(queue.SimpleQueue, x),
    "lock beside it": Locked,
    "exception": lambda x: ValueError(x),
    "dataclass of objects": lambda x: Record(Plain(x)),
}
NOWHERE = {"closure", "C queue"}
"""What has no identity for another reason, for which an argument is refused first."""


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """And no traces: bodies here run methods that dataclasses made, which cannot be known again."""
    monkeypatch.setenv("VALUESTORE_TRACE", "false")
    RAN.names.clear()


def ran():
    names = sorted(RAN.names)
    RAN.names.clear()
    return names


@pytest.fixture
def again(tmp_path):
    """Runs in a repository opened anew."""

    def run(expression):
        with Scheduler(tmp_path) as scheduler:
            return scheduler.run(expression)

    return run


@pytest.mark.parametrize("name", CONTAINERS)
def test_a_call_in_an_argument_is_evaluated_and_the_task_cached(again, name):
    expected = text.func(CONTAINERS[name](2))
    ran()
    assert again(text(CONTAINERS[name](double(one())))) == expected
    assert ran() == ["double", "one", "text"]
    assert again(text(CONTAINERS[name](double(one())))) == expected
    assert again(text(CONTAINERS[name](2))) == expected  # one identity, wherever its parts come from
    assert ran() == []


@pytest.mark.parametrize("name", [name for name in CONTAINERS if name != "named tuple's child"])
def test_a_call_in_a_result_is_evaluated_and_the_step_comes_back(again, name):
    expected = text.func(CONTAINERS[name](2))
    ran()
    (result, _) = again(wrapped(name))
    assert text.func(result) == expected
    assert ran() == ["double", "one", "text", "wrapped"]
    (result, _) = again(wrapped(name))
    assert text.func(result) == expected
    assert ran() == ["text"]


def test_a_step_that_would_be_a_pickle_is_evaluated_and_not_kept(again):
    for _ in range(2):
        with pytest.warns(ValuestoreWarning, match="not cached"):
            assert again(wrapped("named tuple's child")) == [Shifted(2, 2), 3]
        assert "wrapped" in ran()


def test_calls_at_the_top_are_evaluated_in_objects_too(again):
    record = Record(one())
    assert again([record, Pair(record, one() + 1)]) == [(made := Record(1)), Pair(made, 2)]
    assert isinstance(record.part, Call)
    assert again(Record(1)) == Record(1)


@pytest.mark.parametrize("name", HIDDEN)
def test_a_call_anywhere_else_is_refused_as_an_argument_and_names_its_place(again, name):
    with pytest.raises(TypeError, match="argument x|closure|identity") as refused:
        again(text(HIDDEN[name](one())))
    if name not in NOWHERE and name != "queue" and name != "lock beside it":
        assert isinstance(refused.value, MisplacedCall)
    assert ran() == []


@pytest.mark.filterwarnings("ignore:the result")
@pytest.mark.parametrize("make", [hidden, hidden_beside_a_call])
@pytest.mark.parametrize("name", HIDDEN)
def test_a_call_anywhere_else_is_refused_as_a_result(again, name, make):
    for _ in range(2):  # nothing of it was kept
        with pytest.raises(MisplacedCall, match=r"value.* holds the call .*one\(\), which cannot"):
            again(make(name))


@pytest.mark.parametrize("name", HIDDEN)
def test_a_call_anywhere_else_is_refused_at_the_top(again, name):
    with pytest.raises(MisplacedCall, match=r"one\(\), which cannot be evaluated there"):
        again([one(), HIDDEN[name](one())])
    assert ran() == []


def test_the_path_leads_to_the_call(again):
    with pytest.raises(
        MisplacedCall, match=r"^argument x\[0\]\.part\.attr\[2\] holds the call .*\.one\(\), "
    ):
        again(text([Record(Plain([0, 1, one()]))]))


def test_a_default_may_be_a_call_and_a_global_that_is_one_stops_nobody(again):
    @task
    def with_default(x: Any = Frozen(one())) -> Any:  # noqa: B008
        return x.part + len(repr(GLOBAL))

    assert again(with_default()) == 1 + len(repr(GLOBAL))


GLOBAL = one()


def test_a_result_without_identity_is_searched_no_further_than_itself(again):
    @task
    def lock() -> Any:
        return [threading.Lock(), identity, lock, threading]

    with pytest.warns(ValuestoreWarning, match="lock"):
        assert again(lock())[1] is identity


def test_a_chain_of_calls_in_objects_has_a_short_name_and_runs(again):
    chain: Any = one()
    for _ in range(300):
        chain = attribute(Pair(Frozen(chain), Frozen(chain)))
    assert len(repr(chain)) < 200
    assert again(chain) == 1
    assert ran() == ["one"]


@task
def attribute(pair: Any) -> Any:
    assert pair.left.part == pair.right.part
    return pair.left.part


def test_labels_and_origins_see_calls_in_objects(tmp_path):
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        scheduler.run([text(Frozen(one())), Record(double(4))])
        repository.flush()
        ((label,),) = repository.database.rows("SELECT label FROM execution")
        ((sources,),) = repository.database.rows("SELECT count(*) FROM argument_source")
    here = __name__
    assert label == f"[{here}.text(x=Frozen(...)), Record({here}.double(x=4), [{here}.double(x=4)])]"
    assert sources == 1


def test_files_and_calls_may_be_in_one_object(tmp_path, again):
    (tmp_path / "a.txt").write_text("first")
    record = Record([File(tmp_path / "a.txt"), one()])
    assert again(first_line(record)) == "first1"
    (tmp_path / "a.txt").write_text("second")
    assert again(first_line(Record([File(tmp_path / "a.txt"), one()]))) == "second1"


@task
def first_line(record: Any) -> str:
    file, number = record.part
    return f"{file.read_text()}{number}"
