"""Holders: which processes hold a lock on a file, for a message about a database that is locked.

Read from ``/proc/locks``, so on Linux alone. The file itself is not opened: closing any descriptor of it
would drop the locks that SQLite holds on it in this process (POSIX advisory locks).
"""

from __future__ import annotations

import os


def lock_holders(*paths: str) -> tuple[int, ...]:
    """The processes that hold a write lock on one of these files; empty if none or not known."""
    wanted = set()
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue
        wanted.add(f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}")
    try:
        with open("/proc/locks", encoding="ascii", errors="replace") as locks:
            lines = [line.split() for line in locks]
    except OSError:
        return ()
    held = {int(line[4]) for line in lines if len(line) >= 8 and line[3] == "WRITE" and line[5] in wanted}
    return tuple(sorted(held))
