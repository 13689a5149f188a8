"""FileStore keeps the contract."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import settings

from valuestore.stores import FileStore
from valuestore.testing import StoreContract, StoreMachine


class TestFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FileStore, tmp_path / "store")


class TestDurableFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FileStore, tmp_path / "store", durability="full")


class FileMachine(StoreMachine):
    def open_store(self):
        return FileStore(self.place)


TestFileMachine = FileMachine.TestCase
TestFileMachine.settings = settings(stateful_step_count=30, deadline=None)
