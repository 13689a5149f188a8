"""What every store keeps: StoreContract, fact by fact, and StoreMachine, against a dict.

Subclass both for a new store::

    class TestMyStore(StoreContract):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MyStore(tmp_path)

    class MyMachine(StoreMachine):
        def open_store(self):
            return MyStore(self.place)

    TestMyMachine = MyMachine.TestCase

The facts are in ``store_contract/``, the machine in ``store_machine``.
"""

from __future__ import annotations

from valuestore.testing.store_contract.atomicity import AtomicityFacts
from valuestore.testing.store_contract.attributes import AttributeFacts
from valuestore.testing.store_contract.copies import CopyFacts
from valuestore.testing.store_contract.data import DataFacts
from valuestore.testing.store_contract.keys import KeyFacts
from valuestore.testing.store_contract.life import LifeFacts
from valuestore.testing.store_contract.samples import ALL_BYTES, ATTRS, BAD_KEYS, ODD_KEYS
from valuestore.testing.store_machine import StoreMachine

__all__ = ["ALL_BYTES", "ATTRS", "BAD_KEYS", "ODD_KEYS", "StoreContract", "StoreMachine"]


class StoreContract(DataFacts, AtomicityFacts, AttributeFacts, KeyFacts, CopyFacts, LifeFacts):
    """All the facts. ``make_store`` returns what opens the one place of the test, again and again."""

    def odd_keys(self) -> list[str]:
        """Keys that look like something else. Override it to leave out what a place cannot hold."""
        return ODD_KEYS
