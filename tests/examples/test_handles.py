"""The example with a database as a handle, run as its users run it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "handles.py"


@pytest.fixture
def script(tmp_path):
    copy = tmp_path / "handles.py"
    copy.write_text(EXAMPLE.read_text())
    return copy


@pytest.fixture
def run(scripts):
    def run(script):
        ran = scripts.run(script, strict=True)
        assert ran.code == 0, ran.err
        return ran.out, int(re.search(r"(\d+) calls ran", ran.out)[1])

    return run


def test_the_second_run_runs_nothing(script, run):
    first, ran = run(script)
    assert "north      mean   2.00  peak   3.00" in first
    assert ran == 6
    second, ran = run(script)
    assert second.splitlines()[:2] == first.splitlines()[:2]
    assert ran == 0


def test_a_changed_input_changes_the_database(script, run):
    run(script)
    (script.parent / "readings.csv").write_text("station,value\nnorth,9\n")
    out, ran = run(script)
    assert out.startswith("north      mean   9.00  peak   9.00\n")
    assert ran >= 5


def test_a_changed_task_runs_with_what_follows_it(script, run):
    run(script)
    script.write_text(
        script.read_text().replace("SELECT station, mean.v, peak.v", "SELECT station, mean.v, -peak.v")
    )
    out, ran = run(script)
    assert "peak  -3.00" in out
    assert ran <= 2  # the report, and the pipeline that calls it
