"""The progress line: on a terminal alone, and never in the way of the result."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

from tests.cli.conftest import PROGRAM, Cli


def _run_on_terminal(*arguments: str) -> tuple[str, str]:
    """What goes to stdout, a pipe, and to stderr, a terminal."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([*PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.stdout is not None
    out = process.stdout.read()
    process.stdout.close()
    assert process.wait(timeout=60) == 0
    return out, seen.decode()


def test_a_terminal_sees_counts_while_it_runs(here: Path) -> None:
    out, err = _run_on_terminal("run", "pipe.py", "squares", "--count", "3")
    assert out == "{'squares': [0, 1, 4], 'scale': 1.0, 'verbose': False}\n"
    for part in (" done", " cached", " running", " failed", " s"):
        assert part in err
    assert "done: execution " in err


def test_what_a_task_prints_stays_on_stdout(here: Path) -> None:
    (here / "talks.py").write_text(
        "from valuestore import task\n@task\ndef talk() -> str:\n    print('said')\n    return 'result'\n"
    )
    out, err = _run_on_terminal("run", "talks.py", "talk")
    assert out == "said\nresult\n"
    assert "said" not in err


def test_elsewhere_there_is_the_summary_and_nothing_else(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares", "--count", "3")
    assert done.err.count("\n") == 1
    assert "\x1b" not in done.err
