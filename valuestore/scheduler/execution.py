"""Execution: what is known of one top-level run, while it goes on and afterwards."""

from __future__ import annotations

from dataclasses import dataclass, field

from valuestore.db.jobs import ExecutionRow, new_id, now


@dataclass
class Counts:
    """How many jobs are where. ``cached`` includes calls that another call of the same run answered."""

    done: int = 0
    cached: int = 0
    failed: int = 0
    running: int = 0
    waiting: int = 0


@dataclass
class Execution:
    """What is known of a run while it goes on and after it: its id, status, job counts and times.

    ``status`` is running, done, failed or interrupted; times are microseconds since 1970-01-01 UTC.
    """

    label: str
    execution_id: str = field(default_factory=new_id)
    status: str = "running"
    started: int = field(default_factory=now)
    ended: int | None = None
    counts: Counts = field(default_factory=Counts)

    @property
    def seconds(self) -> float:
        """Wall time from start to end, or until now."""
        return ((self.ended or now()) - self.started) / 1e6

    def row(self) -> ExecutionRow:
        """The row that records it as it is now."""
        return ExecutionRow(self.execution_id, self.label, self.status, self.started, self.ended)
