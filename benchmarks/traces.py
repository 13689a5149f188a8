"""Bodies that are watched against the same bodies alone: ``python -m benchmarks.traces`` (Python 3.12 on).

Each sample is a process of its own, since Python listens from the first watched body on; what is timed is
the body, and what is asked of it afterwards. Watched and alone take turns, and a ratio is the median of
those of the pairs, of processor time. Beside them: what a body costs that does nothing, and what it costs
to verify a trace, which another process does before it takes a cached result.
"""

from __future__ import annotations

import argparse
import ast
import gc
import glob
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec

from rich.console import Console
from rich.table import Table

from valuestore.values.code.function import code_identity
from valuestore.values.code.members import Body, Version, verify
from valuestore.values.code.trace import nobodys, trace_refused
from valuestore.values.registry import TypeRegistry

BOUND = 1.05
TINY_BODIES = 20_000
TINY_GOAL_MICROSECONDS = 4
HELPERS = 200
VERIFY_GOAL_MILLISECONDS = 0.2


def tiny(x: int) -> int:
    return x + 1


def a_million_calls() -> int:
    helper = globals()["tiny"]  # so that it is in the trace, and not in the identity
    total = 0
    for number in range(1_000_000):
        total += helper(number)
    return total


def syntax_of_the_library() -> int:
    kinds = 0
    for path in sorted(glob.glob(os.path.join(os.path.dirname(ast.__file__), "*.py"))):
        with open(path, encoding="utf-8", errors="replace") as stream:
            nodes = ast.walk(ast.parse(stream.read()))
        kinds += len(json.dumps([type(node).__name__ for node in nodes]))
    return kinds


def frames() -> int:
    import numpy as np
    import pandas as pd  # measured only where they are installed

    frame = pd.DataFrame({"key": np.arange(200_000) % 100, "value": np.random.default_rng(0).random(200_000)})
    for _ in range(20):
        sums = frame.groupby("key").value.agg(["mean", "std"]).sort_values("mean").reset_index()
        sums.merge(frame.head(1000), on="key").describe()
    return len(frame)


def nothing() -> None:
    pass


def tiny_bodies() -> None:
    for _ in range(TINY_BODIES):
        nothing()


def tiny_bodies_watched() -> None:
    registry = TypeRegistry()
    for _ in range(TINY_BODIES):
        with nobodys():
            with Body(nothing, Version("nothing", "code", "run"), registry) as body:
                nothing()
            body.seen(())


WORKS: dict[str, Callable[[], object]] = {
    "10^6 calls of a tiny helper": a_million_calls,
    "ast and json over the standard library": syntax_of_the_library,
    "pandas and numpy": frames,
}
BODIES = {"10^6 calls of a tiny helper": 5}
"""Bodies of a sample, where they are short: what is asked of a task once takes some milliseconds."""
TINY = "tiny bodies"


def _one(work: str, watched: bool) -> float:
    """Processor seconds of one sample, in this process."""
    if work == TINY:
        started = time.process_time()
        (tiny_bodies_watched if watched else tiny_bodies)()
        return time.process_time() - started
    function, registry = WORKS[work], TypeRegistry()
    code_identity(function, registry)  # which is asked for before a body runs in any case
    gc.collect()
    gc.freeze()  # or the heap of the imports is walked in the samples that happen to make more objects
    started = time.process_time()
    for _ in range(BODIES.get(work, 1)):
        if watched:
            with nobodys():
                with Body(function, Version("work", "code", "run"), registry) as body:
                    function()
                body.seen(())
        else:
            function()
    return time.process_time() - started


def _pairs(work: str, rounds: int) -> list[tuple[float, float]]:
    """Alone and watched, in turns."""
    command = [sys.executable, "-m", "benchmarks.traces", "--one", work]
    return [
        (float(subprocess.check_output(command)), float(subprocess.check_output([*command, "--watched"])))
        for _ in range(rounds)
    ]


def _verify_milliseconds(rounds: int) -> float:
    """Per function that was reached, where each calls the next."""
    lines = [f"def h{i}(x):\n    return x * {i} + (h{i + 1}(x) if x else 0)" for i in range(HELPERS)]
    lines += [f"def h{HELPERS}(x):\n    return x", "def body():\n    return globals()['h0'](1)"]
    registry = TypeRegistry()
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "many_helpers.py"), "w", encoding="utf-8") as stream:
            stream.write("\n".join(lines))
        sys.path.insert(0, folder)
        function = importlib.import_module("many_helpers").body
        with nobodys():
            with Body(function, Version("body", "many", "run"), registry) as body:
                function()
            members, _ = body.seen(())
            took = []
            for _ in range(rounds):
                started = time.process_time()
                assert verify(members, registry)
                took.append(time.process_time() - started)
    return statistics.median(took) / HELPERS * 1e3


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.traces", description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--one", choices=[*WORKS, TINY], help=argparse.SUPPRESS)
    parser.add_argument("--watched", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(_one(arguments.one, arguments.watched))
        return
    table = Table("work", "measured", "goal", title=trace_refused() or "Watched over alone")
    for work in WORKS:
        if work != "pandas and numpy" or find_spec("pandas"):
            ratios = [watched / alone for alone, watched in _pairs(work, arguments.rounds)]
            spread = f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
            table.add_row(work, spread, str(BOUND))
    costs = [(watched - alone) / TINY_BODIES * 1e6 for alone, watched in _pairs(TINY, arguments.rounds)]
    table.add_row(
        "a body that does nothing", f"{statistics.median(costs):.1f} us", f"{TINY_GOAL_MICROSECONDS} us"
    )
    milliseconds = _verify_milliseconds(arguments.rounds)
    table.add_row(
        "to verify, each function reached", f"{milliseconds:.2f} ms", f"{VERIFY_GOAL_MILLISECONDS} ms"
    )
    Console().print(table)


if __name__ == "__main__":
    main()
