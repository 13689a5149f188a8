"""Tables keep one contract, in memory and on a real Redis."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import settings

from valuestore.tables import MemoryTable, RedisTable
from valuestore.testing import TableContract, TableMachine


class TestMemoryTable(TableContract):
    @pytest.fixture
    def make_table(self):
        return lambda name="t", **declared: MemoryTable(**declared)


class TestRedisTable(TableContract):
    @pytest.fixture
    def make_table(self, redis_url):
        return lambda name="t", **declared: RedisTable(redis_url, name, **declared)


class MemoryMachine(TableMachine):
    def open_table(self, **declared):
        return MemoryTable(**declared)


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=settings().max_examples // 2)


@pytest.mark.usefixtures("redis_server")
class TestRedisMachine:
    def test_random_work(self, redis_server):
        class RedisMachine(TableMachine):
            def open_table(self, **declared):
                return RedisTable(redis_server.url, f"machine-{uuid.uuid4().hex}", **declared)

        RedisMachine.TestCase.settings = settings(max_examples=settings().max_examples // 2)
        RedisMachine.TestCase("runTest").runTest()
