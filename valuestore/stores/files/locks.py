"""Locks by path, held around a commit: so threads that replace one value see each other's attributes."""

from __future__ import annotations

import os
from threading import Lock

_locks = [Lock() for _ in range(64)]


def lock_for(path: bytes) -> Lock:
    """The lock of that path, which some others share."""
    return _locks[hash(path) % 64]


def _renew_locks() -> None:
    """A thread that held a lock at the fork does not exist in the child, where it would never be released."""
    _locks[:] = [Lock() for _ in range(64)]


os.register_at_fork(after_in_child=_renew_locks)
