"""The two kinds of table, as one fixture."""

from __future__ import annotations

import pytest

from tests.tables import things
from valuestore.tables import MemoryTable, RedisTable


@pytest.fixture(params=["memory", "redis"])
def table(request):
    """An empty table of ``things``; opening another one on Redis by its name is opening the same."""
    if request.param == "memory":
        with MemoryTable(**things.DECLARED) as table:
            yield table
    else:
        with RedisTable(request.getfixturevalue("redis_url"), "things", **things.DECLARED) as table:
            yield table
