"""What progress costs a run: ``python -m benchmarks.progress [--rounds N]``.

Runs of 5,000 new calls of a tiny task, with progress on a terminal and without, in turns in one process.
Milliseconds of CPU of each, at their least, and the ratio of one to the other (the goal: at most 1.1).
"""

from __future__ import annotations

import argparse
import os
import pty
import sys
import tempfile
import threading
import time

from valuestore import Scheduler, task

CALLS = 5000


@task(version="1", namespace="benchmarks.progress")
def tiny(n: int) -> int:
    """A leaf."""
    return n


def main() -> int:
    """Run, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    ours, theirs = pty.openpty()
    threading.Thread(target=_read, args=(ours,), daemon=True).start()
    took: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder, open(theirs, "w") as sys.stderr:
        for turn in range(2 * rounds):
            is_shown = turn % 2 == 0
            with Scheduler(folder, progress=is_shown) as scheduler:
                began = time.process_time()
                scheduler.run([tiny(CALLS * turn + n) for n in range(CALLS)])
                took[is_shown].append(1000 * (time.process_time() - began))
    sys.stderr = sys.__stderr__
    shown, silent = min(took[True]), min(took[False])
    print(f"{CALLS:,} calls: {silent:.0f} ms, with progress {shown:.0f} ms, ratio {shown / silent:.2f}")
    return 0


def _read(terminal: int) -> None:
    while os.read(terminal, 65536):
        pass


if __name__ == "__main__":
    sys.exit(main())
