"""Catalogs on each database, with payloads in files, Redis and S3."""

from __future__ import annotations

import pytest

from tests.db.conftest import standing_repository as standing_repository
from tests.db.upkeep.conftest import any_repository as any_repository
from tests.db.upkeep.conftest import repository as repository
from valuestore import Repository


@pytest.fixture
def catalog(repository):
    return repository.catalog


@pytest.fixture
def opened(tmp_path):
    """Repositories in memory of SQLite, with payloads elsewhere."""
    repositories = []

    def open_(**settings):
        repositories.append(Repository.open(tmp_path / str(len(repositories)), **settings))
        return repositories[-1]

    yield open_
    for each in repositories:
        each.close()
