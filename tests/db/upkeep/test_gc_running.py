"""Collections beside pipelines that run: what they record is whole, and what they gave is right (I3)."""

from __future__ import annotations

import threading
import time

import pytest

from tests.db.upkeep.conftest import dangling
from valuestore import Repository, Scheduler, task
from valuestore.errors import CollectionRefused, StoreReadOnly, ValuestoreError


@task(version="1", namespace="running")
def leaf(seed):
    time.sleep(0.002)
    return str(seed).encode() * 5_000


@task(version="1", namespace="running")
def total(parts):
    return sum(map(len, parts))


@task(version="1", namespace="running")
def tree(seed, turn):
    return total([leaf(seed + number) for number in range(6)])


def test_pipelines_run_beside_a_collector(any_repository):
    repository = any_repository
    ending, failures = threading.Event(), []

    def collect():
        while not ending.is_set():
            try:
                repository.gc(keep_last=1, dry_run=False, grace_seconds=0, force=True)
            except ValuestoreError as error:
                failures.append(error)

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        with Scheduler(repository) as scheduler:
            for turn in range(12):
                expected = sum(len(str(turn % 3 + number)) * 5_000 for number in range(6))
                assert scheduler.run(tree(turn % 3, turn)) == expected
    finally:
        ending.set()
        collector.join()
    assert failures == []
    repository.gc(keep_last=1, dry_run=False, grace_seconds=0)
    assert dangling(repository) == {}
    with Scheduler(repository) as scheduler:
        scheduler.run(tree(2, 11))
        scheduler.run(tree(2, 11))
        assert scheduler.execution.counts.done == 0


def test_an_execution_that_runs_is_kept_with_what_it_recorded(repository):
    seen = []

    @task(version="1", namespace="running")
    def asks(_):
        repository.flush()
        seen.append(repository.gc(keep_last=0, dry_run=False, grace_seconds=0))
        with pytest.raises(CollectionRefused, match="running"):
            repository.delete("-")
        return 1

    with Scheduler(repository) as scheduler:
        assert scheduler.run(asks(leaf(1))) == 1
    assert seen[0].kept == {"running": 1}
    assert dangling(repository) == {}
    assert repository.stats().rows["call_node"] == 2


def test_an_execution_that_crashed_goes_by_the_rules(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(leaf(1))
    change = "UPDATE execution SET status = 'running', ended = NULL, updated = updated - {}"
    repository.database.change(lambda driver: driver.change(change.format(0)))
    assert repository.gc(keep_last=0).kept == {"running": 1}
    repository.database.change(lambda driver: driver.change(change.format(3_600_000_000)))
    assert repository.gc(keep_last=0).freed["executions"].count == 1


def test_what_can_only_be_read_is_only_looked_at(tmp_path):
    with Repository.open(tmp_path / "r") as repository:
        repository.put(b"x" * 20_000)
    with Repository.open(tmp_path / "r") as repository:
        repository.database.is_read_only = True  # as of a file that this user may not write
        assert repository.gc(older_than_seconds=0).freed["payloads"].count == 1
        with pytest.raises(StoreReadOnly):
            repository.gc(older_than_seconds=0, dry_run=False)
        assert len(list(repository.payloads.digests())) == 1


def test_a_repository_in_memory_is_collected():
    with Repository.open(":memory:") as repository:
        repository.put(b"x" * 20_000)
        assert repository.gc(older_than_seconds=0, dry_run=False).freed["payloads"].count == 1


@pytest.mark.parametrize("url", ["redis_url", "s3_url"])
def test_payloads_on_servers_are_collected(tmp_path, request, url):
    with Repository.open(tmp_path, payloads=request.getfixturevalue(url)) as repository:
        kept = repository.put(b"k" * 20_000)
        gone = repository.put(b"g" * 20_000)
        repository.payloads.put(b"u" * 20_000)
        repository.delete(gone.value_hash)
        assert repository.gc(dry_run=False).freed["unnamed"].count == 0
        assert repository.gc(dry_run=False, grace_seconds=0).freed["unnamed"].count == 1
        assert list(repository.payloads.digests()) == [kept.payload_digest]
        assert dangling(repository) == {}
