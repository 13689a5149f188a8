"""The command line as tests use it: in this process (``cli``), or as a program of its own (``program``)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import typer.main

from tests.scripts import Ended, Scripts
from valuestore.cli.main import invoke

PROGRAM = [sys.executable, "-c", "import sys; from valuestore.cli.main import main; sys.exit(main())"]

PIPELINE = '''
"""Squares."""

from __future__ import annotations

from valuestore import File, task


@task
def square(n: int) -> int:
    return n * n


@task
def squares(count: int, *, scale: float = 1.0, verbose: bool = False) -> dict:
    """Square the first numbers.

    All of them.
    """
    return {"squares": [square(n) for n in range(count)], "scale": scale, "verbose": verbose}


@task
def divide(n: int) -> float:
    return n / 0


@task
def outer(n: int) -> list:
    return [square(n), divide(n)]


@task
def greet(name: str = "you") -> str:
    return f"hello {name}"


@task
def write(path: File) -> File:
    path.write("content")
    return path
'''


@dataclass(frozen=True)
class Outcome:
    """What a command line gave."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture(scope="session", autouse=True)
def tree_of_commands() -> Iterator[None]:
    """The commands are built from their functions once, rather than for each command line: half its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working folder with ``pipe.py`` in it; modules loaded from it are forgotten afterwards."""
    (tmp_path / "pipe.py").write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in os.environ if name.startswith("VALUESTORE_")]:
        monkeypatch.delenv(name)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def cli(here: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Run a command line in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = invoke(arguments)
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def piped(here: Path, scripts: Scripts, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Ended]:
    """Run a command line as a process of its own, with ``given`` as its standard input."""
    script = tmp_path_factory.mktemp("program") / "program.py"
    script.write_text(PROGRAM[-1])

    def run(*arguments: str, given: bytes = b"") -> Ended:
        return scripts.run(script, *arguments, folder=Path.cwd(), given=given)

    return run


@pytest.fixture
def program(piped: Callable[..., Ended]) -> Cli:
    """Run a command line as a process of its own."""

    def run(*arguments: str) -> Outcome:
        ended = piped(*arguments)
        return Outcome(ended.code, ended.out, ended.err)

    return run
