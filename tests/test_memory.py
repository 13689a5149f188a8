"""Repositories in memory: as any other while they are open, and nothing of them left afterwards."""

from __future__ import annotations

import gc
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor

import pytest

from valuestore import Repository, Scheduler, task
from valuestore.db.engine.database import Database
from valuestore.errors import ConfigError, StoreClosed
from valuestore.repository import find_folder

LARGE = "x" * 100_000


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """All that is written lands here: the working folder, and that of temporary files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    gc.collect()
    assert os.listdir(tmp_path) == []


@task
def doubled(x):
    return 2 * x


def test_a_scheduler_in_memory_runs_and_remembers():
    with Scheduler(":memory:") as scheduler:
        assert scheduler.run(doubled(LARGE)) == 2 * LARGE
        assert scheduler.run(doubled(LARGE)) == 2 * LARGE
        assert scheduler.execution.counts.cached == 1
        assert scheduler.repository.stats().rows["job"] == 2
        assert scheduler.repository.stats().stored_bytes > 0


def test_each_is_a_new_one():
    with Repository.open(":memory:") as one, Repository.open(":memory:") as other:
        one.put(1)
        assert (one.stats().rows["value"], other.stats().rows["value"]) == (1, 0)
    with pytest.raises(StoreClosed):
        one.put(2)


def test_all_threads_share_it():
    with Repository.open(":memory:") as repository, ThreadPoolExecutor(4) as pool:
        refs = list(pool.map(repository.put, range(50)))
        assert list(pool.map(lambda ref: repository.get(ref.value_hash), refs)) == [*range(50)]


def test_one_that_is_forgotten_leaves_nothing():
    repository = Repository.open(":memory:")
    repository.put(LARGE)
    del repository


def test_a_program_that_ends_leaves_nothing(folder, scripts, tmp_path_factory, monkeypatch):
    program = tmp_path_factory.mktemp("program")
    (program / "script.py").write_text(
        "from valuestore import Repository\nkept = Repository.open(':memory:')\nkept.put('x' * 100_000)\n"
    )
    monkeypatch.setenv("TMPDIR", str(folder))
    assert scripts.run(program / "script.py", strict=True).code == 0
    assert {one.split(".")[-1] for one in os.listdir(program)} == {"py", "stdout", "stderr"}


def test_a_child_uses_it_and_leaves_it():
    with Repository.open(":memory:") as repository:
        ref = repository.put(1)
        repository.flush()
        if (child := os.fork()) == 0:
            other = repository.put(2)
            found = repository.get(ref.value_hash), repository.get(other.value_hash)
            repository.close()
            os._exit(0 if found == (1, 2) else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert repository.stats().rows["value"] == 2


def test_what_the_environment_says_of_others_is_not_for_it(monkeypatch, tmp_path):
    monkeypatch.setenv("VALUESTORE_DATABASE", f"sqlite:///{tmp_path}/other.db")
    monkeypatch.setenv("VALUESTORE_PAYLOADS", f"{tmp_path}/payloads")
    monkeypatch.setenv("VALUESTORE_REPOSITORY", ":memory:")
    with Repository.open() as repository:
        repository.put(LARGE)
    with pytest.raises(ConfigError, match="ends with the program"):
        find_folder()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+pysqlite:///:memory:?timeout=5"])
def test_the_database_alone_may_be_in_memory(url, tmp_path_factory):
    place = tmp_path_factory.mktemp("payloads")
    with Repository.open(place, database=url) as repository, ThreadPoolExecutor(2) as pool:
        ref = pool.submit(repository.put, LARGE).result()
        assert repository.get(ref.value_hash) == LARGE
    names = os.listdir(place / ".valuestore")
    assert names == ["payloads"]


def test_a_database_in_memory_has_no_lock_file():
    database = Database("sqlite:///:memory:")
    with database.lock():
        assert database.rows("SELECT 1") == [(1,)]
    database.close()
