"""Scripts: Python scripts of tests, each run in a process of its own that has only imported valuestore.

To start Python and import is most of what a short script costs. Here that is done once: a child is forked
for each script. Tests of starting itself, of hash seeds and of the command line start a program instead.

To take an interpreter apart costs as much again, so a child that ended well runs what is to be run at exit
and ends without: nothing that it holds is freed first.
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
import atexit, gc, json, os, runpy, sys, threading, warnings
import alembic, sqlalchemy.dialects.sqlite, valuestore.repository, valuestore.scheduler.scheduler
import platformdirs, pydantic.type_adapter, valuestore.cli.run.run, valuestore.executors.threads
gc.freeze()
for line in sys.stdin:
    script, folder, arguments, environment, given, outputs, strict = json.loads(line)
    if (child := os.fork()) == 0:
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        os.dup2(os.open(given, os.O_RDONLY), 0)
        for number, name in enumerate(outputs, 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        sys.path[0] = os.path.dirname(script)
        sys.argv[1:] = arguments
        if strict:
            warnings.simplefilter("error")
        code = None
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as ended:
            if not isinstance(code := ended.code, int | None):
                raise
        threading._shutdown()
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a script ended, and what it wrote."""

    code: int
    written: bytes
    err: str

    @property
    def out(self) -> str:
        return self.written.decode("utf-8")


class Scripts:
    """Runs scripts, one at a time. Starts what forks them on first use."""

    def __init__(self) -> None:
        self._forking: subprocess.Popen[str] | None = None

    def run(
        self,
        script: Path,
        *arguments: str,
        folder: Path | None = None,
        given: bytes = b"",
        strict: bool = False,
    ) -> Ended:
        """Run it in its folder, or another, in the environment of this moment.

        ``given``: what it can read. ``strict``: warnings are errors.
        """
        outputs = [f"{script}.{kind}" for kind in ("stdout", "stderr")]
        source = os.devnull
        if given:
            source = f"{script}.stdin"
            Path(source).write_bytes(given)
        place = str(folder or script.parent)
        asked = [str(script), place, arguments, dict(os.environ), source, outputs, strict]
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
        written, told = (Path(name).read_bytes() for name in outputs)
        return Ended(code, written, told.decode("utf-8"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._forking is not None:
            self._forking.communicate()


def printed(program: str, folder: Path) -> str:
    """What a program prints that runs there, with the modules that this one finds. Raises: if it fails."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout
