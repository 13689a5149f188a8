"""Sized keeps the contract on both sides of its threshold, and across it."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import settings

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import AlreadyExists, ConfigError, NotFound, StoreUnavailable
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Sized
from valuestore.testing import StoreContract, StoreMachine


class TestSized(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Sized(FileStore(tmp_path / "small"), FileStore(tmp_path / "large"), 1500)


class TestSizedWithAThresholdOfOne(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Sized(MemoryStore(f"{tmp_path}/small"), MemoryStore(f"{tmp_path}/large"), 1)


class SizedMachine(StoreMachine):
    def open_store(self):
        self.sides = MemoryStore(f"{self.place}/small"), MemoryStore(f"{self.place}/large")
        return Sized(*self.sides, 20)

    def compare_all(self):
        super().compare_all()
        small, large = ([side.size(key) for key in side.list().keys] for side in self.sides)
        assert all(size <= 20 for size in small)
        assert all(size > 20 for size in large)
        assert len(small) + len(large) == len(self.expected)


TestSizedMachine = SizedMachine.TestCase
TestSizedMachine.settings = settings(stateful_step_count=30, max_examples=40, deadline=None)


@pytest.fixture
def small():
    return FailingStore(MemoryStore())


@pytest.fixture
def large():
    return FailingStore(MemoryStore())


@pytest.fixture
def sized(small, large):
    return Sized(small, large, 10)


def _never():
    raise AssertionError("the stream was touched")
    yield b""


def test_each_size_lands_on_its_side(sized, small, large):
    sized.put("a", bytes(10))
    sized.put("b", bytes(11))
    sized.put("c", iter([bytes(6), bytes(4)]))
    sized.put("d", iter([bytes(6), bytes(6), bytes(6)]))
    sized.put("e", iter([bytes(5)]), size=5)
    assert (small.list().keys, large.list().keys) == (["a", "c", "e"], ["b", "d"])
    assert [sized.size(key) for key in sized.list().keys] == [10, 11, 10, 18, 5]
    assert sized.get_many(["d", "a"]) == [bytes(18), bytes(10)]


def test_a_declared_size_decides_before_the_stream_is_read(sized, small, large):
    with pytest.raises(AssertionError, match="touched"):
        sized.put("k", _never(), size=600 << 20)
    assert (small.calls["put"], large.calls["put"]) == (0, 1)


@pytest.mark.parametrize(("first", "second"), [(5, 50), (50, 5)])
@pytest.mark.parametrize("attrs", [None, {"new": 1}])
def test_an_overwrite_that_changes_sides_leaves_no_twin(sized, small, large, first, second, attrs):
    sized.put("k", bytes(first), attrs={"old": 1})
    sized.put("k", b"x" * second, attrs=attrs)
    assert sized.get("k") == b"x" * second
    assert sized.stat("k").attrs == (attrs or {"old": 1})
    assert len(small.list().keys) + len(large.list().keys) == 1
    sized.delete("k")
    assert sized.list().keys == []


@pytest.mark.parametrize(("first", "second"), [(5, 50), (50, 5)])
def test_creating_looks_at_both_sides(sized, first, second):
    sized.put("k", bytes(first))
    with pytest.raises(AlreadyExists):
        sized.put("k", bytes(second), overwrite=False)
    sized.put("other", bytes(second))
    with pytest.raises(AlreadyExists):
        sized.copy("other", "k", overwrite=False)
    assert sized.size("k") == first


@pytest.mark.parametrize(("first", "second"), [(5, 50), (50, 5)])
def test_a_put_that_fails_changes_nothing(sized, small, large, first, second):
    sized.put("k", bytes(first))
    small.fail("put")
    large.fail("put")
    with pytest.raises(StoreUnavailable):
        sized.put("k", bytes(second))
    assert sized.size("k") == first


def test_copies_stay_on_their_side_and_displace_the_other(sized, small, large):
    sized.put("small", bytes(5))
    sized.put("large", bytes(50))
    sized.copy("large", "small")
    assert (small.list().keys, large.list().keys) == ([], ["large", "small"])
    with pytest.raises(NotFound):
        sized.copy("missing", "small")


def test_what_a_crash_left_on_the_large_side_is_out_of_sight(sized, small, large):
    large.put("k", bytes(50))
    small.put("k", b"new")
    assert (sized.get("k"), sized.list().keys) == (b"new", ["k"])
    sized.delete("k")
    with pytest.raises(NotFound):
        sized.get("k")


@pytest.mark.parametrize("programs", [1, 2])
def test_a_key_that_changes_sides_is_always_there(small, large, programs):
    """Each program has an object of its own, so that they share no locks."""
    stores = [Sized(small, large, 10) for _ in range(programs)]
    stores[0].put("k", bytes(5))
    finished = threading.Event()

    def read():
        while not finished.is_set():
            assert len(stores[-1].get("k")) in (5, 50)
            assert stores[-1].exists("k")

    def write(n):
        for round_ in range(100):
            stores[n].put("k", bytes((5, 50)[round_ % 2]))

    with ThreadPoolExecutor(4) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            write(0)
        finally:
            finished.set()
        for reader in readers:
            reader.result()


def test_writers_of_one_object_leave_one_value(sized, small, large):
    def write(n):
        for round_ in range(100):
            sized.put("k", b"%d" % n * (1, 50)[(n + round_) % 2])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert len(small.list().keys) + len(large.list().keys) == 1
    assert sized.exists("k")


def test_a_negative_threshold_is_a_mistake(small, large):
    with pytest.raises(ConfigError):
        Sized(small, large, -1)
