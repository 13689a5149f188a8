"""What tests of values share: a registry, a folder to stand in, and a hand on the memory of digests."""

from __future__ import annotations

import time

import pytest

from valuestore.values.files import stat_memory as memory_module
from valuestore.values.registry import TypeRegistry


@pytest.fixture
def registry():
    return TypeRegistry()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def later(monkeypatch):
    """A clock a minute ahead: files written just now count as settled."""
    real = time.time_ns
    monkeypatch.setattr(memory_module.time, "time_ns", lambda: real() + 60_000_000_000)


@pytest.fixture
def reads(monkeypatch):
    """Paths whose content was read, in order."""
    seen = []
    real = memory_module._read_once

    def read(path, algorithm):
        seen.append(path)
        return real(path, algorithm)

    monkeypatch.setattr(memory_module, "_read_once", read)
    return seen
