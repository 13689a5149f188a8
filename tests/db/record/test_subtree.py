"""Subtree sets: what a call node says that it depends on is what a plain recursion over the calls finds."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from valuestore import File, Scheduler, task
from valuestore.db.record.subtree import EMPTY, SubtreeSet, single, union

Spec = tuple  # (task number, file number or None, whether the result holds it, children)

specs = st.recursive(
    st.tuples(st.integers(0, 3), st.none() | st.integers(0, 5), st.booleans(), st.just(())),
    lambda inner: st.tuples(
        st.integers(0, 3),
        st.none() | st.integers(0, 5),
        st.booleans(),
        st.lists(inner, max_size=4).map(tuple),
    ),
    max_leaves=25,
)


def body(spec, file, inputs):
    number, _, in_result, children = spec
    calls = [call_of(child, inputs) for child in children]
    return [calls, file if in_result else None, number]


@task(version="1")
def zero(spec, file, inputs):
    return body(spec, file, inputs)


@task(version="1")
def one(spec, file, inputs):
    return body(spec, file, inputs)


@task(version="1")
def two(spec, file, inputs):
    return body(spec, file, inputs)


@task(version="1", cache=False)
def uncached(spec, file, inputs):
    return body(spec, file, inputs)


TASKS = (zero, one, two, uncached)


def call_of(spec, inputs):
    file = None if spec[1] is None else [File(f"{inputs}/{spec[1]}")]
    return TASKS[spec[0]](spec, file, inputs)


def expected(spec, inputs, registry):
    """Task hashes, hashes of files and replayability below a call, by a plain recursion."""
    own = TASKS[spec[0]]
    tasks, files, replayable = {own.hash(registry)}, set(), own.said.get("cache", True)
    if spec[1] is not None:
        files.add(registry.hash(File(f"{inputs}/{spec[1]}")))
    for child in spec[3]:
        found = expected(child, inputs, registry)
        tasks, files, replayable = tasks | found[0], files | found[1], replayable and found[2]
    return tasks, files, replayable


def members(connection, set_hash):
    """All members of a recorded set, however deep."""
    rows = connection.execute(
        text("SELECT member_hash, is_set FROM set_member WHERE set_hash = :hash"), {"hash": set_hash}
    ).all()
    if not rows:
        return {set_hash}
    found = set()
    for member, is_set in rows:
        found |= members(connection, member) if is_set else {member}
    return found


def recorded(repository, spec, inputs):
    """The same three of the newest call node with this spec as its argument."""
    registry = repository.archive.registry
    query = text(
        "SELECT c.task_set_hash, c.external_set_hash, c.replayable, t.task_hash FROM call_node c "
        "JOIN task t ON t.task_no = c.task_no JOIN argument a ON a.args_hash = c.args_hash "
        "WHERE a.name = 'spec' AND a.value_hash = :spec"
    )
    with repository.database.read() as connection:
        [row] = connection.execute(query, {"spec": registry.hash(spec)}).all()
        tasks = {row.task_hash} if row.task_set_hash is None else members(connection, row.task_set_hash)
        tasks &= {one.hash(registry) for one in TASKS}  # and not the digests of their signatures
        files = set() if row.external_set_hash is None else members(connection, row.external_set_hash)
        return tasks, files, bool(row.replayable)


def subtrees(spec):
    yield spec
    for child in spec[3]:
        yield from subtrees(child)


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    folder = tmp_path_factory.mktemp("subtree")
    for number in range(6):
        (folder / str(number)).write_text(str(number))
    with Scheduler(folder) as scheduler:
        yield scheduler


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spec=specs)
def test_sets_are_what_a_plain_recursion_finds(scheduler, spec):
    repository = scheduler.repository
    inputs = str(repository.folder.parent)
    scheduler.run(call_of(spec, inputs))
    scheduler.run(call_of(spec, inputs))  # from the cache, which must not say something else
    for below in set(subtrees(spec)):
        assert recorded(repository, below, inputs) == expected(below, inputs, repository.archive.registry)


def test_sets_of_a_cached_run_are_those_of_the_first(scheduler, tmp_path):
    spec = (0, 1, True, ((1, 2, True, ()), (2, None, False, ((1, 3, False, ()),))))
    inputs = str(scheduler.repository.folder.parent)
    with Scheduler(tmp_path) as other:
        other.run(call_of(spec, inputs))
        registry = other.repository.archive.registry
        with other.repository.database.write() as connection:  # as if the first run had been killed
            connection.execute(text("DELETE FROM call_node"))
        other.repository.recorder._seen.hashes.clear()
        other.run(call_of(spec, inputs))
        for below in set(subtrees(spec)):
            assert recorded(other.repository, below, inputs) == expected(below, inputs, registry)


def expand(one: SubtreeSet) -> set[str]:
    if one.set_hash is None:
        return set()
    if not one.is_set:
        return {one.set_hash}
    below = {child.set_hash: child for child in one.children}
    return {
        found for member, is_set in one.members for found in (expand(below[member]) if is_set else {member})
    }


trees = st.recursive(
    st.tuples(st.sets(st.sampled_from("abcdefgh"), max_size=4), st.just(())),
    lambda inner: st.tuples(st.sets(st.sampled_from("abcdefgh"), max_size=4), st.lists(inner, max_size=5)),
    max_leaves=30,
)


@given(tree=trees, flat_size=st.integers(0, 8))
def test_union_holds_every_member_once(tree, flat_size):
    def both(node):
        own, below = node
        found = [both(child) for child in below]
        whole = set(own).union(*[plain for _, plain in found])
        return union(sorted(own), [one for one, _ in found], flat_size), whole

    built, plain = both(tree)
    assert expand(built) == plain
    assert (built.set_hash is None) == (not plain)


def test_small_sets_have_one_hash_however_they_came_about():
    ab = union("ab", [], 10)
    assert union("a", [single("b")], 10) is not ab
    assert union("a", [single("b")], 10).set_hash == ab.set_hash
    assert union("a", [ab, EMPTY], 10) is ab
    assert union("", [ab, single("a")], 1).is_set


def test_parents_share_the_sets_of_their_children():
    leaves = [single(f"{n:032x}") for n in range(1000)]
    below = union((), leaves, 4)
    above = union(("x" * 32,), [below], 4)
    assert len(below.rows()) == 1000
    assert len(above.rows()) == 2
    known: set = set()
    assert len(list(above.unrecorded(known))) == 2
    assert list(above.unrecorded(known)) == []


def test_deep_chains_of_sets_are_no_recursion():
    chain = union("ab", [], 0)
    for number in range(20_000):
        chain = union((str(number),), [chain], 0)
    assert sum(1 for _ in chain.unrecorded(set())) == 20_001
