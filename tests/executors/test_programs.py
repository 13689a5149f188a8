"""Programs of all forms run on processes as on threads: scripts, ``-m``, ``-c``, standard input, modules.

Each defines what it needs in ``__main__``: classes, decorated tasks, recursion, lambdas (program.txt). What
they print, what they warn of and all that is recorded are equal, down to the digests.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts import printed
from valuestore import Repository
from valuestore.testing.executor_contract import recorded

PROGRAM = Path(__file__).with_name("program.txt").read_text("utf-8")
AT_THE_END = 'if __name__ == "__main__":\n    main(*sys.argv[1:])\n'
FORMS = {
    "script": ["script.py"],
    "package": ["-m", "package.module"],
    "command": ["-c", f"{PROGRAM}{AT_THE_END}"],
    "input": ["-"],
    "import": ["-c", "import sys; import package.module as m; m.main(*sys.argv[1:])"],
}
thorough = pytest.mark.thorough


@pytest.fixture
def ran(tmp_path):
    """What a form of the program printed and warned of, and what it recorded."""
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    for file in ("script.py", "package/module.py"):
        (tmp_path / file).write_text(f"{PROGRAM}{AT_THE_END}")

    def ran(form, executor):
        done = subprocess.run(
            [sys.executable, *FORMS[form], executor, executor],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            input=f"{PROGRAM}\nmain(*sys.argv[1:])\n",
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        warnings = [line.partition(": ")[2] for line in done.stderr.splitlines() if "Warning: " in line]
        with Repository.open(tmp_path / executor) as repository:
            return done.stdout, warnings, recorded(repository)

    return ran


@pytest.mark.parametrize(
    ("form", "executor"),
    [
        ("script", "processes"),
        pytest.param("input", "processes", marks=thorough),
        pytest.param("package", "processes", marks=thorough),
        pytest.param("command", "processes", marks=thorough),
        pytest.param("import", "processes", marks=thorough),
        pytest.param("script", "dask", marks=thorough),
        pytest.param("package", "dask", marks=thorough),
        pytest.param("script", "spawn", marks=thorough),
        pytest.param("script", "fork", marks=thorough),
        pytest.param("import", "spawn", marks=thorough),
    ],
)
def test_a_program_does_there_what_it_does_on_threads(ran, form, executor):
    on_threads = ran(form, "threads")
    assert len(on_threads[1]) == 1  # of the environment variable
    assert ran(form, executor) == on_threads


DYNAMIC = """
import sys
from valuestore import task

def reached(n):
    return [n, {text!r}]

@task(namespace="dynamic")
def call(n):
    return getattr(sys.modules[__name__], "reach" + "ed")(n)
"""
RUNS = """
import dynamic
from valuestore import Scheduler

with Scheduler(".", executor="processes", workers=1) as scheduler:
    print(*scheduler.run(dynamic.call(1)), scheduler.execution.counts.done)
"""


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python cannot tell what runs")
def test_code_that_a_worker_reaches_unnamed_counts(tmp_path):
    def prints(text):
        (tmp_path / "dynamic.py").write_text(DYNAMIC.format(text=text))
        return printed(RUNS, tmp_path)

    assert prints("old") == "1 old 1\n"
    assert prints("old") == "1 old 0\n"
    assert prints("quite new") == "1 quite new 1\n"
