"""Tiered keeps the contract, as a cache and as a layer; a cache helps, lies never, and may break."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import (
    AlreadyExists,
    ConfigError,
    NotFound,
    NotSupported,
    SizeMismatch,
    StoreUnavailable,
    TooLarge,
)
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Evicting, Tiered, cached
from valuestore.testing import StoreContract, StoreMachine


class TestTieredThrough(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Tiered(MemoryStore(str(tmp_path)), FileStore(tmp_path / "slow"))


class TestTieredFirst(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Tiered(FileStore(tmp_path / "fast"), FileStore(tmp_path / "slow"), write="first")


class TestCached(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: cached(FileStore(tmp_path / "slow"), 100_000)


class TestEvicting(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Evicting(MemoryStore(str(tmp_path)), 200 << 20)


class ThroughMachine(StoreMachine):
    def open_store(self):
        return Tiered(MemoryStore(self.place), MemoryStore(self.place + "/slow"), admit_max_bytes=1000)


class CachedMachine(StoreMachine):
    def open_store(self):
        return cached(MemoryStore(self.place), 300, others_write=False)


class FirstMachine(StoreMachine):
    def open_store(self):
        return Tiered(MemoryStore(self.place), MemoryStore(self.place + "/slow"), write="first")

    @rule(data=st.data())
    def push(self, data):
        if self.expected:
            key = data.draw(st.sampled_from(sorted(self.expected)))
            try:
                self.store.push(key)
            except NotFound:
                assert not MemoryStore(self.place).exists(key)
            assert MemoryStore(self.place + "/slow").exists(key)


class FailingCacheMachine(StoreMachine):
    """The cache fails at random, before or after it has done what it was asked."""

    def open_store(self):
        self.cache = FailingStore(MemoryStore(self.place))
        return Tiered(self.cache, MemoryStore(self.place + "/slow"), admit_max_bytes=1000)

    @rule(
        operations=st.lists(st.sampled_from(["get", "put", "delete", "open"]), min_size=1),
        times=st.integers(1, 5),
        after=st.booleans(),
    )
    def break_the_cache(self, operations, times, after):
        self.cache.fail(*operations, times=times, after=after)

    @rule()
    def reopen(self):
        """A broken cache is not replaced: what it could not drop is known to the open store alone."""


_quick = settings(stateful_step_count=25, max_examples=30, deadline=None)
for _machine in (ThroughMachine, CachedMachine, FirstMachine, FailingCacheMachine):
    globals()[f"Test{_machine.__name__}"] = _machine.TestCase
    _machine.TestCase.settings = _quick
del _machine


@pytest.fixture
def fast():
    return FailingStore(MemoryStore())


@pytest.fixture
def slow():
    return FailingStore(MemoryStore())


@pytest.fixture
def told():
    return []


@pytest.fixture
def tiered(fast, slow, told):
    return Tiered(fast, slow, observers=[told.append])


def _reads(store):
    return sum(store.calls[name] for name in ("get", "open", "get_many"))


# --- a cache helps ----------------------------------------------------------------------------------


def test_a_cache_of_no_size_is_no_cache(slow):
    assert cached(slow, 0) is slow


def test_the_second_read_does_not_ask_the_slow_store(tiered, slow, told):
    slow.put("k", b"data")
    assert tiered.get("k") == tiered.get("k") == b"data"
    assert (_reads(slow), tiered.hits, tiered.misses) == (1, 1, 1)
    assert [event.operation for event in told] == ["cache_miss", "cache_hit"]


def test_what_was_written_is_read_from_the_cache(tiered, slow):
    tiered.put("k", b"data")
    tiered.put("l", iter([b"da", b"ta"]))
    assert tiered.get("k", 1, 3) + tiered.open("l").read() == b"atdata"
    assert _reads(slow) == 0


def test_streams_are_cached_when_they_are_read_if_they_are_admitted(fast, slow):
    tiered = Tiered(fast, slow, admit_max_bytes=10)
    slow.put("small", bytes(10))
    slow.put("large", bytes(11))
    for _ in range(2):
        assert len(tiered.open("small").read()) + len(tiered.open("large").read()) == 21
    assert fast.list().keys == ["small"]
    assert slow.calls["get"] == 1


def test_what_is_not_admitted_is_not_cached(fast, slow):
    tiered = Tiered(fast, slow, admit_max_bytes=10)
    tiered.put("a", bytes(11))
    tiered.put("b", iter([bytes(6), bytes(6)]))
    tiered.put("c", iter([b""]), size=0)
    assert tiered.get("a") + tiered.get("b") == bytes(23)
    assert fast.list().keys == ["c"]


def test_reads_fill_the_cache_only_if_asked_to(fast, slow):
    tiered = Tiered(fast, slow, fill=False)
    slow.put("k", b"1")
    tiered.put("l", b"2")
    assert tiered.get("k") + tiered.get("l") + tiered.open("k").read() == b"121"
    assert fast.list().keys == ["l"]


def test_a_range_is_read_as_a_range(tiered, fast, slow):
    slow.put("k", bytes(1000))
    assert tiered.get("k", 10, 20) == bytes(10)
    assert fast.list().keys == []


def test_many_are_read_from_both(fast, slow):
    tiered = Tiered(fast, slow, others_write=False)
    tiered.put("a", b"1")
    slow.put("b", b"2")
    for _ in range(2):
        assert tiered.get_many(["b", "a", "b"]) == [b"2", b"1", b"2"]
    assert slow.calls["get_many"] == 2
    assert (tiered.hits, tiered.misses) == (1 + 3, 2)


def test_a_failing_read_is_not_remembered(tiered, slow):
    slow.put("k", b"data")
    slow.fail("get", times=1)
    with pytest.raises(StoreUnavailable):
        tiered.get("k")
    assert tiered.get("k") == b"data"
    with pytest.raises(NotFound):
        tiered.get("l")
    slow.put("l", b"now")
    assert tiered.get("l") == b"now"


# --- a cache never lies -----------------------------------------------------------------------------


@pytest.mark.parametrize("after", [False, True])
def test_after_a_failed_put_the_cache_serves_what_the_store_has(tiered, slow, after):
    tiered.put("k", b"old")
    slow.fail("put", times=1, after=after)
    with pytest.raises(StoreUnavailable):
        tiered.put("k", b"new")
    assert tiered.get("k") == slow.get("k") == (b"new" if after else b"old")


def test_a_put_refused_leaves_the_old_value(tiered):
    tiered.put("k", b"old")
    with pytest.raises(AlreadyExists):
        tiered.put("k", b"new", overwrite=False)
    with pytest.raises(SizeMismatch):
        tiered.put("k", iter([b"new"]), size=4)
    assert tiered.get("k") == b"old"


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.put("k", b"new"),
        lambda store: store.put("k", iter([b"n", b"ew"])),
        lambda store: store.put("k", bytes(2000)),
        lambda store: store.copy("other", "k"),
        lambda store: store.move("other", "k"),
        lambda store: store.put_many(["k"], [b"new"]),
    ],
)
def test_no_change_leaves_an_old_copy(fast, slow, change):
    tiered = Tiered(fast, slow, admit_max_bytes=1000)
    tiered.put("k", b"old")
    tiered.put("other", b"new")
    change(tiered)
    assert tiered.get("k") == slow.get("k") != b"old"
    assert tiered.get("k", 0, 1) == slow.get("k")[:1]


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.delete("k"),
        lambda store: store.delete_many(["k"]),
        lambda store: store.move("k", "l"),
    ],
)
def test_a_deletion_reaches_both(tiered, fast, slow, change):
    tiered.put("k", b"old")
    change(tiered)
    with pytest.raises(NotFound):
        tiered.get("k")
    assert not fast.exists("k")
    assert not slow.exists("k")


def test_a_copy_that_cannot_be_dropped_is_not_read(tiered, fast):
    tiered.put("k", b"old")
    fast.fail("delete", "put", times=4)
    tiered.put("k", b"new")
    assert fast.get("k") == b"old"
    assert tiered.get("k") == b"new"
    fast.heal()
    assert tiered.get("k") == tiered.get("k") == b"new"
    assert fast.get("k") == b"new"


class _Pausing(MemoryStore):
    """Stops within a get, once the bytes are read."""

    def __init__(self):
        super().__init__()
        self.reached, self.go_on = threading.Event(), threading.Event()

    def get(self, key, start=0, end=None):
        data = super().get(key, start, end)
        self.reached.set()
        assert self.go_on.wait(5)
        return data


@pytest.mark.parametrize("others_write", [True, False])
def test_a_slow_reader_does_not_cache_what_was_overwritten_meanwhile(fast, others_write):
    slow = _Pausing()
    tiered = Tiered(fast, slow, others_write=others_write)
    slow.put("k", b"old")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tiered.get, "k")
        slow.reached.wait(5)
        tiered.put("k", b"new")
        slow.go_on.set()
        assert reading.result() == b"old"
    assert tiered.get("k") == b"new"


def test_what_others_overwrite_while_it_is_read_is_not_cached(fast):
    slow = _Pausing()
    tiered = Tiered(fast, slow)
    slow.put("k", b"old")
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(tiered.get, "k")
        slow.reached.wait(5)
        slow.put("k", b"new")
        slow.go_on.set()
        reading.result()
    assert tiered.get("k") == b"new"


class _Hooked(MemoryStore):
    """Does something before a put arrives."""

    def put(self, key, data, **settings):
        self.before()
        return super().put(key, data, **settings)


@pytest.mark.parametrize("size", [10, 100])
def test_what_others_cache_while_it_is_written_does_not_stay(fast, size):
    slow = _Hooked()
    one, other = (Tiered(fast, slow, admit_max_bytes=50) for _ in range(2))
    slow.before = lambda: None
    one.put("k", b"old")
    slow.before = lambda: other.get("k")
    one.put("k", bytes(size))
    assert one.get("k") == other.get("k") == bytes(size)


def test_writers_and_readers_of_two_programs_leave_nothing_stale(fast, slow):
    """Two tiers on the same stores are two programs: they share no memory of versions."""
    programs = [Tiered(fast, slow, admit_max_bytes=50) for _ in range(2)]

    def work(n):
        for round_ in range(60):
            tiered, key = programs[n % 2], f"k{round_ % 2}"
            if n < 3:
                tiered.put(key, b"%d " % (n * 1000 + round_) * (1 + round_ % 20))
            else:
                try:
                    tiered.get(key)
                except NotFound:
                    pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for key in ("k0", "k1"):
        assert {program.get(key) for program in programs} == {slow.get(key)}


# --- a cache may break ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error", [StoreUnavailable("cache", "gone"), RuntimeError("bug"), OSError(28, "full")]
)
def test_a_broken_cache_costs_nothing_but_time(tiered, fast, slow, told, error):
    tiered.put("k", b"old")
    fast.fail()
    fast.error = error
    tiered.put("k", b"new")
    assert tiered.get("k") == tiered.open("k").read() == tiered.get_many(["k"])[0] == b"new"
    tiered.copy("k", "l")
    tiered.delete("k")
    assert tiered.list().keys == ["l"]
    assert error in [event.error for event in told]
    fast.heal()
    with pytest.raises(NotFound):
        tiered.get("k")


def test_a_cache_that_is_too_small_is_no_failure(slow, told):
    tiered = Tiered(Evicting(MemoryStore(), 10), slow, observers=[told.append])
    tiered.put("k", b"small")
    tiered.put("k", b"larger than that")
    assert tiered.get("k") == b"larger than that"
    assert "cache_error" not in [event.operation for event in told]


def test_a_failing_slow_store_fails_the_caller(tiered, slow):
    slow.fail()
    for use in (tiered.get, tiered.stat, tiered.delete, tiered.list, lambda key: tiered.put(key, b"")):
        with pytest.raises(StoreUnavailable):
            use("k")


# --- layers -----------------------------------------------------------------------------------------


@pytest.fixture
def layers(fast, slow):
    slow.put("m/below", b"below", attrs={"x": 1, "y": 2})
    slow.put("both", b"hidden")
    fast.put("both", b"above")
    return Tiered(fast, slow, write="first")


def test_the_union_has_each_key_once_in_order_and_the_first_wins(layers, fast):
    fast.put("a", b"")
    assert layers.list().keys == ["a", "both", "m/below"]
    assert layers.list(limit=2).cursor == "both"
    assert layers.list(cursor="both").keys == ["m/below"]
    assert (layers.get("both"), layers.stat("both").size, layers.get("m/below")) == (b"above", 5, b"below")


def test_writes_go_to_the_first_alone(layers, fast, slow):
    layers.put("m/below", b"new")
    layers.put("new", b"1")
    assert (fast.get("m/below"), fast.stat("m/below").attrs) == (b"new", {"x": 1, "y": 2})
    assert slow.get("m/below") == b"below"
    assert not slow.exists("new")


def test_writes_through_reach_both(fast, slow):
    Tiered(fast, slow, write="through").put("k", b"1")
    assert fast.get("k") == slow.get("k") == b"1"


def test_what_is_deleted_does_not_reappear(layers, slow):
    layers.delete("both")
    with pytest.raises(NotFound):
        layers.get("both")
    assert not slow.exists("both")


def test_a_key_is_pushed_down_with_its_attributes(layers, fast, slow):
    layers.put("m/x", b"1", attrs={"n": 1})
    layers.push("m/x")
    assert (slow.get("m/x"), slow.stat("m/x").attrs) == (b"1", {"n": 1})
    assert not fast.exists("m/x")
    assert layers.get("m/x") == b"1"
    with pytest.raises(NotFound):
        layers.push("m/unknown")


def test_a_failing_push_loses_nothing(layers, slow):
    layers.put("k", b"1")
    slow.fail("put")
    with pytest.raises(StoreUnavailable):
        layers.push("k")
    assert layers.get("k") == b"1"


def test_a_first_store_that_cannot_answer_hides_what_is_below(layers, fast):
    fast.fail()
    with pytest.raises(StoreUnavailable):
        layers.get("both")


def test_creating_what_is_below_is_refused(layers):
    with pytest.raises(AlreadyExists):
        layers.put("m/below", b"", overwrite=False)


# --- itself -----------------------------------------------------------------------------------------


def test_a_cache_has_nothing_to_push_and_no_batches(tiered):
    for use in (partial(tiered.push, "k"), tiered.batch, partial(tiered.sign, "k", "PUT")):
        with pytest.raises(NotSupported):
            use()


def test_an_unknown_way_to_write_is_a_mistake(fast, slow):
    with pytest.raises(ConfigError, match="write"):
        Tiered(fast, slow, write="back")


def test_a_pickle_has_its_settings(tmp_path):
    again = pickle.loads(
        pickle.dumps(Tiered(MemoryStore(), FileStore(tmp_path), write="first", admit_max_bytes=5))
    )
    assert (again._settings()["write"], again._settings()["admit_max_bytes"]) == ("first", 5)


# --- the store that evicts --------------------------------------------------------------------------


def test_the_least_recently_used_is_evicted():
    store = Evicting(MemoryStore(), 10)
    for key in "abc":
        store.put(key, b"123")
    store.get("a")
    store.put("d", b"123")
    assert store.list().keys == ["a", "c", "d"]
    store.put("d", bytes(10))
    assert store.list().keys == ["d"]


def test_what_is_larger_than_all_is_refused_and_evicts_nothing():
    store = Evicting(MemoryStore(), 10)
    store.put("a", b"1")
    for data in (bytes(11), iter([bytes(6), bytes(6)])):
        with pytest.raises(TooLarge):
            store.put("b", data)
    assert store.list().keys == ["a"]


class EvictingMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.store = Evicting(MemoryStore(), 20)

    @rule(key=st.sampled_from("abcdef"), size=st.integers(0, 12))
    def put(self, key, size):
        self.store.put(key, bytes(size))
        assert self.store.size(key) == size

    @rule(key=st.sampled_from("abcdef"), other=st.sampled_from("abcdef"), move=st.booleans())
    def copy(self, key, other, move):
        if self.store.exists(key):
            (self.store.move if move else self.store.copy)(key, other)

    @rule(key=st.sampled_from("abcdef"))
    def delete(self, key):
        self.store.delete_many([key])

    def teardown(self):
        sizes = {key: self.store.size(key) for key in self.store.list().keys}
        assert sum(sizes.values()) <= 20
        assert self.store._total == sum(sizes.values())


TestEvictingMachine = EvictingMachine.TestCase
TestEvictingMachine.settings = settings(max_examples=50, deadline=None)
