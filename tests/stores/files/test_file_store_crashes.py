"""FileStore when its writers are killed or race each other; the work is done by ``crashing.py``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("crashing.py")


def run(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_writers_lose_nothing_that_they_acknowledged(tmp_path):
    output = run("kills", tmp_path / "store")
    assert int(output.split()[2]) > 100, output


def test_a_writer_may_die_at_any_step(tmp_path):
    output = run("points", tmp_path / "store")
    assert int(output.split()[0]) > 80, output


@pytest.mark.parametrize("harness", ["creators", "readers", "contents"])
def test_processes_do_not_get_in_each_others_way(tmp_path, harness):
    run(harness, tmp_path / "store")
