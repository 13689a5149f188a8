"""SubtreeSet: what the calls below a call depend on, as a set by content that parents share with children.

A set of several members has rows (``set_member``) under the digest of its members, which are hashes or
other sets. A set of one member needs no rows: its hash is the member itself. Small sets are kept flat, so
that equal sets have one hash; larger ones hold their children's sets, so that a parent of thousands adds
a few rows. Called by the scheduler when a job has finished.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from valuestore.hashing import DEFAULT_ALGORITHM, Digest, hash_struct

FLAT_TASKS = 64
"""Task sets up to this size are listed whole: a program has few tasks, and most of its calls share a set."""

FLAT_EXTERNALS = 4
"""Sets of files differ from call to call, so only the smallest are repeated in their parents."""


@dataclass(frozen=True, slots=True)
class SubtreeSet:
    """Immutable. ``set_hash`` is None for the empty set; ``flat`` is None where that would be large."""

    set_hash: Digest | None
    is_set: bool
    members: tuple[tuple[Digest, bool], ...]
    children: tuple[SubtreeSet, ...]
    flat: frozenset[Digest] | None

    def rows(self) -> list[tuple[Digest, Digest, bool]]:
        """The rows of ``set_member`` for this set alone."""
        if not self.is_set or self.set_hash is None:
            return []
        return [(self.set_hash, member, is_set) for member, is_set in self.members]

    def unrecorded(self, known: set[Digest]) -> Iterator[SubtreeSet]:
        """This set and those below it whose hashes are not in ``known``, each once; adds them to it."""
        stack = [self]
        while stack:
            current = stack.pop()
            if current.is_set and current.set_hash is not None and current.set_hash not in known:
                known.add(current.set_hash)
                yield current
                stack.extend(current.children)


def expanded(root: Digest, known: Mapping[Digest, list[tuple[Digest, bool]]]) -> frozenset[Digest]:
    """All hashes in a set and in the sets in it; one that is not known as a set stands for itself."""
    found: set[Digest] = set()
    seen = {root}
    stack = [root]
    while stack:
        current = stack.pop()
        for member, is_set in known.get(current) or [(current, False)]:
            if not is_set:
                found.add(member)
            elif member not in seen:
                seen.add(member)
                stack.append(member)
    return frozenset(found)


def recorded(set_hash: Digest | None, hashes: frozenset[Digest], flat_size: int) -> SubtreeSet:
    """A set as it is in the database, of which these are all hashes."""
    if set_hash is None:
        return EMPTY
    if hashes == {set_hash}:
        return single(set_hash)
    return SubtreeSet(set_hash, True, (), (), hashes if len(hashes) <= flat_size else None)


EMPTY = SubtreeSet(None, False, (), (), frozenset())


@lru_cache(maxsize=100_000)
def single(member: Digest) -> SubtreeSet:
    """The set of one member."""
    return SubtreeSet(member, False, ((member, False),), (), frozenset((member,)))


def union(
    own: Iterable[Digest],
    children: Iterable[SubtreeSet],
    flat_size: int,
    algorithm: str = DEFAULT_ALGORITHM,
) -> SubtreeSet:
    """The set of ``own`` hashes and all that are in ``children``; flat up to ``flat_size`` members."""
    distinct = {child.set_hash: child for child in children if child.set_hash is not None}
    for member in own:
        distinct.setdefault(member, single(member))
    if len(distinct) <= 1:
        return next(iter(distinct.values()), EMPTY)
    flat = _flat(distinct.values(), flat_size)
    if flat is None:
        below = tuple([child for child in distinct.values() if child.is_set])
        members = sorted((child.set_hash, child.is_set) for child in distinct.values() if child.set_hash)
        return SubtreeSet(set_hash(members, algorithm), True, tuple(members), below, None)
    for child in distinct.values():
        if child.flat == flat:
            return child
    members = [(member, False) for member in sorted(flat)]
    return SubtreeSet(set_hash(members, algorithm), True, tuple(members), (), flat)


def _flat(sets: Iterable[SubtreeSet], size: int) -> frozenset[Digest] | None:
    found: set[Digest] = set()
    for one in sets:
        if one.flat is None:
            return None
        found |= one.flat
        if len(found) > size:
            return None
    return frozenset(found)


def set_hash(members: Iterable[tuple[Digest, bool]], algorithm: str) -> Digest:
    """The address of a set with these members, in their order."""
    return hash_struct(list(members), "subtree set", algorithm=algorithm)
