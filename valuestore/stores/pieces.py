"""Pieces: a stream of bytes cut to one length, for servers that take large values piece by piece.

Called by the stores of servers, with what ``base.iter_chunks`` gives. It knows no store and sends nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence


def cut(chunks: Iterable[bytes | memoryview], length: int) -> Iterator[bytes | memoryview]:
    """The same bytes in pieces of ``length``; only the last one is shorter. No chunks, no pieces.

    A chunk that may change is copied before the next one is asked for: its owner may use it again.
    """
    held: list[bytes] = []
    room = length
    for chunk in chunks:
        view = memoryview(chunk)
        while len(view) > room:
            yield _join(held, view[:room])
            held, room, view = [], length, view[room:]
        held.append(chunk if isinstance(chunk, bytes) and len(view) == len(chunk) else bytes(view))
        room -= len(view)
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


def _join(held: Sequence[bytes], view: memoryview) -> bytes | memoryview:
    if held:
        return b"".join((*held, view))
    return view if view.readonly else bytes(view)
