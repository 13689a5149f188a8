"""Repositories and databases, each on SQLite and on Postgres."""

from __future__ import annotations

import pytest

from valuestore import Repository
from valuestore.db.engine.database import Database


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request, tmp_path):
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'valuestore.db'}"
    return request.getfixturevalue("postgres_url")


@pytest.fixture
def database(database_url):
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def repository(tmp_path, database_url):
    with Repository.open(tmp_path, database=database_url) as repository:
        yield repository
