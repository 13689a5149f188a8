"""The command line: ``python -m tests.faults [PART ...] [--quick] [--scale X] [--seed N]``.

A line for each part when it is done, and all of them as a table at the end.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path

from tests.faults.parts import PARTS
from valuestore.errors import ValuestoreWarning


def main(given: list[str] | None = None) -> int:
    """Run the parts, each in a process of its own; 1 if any found something."""
    arguments = _parser().parse_args(given)
    rows, failed = [], False
    for name in arguments.parts or PARTS:
        part = PARTS[name]
        size = part.quick if arguments.quick else max(1, round(part.full * arguments.scale))
        started = time.monotonic()
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            os._exit(_run(name, size, arguments, writer))
        os.close(writer)
        with os.fdopen(reader) as lines:
            said = lines.read().strip()
        failed |= os.waitpid(pid, 0)[1] != 0
        seconds = f"{time.monotonic() - started:.0f}"
        rows.append((name, f"{size:,} {part.unit}", str(arguments.seed), said or "it ended early", seconds))
        print(" | ".join(rows[-1]), flush=True)
    print("\n| part | size | seed | done: found | seconds |\n|---|---|---|---|---|")
    print("\n".join(f"| {' | '.join(row)} |" for row in rows))
    return int(failed)


def _run(name: str, size: int, arguments: argparse.Namespace, writer: int) -> int:
    """In a child: one part, in a folder of its own that goes with it."""
    seed, part = arguments.seed, PARTS[name]
    with tempfile.TemporaryDirectory(prefix="valuestore-faults-") as folder:
        for variable in ("XDG_CONFIG_HOME", "VALUESTORE_CACHE"):
            os.environ[variable] = f"{folder}/{variable.lower()}"
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", ValuestoreWarning)
        try:
            found = part.function(name)(Path(folder), size, random.Random(seed))
        except BaseException:
            sys.excepthook(*sys.exc_info())
            return 2
        finally:
            sys.stdout.flush()
    for example in found.examples:
        print(f"{name}, seed {seed}: {example}", file=sys.stderr, flush=True)
    os.write(writer, str(found).encode())
    known = part.short if arguments.quick else ()
    return int(not found.faults.keys() <= {*known})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="Look for faults under fire.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="the sizes of `make test`")
    parser.add_argument("--scale", type=float, default=1.0, help="of the full sizes")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**9))
    return parser


if __name__ == "__main__":
    sys.exit(main())
