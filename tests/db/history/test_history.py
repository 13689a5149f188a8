"""History and tags: what ran can be found, described and asked for, and asking writes nothing."""

from __future__ import annotations

import json
import os

import pytest

from tests.scheduler import pipelines as p
from valuestore import Scheduler
from valuestore.db.ids import new_id
from valuestore.db.record.tag import parse_tag, tag_rows
from valuestore.errors import DatabaseError, TagError


@pytest.fixture(scope="module")
def scheduler(tmp_path_factory):
    with Scheduler(tmp_path_factory.mktemp("history")) as scheduler:
        scheduler.run(p.fan(3), tags={"project": "census", "depth": 2})
        scheduler.run(p.fan(3))
        scheduler.run(p.versioned(1))
        yield scheduler


@pytest.fixture
def history(scheduler):
    return scheduler.repository.history


def test_executions_come_newest_first_with_their_counts(history):
    newest, second, first = history.executions().dicts()
    assert newest["label"] == "other.renamed(x=1)"
    assert (first["executed"], first["cached"], first["status"]) == (5, 0, "done")
    assert (second["executed"], second["cached"]) == (0, 5)
    assert (second["jobs"], second["replayed"]) == (1, 4)


def test_call_knows_its_arguments_and_children(history):
    first = history.executions().dicts()[-1]
    jobs = history.jobs(first["execution_id"]).dicts()
    fan = next(job for job in jobs if job["task"].endswith(".fan"))
    assert history.arguments(fan["args_hash"]).dicts()[0]["preview"] == "3"
    children = [job["task"].rpartition(".")[2] for job in jobs if job["parent_id"] == fan["job_id"]]
    assert sorted(children) == ["double", "double", "double", "total"] or children == ["total"]
    edges = history.query(
        "select child_no from call_edge join call_node on call_no = parent_no "
        f"where call_hash = '{fan['call_hash']}'"
    ).rows
    assert len(edges) == len(children)


def test_every_kind_of_record_is_found_by_prefix_and_described(history):
    job = history.query(
        "select job_id, execution_id, call_hash, task_hash, value_hash from jobs limit 1"
    ).dicts()[0]
    for kind, record_id in zip(("job", "execution", "call", "task", "value"), job.values(), strict=True):
        [found] = history.find(record_id)
        assert (found.kind, found.record_id) == (kind, record_id)
        assert record_id in history.describe(found).values()
    assert len(history.find("")) > 5
    assert history.find("zz") == []


def test_tags_of_executions_and_tasks_are_kept_as_json(history):
    first = history.executions().dicts()[-1]
    tags = {tag.key: tag.value for tag in history.tags().where(record=first["execution_id"])}
    assert tags["project"] == "census"
    assert tags["depth"] == 2
    [task] = history.query("select task_hash from task where task_name = 'other.renamed'").rows
    assert [(tag.key, tag.value) for tag in history.tags().where(record=task[0])] == [("kind", "test")]


@pytest.mark.parametrize(
    "sql",
    [
        "delete from job",
        "drop table job",
        "insert into repository values ('a', 'b')",
        "attach database 'other.db' as other",
        "pragma journal_mode = delete",
        "select 1; delete from job",
        "vacuum into 'copy.db'",
        "not sql",
    ],
)
def test_queries_cannot_write(history, sql, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = history.query("select count(*) from job").rows
    try:
        history.query(sql)
    except DatabaseError:
        pass
    assert history.query("select count(*) from job").rows == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["'; drop table job; --", "%", "_", '" or 1=1', "\0", "\ud800"])
def test_prefix_is_data_not_sql(history, text):
    assert history.find(text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1", ("a", 1)),
        ("a=1.5", ("a", 1.5)),
        ("a=true", ("a", True)),
        ("a=null", ("a", None)),
        ("a=", ("a", None)),
        ("a=1e999", ("a", "1e999")),
        ("a=007", ("a", "007")),
        ("a=b=c", ("a", "b=c")),
        ("a=NaN", ("a", "NaN")),
        ('a={"b": [1]}', ("a", {"b": [1]})),
        ("a=plain text", ("a", "plain text")),
    ],
)
def test_tag_values_are_json_or_text(text, expected):
    assert parse_tag(text) == expected


@pytest.mark.parametrize("text", ["a", "=1", ""])
def test_text_that_is_no_tag_is_refused(text):
    with pytest.raises(TagError):
        parse_tag(text)


def test_tag_that_is_not_json_is_refused():
    with pytest.raises(TypeError):
        tag_rows("job", new_id(), {"a": {1}})
    assert json.loads(tag_rows("job", new_id(), {"a": [1]})[0].value) == [1]


def test_ids_sort_by_the_time_they_were_made():
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {one[12] for one in ids} == {"7"}


def test_a_forked_process_draws_ids_of_its_own():
    new_id()
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.write(writing, new_id().encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 32).decode()[16:] != new_id()[16:]
    os.close(reading)
    os.close(writing)
