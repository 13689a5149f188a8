"""Pieces have one length and are the same bytes, whatever the chunks were and whoever changes them later."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from valuestore.stores.data import cut


@given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 12))
def test_all_pieces_but_the_last_have_the_length(chunks, length):
    pieces = [bytes(piece) for piece in cut(chunks, length)]
    whole = b"".join(chunks)
    assert pieces == [whole[at : at + length] for at in range(0, len(whole), length)]


@given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 12))
def test_a_buffer_may_be_used_again_for_the_next_chunk(chunks, length):
    buffer = bytearray(20)

    def reused():
        for chunk in chunks:
            buffer[: len(chunk)] = chunk
            yield memoryview(buffer)[: len(chunk)]

    assert b"".join(list(cut(reused(), length))) == b"".join(chunks)


def test_a_chunk_that_fits_is_not_copied():
    chunk = bytes(8)
    assert next(cut([chunk], 8)) is chunk
