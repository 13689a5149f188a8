"""Repositories and databases, each on SQLite and on Postgres."""

from __future__ import annotations

from contextlib import contextmanager

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


@contextmanager
def new_repository(request, folder):
    if request.param == "sqlite":
        with Repository.open(folder, database=f"sqlite:///{folder / 'valuestore.db'}") as repository:
            yield repository
        return
    server, made = map(request.getfixturevalue, ("postgres_server", "repository_on_postgres"))
    with server.database(made) as url, Repository.open(folder, database=url) as repository:
        yield repository


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request, tmp_path):
    """A new repository on a database of each kind."""
    with new_repository(request, tmp_path) as repository:
        yield repository


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def standing_repository(request, tmp_path_factory):
    """The same for all tests of a module that only ask."""
    with new_repository(request, tmp_path_factory.mktemp("standing")) as repository:
        yield repository
