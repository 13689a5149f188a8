"""What ``valuestore run`` shows while it runs: on a terminal, line by line, and to readers that leave."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import PROGRAM, Cli
from tests.terminals import OnTerminal

TALKING = """
import time
from valuestore import task

@task
def talk(n: int, seconds: float = 0.0) -> int:
    print("said", n, flush=True)
    time.sleep(seconds)
    return n

@task
def talks(count: int) -> list:
    return [talk(n) for n in range(count)]

@task
def wrong(password: str) -> int:
    raise ValueError("no")
"""


@pytest.fixture
def talking(here: Path) -> Path:
    (here / "talking.py").write_text(TALKING)
    return here


def test_a_terminal_sees_how_it_goes_and_then_the_summary(talking: Path) -> None:
    terminal = OnTerminal(
        [*PROGRAM, "run", "talking.py", "talk", "--n", "1", "--seconds", "1.5"],
        talking,
        stdout=subprocess.PIPE,
    )
    assert terminal.process.stdout is not None
    assert terminal.ended() == 0
    assert terminal.process.stdout.read() == b"said 1\n1\n"
    terminal.process.stdout.close()
    assert any("1 running" in frame for frame in terminal.frames)
    assert terminal.text.startswith("valuestore: done: execution ")
    assert b"said" not in terminal.raw


def test_elsewhere_there_is_the_summary_and_nothing_else(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares", "--count", "3")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err


def test_verbose_is_a_line_for_each_job_on_stderr(talking: Path, cli: Cli) -> None:
    first = cli("run", "talking.py", "talks", "--count", "2", "--verbose")
    jobs = [line for line in first.err.splitlines() if line.startswith("valuestore: job ")]
    for n in range(2):
        line = rf"valuestore: job \w{{32}} talking\.talk\(n={n}, seconds=0.0\): 0\.\d+ s, done"
        assert any(re.fullmatch(line, job) for job in jobs)
    again = cli("run", "--verbose", "talking.py", "talks", "--count", "2")
    [job] = [line for line in again.err.splitlines() if line.startswith("valuestore: job ")]
    assert "talking.talks(count=2): " in job
    assert job.endswith("s, cached")
    assert "job " not in cli("run", "talking.py", "talks", "--count", "2").err


def test_lines_of_jobs_say_why_they_failed_and_hide_secrets(talking: Path, cli: Cli) -> None:
    failed = cli("run", "--verbose", "talking.py", "wrong", "--password", "canary")
    assert "talking.wrong(" in failed.err
    assert "failed: ValueError: no" in failed.err
    assert "canary" not in failed.err


thorough = [">&-", "2>&-", "| true", "2>&1 | true", "--verbose 2>&1 | true"]


@pytest.mark.parametrize(
    "end",
    [
        "| head -1 >/dev/null",
        ">&- 2>&-",
        *(pytest.param(end, marks=pytest.mark.thorough) for end in thorough),
    ],
)
def test_readers_that_leave_neither_stop_a_run_nor_lose_what_it_gives(
    talking: Path, program: Cli, end: str
) -> None:
    command = f'"$@" run talking.py talks --count 20 {end}'
    done = subprocess.run(["sh", "-c", command, "sh", *PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    [execution] = json.loads(program("log", "--json").out)
    assert (execution["status"], execution["executed"], execution["failed"]) == ("done", 21, 0)


def test_a_closed_stdout_is_no_defect_of_other_commands(here: Path) -> None:
    done = subprocess.run(["sh", "-c", '"$@" --version >&-', "sh", *PROGRAM], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "command", ["--version", "--help", "log", "get -", "run talking.py talks --count 2", "sql 'select 1'"]
)
def test_an_output_that_takes_no_more_is_one_sentence(talking: Path, cli: Cli, command: str) -> None:
    cli("run", "talking.py", "talks", "--count", "2")
    run = ["sh", "-c", f'"$@" {command} >/dev/full', "sh", *PROGRAM]
    done = subprocess.run(run, capture_output=True, text=True, timeout=60)
    assert done.returncode == 3
    assert done.stderr == "valuestore: the output could not be written: No space left on device\n"


def test_what_cannot_be_said_leaves_the_exit_code(here: Path) -> None:
    run = ["sh", "-c", '"$@" log >/dev/full 2>/dev/full', "sh", *PROGRAM]
    assert subprocess.run(run, capture_output=True, timeout=60).returncode == 3  # there is no repository
