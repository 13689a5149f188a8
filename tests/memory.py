"""The most memory that a process has had, for tests that run code in a process of its own."""

from __future__ import annotations

from pathlib import Path


def peak_kibibytes() -> int:
    """Of this process since it began; ``ru_maxrss`` starts with the peak of the process that forked it."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
