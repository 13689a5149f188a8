"""Which repository is meant; ``init``, ``stats``, ``db``; and one that cannot be used, for each command."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import PIPELINE, Cli

READING = (["log"], ["show", "-"], ["sql", "select 1"], ["stats"])
EVERY = (*READING, ["run", "pipe.py", "greet"], ["db", "current"], ["db", "upgrade"])


def test_init_makes_a_repository_here_even_below_another(cli: Cli, here: Path) -> None:
    cli("init")
    (here / "below").mkdir()
    os.chdir(here / "below")
    assert cli("init").code == 0
    assert (here / "below" / ".valuestore" / "valuestore.db").exists()


def test_init_makes_one_at_a_path_with_a_digest(cli: Cli, here: Path) -> None:
    assert "digest blake3-256" in cli("init", "place", "--digest", "blake3-256").out
    cli("run", "pipe.py", "square", "--n", "3", "--repository", "place")
    [value] = json.loads(cli("sql", "select max(value_hash) as h from value", "--json", "-r", "place").out)
    assert len(value["h"]) == 64


def test_init_shared_makes_one_for_the_group_with_a_digest_that_nobody_can_forge(
    cli: Cli, here: Path
) -> None:
    assert "digest blake3-256" in cli("init", "--shared").out
    assert (here / ".valuestore").stat().st_mode & 0o7777 == 0o2770
    assert (here / ".valuestore" / "valuestore.db").stat().st_mode & 0o777 == 0o660


def test_init_twice_says_what_is_there(cli: Cli) -> None:
    assert cli("init").out == cli("init").out


@pytest.mark.parametrize("digest", ["md5", "blake3-256"])
def test_init_with_a_digest_that_cannot_be_is_a_usage_error(cli: Cli, digest: str) -> None:
    cli("init")
    assert cli("init", "--digest", digest).code == 2


def test_stats_count_rows_and_bytes(cli: Cli) -> None:
    cli("run", "pipe.py", "greet", "--name", "x" * 20_000)
    stats = json.loads(cli("stats", "--json").out)
    assert stats["rows"]["job"] == 1
    assert stats["stored_bytes"] > 20_000
    assert "stored_bytes" in cli("stats").out


def test_db_current_names_the_revision(cli: Cli) -> None:
    cli("init")
    assert cli("db", "current").out == "0009 (newest)\n"
    assert cli("db", "upgrade").out == "0009 (newest already)\n"


def test_db_goes_back_and_forth_when_told_so(cli: Cli) -> None:
    cli("init")
    assert cli("db", "versions").out == "0001\n0002\n0003\n0004\n0005\n0006\n0007\n0008\n0009 (newest)\n"
    assert "--yes" in cli("db", "downgrade", "0001").err
    assert (
        "there are 0001, 0002, 0003, 0004, 0005, 0006, 0007, 0008, 0009"
        in cli("db", "downgrade", "base", "--yes").err
    )
    assert cli("db", "current").out == "0009 (newest)\n"
    assert cli("db", "downgrade", "0001", "--yes").out == "0001 (was 0009)\n"
    assert "valuestore db upgrade" in cli("log").err
    assert cli("db", "upgrade").out == "0009 (was 0001)\n"
    assert cli("log").code == 0


def test_db_current_names_a_newer_revision_too(cli: Cli, here: Path) -> None:
    _make_newer(here / ".valuestore", cli)
    done = cli("db", "current")
    assert done.code == 0
    assert done.out.startswith("9999 (newer than this valuestore")


@pytest.mark.parametrize("command", [*READING, ["db", "current"], ["db", "upgrade"]])
def test_looking_makes_no_repository(cli: Cli, here: Path, command: list[str]) -> None:
    done = cli(*command)
    assert done.code == 3
    assert "`valuestore init` makes one" in done.err
    assert not (here / ".valuestore").exists()


def _make_damaged(folder: Path, cli: Cli) -> None:
    cli("run", "pipe.py", "squares", "--count", "50")
    database = folder / "valuestore.db"
    data = bytearray(database.read_bytes())
    data[4096:] = b"\xaa" * (len(data) - 4096)
    database.write_bytes(data)


def _make_random(folder: Path, _: Cli) -> None:
    folder.mkdir()
    (folder / "valuestore.db").write_bytes(b"this is no database. " * 500)


def _make_foreign(folder: Path, _: Cli) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "valuestore.db") as connection:
        connection.execute("CREATE TABLE cookies (name TEXT)")
    connection.close()


def _make_newer(folder: Path, cli: Cli) -> None:
    cli("init")
    with sqlite3.connect(folder / "valuestore.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()


@pytest.mark.parametrize("command", EVERY)
@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_make_damaged, "is damaged"),
        (_make_random, "is not a valuestore repository: the file is no SQLite database"),
        (_make_foreign, "is not a valuestore repository: it holds the tables cookies"),
        (_make_newer, "has schema revision 9999"),
    ],
)
def test_an_unusable_database_is_one_sentence_and_stays_as_it_is(
    cli: Cli, here: Path, command: list[str], make: Callable[[Path, Cli], None], sentence: str
) -> None:
    make(here / ".valuestore", cli)
    before = (here / ".valuestore" / "valuestore.db").read_bytes()
    done = cli(*command)
    if make is _make_newer and command == ["db", "current"]:
        assert done.code == 0
        return
    assert done.code == 3
    assert sentence in done.err
    assert done.err.count("\n") == 1
    assert done.out == ""
    assert (here / ".valuestore" / "valuestore.db").read_bytes() == before


@pytest.mark.parametrize("command", [["log"], ["run", "pipe.py", "greet"], ["init"]])
def test_a_setting_that_is_wrong_is_a_usage_error(cli: Cli, here: Path, command: list[str]) -> None:
    (here / ".valuestore").mkdir()
    (here / ".valuestore" / "valuestore.toml").write_text("inline_max_byte = 3\n")
    done = cli(*command)
    assert done.code == 2
    assert "'inline_max_byte'" in done.err


def test_a_file_where_the_folder_should_be_is_a_repository_error(cli: Cli, here: Path) -> None:
    (here / ".valuestore").write_text("")
    assert cli("run", "pipe.py", "greet").code == 3


# --- permissions ---------------------------------------------------------------------------------

UNPRIVILEGED = """
import contextlib, io, json, os, sys
from valuestore.cli.main import invoke

folder, closed, *commands = sys.argv[1:]
os.chdir(folder)
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    assert invoke(["run", "pipe.py", "square", "--n", "3", "--repository", "made"]) == 0
    assert invoke(["log", "--repository", "made"]) == 0  # whatever is imported, is imported by now
for name, folders, files in os.walk(closed, topdown=False):
    for file in files:
        os.chmod(os.path.join(name, file), 0o444)
    os.chmod(name, 0o555)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(json.dumps([invoke(command.split()) for command in commands]))
"""


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that every user can enter, unlike pytest's own; with a pipeline in it."""
    folder = Path(tempfile.mkdtemp(prefix="valuestore-"))
    folder.chmod(0o755)
    (folder / "pipe.py").write_text(PIPELINE)
    (folder / "empty").mkdir()
    yield folder
    for name, _, _ in os.walk(folder):
        Path(name).chmod(0o755)
    shutil.rmtree(folder)


def _without_rights(folder: Path, closed: str, *commands: str) -> tuple[list[int], list[str]]:
    """Exit codes and the lines on stderr of commands by somebody who may not write to ``closed``."""
    done = subprocess.run(
        [sys.executable, "-c", UNPRIVILEGED, str(folder), closed, *commands],
        capture_output=True,
        text=True,
        timeout=60,
        env={name: text for name, text in os.environ.items() if not name.startswith("VALUESTORE_")},
    )
    return json.loads(done.stdout.splitlines()[-1]), done.stderr.splitlines()


def test_a_folder_that_cannot_be_written_is_one_sentence(shared: Path) -> None:
    codes, lines = _without_rights(shared, "empty", "run pipe.py greet --repository empty", "init empty")
    assert codes == [3, 3]
    assert len(lines) == 2
    assert all(line.startswith("valuestore: cannot write to empty/.valuestore: ") for line in lines)


def test_a_read_only_repository_can_be_read_and_stays_as_it_is(shared: Path) -> None:
    codes, lines = _without_rights(
        shared, "made", "run pipe.py square --n 4 --repository made", "log --count --repository made"
    )
    assert codes == [3, 0]
    assert lines[-1].startswith("valuestore: cannot write to ")
    with sqlite3.connect(shared / "made" / ".valuestore" / "valuestore.db") as connection:
        assert connection.execute("SELECT count(*) FROM job").fetchall() == [(1,)]
    connection.close()
