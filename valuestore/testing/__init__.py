"""Conformance suites: subclass one in a dozen lines, and it tells if your part keeps the contract.

Beside them, what tests of pipelines need: fixtures.py. Needs pytest, the suites hypothesis as well; nothing
else in the library imports it. All load on first use, so that a suite for stores needs no database.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from valuestore.lazy import lazy_names

if TYPE_CHECKING:
    from valuestore.testing.catalogs import CatalogContract as CatalogContract
    from valuestore.testing.catalogs import CatalogMachine as CatalogMachine
    from valuestore.testing.executor_contract import ExecutorContract as ExecutorContract
    from valuestore.testing.fixtures import arguments_of as arguments_of
    from valuestore.testing.fixtures import task_of as task_of
    from valuestore.testing.stores import StoreContract as StoreContract
    from valuestore.testing.stores import StoreMachine as StoreMachine
    from valuestore.testing.table_contract import TableContract as TableContract
    from valuestore.testing.table_contract import TableMachine as TableMachine
    from valuestore.testing.value_contract import CodecContract as CodecContract
    from valuestore.testing.value_contract import ValueContract as ValueContract

_HOMES = {
    "catalogs": "CatalogContract CatalogMachine",
    "executor_contract": "ExecutorContract",
    "fixtures": "arguments_of task_of",
    "stores": "StoreContract StoreMachine",
    "table_contract": "TableContract TableMachine",
    "value_contract": "CodecContract ValueContract",
}
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in (*_HOMES, "store_contract")))
__getattr__, __dir__, __all__ = lazy_names(__name__, _HOMES)
