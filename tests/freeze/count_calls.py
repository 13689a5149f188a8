"""Counts calls of Python functions for one further cached call; prints JSON. Run by test_counts.py.

It is a program of its own, since what else a process has imported counts: once there is a class of handles,
each call is searched for some. It is counted before there is one, and with one that is not used.

Counted are functions of valuestore, during a run of 2,000 calls that are all cached and of the flush after
it, less the same for 1,000. A comprehension does not count, since Python 3.12 made it no call.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import threading
from collections import Counter
from typing import Any

import valuestore
from valuestore import Repository, Scheduler, task

PACKAGE = os.path.dirname(valuestore.__file__)
COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>")

calls: Counter[tuple[int, str]] = Counter()
is_ours: dict[Any, bool] = {}


@task(version="1")
def successor(x: int) -> int:
    return x + 1


def profile(frame: Any, event: str, _arg: Any) -> None:
    if event == "call":
        code = frame.f_code
        if code not in is_ours:
            is_ours[code] = code.co_filename.startswith(PACKAGE) and code.co_name not in COMPREHENSIONS
        if is_ours[code]:
            calls[threading.get_ident(), code.co_filename] += 1


def run_again(scheduler: Scheduler, count: int) -> Counter[tuple[int, str]]:
    """Calls of a cached run, by thread and file."""
    lazy = [successor(number) for number in range(count)]
    scheduler.repository.flush()
    calls.clear()
    sys.setprofile(profile)
    scheduler.run(lazy)
    scheduler.repository.flush()
    sys.setprofile(None)
    return Counter(calls)


def of_a_further_call(scheduler: Scheduler) -> dict[str, Any]:
    """Calls on this thread, by file, and on others."""
    further = run_again(scheduler, 2000)
    further.subtract(run_again(scheduler, 1000))
    here = threading.get_ident()
    files = {
        os.path.relpath(file, PACKAGE): count / 1000
        for (thread, file), count in further.most_common()
        if thread == here and count > 500
    }
    in_others = sum(count for (thread, _), count in further.items() if thread != here) / 1000
    return {"here": sum(further.values()) / 1000 - in_others, "in_others": in_others, "files": files}


def main() -> None:
    threading.setprofile(profile)  # for the thread that writes rows
    with (
        tempfile.TemporaryDirectory() as folder,
        Repository.open(folder) as repository,
        Scheduler(repository) as scheduler,
    ):
        scheduler.run([successor(number) for number in range(2000)])
        found = {"without handles": of_a_further_call(scheduler)}
        type("Handle", (valuestore.Handle,), {"type_name": "freeze.counted.Handle"})
        found["with handles"] = of_a_further_call(scheduler)
        json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
