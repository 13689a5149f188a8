"""What tests of values share: a registry, a folder to stand in, and a hand on the memory of digests."""

from __future__ import annotations

import time

import pytest

from valuestore.values.codecs.plain import SIGNED
from valuestore.values.codecs.signed import sign
from valuestore.values.files import stat_memory as memory_module
from valuestore.values.registry import Payload, TypeRegistry


@pytest.fixture
def registry():
    return TypeRegistry()


def resigned(registry, obj, before, after, type_name=None):
    """The payload of what needs a signature, its tagged data changed and then signed: as an old one was."""
    encoded = registry.encode(obj)
    assert encoded.codec == SIGNED
    assert before in encoded.tagged
    name = type_name or encoded.type_name
    data = encoded.tagged.replace(before, after)
    return Payload(name, SIGNED, data, sign(data, name, encoded.value_hash, SIGNED, registry.signer))


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
