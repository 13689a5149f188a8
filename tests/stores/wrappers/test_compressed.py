"""Compressed keeps the contract, saves what it can, and trusts nothing that it decompresses."""

from __future__ import annotations

import errno
import io
import os
import tracemalloc

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from valuestore.errors import NotSupported, PayloadCorrupt, SizeMismatch, StoreUnavailable
from valuestore.hashing import hash_bytes
from valuestore.stores import ContentStore, FileStore, MemoryStore
from valuestore.stores.wrappers import Compressed
from valuestore.stores.wrappers.compressed import HEADER_BYTES, SIGNATURE
from valuestore.testing import StoreContract, StoreMachine

TEXT = b"all work and no play makes jack a dull boy\n" * 1000
MIB = 1 << 20


class TestCompressed(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Compressed(MemoryStore(str(tmp_path)))


class TestCompressedFiles(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return lambda: Compressed(FileStore(tmp_path / "files"), min_bytes=1)


class CompressedMachine(StoreMachine):
    def open_store(self):
        return Compressed(MemoryStore(self.place), min_bytes=1)


TestCompressedMachine = CompressedMachine.TestCase
TestCompressedMachine.settings = settings(stateful_step_count=20, max_examples=30, deadline=None)


@pytest.fixture
def below():
    return MemoryStore()


@pytest.fixture
def store(below):
    return Compressed(below)


def test_what_compresses_takes_less_room_and_looks_the_same(store, below):
    known = store.put("k", TEXT, attrs={"x": 1})
    assert below.size("k") < len(TEXT) // 10
    assert (known.size, known.etag, known.attrs) == (len(TEXT), hash_bytes(TEXT), {"x": 1})
    assert (store.stat("k"), store.size("k"), store.get("k")) == (known, len(TEXT), TEXT)
    assert store.get("k", 100, 50_000) == TEXT[100:50_000]
    assert store.get("k", -10) == TEXT[-10:]


@pytest.mark.parametrize("data", [b"", b"x" * 511, os.urandom(100_000)], ids=len)
def test_what_does_not_pay_is_kept_as_it_is(store, below, data):
    store.put("a", data)
    store.put("b", io.BytesIO(data))
    assert below.get("a") == below.get("b") == store.get("a") == data


def test_the_etag_does_not_depend_on_whether_it_paid(below):
    etags = {Compressed(below, min_bytes=least).put("k", TEXT).etag for least in (1, 10**9)}
    assert etags == {hash_bytes(TEXT)}


def test_other_programs_can_decompress_it(store, below):
    store.put("k", TEXT)
    store.put("l", iter([TEXT] * 40))
    assert zstd.decompress(below.get("k")) == TEXT
    assert zstd.decompress(below.get("l")) == TEXT * 40


def test_what_was_put_without_it_is_read_with_it(store, below):
    for data in (TEXT, zstd.compress(TEXT), b"\x5e\x2a\x4d\x18", SIGNATURE):
        below.put("k", data)
        assert (store.get("k"), store.size("k"), store.open("k").read()) == (data, len(data), data)
        assert store.get("k", 1, 3) == data[1:3]


@pytest.mark.parametrize("wrap", [bytes, io.BytesIO, lambda data: iter([data[:9], data[9:]])])
@pytest.mark.parametrize("more", [b"", b"x" * 1000, os.urandom(2 * MIB)], ids=len)
def test_data_that_looks_compressed_comes_back_as_it_is(store, below, wrap, more):
    below.put("compressed", TEXT)
    data = SIGNATURE + bytes(24) + more
    store.put("k", wrap(data))
    store.put_many(["l"], [wrap(data)])
    assert store.get("k") == store.get("l") == store.open("k").read() == data
    assert store.size("k") == len(data)


def test_compressing_twice_is_undone_twice(below):
    twice = Compressed(Compressed(below, min_bytes=1), min_bytes=1)
    twice.put("k", TEXT)
    assert (twice.get("k"), twice.size("k")) == (TEXT, len(TEXT))


def test_a_long_stream_takes_little_memory_either_way(tmp_path):
    store = Compressed(FileStore(tmp_path))
    piece = bytes(range(256)) * 4096
    tracemalloc.start()
    try:
        store.put("k", (piece for _ in range(64)), size=64 * MIB)
        with store.open("k") as stream:
            assert sum(len(chunk) for chunk in iter(lambda: stream.read(MIB), b"")) == 64 * MIB
        assert tracemalloc.get_traced_memory()[1] < 24 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("size", [2 * MIB, 4 * MIB])
def test_a_wrong_size_is_found_while_compressing(store, size):
    with pytest.raises(SizeMismatch):
        store.put("k", iter([bytes(MIB)] * 3), size=size)
    assert not store.exists("k")


def test_copies_are_copies_of_what_is_below(store, below):
    store.put("k", TEXT)
    assert store.copy("k", "l") == store.stat("l")
    assert below.get("k") == below.get("l")
    assert store.get("l") == TEXT


# --- damage and malice ------------------------------------------------------------------------------


def _reads(store):
    return [
        lambda: store.get("k"),
        lambda: store.open("k").read(),
        lambda: store.get_many(["k"]),
    ]


def test_a_bomb_is_stopped_at_its_recorded_size(store, below):
    bomb = zstd.compress(bytes(256 * MIB))
    below.put("k", SIGNATURE + (1000).to_bytes(8, "little") + bytes(16) + bomb)
    tracemalloc.start()
    try:
        for read in _reads(store):
            with pytest.raises(StoreUnavailable, match="more bytes"):
                read()
        assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: data[:HEADER_BYTES],
        lambda data: data + b"x",
        lambda data: data + data,
        lambda data: data[:24] + (len(TEXT) - 1).to_bytes(8, "little") + data[32:],
        lambda data: data[:24] + (len(TEXT) + 1).to_bytes(8, "little") + data[32:],
        lambda data: data[:24] + b"\xff" * 8 + data[32:],
        lambda data: data[:40] + bytes(8) + data[48:],
        lambda data: data[:HEADER_BYTES] + zstd.compress(TEXT.upper()),
        lambda data: data[:HEADER_BYTES] + TEXT,
    ],
)
def test_damage_is_an_error_and_never_a_value(store, below, damage):
    store.put("k", TEXT)
    below.put("k", damage(below.get("k")))
    for read in _reads(store):
        with pytest.raises(StoreUnavailable) as caught:
            read()
        assert caught.value.__cause__.errno == errno.EBADMSG


def test_a_content_store_on_it_heals_the_damage(store, below):
    content = ContentStore(store)
    ref = content.put(TEXT)
    (key,) = (key for key in below.keys() if ref.digest in key)  # noqa: SIM118 - a store is no mapping
    below.put(key, below.get(key)[:-5])
    with pytest.raises(PayloadCorrupt):
        content.get(ref.digest)
    content.put(TEXT)
    assert content.get(ref.digest) == TEXT


@settings(max_examples=100, deadline=None)
@given(
    data=st.binary(max_size=300) | st.binary(max_size=5).map(lambda data: data * 300),
    start=st.integers(-2000, 2000),
    end=st.none() | st.integers(-2000, 2000),
)
def test_any_range_is_a_slice(data, start, end):
    store = Compressed(MemoryStore(), min_bytes=1)
    store.put("k", data)
    assert store.get("k", start, end) == data[start:end]


def test_it_signs_nothing(store):
    with pytest.raises(NotSupported):
        store.sign("k")


def test_a_batch_compresses_too(store, below):
    with store.batch() as batch:
        batch.put("k", TEXT)
        assert (batch.get("k"), batch.size("k")) == (TEXT, len(TEXT))
    assert below.size("k") < len(TEXT) // 10
