"""Digests: bare for stored bytes, kept apart by domain for everything else."""

from __future__ import annotations

import io

import blake3
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from valuestore.errors import ConfigError
from valuestore.hashing import (
    ALGORITHMS,
    NotPlain,
    encode_plain,
    hash_bytes,
    hash_stream,
    hash_struct,
    is_digest,
    is_short_plain,
)


def test_digest_of_stored_bytes_is_the_one_that_other_tools_compute():
    assert hash_bytes(b"abc") == xxhash.xxh3_128_hexdigest(b"abc") == "06b05ab6733a618578af5f94892f3950"
    assert hash_bytes(b"abc", algorithm="blake3-256") == blake3.blake3(b"abc").hexdigest()


@given(st.binary(max_size=3000), st.sampled_from(["", "value", "call"]), st.sampled_from(list(ALGORITHMS)))
def test_stream_and_bytes_agree(data, domain, algorithm):
    streamed = hash_stream(io.BytesIO(data), domain, algorithm=algorithm)
    assert streamed == hash_bytes(data, domain, algorithm=algorithm)
    assert len(streamed) == ALGORITHMS[algorithm].hex_length
    assert is_digest(streamed)


def test_domains_are_kept_apart():
    digests = {hash_struct([1, "a"], domain) for domain in ("value", "call", "evaluation", "arguments")}
    assert len(digests) == 4


def test_a_stream_that_gives_little_at_a_time_is_read_to_its_end():
    class Slow(io.BytesIO):
        def read(self, size=-1):
            return super().read(min(size, 3))

    assert hash_stream(Slow(b"abcdefghij")) == hash_bytes(b"abcdefghij")


@pytest.mark.parametrize(
    "text", ["", "0" * 31, "0" * 33, "0" * 63, "G" * 32, "A" * 32, "../" + "0" * 29, 5, None, b"0" * 32]
)
def test_only_lower_case_hex_of_a_known_length_is_a_digest(text):
    assert not is_digest(text)


def test_unknown_algorithm_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="xxh3-128, blake3-256"):
        hash_bytes(b"", algorithm="md5")


@pytest.mark.parametrize(
    "obj", [{1}, bytearray(), 1j, ..., range(3), type("S", (str,), {})("x"), print, [object()]]
)
def test_what_is_not_plain_is_refused(obj):
    with pytest.raises(NotPlain):
        encode_plain(obj)


def test_what_is_short_is_told_without_writing_the_rest():
    shared: list[object] = []
    for _ in range(60):
        shared = [shared, shared]
    assert is_short_plain([1, {"a": [2]}])
    assert not is_short_plain(shared)
    assert not is_short_plain(["x" * 100_000])
    assert is_short_plain({"after": "one that was long"})
