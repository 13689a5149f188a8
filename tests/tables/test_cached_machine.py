"""Random work on a CachedTable: whatever is done, reads give what the source has."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.tables.things import DECLARED, Things, at, thing
from valuestore.tables import CachedTable, Interval, MemoryTable, RedisTable

NUMBERS = st.integers(0, 9)
RANGES = st.tuples(NUMBERS, NUMBERS).map(lambda ends: Interval(min(ends), max(ends) + 1)) | st.just(
    Interval()
)


class CachedMachine(RuleBasedStateMachine):
    """The source is changed and told of; ``open_table`` makes the table."""

    def open_table(self):
        return MemoryTable(**DECLARED)

    @initialize()
    def begin(self):
        self.table, self.source = self.open_table(), Things(*range(0, 10, 2))
        self.caches = [CachedTable(self.table, self.source, wait_seconds=0) for _ in range(2)]

    def is_loaded(self):
        return hasattr(self, "caches") and self.caches[0].loaded(0)

    @rule(which=st.booleans(), index=st.sampled_from(["x", "id"]), interval=RANGES)
    def load_or_adjust(self, which, index, interval):
        cache = self.caches[which]
        (cache.adjust if cache.loaded(0) else cache.load)(index, interval)

    @rule()
    def lose(self):
        self.table.clear()

    @rule(which=st.booleans(), number=NUMBERS, x=NUMBERS, is_gone=st.booleans(), says=st.integers(0, 2))
    def change(self, which, number, x, is_gone, says):
        """A row is changed, moved, made or removed; the cache is told by one index, two or all."""
        cache, before = self.caches[which], self.source.rows.get(number)
        self.source.rows.pop(number, None)
        if not is_gone:
            self.source.rows[number] = thing(number, uuid.uuid4().hex, x)
        after = self.source.rows.get(number)
        old = {name: at(before[name]) if before else [] for name in ("x", "id", "y")[: says + 1]}
        new = {name: at(after[name]) if after else [] for name in ("x", "id", "y")[: says + 1]}
        if not (before or after) or not cache.loaded(0):
            return
        if all(cache.covers(name, *each[name]) for each in (old, new) for name in each):
            cache.invalidate(old, new)
        else:  # what lies outside cannot be told of
            self.table.clear()

    @rule()
    @precondition(is_loaded)
    def refresh(self):
        self.caches[0].refresh()

    @rule(
        which=st.booleans(),
        index=st.sampled_from(["x", "id", "y"]),
        interval=RANGES,
        reverse=st.booleans(),
        limit=st.none() | NUMBERS,
    )
    def read(self, which, index, interval, reverse, limit):
        rows = [row for row in self.source.rows.values() if row[index] in interval]
        rows.sort(key=lambda row: (row[index], row["id"]), reverse=reverse)
        assert list(self.caches[which].find(index, interval, reverse=reverse, limit=limit)) == rows[:limit]

    def teardown(self):
        if hasattr(self, "table"):
            self.table.clear()


TestCachedMachine = CachedMachine.TestCase


@pytest.mark.thorough
def test_random_work_on_redis(redis_url):
    class RedisMachine(CachedMachine):
        def open_table(self):
            return RedisTable(redis_url, uuid.uuid4().hex, **DECLARED)

    RedisMachine.TestCase.settings = settings(max_examples=100)
    RedisMachine.TestCase("runTest").runTest()
