"""ExecutorContract, passed by the executors that valuestore has and by ones of the standard library."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from valuestore.executors.dask import DaskExecutor
from valuestore.executors.processes import Processes
from valuestore.testing import ExecutorContract


@pytest.fixture(scope="module")
def spawned():
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as executor:
        yield executor


class Counting(ThreadPoolExecutor):
    """What somebody may have made of the standard library's."""

    def __init__(self):
        super().__init__(2)
        self.count = 0

    def submit(self, fn, /, *args, **kwargs):
        self.count += 1
        return super().submit(fn, *args, **kwargs)


class TestThreads(ExecutorContract):
    @pytest.fixture
    def make_executor(self):
        return lambda: ThreadPoolExecutor(2)


@pytest.mark.thorough
class TestSubclass(ExecutorContract):
    @pytest.fixture
    def make_executor(self):
        return Counting


class TestProcesses(ExecutorContract):
    @pytest.fixture
    def make_executor(self):
        return lambda: Processes(2)

    @pytest.fixture
    def executor(self, processes):
        return processes


class TestDask(ExecutorContract):
    @pytest.fixture
    def make_executor(self, dask):
        return lambda: DaskExecutor(dask.client)

    @pytest.fixture
    def executor(self, dask):
        return dask


@pytest.mark.thorough
class TestProcessPool(ExecutorContract):
    @pytest.fixture
    def make_executor(self):
        return lambda: ProcessPoolExecutor(2, multiprocessing.get_context("spawn"))

    @pytest.fixture
    def executor(self, spawned):
        return spawned
