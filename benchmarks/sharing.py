"""What a push costs: ``python -m benchmarks.sharing [--calls N]``.

All of a repository with so many calls, pushed to an empty folder. Microseconds of CPU for each record.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from valuestore import Scheduler, task


@task(version="1", namespace="benchmarks.sharing")
def tiny(n: int) -> list[int]:
    """A leaf."""
    return [n]


def main() -> int:
    """Fill, push, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=10_000)
    calls = parser.parse_args().calls
    with tempfile.TemporaryDirectory() as folder, Scheduler(Path(folder, "from")) as scheduler:
        scheduler.run([tiny(n) for n in range(calls)])
        began = time.process_time()
        sent = scheduler.repository.push(Path(folder, "to"))
        each = 1e6 * (time.process_time() - began) / sent.records
    print(f"{sent.records:,} records: {each:.0f} us each")
    return 0


if __name__ == "__main__":
    sys.exit(main())
