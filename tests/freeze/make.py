"""What made the fixtures: ``python -m tests.freeze.make repositories`` (or ``formats``, ``digests``).

The repositories are NOT to be remade. They were written by the code of one commit, and prove that every later
one reads them and finds each call in them; made anew, they would prove nothing. If a test says that bodies
ran, the change that was made is what broke. A type or feature that comes later gets a fixture of its own.

How: the pipeline ran cold, ran again, and failed once, on SQLite with xxh3-128 and on Postgres with
blake3-256, both signing with one key that serves for nothing else; on SQLite script.py ran as well. What
names this machine was taken out of the tracebacks. ``outputs/captured.txt`` was left out, for the rerun to
put back.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.freeze import pipeline
from tests.freeze.digests import DIGESTS, digests
from tests.freeze.fixture import HERE, REPOSITORIES
from tests.freeze.formats import FORMATS, formats
from tests.freeze.values import OLD_NS
from valuestore import Repository, Scheduler

ROOT = HERE.parents[1]
INPUTS = {
    "a.txt": "one\n",
    "b.txt": "two\n",
    "old.txt": "old\n",
    "folder/x.txt": "x\n",
    "folder/sub/y.txt": "y\n",
}


def write_inputs(place: Path) -> None:
    """The folder ``inputs``."""
    for name, text in INPUTS.items():
        file = place / "inputs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    os.utime(place / "inputs" / "old.txt", ns=(OLD_NS, OLD_NS))


def record(repository: Repository) -> None:
    """All that is in a frozen repository."""
    with Scheduler(repository) as scheduler:
        scheduler.run(pipeline.everything(), tags={"run": "cold"})
        scheduler.run(pipeline.everything(), tags={"run": "again"})
        with contextlib.suppress(KeyError):
            scheduler.run(pipeline.fails(1))
    repository.put({"put": ["by", "hand"]})


def make_repositories() -> None:
    """Both, which must not be there yet."""
    from tests.servers import PostgresServer

    REPOSITORIES.mkdir()
    sys.argv = ["pipeline"]
    config = REPOSITORIES / "config"
    os.environ["XDG_CONFIG_HOME"] = str(config)
    with tempfile.TemporaryDirectory() as folder, PostgresServer() as server, server.database() as url:
        place = Path(folder)
        os.environ["VALUESTORE_CACHE"] = str(place / "cache")
        _make_sqlite(place / "sqlite")
        _make_postgres(place / "postgres", url, server.find_program() or "")
        shutil.copytree(place / "sqlite" / "inputs", REPOSITORIES / "files" / "inputs")
        shutil.copytree(place / "sqlite" / "outputs", REPOSITORIES / "files" / "outputs")
    (REPOSITORIES / "files" / "outputs" / "captured.txt").unlink()
    (config / "valuestore" / "keys" / ".lock").unlink(missing_ok=True)


def _make_sqlite(place: Path) -> None:
    write_inputs(place)
    os.chdir(place)
    with Repository.open(place) as repository:
        record(repository)
    shutil.copy(HERE / "script.py", place)
    subprocess.run([sys.executable, "script.py"], cwd=place, check=True)
    import sqlite3

    file = place / ".valuestore" / "valuestore.db"
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("UPDATE job SET traceback = replace(traceback, ?, '')", (f"{ROOT}/",))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    _keep_payloads(place, "sqlite")
    (REPOSITORIES / "sqlite" / "valuestore.db.gz").write_bytes(gzip.compress(file.read_bytes(), mtime=0))


def _make_postgres(place: Path, url: str, program: str) -> None:
    write_inputs(place)
    os.chdir(place)
    with Repository.open(place, database=url, digest="blake3-256") as repository:
        record(repository)
    import psycopg

    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain) as connection:
        connection.execute("UPDATE job SET traceback = replace(traceback, %s, '')", (f"{ROOT}/",))
    pg_dump = os.path.join(os.path.dirname(program), "pg_dump")
    command = [pg_dump, "--column-inserts", "--no-owner", "--no-privileges", "--no-comments", plain]
    dump = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settings = re.compile(r"^(SET \w+ = .*|SELECT pg_catalog\.set_config.*|\\(un)?restrict .*|--.*|)\n", re.M)
    _keep_payloads(place, "postgres")
    (REPOSITORIES / "postgres" / "dump.sql.gz").write_bytes(
        gzip.compress(settings.sub("", dump).encode(), mtime=0)
    )


def _keep_payloads(place: Path, kind: str) -> None:
    payloads = place / ".valuestore" / "payloads"
    shutil.copytree(payloads, REPOSITORIES / kind / "payloads", ignore=shutil.ignore_patterns(".vs~"))


def _write(path: Path, found: object) -> None:
    path.write_text(json.dumps(found, indent=1, ensure_ascii=True) + "\n")


def _in_inputs() -> None:
    folder = tempfile.mkdtemp()
    write_inputs(Path(folder))
    os.chdir(folder)


if __name__ == "__main__":
    if sys.argv[1:] == ["repositories"]:
        make_repositories()
    elif sys.argv[1:] == ["formats"]:
        _in_inputs()
        _write(FORMATS, formats())
    elif sys.argv[1:] == ["digests"]:
        _in_inputs()
        _write(DIGESTS, digests())
    else:
        sys.exit(__doc__)
