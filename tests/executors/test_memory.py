"""Large results stay in the payload store: the process of the scheduler knows their sizes alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

RESULTS, MEGABYTES, MOST_MEGABYTES = 20, 50, 200

PROGRAM = f"""
import sys
from tests.executors.pipelines import give, length
from tests.memory import peak_kibibytes
from valuestore import Scheduler

if __name__ == "__main__":
    with Scheduler(sys.argv[1], executor=sys.argv[2], workers=2) as scheduler:
        for _ in range(2):
            found = scheduler.run([length(give(n, {MEGABYTES})) for n in range({RESULTS})])
            assert found == [{MEGABYTES} << 20] * {RESULTS}
    print(peak_kibibytes() // 1024)
"""


@pytest.mark.thorough
@pytest.mark.parametrize("executor", ["processes", "dask"])
def test_the_scheduler_stays_small(tmp_path, executor):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), executor],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    print(done.stdout)
    assert int(done.stdout) < MOST_MEGABYTES
