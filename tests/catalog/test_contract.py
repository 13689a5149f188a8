"""The catalog keeps its contract on SQLite and Postgres, with payloads in files, Redis, S3, and mounted."""

from __future__ import annotations

import os
import shutil
import tempfile
from functools import cache

import pytest
from hypothesis import settings

from tests.catalog.facts import CatalogFacts
from valuestore import Repository
from valuestore.testing import CatalogMachine

_TABLES = "entry", "entry_version", "entry_attribute"


def emptied(repository):
    """Its catalog: to make a repository takes longer than most of what is done with it."""
    repository.database.change(lambda driver: [driver.change(f"DELETE FROM {table}") for table in _TABLES])
    return repository.catalog


class TestOnEachDatabase(CatalogFacts):
    @pytest.fixture
    def catalog(self, standing_repository):
        return emptied(standing_repository)


class TestWithPayloadsInRedis(CatalogFacts):
    @pytest.fixture
    def catalog(self, redis_server):
        return emptied(repository_of(os.getpid(), "redis", f"{redis_server.url}/catalog-{os.getpid()}"))


@pytest.mark.thorough
class TestWithPayloadsInS3(CatalogFacts):
    @pytest.fixture
    def catalog(self, opened, s3_url):
        return opened(payloads=s3_url).catalog


class TestMounted(CatalogFacts):
    @pytest.fixture
    def catalog(self):
        top, behind = (emptied(repository_of(os.getpid(), name)) for name in ("top", "behind"))
        return top.over(behind)


made = []


@cache
def repository_of(process, name, payloads=""):
    """One for many tests."""
    made.append(Repository.open(tempfile.mkdtemp(prefix=f"{name}-{process}-"), payloads=payloads))
    return made[-1]


@pytest.fixture(autouse=True, scope="module")
def removed_afterwards():
    yield
    for repository in made:
        repository.payloads.delete_many(repository.payloads.digests())
        repository.close()
        shutil.rmtree(repository.folder.parent)
    made.clear()
    repository_of.cache_clear()


class Machine(CatalogMachine):
    def open_catalog(self):
        return emptied(repository_of(os.getpid(), "top"))


class MountedMachine(CatalogMachine):
    """Over another one, in which a name began."""

    def open_catalog(self):
        self.behind = emptied(repository_of(os.getpid(), "behind"))
        self.behind.put("a", b"behind", attrs={"x": 1})
        self.expected["a"] = b"behind", {"x": 1}
        self.counts["a"] = 1
        return emptied(repository_of(os.getpid(), "top")).over(self.behind)

    def close_catalog(self):
        assert self.behind.get("a") == b"behind"
        assert self.behind.attrs("a") == {"x": 1}


few = settings(max_examples=30, stateful_step_count=25, deadline=None)
TestMachine = Machine.TestCase
TestMachine.settings = few
TestMountedMachine = MountedMachine.TestCase
TestMountedMachine.settings = few
