"""A collector that is killed at any step leaves a repository that is whole; the next one ends its work."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.db.upkeep.conftest import dangling
from valuestore import Repository, Scheduler, task

ROOT = Path(__file__).parents[3]

KILLED = """
import os, sys
from valuestore import Repository
from valuestore.db.upkeep.session import Session
from valuestore.db.upkeep import sweep
from valuestore.stores.content.store import ContentStore
sweep.BATCH = sweep.ROWS = 3
statement, left = sys.argv[4], int(sys.argv[5])
change, delete_many = Session.change, ContentStore.delete_many

def count_down():
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)

def killing(self, sql, **parameters):
    if sql.startswith(statement):
        count_down()
    return change(self, sql, **parameters)

def deleting(self, digests):
    for digest in digests:
        delete_many(self, [digest])
        if statement == "a payload is gone":
            count_down()

Session.change, ContentStore.delete_many = killing, deleting
with Repository.open(sys.argv[1], database=sys.argv[2] or None, payloads=sys.argv[3] or None) as repository:
    repository.gc(keep_last=1, dry_run=False, grace_seconds=0)
"""


@task(version="1", namespace="killed")
def leaf(seed):
    return str(seed).encode() * 10_000


@task(version="1", namespace="killed")
def below(seed):
    return [leaf(seed), leaf(seed + 1)]


@task(version="1", namespace="killed")
def above(seed):
    return [below(seed), below(seed + 1)]


def fill(repository):
    with Scheduler(repository) as scheduler:
        for seed in (0, 4, 8):
            scheduler.run(above(seed))


STATEMENTS = [
    "DELETE FROM evaluation",
    "DELETE FROM job",
    "DELETE FROM execution",
    "DELETE FROM call_node",
    "DELETE FROM argument ",
    "DELETE FROM value",
    "DELETE FROM payload",
]


@pytest.mark.thorough
@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_collector_is_killed_before_it_deletes(tmp_path, statement):
    kill_it(tmp_path, statement, (0, 1))


def test_a_collector_is_killed_before_it_commits(tmp_path):
    kill_it(tmp_path, "COMMIT", (9, 20))


@pytest.mark.thorough
def test_a_collector_is_killed_before_each_commit(tmp_path):
    kill_it(tmp_path, "COMMIT", range(40))


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["files", "postgres", "redis", "s3"])
def test_a_collector_is_killed_after_each_payload_and_at_each_kind_of_step(tmp_path, request, place):
    database = request.getfixturevalue("postgres_url") if place == "postgres" else ""
    payloads = request.getfixturevalue(f"{place}_url") if place in ("redis", "s3") else ""
    kill_it(tmp_path, "a payload is gone", range(5), database, payloads)
    kill_it(tmp_path, "COMMIT", range(2, 40, 5), database, payloads)
    kill_it(tmp_path, "", range(50, 600, 110), database, payloads)


def kill_it(tmp_path, statement, steps, database="", payloads=""):
    settings = {"database": database or None, "payloads": payloads or None}
    with Repository.open(tmp_path, **settings) as repository:
        fill(repository)
    (tmp_path / "collector.py").write_text(KILLED)
    kills = 0
    for left in steps:
        command = [sys.executable, "collector.py", str(tmp_path), database, payloads, statement, str(left)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        kills += ended.returncode == -9
        assert ended.returncode in (0, -9), ended.stderr
        with Repository.open(tmp_path, **settings) as repository:
            assert dangling(repository, but_unnamed=True) == {}
    assert kills
    with Repository.open(tmp_path, **settings) as repository:
        repository.gc(keep_last=1, dry_run=False, grace_seconds=0)
        assert dangling(repository) == {}
        rows = repository.stats().rows
        assert (rows["execution"], rows["lease"]) == (1, 0)
        assert len(list(repository.payloads.digests())) == rows["payload"]
        with Scheduler(repository) as scheduler:
            scheduler.run(above(8))
            assert scheduler.execution.counts.done == 0
