"""The board of the example shows in one process what another one ran."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def said(folder, *arguments):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "board.py"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_runs_and_another_shows(tmp_path, redis_url):
    assert "nothing to measure at" in said(tmp_path, "run", redis_url)
    shown = said(tmp_path, "show", redis_url)
    assert "failed   " in shown
    assert "board_example.measure" in shown
    assert shown.endswith("5 failed\n")
