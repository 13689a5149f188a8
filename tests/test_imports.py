"""What a process imports: a cached run what it needs, commands that look something up no SQLAlchemy."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from valuestore import Scheduler

HELLO = """
from valuestore import task, Scheduler

@task(name="hello", namespace="imports")
def hello():
    return "hello"

with Scheduler(sys.argv[1]) as scheduler:
    assert scheduler.run(hello()) == "hello"
assert scheduler.execution.counts.cached == 1 or len(sys.argv) > 2
"""

FOR_CACHED_RUNS = """
abc array ast atexit base64 bisect blake3 calendar codecs collections contextlib contextvars copy copyreg
dataclasses datetime dis encodings enum errno fcntl fnmatch functools gc genericpath getpass glob grp
heapq importlib inspect io ipaddress itertools json keyword linecache locale math mmap ntpath numbers
opcode operator os pathlib pickle posix posixpath pwd queue re reprlib select shlex signal sqlite3 stat
string struct sys sysconfig termios threading time token tokenize types typing unicodedata urllib
valuestore warnings weakref xxhash zlib
"""
"""Top-level modules. Whoever adds one has measured what it takes: ``python -X importtime``."""


def imported(script, folder, *arguments):
    """The modules that the script brings in there, beyond those of a bare interpreter."""
    file = folder / "program.py"
    file.write_text(
        f"import sys\nbefore = set(sys.modules)\n{script}\nprint(*sorted(set(sys.modules) - before))\n"
    )
    command = [sys.executable, str(file), str(folder), *arguments]
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


def test_a_cached_run_imports_what_it_needs(tmp_path):
    imported(HELLO, tmp_path, "cold")
    tops = {name.partition(".")[0] for name in imported(HELLO, tmp_path)}
    public, allowed = {name for name in tops if not name.startswith("_")}, set(FOR_CACHED_RUNS.split())
    assert public <= allowed, f"a cached run also imports {', '.join(sorted(public - allowed))}"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("asked")
    imported(HELLO, folder, "cold")
    imported(HELLO, folder)
    return folder


@pytest.mark.parametrize("command", ["log", "show -", "stats", "log executions --limit 3"])
def test_what_people_ask_most_needs_no_sqlalchemy(repository, command):
    modules = imported(
        f"from valuestore.cli.main import invoke\nassert invoke({command.split()}) == 0", repository
    )
    assert {"sqlalchemy", "alembic", "rich", "asyncio"}.isdisjoint(modules)


def test_a_query_that_is_put_together_may_import_it(repository):
    asked = "from valuestore.cli.main import invoke\nassert invoke(['log', '--task', 'hello']) == 0"
    assert "sqlalchemy" in imported(asked, repository)


def test_a_run_that_opens_a_repository_of_today_does_not_look_at_its_tables(repository):
    with Scheduler(repository) as scheduler:
        assert "_engine" not in vars(scheduler.repository.database)
