"""Fixtures and functions for tests of pipelines: the page that tells of them is a test module, and passes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from valuestore import task
from valuestore.errors import TaskError
from valuestore.testing import arguments_of, task_of

PAGE = Path(__file__).parents[1] / "docs" / "testing.md"


@task
def add(x, y=2, *more, **named):
    return x + y


def test_the_tests_of_the_page_pass(tmp_path):
    module = next(iter(re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.S)))
    (tmp_path / "test_page.py").write_text(module)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1])}
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    assert "6 passed" in ran.stdout, ran.stdout + ran.stderr
    assert not (tmp_path / ".valuestore").exists()


def test_a_call_tells_its_task_and_its_arguments():
    call = add(add(1), 3, 4, z=5)
    assert task_of(call) is add
    given = arguments_of(call)
    assert (given["y"], given["more"], given["named"]) == (3, (4,), {"z": 5})
    assert arguments_of(given["x"]) == {"x": 1, "y": 2, "more": (), "named": {}}


def test_what_is_told_can_be_changed():
    call = add(1)
    arguments_of(call)["x"] = 7
    assert arguments_of(call)["x"] == 1


@pytest.mark.parametrize("other", [add(1) + 1, add(1).x, 5, add])
def test_anything_else_is_refused(other):
    with pytest.raises(TaskError, match="no call of a task"):
        task_of(other)
