"""Observed keeps the contract, tells of every operation, and of changes once they are visible."""

from __future__ import annotations

import io

import pytest
from hypothesis import settings

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import NotFound, SizeMismatch, StoreUnavailable
from valuestore.observe import Change
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.wrappers import Observed
from valuestore.testing import StoreContract, StoreMachine


def ignore(event):
    """An observer that can be pickled."""


def broken(event):
    raise RuntimeError("observer")


class TestObserved(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Observed(MemoryStore(str(tmp_path)), ignore, broken, changes=[broken])


class ObservedMachine(StoreMachine):
    def open_store(self):
        return Observed(FileStore(self.place), ignore, changes=[ignore])


TestObservedMachine = ObservedMachine.TestCase
TestObservedMachine.settings = settings(stateful_step_count=20, max_examples=25, deadline=None)


@pytest.fixture
def told():
    return []


@pytest.fixture
def store(told):
    return Observed(MemoryStore(), told.append, changes=[told.append])


def _brief(told):
    return [item.kind if isinstance(item, Change) else (item.operation, item.phase) for item in told]


START, STEP, END = ("put", "start"), ("put", "step"), ("put", "end")


def test_a_new_key_starts_steps_ends_and_is_set(store, told):
    store.put("k", b"data", attrs={"x": 1})
    assert _brief(told) == [START, STEP, END, "set"]
    assert told[-1] == Change("set", "k", {"x": 1}, store.url)


def test_a_key_that_is_there_gets_an_update(store, told):
    store.put("k", b"1", attrs={"x": 1})
    told.clear()
    store.put("k", b"2")
    assert _brief(told) == [START, STEP, END, "update"]
    assert told[-1].attrs == {"x": 1}


def test_a_delete_tells_the_last_attributes(store, told):
    store.put("k", b"", attrs={"x": 1})
    told.clear()
    store.delete("k")
    assert _brief(told) == [("delete", "start"), ("delete", "end"), "delete"]
    assert told[-1] == Change("delete", "k", {"x": 1}, store.url)


@pytest.mark.parametrize("failing", [lambda: iter([b"x", 5]), lambda: iter([b"xxx", b"yyy"])])
def test_a_failing_write_starts_and_ends_with_the_error_and_changes_nothing(store, told, failing):
    with pytest.raises((TypeError, SizeMismatch)) as caught:
        store.put("k", failing(), size=4)
    assert (_brief(told)[0], _brief(told)[-1]) == (START, END)
    assert told[-1].error is caught.value


def test_steps_are_cumulative_and_end_at_the_size(store, told):
    store.put("k", io.BytesIO(bytes(3_500_000)))
    steps = [event.bytes_done for event in told if _brief([event]) == [STEP]]
    assert len(steps) > 3
    assert steps == sorted(steps)
    assert steps[-1] == told[-2].bytes_done == 3_500_000


def test_a_read_steps_too(store, told):
    store.put("k", bytes(100))
    told.clear()
    store.get("k", 10, 30)
    assert [(event.phase, event.bytes_done) for event in told] == [("start", 0), ("step", 20), ("end", 20)]


def test_a_stream_is_watched_until_it_is_closed(store, told):
    store.put("k", bytes(3_000_000))
    told.clear()
    with store.open("k") as stream:
        stream.read(1000)
        assert told[-1].phase == "step"
        stream.read()
    stream.close()
    assert (told[-1].phase, told[-1].bytes_done, told[-1].error) == ("end", 3_000_000, None)


def test_a_failure_is_an_end_with_its_error(told):
    below = FailingStore(MemoryStore())
    below.fail()
    store = Observed(below, told.append)
    for use in (store.get, store.open, store.stat, store.delete, store.list):
        told.clear()
        with pytest.raises(StoreUnavailable):
            use("k")
        assert [event.phase for event in told] == ["start", "end"]
        assert told[-1].error is below.error


def test_copies_and_moves_are_changes(store, told):
    store.put("a", b"", attrs={"x": 1})
    told.clear()
    store.copy("a", "b")
    store.move("a", "b")
    changes = [item for item in told if isinstance(item, Change)]
    assert [(change.kind, change.key) for change in changes] == [
        ("set", "b"),
        ("update", "b"),
        ("delete", "a"),
    ]


def test_many_are_told_one_by_one_to_those_who_want_changes(store, told):
    store.put_many(["a", "b"], [b"1", b"2"])
    store.delete_many(["a", "missing"])
    changes = [(item.kind, item.key) for item in told if isinstance(item, Change)]
    assert changes == [("set", "a"), ("set", "b"), ("delete", "a")]


def test_many_stay_one_request_for_those_who_do_not(told):
    below = FailingStore(MemoryStore())
    store = Observed(below, told.append)
    store.put_many(["a", "b"], [b"1", iter([b"2"])])
    store.delete_many(["a"])
    assert below.calls == {"put_many": 1, "delete_many": 1}
    assert [event.bytes_done for event in told][:4] == [0, 1, 2, 2]


def test_without_listeners_the_store_is_asked_nothing_more(told):
    below = FailingStore(MemoryStore())
    store = Observed(below, told.append)
    store.put("k", b"")
    store.delete("k")
    assert below.calls == {"put": 1, "delete": 1}


def test_a_broken_listener_does_not_hide_a_change_from_the_next(told):
    store = Observed(MemoryStore(), broken, told.append, changes=[broken, told.append])
    store.put("k", b"")
    assert store.get("k") == b""
    assert "set" in _brief(told)


def test_a_stat_of_nothing_says_so(store, told):
    with pytest.raises(NotFound):
        store.stat("k")
    assert isinstance(told[-1].error, NotFound)
