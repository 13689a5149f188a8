"""Execution: what is known of one top-level run, while it goes on and afterwards."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from valuestore.db.jobs import ExecutionRow, clean_text, new_id, now
from valuestore.redaction import redact_command

_LONGEST_ARGUMENT = 2000


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

    ``status`` is running, done, failed or interrupted; times are microseconds since 1970-01-01 UTC;
    ``command`` is the process's command line.
    """

    label: str
    execution_id: str = field(default_factory=new_id)
    status: str = "running"
    started: int = field(default_factory=now)
    ended: int | None = None
    counts: Counts = field(default_factory=Counts)
    command: str = field(default_factory=lambda: command_line(sys.argv))

    @property
    def seconds(self) -> float:
        """Wall time from start to end, or until now."""
        return ((self.ended or now()) - self.started) / 1e6

    def row(self) -> ExecutionRow:
        """The row that records it as it is now."""
        return ExecutionRow(
            self.execution_id, self.label, self.status, self.started, self.ended, now(), self.command
        )


def command_line(arguments: Sequence[str]) -> str:
    """A command line as a JSON list, its secrets hidden and what is long cut."""
    return json.dumps([clean_text(part, _LONGEST_ARGUMENT) for part in redact_command(arguments)])
