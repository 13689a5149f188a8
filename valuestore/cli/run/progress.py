"""Progress: one live line about a run on stderr; nothing at all where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

    from valuestore.scheduler.record import Execution
    from valuestore.scheduler.scheduler import Scheduler

_POLLS_PER_SECOND = 10


@contextmanager
def progress_line(scheduler: Scheduler) -> Iterator[None]:
    """Show the counts of ``scheduler.execution`` while the block runs. It polls them; nobody reports."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.live import Live

    from valuestore.cli.terminal import open_console

    with Live(
        get_renderable=lambda: _line(scheduler.execution),
        console=open_console(stderr=True),
        refresh_per_second=_POLLS_PER_SECOND,
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # what goes to a pipe must not end up on the terminal
    ):
        yield


def _line(execution: Execution | None) -> Text:
    from rich.text import Text

    if execution is None:
        return Text("")
    counts = execution.counts
    parts = [
        (f"{counts.done} done", "green"),
        (f"{counts.cached} cached", "cyan"),
        (f"{counts.running} running", "yellow"),
        (f"{counts.failed} failed", "bold red" if counts.failed else "dim"),
        (f"{execution.seconds:.1f} s", "dim"),
    ]
    return Text("  ").join(Text(text, style) for text, style in parts)
