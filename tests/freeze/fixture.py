"""The frozen repositories, put where a test may work on them: a copy of the files, the keys, the database.

A copy is needed because a rerun records itself, and because git keeps neither the time of a file nor the
mode of a key.
"""

from __future__ import annotations

import gzip
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg

from tests.freeze.values import OLD_NS
from valuestore import Repository
from valuestore.db import migrate
from valuestore.db.engine import Database

HERE = Path(__file__).parent
REPOSITORIES = HERE / "repositories"


def lay_out(place: Path, kind: str) -> None:
    """Files, keys and the folder ``.valuestore`` of the repository of that kind, below ``place``."""
    shutil.copytree(REPOSITORIES / "files", place, dirs_exist_ok=True)
    os.utime(place / "inputs" / "old.txt", ns=(OLD_NS, OLD_NS))
    shutil.copy(HERE / "script.py", place)
    shutil.copytree(REPOSITORIES / "config", place / "config")
    keys = place / "config" / "valuestore" / "keys"
    keys.chmod(0o700)
    for key in keys.iterdir():
        key.chmod(0o600)
    shutil.copytree(REPOSITORIES / kind / "payloads", place / ".valuestore" / "payloads")


def lay_out_sqlite(place: Path) -> Callable[[], Repository]:
    """The SQLite one; returns what opens it, which brings its schema up to date first."""
    lay_out(place, "sqlite")
    database = place / ".valuestore" / "valuestore.db"
    database.write_bytes(gzip.decompress((REPOSITORIES / "sqlite" / "valuestore.db.gz").read_bytes()))
    _upgrade(f"sqlite:///{database}")
    return lambda: Repository.open(place)


def lay_out_postgres(place: Path, url: str) -> Callable[[], Repository]:
    """The Postgres one, in the empty database of that URL."""
    lay_out(place, "postgres")
    dump = gzip.decompress((REPOSITORIES / "postgres" / "dump.sql.gz").read_bytes())
    with psycopg.connect(url.replace("postgresql+psycopg://", "postgresql://")) as connection:
        connection.execute(dump)
    _upgrade(url)
    return lambda: Repository.open(place, database=url)


def _upgrade(url: str) -> None:
    database = Database(url)
    try:
        migrate.upgrade(database)
    finally:
        database.close()
