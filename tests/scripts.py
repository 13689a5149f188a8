"""Scripts: Python scripts of tests, each run in a process of its own that has only imported valuestore.

To start Python and import is most of what a short script costs. Here that is done once: a child is forked
for each script. Tests of starting itself, of hash seeds and of the command line start a program instead.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_FORKING = """
import json, os, runpy, sys, warnings
import alembic, sqlalchemy.dialects.sqlite, valuestore.repository, valuestore.scheduler.scheduler
for line in sys.stdin:
    script, folder, arguments, environment, outputs, strict = json.loads(line)
    if (child := os.fork()) == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        for number, name in enumerate(outputs, 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.path[0] = os.path.dirname(script)
        sys.argv[1:] = arguments
        if strict:
            warnings.simplefilter("error")
        runpy.run_path(script, run_name="__main__")
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a script ended, and what it wrote."""

    code: int
    out: str
    err: str


class Scripts:
    """Runs scripts, one at a time. Starts what forks them on first use."""

    def __init__(self) -> None:
        self._forking: subprocess.Popen[str] | None = None

    def run(self, script: Path, *arguments: str, strict: bool = False) -> Ended:
        """Run it in its folder, in the environment of this moment; if ``strict``, warnings are errors."""
        outputs = [f"{script}.{kind}" for kind in ("stdout", "stderr")]
        asked = [str(script), str(script.parent), arguments, dict(os.environ), outputs, strict]
        if self._forking is None:
            command = [sys.executable, "-c", _FORKING]
            self._forking = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
        assert self._forking.stdin is not None
        assert self._forking.stdout is not None
        self._forking.stdin.write(json.dumps(asked) + "\n")
        self._forking.stdin.flush()
        code = int(self._forking.stdout.readline())
        return Ended(code, *(Path(name).read_text("utf-8") for name in outputs))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._forking is not None:
            self._forking.communicate()
