"""Ctrl-C in mid run, twice, and in mid query: the program ends at once, and what finished before is kept."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

from tests.cli.conftest import PROGRAM, Cli

SLOW = """
import time
from pathlib import Path

from valuestore import task


@task
def quick(n: int) -> int:
    return n


@task
def stuck(numbers: list[int]) -> int:
    Path("stuck").touch()
    while not Path("go").exists():
        time.sleep(0.01)
    return sum(numbers)


@task
def main() -> int:
    return stuck([quick(n) for n in range(5)])
"""


def _start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def test_an_interrupted_run_keeps_what_finished_and_the_rerun_uses_it(here: Path, cli: Cli) -> None:
    (here / "slow.py").write_text(SLOW)
    process = _start("run", "slow.py", "main")
    _wait_for(here / "stuck", process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)
    assert process.poll() is None  # what runs is let finish
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted: 1 call that runs is let finish, and kept; Ctrl-C again stops" in err
    assert out == ""
    assert "interrupted; what finished is kept, and the next run uses it" in err
    assert "Traceback" not in err
    [execution] = json.loads(cli("log", "--json").out)
    assert (execution["status"], execution["executed"]) == ("interrupted", 5)

    (here / "go").touch()
    again = cli("run", "slow.py", "main")
    assert again.out == "10\n"
    assert "1 executed, 6 cached" in again.err


def test_an_endless_query_can_be_interrupted(here: Path, cli: Cli) -> None:
    cli("init")
    process = _start(
        "sql",
        "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n",
    )
    wal = here / ".valuestore" / "valuestore.db-wal"
    _wait_for(wal, process)
    time.sleep(0.5)  # the query starts right after; before it, an interrupt would prove less
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
