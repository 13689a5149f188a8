"""MemoryStore keeps the contract; what it shares, and with whom."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from valuestore.errors import NotFound, NotSupported
from valuestore.stores import MemoryStore, open_store
from valuestore.testing import StoreContract, StoreMachine


class TestMemoryStore(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(MemoryStore, str(tmp_path))


class MemoryMachine(StoreMachine):
    def open_store(self):
        return MemoryStore(self.place)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(stateful_step_count=30, deadline=None)


def test_stores_of_one_name_share_their_contents(tmp_path):
    store = open_store(f"memory://{tmp_path}")
    store.put("k", b"data")
    assert open_store(f"memory://{tmp_path}").get("k") == b"data"
    assert not open_store(f"memory://{tmp_path}/other").exists("k")
    assert store.url == f"memory://{str(tmp_path).strip('/')}"


def test_an_unnamed_store_shares_with_its_pickles_alone():
    store = MemoryStore()
    store.put("k", b"data")
    assert pickle.loads(pickle.dumps(store)).get("k") == b"data"
    with pytest.raises(NotFound):
        open_store("memory://").get("k")
    assert store.url == "memory://"


def test_an_unnamed_store_goes_with_its_last_holder():
    store = MemoryStore()
    store.put("k", b"data")
    pickled = pickle.dumps(store)
    del store
    assert not pickle.loads(pickled).exists("k")


def test_it_signs_no_urls():
    with pytest.raises(NotSupported):
        MemoryStore().sign("k", "GET", 60)


@pytest.mark.parametrize("data", ["text", None, 5, Path("file")])
def test_what_is_no_bytes_is_named_with_what_to_do(data):
    with pytest.raises(TypeError, match=rf"not {type(data).__name__}; encode a text, open a file first"):
        MemoryStore().put("k", data)


@pytest.mark.parametrize(
    ("value", "said"), [(float("nan"), "nan"), ({1: 2}, "a dict whose keys are not all str"), (b"", "bytes")]
)
def test_an_attribute_that_is_not_json_is_shown(value, said):
    with pytest.raises(TypeError, match=rf"attrs\['x'\] is not a JSON value: {said}$"):
        MemoryStore().put("k", b"", attrs={"x": value})
