"""Cached keeps the contract with any number of caches; a cache helps, lies never, and may break."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import (
    AlreadyExists,
    ConfigError,
    NotFound,
    NotSupported,
    SizeMismatch,
    StoreClosed,
    StoreUnavailable,
)
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Cached, Evicting, Tiered, cached
from valuestore.testing import StoreContract, StoreMachine


class TestTieredThrough(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Tiered(MemoryStore(str(tmp_path)), FileStore(tmp_path / "slow"))


class TestCachedOfThree(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        places = tmp_path / "middle", tmp_path / "slow"
        return lambda: Cached(MemoryStore(str(tmp_path)), *map(FileStore, places))


class TestCached(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: cached(FileStore(tmp_path / "slow"), 100_000)


class ThroughMachine(StoreMachine):
    def open_store(self):
        return Tiered(MemoryStore(self.place), MemoryStore(self.place + "/slow"), admit_max_bytes=1000)


class CachedMachine(StoreMachine):
    def open_store(self):
        return cached(MemoryStore(self.place), 300, others_write=False)


class ThreeMachine(StoreMachine):
    def open_store(self):
        tiers = [MemoryStore(self.place + name) for name in ("", "/middle", "/slow")]
        return Cached(*tiers, admit_max_bytes=1000)


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


class FailingMiddleMachine(FailingCacheMachine):
    """It is the second of two caches."""

    def open_store(self):
        self.cache = FailingStore(MemoryStore(self.place + "/middle"))
        fast, slow = MemoryStore(self.place), MemoryStore(self.place + "/slow")
        return Cached(fast, self.cache, slow, admit_max_bytes=1000, others_write=False)


_quick = settings(stateful_step_count=25, max_examples=30, deadline=None)
for _machine in (ThroughMachine, CachedMachine, ThreeMachine, FailingCacheMachine, FailingMiddleMachine):
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


def test_writes_through_reach_both(fast, slow):
    Tiered(fast, slow, write="through").put("k", b"1")
    assert fast.get("k") == slow.get("k") == b"1"


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


# --- itself -----------------------------------------------------------------------------------------


def test_a_cache_has_nothing_to_push_and_no_batches(tiered):
    for use in (partial(tiered.push, "k"), tiered.batch, partial(tiered.sign, "k", "PUT")):
        with pytest.raises(NotSupported):
            use()


def test_an_unknown_way_to_write_is_a_mistake(fast, slow):
    with pytest.raises(ConfigError, match="write"):
        Tiered(fast, slow, write="back")


def test_a_pickle_has_its_settings(tmp_path):
    again = pickle.loads(pickle.dumps(Tiered(MemoryStore(), FileStore(tmp_path), admit_max_bytes=5)))
    again.put("large", bytes(6))
    again.put("small", bytes(5))
    assert again._settings()["admit_max_bytes"] == 5
    assert again._tiers[0].list().keys == ["small"]


# --- more than one cache ----------------------------------------------------------------------------


@pytest.fixture
def middle():
    return FailingStore(MemoryStore())


@pytest.fixture
def three(fast, middle, slow, told):
    return Cached(fast, middle, slow, observers=[told.append])


def _in(key, *stores):
    return [store.exists(key) for store in stores]


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.get("k"),
        lambda store: store.open("k").read(),
        lambda store: bytes(store.map("k")),
    ],
)
@pytest.mark.parametrize("others_write", [True, False])
def test_a_read_leaves_copies_in_all_that_are_faster(fast, middle, slow, read, others_write):
    store = Cached(fast, middle, slow, others_write=others_write)
    slow.put("k", b"data")
    assert read(store) == b"data"
    assert _in("k", fast, middle) == [True, True]
    fast.delete("k")
    assert read(store) == b"data"
    assert _in("k", fast, middle) == [True, True]
    middle.calls.clear()
    assert read(store) == b"data"
    assert (_reads(slow), _reads(middle)) == (1, 0)
    assert (store.hits, store.misses) == (2, 1)


def test_many_are_read_from_the_first_that_has_each(three, fast, middle, slow):
    for key, store in zip("abc", (three, three, slow), strict=True):
        store.put(key, key.encode())
    fast.delete("b")
    assert three.get_many("cab") == [b"c", b"a", b"b"]
    assert (_in("b", fast), slow.calls["get_many"], three.hits, three.misses) == ([True], 1, 2, 1)


def test_each_cache_is_told_of_by_its_place(slow, told):
    fast, middle = MemoryStore("fast-told"), MemoryStore("middle-told")
    three = Cached(fast, middle, slow, observers=[told.append])
    three.put("k", b"data")
    fast.delete("k")
    three.get("k")
    assert [(event.operation, event.place) for event in told] == [
        ("cache_miss", "memory://fast-told"),
        ("cache_hit", "memory://middle-told"),
    ]


def test_a_write_goes_through_to_all_and_a_delete_leaves_nothing(three, fast, middle, slow):
    three.put("k", b"data", attrs={"x": 1})
    assert [store.get("k") for store in (fast, middle, slow)] == [b"data"] * 3
    assert slow.stat("k").attrs == three.stat("k").attrs == {"x": 1}
    three.delete("k")
    assert _in("k", fast, middle, slow) == [False, False, False]


def test_a_range_or_what_is_not_admitted_is_not_copied_on(fast, middle, slow):
    store = Cached(fast, middle, slow, admit_max_bytes=10)
    store.put("k", bytes(10))
    middle.put("large", bytes(11))
    fast.delete("k")
    assert store.get("k", 2, 5) + store.open("large").read() == bytes(14)
    assert fast.list().keys == []


def test_without_filling_nothing_is_copied_on(fast, middle, slow):
    store = Cached(fast, middle, slow, fill=False)
    store.put("k", b"data")
    fast.delete("k")
    assert store.get("k") + store.open("k").read() == b"datadata"
    assert (_in("k", fast), _reads(slow)) == ([False], 0)


@pytest.mark.parametrize("broken", ["fast", "middle"])
def test_a_broken_cache_leaves_the_other_at_work(three, fast, middle, slow, broken):
    broken, other = (fast, middle) if broken == "fast" else (middle, fast)
    three.put("k", b"old")
    broken.fail()
    three.put("k", b"new")
    assert three.get("k") == three.open("k").read() == b"new"
    assert (other.get("k"), _reads(slow)) == (b"new", 0)
    three.delete("k")
    three.put("k", b"newest")
    broken.heal()
    other.delete("k")
    assert three.get("k") == three.get("k") == b"newest"
    assert broken.get("k") == b"newest"


def test_a_copy_that_cannot_be_dropped_is_not_read_nor_copied_on(three, fast, middle):
    three.put("k", b"old")
    middle.fail("delete", "put")
    three.put("k", b"new")
    fast.delete("k")
    assert (middle.get("k"), three.get("k"), fast.get("k")) == (b"old", b"new", b"new")


def test_a_copy_of_what_the_store_no_longer_has_is_found_out_when_it_would_be_copied_on(
    three, fast, middle, slow
):
    three.put("k", b"old")
    three.put("gone", b"old")
    slow.put("k", b"new")
    slow.delete("gone")
    fast.delete_many(["k", "gone"])
    assert (three.get("k"), fast.get("k"), middle.get("k")) == (b"new", b"new", b"new")
    with pytest.raises(NotFound):
        three.get("gone")
    assert _in("gone", fast, middle) == [False, False]


def test_a_copy_that_is_replaced_while_it_is_copied_on_is_not_kept(three, fast, middle):
    three.put("k", b"data")
    fast.delete("k")
    get = middle.get

    def replaced(key, *bounds):
        data = get(key, *bounds)
        middle.put(key, b"other", attrs=middle.stat(key).attrs)
        return data

    middle.get = replaced
    assert three.get("k") == b"data"
    assert not fast.exists("k")


def test_while_the_store_does_not_answer_a_copy_is_read_and_stays_but_is_not_copied_on(
    three, fast, middle, slow
):
    three.put("k", b"data")
    fast.delete("k")
    slow.fail()
    assert three.get("k") == three.get("k") == b"data"
    assert _in("k", fast, middle) == [False, True]


def test_writers_and_readers_of_two_programs_leave_nothing_stale_in_either_cache(fast, middle, slow):
    programs = [Cached(fast, middle, slow, admit_max_bytes=50) for _ in range(2)]

    def work(n):
        for round_ in range(60):
            store, key = programs[n % 2], f"k{round_ % 2}"
            if n < 2:
                store.put(key, b"%d " % (n * 1000 + round_) * (1 + round_ % 20))
            else:
                if round_ % 3 == n % 3:
                    fast.delete_many([key])
                try:
                    store.get(key)
                except NotFound:
                    pass

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for key in ("k0", "k1"):
        held = {store.get(key) for store in (fast, middle) if store.exists(key)}
        assert held <= {slow.get(key)}
        assert {program.get(key) for program in programs} == {slow.get(key)}


def test_a_pickle_opens_the_same_tiers_with_the_same_settings(tmp_path):
    tiers = [FileStore(tmp_path / name) for name in "abc"]
    again = pickle.loads(pickle.dumps(Cached(*tiers, admit_max_bytes=5, fill=False)))
    again.put("k", b"data")
    again.put("large", bytes(6))
    assert [store.list().keys for store in tiers] == [["k"], ["k"], ["k", "large"]]
    assert (again.url, again._settings()["fill"]) == (tiers[2].url, False)


def test_all_tiers_are_closed_with_it_whatever_one_says(three, fast, middle, slow):
    three.close()
    for store in (three, fast, middle, slow):
        with pytest.raises(StoreClosed):
            store.get("k")


def test_one_store_is_no_cache(slow):
    with pytest.raises(ConfigError, match="tiers"):
        Cached(slow)
