"""Executors that tests share: they take longer to start than most tests to run."""

from __future__ import annotations

import pytest

from valuestore.executors.dask import open_dask
from valuestore.executors.processes import Processes


@pytest.fixture(scope="module")
def processes():
    with Processes(2) as executor:
        yield executor


@pytest.fixture(scope="module")
def dask():
    with open_dask(workers=2) as executor:
        yield executor
