"""Moving payloads from one content store to another: verified, resumable, one payload in memory at most.

Nothing is removed from the source, and what the target has already is not sent again, so a move that was
interrupted is simply run again. Called by ``valuestore payloads move``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from valuestore.errors import PayloadCorrupt, PayloadError
from valuestore.hashing import Digest
from valuestore.stores.content.store import ContentStore

_BATCH = 500


@dataclass(frozen=True)
class Moved:
    """One payload of a move. ``size`` is 0 unless it was sent now; ``problem`` says why it could not be."""

    digest: Digest
    size: int = 0
    problem: PayloadError | None = None


def move_payloads(source: ContentStore, target: ContentStore, digests: Iterable[Digest]) -> Iterator[Moved]:
    """Copy each payload that the target lacks; one result each, missing and damaged ones included.

    Raises: StoreError if either store does not answer; what was copied stays.
    """
    wanted = iter(digests)
    while batch := list(islice(wanted, _BATCH)):
        present = target.has_many(batch)
        for digest in batch:
            yield Moved(digest) if digest in present else _copy(source, target, digest)
    target.flush()


def _copy(source: ContentStore, target: ContentStore, digest: Digest) -> Moved:
    try:
        with source.open(digest) as stream:
            ref = target.put(stream)
    except PayloadError as problem:
        return Moved(digest, problem=problem)
    if ref.digest != digest:
        return Moved(digest, problem=PayloadCorrupt(digest, source.url, f"it arrived as {ref.digest}"))
    return Moved(digest, ref.size)
