"""Sharing survives the store: an expression that a body returned comes back as the graph that it was."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy
import pytest
import sqlalchemy
from hypothesis import given
from hypothesis import strategies as st

from valuestore import Repository, Scheduler, get_type_registry, tag, task
from valuestore.errors import DecodeError, NotHashableError, UntrustedPayload
from valuestore.hashing import encode_plain
from valuestore.tasks.call import find_calls
from valuestore.values.codecs.plain import TAGGED, decode_tagged
from valuestore.values.identity.canonical import EXPRESSION, NODE
from valuestore.values.preview import preview

CALL = "valuestore.Call"
BODIES: list[str] = []
MODULUS = 1_000_003


@dataclass
class Pair:
    left: Any
    right: Any


@task(version="1")
def load(i: int) -> int:
    return i


@task(version="1")
def add(x: Any, y: Any) -> int:
    return int(x + y) % MODULUS


@task(version="1")
def table(parts: Any) -> int:
    return sum(parts)


@task(version="1")
def held(pair: Any) -> int:
    return int(pair.left[0] + pair.right["a"])


@task(version="1")
def fit(t: Any, k: int) -> int:
    return int(t) * k


@task(version="1")
def size(array: Any, k: int) -> int:
    return len(array) + k


@task(version="1")
def give(name: str) -> Any:
    BODIES.append(name)
    return SHAPES[name]()


def star(files: int, fits: int) -> Any:
    """The most natural pipeline: one table of many files, many fits."""
    t = table([load(i) for i in range(files)])
    return [fit(t, k) for k in range(fits)]


def doubled(times: int) -> Any:
    x = load(1)
    for _ in range(times):
        x = add(x, x)
    return x


def doubled_by_operators(times: int) -> Any:
    x: Any = load(1)
    for _ in range(times):
        x = (x + x) % MODULUS
    return x


def chain(length: int) -> Any:
    x = load(0)
    for i in range(length):
        x = add(x, i)
    return x


def one_list() -> Any:
    parts = [load(i) for i in range(20)]
    return {k: add(table(parts), k) for k in range(20)}, parts, table(parts)


def one_of_each_container() -> Any:
    x, y = load(1), load(2)
    pair = Pair([x, x], {"a": y})
    return [held(pair), held(pair), pair, (x, y), Pair([y], {"a": pair.left})]


def diamonds() -> Any:
    x = load(1)
    for i in range(10):
        left, right = add(x, i), add(x, -i)
        x = add(left, right)
    return x


def operation() -> Any:
    total = load(1) + load(2)
    return [fit(total, k) for k in range(10)], total, total * 2


def equal_calls() -> Any:
    return [add(load(1), load(1)), add(load(1), load(1))]


SHAPES = {
    "star": lambda: star(300, 100),
    "doubled": lambda: doubled(60),
    "doubled by operators": lambda: doubled_by_operators(60),
    "chain": lambda: chain(300),
    "deep operators": lambda: sum((load(i % 3) for i in range(10_000)), start=load(0)),
    "wide": lambda: [load(i) for i in range(2_000)],
    "one list": one_list,
    "containers": one_of_each_container,
    "diamonds": diamonds,
    "operation": operation,
    "equal calls": equal_calls,
    "tag": lambda: [tag(doubled(3), stage="trial")] * 2,
    "arrays": lambda: [size(array, k) for array in [numpy.ones(10_000)] for k in range(100)],
}
LINEAGE = ("call_node", "lineage", "argument", "value", "tag WHERE key = 'stage'")


def run(folder, call):
    """The result, the number of jobs that a walk took, and the rows that say where results are from."""
    with Repository.open(folder) as repository, Scheduler(repository) as scheduler:
        with repository.database.write() as connection:  # else it would be one replay
            connection.execute(sqlalchemy.text("UPDATE call_node SET checksum = NULL"))
        before = rows(repository, "job")
        result = scheduler.run(call)
        lineage = {table: rows(repository, table) for table in LINEAGE}
        return result, rows(repository, "job") - before, lineage


def rows(repository, table):
    repository.flush()
    return repository.history.query(f"SELECT count(*) FROM {table}").rows[0][0]


@pytest.mark.parametrize("name", SHAPES)
def test_a_rerun_has_the_jobs_the_results_and_the_lineage_of_the_cold_run(tmp_path, name):
    BODIES.clear()
    began = time.process_time()
    cold, jobs, lineage = run(tmp_path, give(name))
    assert run(tmp_path, give(name)) == (cold, jobs, lineage)
    assert [name] == BODIES
    assert time.process_time() - began < 30  # not two to the power of sixty


def test_a_chain_of_ten_thousand_calls_comes_back(registry):
    expression = chain(10_000)
    again = registry.load(registry.dump(expression))
    assert registry.hash(again) == registry.hash(expression)
    assert len(registry.hash_calls(again)) == 10_001


@pytest.mark.parametrize(("name", "most"), [("star", 200_000), ("doubled", 20_000), ("arrays", 100_000)])
def test_each_call_and_each_shared_argument_is_stored_once(registry, name, most):
    assert len(registry.dump(SHAPES[name]()).data) < most


def test_who_shares_and_who_does_not_are_one_value(registry):
    x, shared = load(1), [load(2)]
    assert registry.hash([add(x, x), table(shared), table(shared)]) == registry.hash(
        [add(load(1), load(1)), table([load(2)]), table([load(2)])]
    )
    assert registry.hash(x) == registry.hash_calls([x])[id(x)]
    assert registry.hash(add(x, x)) != registry.hash(add(x, load(2)))


def test_an_operation_that_is_shared_is_evaluated_once(tmp_path):
    with Repository.open(tmp_path) as repository, Scheduler(repository) as scheduler:
        for _ in range(2):
            assert scheduler.run(give("tag")) == [8, 8]
        assert rows(repository, LINEAGE[-1]) == 1


# --- any graph ------------------------------------------------------------------------------------

KINDS = ("load", "add", "list", "dict", "pair", "operation")
NODES = st.lists(
    st.tuples(st.sampled_from(KINDS), st.integers(0, 99), st.integers(0, 99)), min_size=1, max_size=25
)
GRAPHS: dict[str, list[tuple[str, int, int]]] = {}


def number(x: Any) -> Any:
    """Any value as a number, so that all can be added."""
    if isinstance(x, Pair):
        return number([x.left, x.right])
    return sum(map(number, x.values() if isinstance(x, dict) else x)) if isinstance(x, list | dict) else x


@task(version="1")
def total(x: Any, y: Any) -> int:
    return int(number(x) + 2 * number(y)) % MODULUS


def graph(nodes: list[tuple[str, int, int]]) -> Any:
    """Each node is made of two before it."""
    made: list[Any] = [load(0)]
    calls: list[Any] = [made[0]]
    for kind, left, right in nodes:
        x, y = made[left % len(made)], made[right % len(made)]
        if kind == "load":
            node: Any = load(left % 5)
        elif kind == "add":
            node = total(x, y)
        elif kind == "operation":
            node = calls[left % len(calls)] + calls[right % len(calls)]
        else:
            node = {"list": [x, y], "dict": {"x": x, "y": y}, "pair": Pair(x, y)}[kind]
        made.append(node)
        calls += [node] if kind in ("load", "add", "operation") else []
    return [total(made[-1], made[-1]), made[-1], made[len(made) // 2]]


@task(version="1")
def give_graph(key: str) -> Any:
    return graph(GRAPHS[key])


@given(NODES)
def test_any_graph_comes_back_as_it_was(tmp_path_factory, nodes):
    folder = tmp_path_factory.mktemp("graph")
    GRAPHS["g"] = nodes
    cold = run(folder, give_graph("g"))
    assert run(folder, give_graph("g")) == cold


# --- bad input ------------------------------------------------------------------------------------


@pytest.fixture
def registry():
    return get_type_registry()


def lifted(registry, *forms):
    """What a signed payload with these rows would give."""
    return decode_tagged(encode_plain((NODE, EXPRESSION, list(forms))), registry)


def ref(number):
    return (NODE, EXPRESSION, number)


def call_of(name, **arguments):
    return (NODE, CALL, {"task": f"{__name__}.{name}", "arguments": arguments})


def test_a_call_that_is_given_itself_is_refused(registry):
    parts: list[Any] = []
    call = table(parts)
    parts.append(call)
    for cyclic in (call, parts, [add(call, 1)]):
        with pytest.raises(NotHashableError, match="contains itself"):
            registry.hash(cyclic)


@pytest.mark.parametrize("number", [1, 2, -1, 10**30, "a" * 32, None, 0.0, True, (0,)])
def test_a_row_that_names_none_before_it_is_an_error(registry, number):
    with pytest.raises(DecodeError):
        lifted(registry, call_of("load", i=1), call_of("load", i=ref(number)))


@pytest.mark.parametrize("form", [(NODE, EXPRESSION, []), ref(0), (NODE, EXPRESSION), [ref(0)]])
def test_an_expression_without_rows_is_an_error(registry, form):
    with pytest.raises(DecodeError):
        decode_tagged(encode_plain(form), registry)


def test_rows_that_would_be_written_out_for_ever_are_an_error(registry):
    rows = [(0, 0)] + [(ref(i), ref(i)) for i in range(60)]
    with pytest.raises(DecodeError, match="shared so often"):
        lifted(registry, *rows, (NODE, "builtins.set", [ref(60)]))


def test_a_row_whose_task_or_class_is_gone_is_an_error(registry):
    with pytest.raises(DecodeError, match=r"nothing is not defined"):
        lifted(registry, call_of("nothing"), call_of("load", i=ref(0)))
    with pytest.raises(DecodeError):
        lifted(registry, (NODE, f"{__name__}.Gone", {"x": 1}), call_of("load", i=ref(0)))


def test_rows_without_a_signature_are_not_built(registry):
    data = encode_plain((NODE, EXPRESSION, [call_of("load", i=1)]))
    with pytest.raises(UntrustedPayload):
        registry.open(TAGGED, EXPRESSION, data, "0" * 32)
    with pytest.raises(DecodeError):
        registry.open(TAGGED, CALL, data, "0" * 32)
    with pytest.raises(UntrustedPayload):
        registry.open(TAGGED, "builtins.list", encode_plain([(NODE, EXPRESSION, [1])]), "0" * 32)


def test_a_tree_that_was_stored_before_is_read(registry):
    x = call_of("load", i=1)
    again = decode_tagged(encode_plain([call_of("add", x=x, y=x), x]), registry)
    assert registry.hash(again) == registry.hash([add(load(1), load(1)), load(1)])
    assert len(find_calls(again)) == 2


def test_plain_data_cannot_pass_for_rows(registry):
    for plain in [(NODE, EXPRESSION, [1, ref(0)]), [ref(0)]]:
        assert registry.load(registry.dump([plain, load(1)]))[0] == plain


# --- previews -------------------------------------------------------------------------------------


def test_a_preview_shows_calls_in_their_places(registry):
    shown = '{"task":"%s.add","arguments":{"x":{"task":"%s.load","arguments":{"i":1}},"y":2}}'
    encoded = registry.encode(add(load(1), 2))
    assert encoded.preview == shown % (__name__, __name__)
    assert registry.preview(encoded.payload) == encoded.preview


@pytest.mark.parametrize(
    "rows", [[ref(0)], [[ref(0)] * 9] * 99, [], [ref(-1)], [ref(5)], None, [[ref([ref(0)])]]]
)
def test_a_preview_of_damaged_rows_is_short(rows):
    assert len(preview((NODE, EXPRESSION, rows), 100)) < 500
