"""The repositories of the tests of databases, and a check that shares no code with the collector."""

from __future__ import annotations

import pytest

from tests.db.conftest import new_repository
from tests.db.upkeep import made_repository as made
from valuestore import Repository


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def repository(request, tmp_path):
    """A new repository; on Postgres, what one test of each room does not try is thorough."""
    with new_repository(request, tmp_path) as repository:
        yield repository


@pytest.fixture(params=["sqlite", "postgresql"])
def any_repository(request, tmp_path):
    """The same on both, always."""
    with new_repository(request, tmp_path) as repository:
        yield repository


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source")
    with Repository.open(folder) as repository:
        made.make(repository, folder)
        yield repository


POINTS = (
    ("evaluation", "value_hash", "value", "value_hash"),
    ("call_node", "value_hash", "value", "value_hash"),
    ("call_node", "task_no", "task", "task_no"),
    ("argument", "value_hash", "value", "value_hash"),
    ("subvalue", "parent_hash", "value", "value_hash"),
    ("subvalue", "child_hash", "value", "value_hash"),
    ("signature", "value_hash", "value", "value_hash"),
    ("file", "value_hash", "value", "value_hash"),
    ("held", "value_hash", "value", "value_hash"),
    ("entry_version", "value_hash", "value", "value_hash"),
    ("entry_version", "entry_id", "entry", "entry_id"),
    ("entry_attribute", "name", "entry", "name"),
    ("call_edge", "parent_no", "call_node", "call_no"),
    ("call_edge", "child_no", "call_node", "call_no"),
    ("argument_source", "call_no", "call_node", "call_no"),
    ("argument_source", "source_no", "call_node", "call_no"),
    ("job", "call_hash", "call_node", "call_hash"),
    ("job", "execution_no", "execution", "execution_no"),
    ("job", "parent_id", "job", "job_id"),
    ("job", "task_no", "task", "task_no"),
)


def dangling(repository, *, but_unnamed=False):
    """What points to nothing, by rows: the name of the column, with how many.

    ``but_unnamed``: a payload that no value has may be gone, and its row not, where a collector was killed.
    """
    repository.flush()
    found = {}
    for table, column, of, key in POINTS:
        rows = repository.history.query(
            f"SELECT count(*) FROM {table} a WHERE a.{column} IS NOT NULL "
            f"AND NOT EXISTS (SELECT 1 FROM {of} b WHERE b.{key} = a.{column})"
        ).rows
        if rows[0][0]:
            found[f"{table}.{column}"] = rows[0][0]
    bare = repository.history.query(
        "SELECT payload_digest FROM entry_version WHERE value_hash IS NULL "
        "AND payload_digest NOT IN (SELECT payload_digest FROM payload)"
    ).rows
    if bare:
        found["entry_version.payload_digest"] = len(bare)
    named = repository.history.query(
        "SELECT payload_digest FROM value WHERE inline IS NULL "
        "AND payload_digest NOT IN (SELECT payload_digest FROM payload)"
    ).rows
    if named:
        found["value.payload_digest"] = len(named)
    digests = list(repository.history.payload_digests())
    if but_unnamed:
        rows = repository.history.query("SELECT payload_digest FROM value WHERE inline IS NULL").rows
        digests = [digest for (digest,) in rows if digest is not None]
    if missing := list(repository.payloads.verify(digests)):
        found["payloads"] = len(missing)
    return found
