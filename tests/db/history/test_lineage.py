"""Lineage: what made a value and what used it, by one statement, across executions and through containers."""

from __future__ import annotations

import json
import re
import uuid
from datetime import datetime

import pytest

from tests.db.history import made_history
from tests.statements import StatementCounter
from valuestore import File, Scheduler, task
from valuestore.db.history.lineage_forms import nested, openlineage, tree
from valuestore.errors import QueryError, RecordNotFound


@task
def inner(x: int) -> int:
    return x + 1


@task
def unrelated(x: str) -> int:
    return len(x)


@task
def outer(n: int) -> list:
    return [inner(n), inner(n + 1)]


@task
def pair(folder: str) -> list:
    file = File(f"{folder}/made.txt")
    file.write("made by a task")
    return [file, 1]


@task
def use(files: list) -> str:
    return "used " + files[0].read_text()


@task
def wide(n: int) -> int:
    return gather([inner(i) for i in range(n)])


@task
def gather(xs: list) -> int:
    return sum(xs)


def tasks(lineage):
    return [call.task.rpartition(".")[2] for call in lineage.calls.values()]


@pytest.fixture
def made(repository, tmp_path):
    made_history.make(repository, tmp_path)
    return repository


def test_upstream_of_a_result_reaches_every_input(made):
    history = made.history
    report = history.calls().where(task="report").first()
    lineage = history.upstream(report)
    assert sorted(tasks(lineage)) == ["join", "read", "read", "read", "report", "write", "write", "write"]
    assert [path[-5:] for path in lineage.files()] == ["0.txt", "1.txt", "2.txt"]
    assert lineage.cursor is None
    roles = {(edge.role, tasks(lineage)[list(lineage.calls).index(edge.call_hash)]) for edge in lineage.edges}
    assert roles == {("result", "report"), ("child", "join"), ("argument", "read"), ("argument", "write")}


def test_a_file_read_by_its_path_leads_to_the_execution_that_wrote_it(made):
    history = made.history
    third = history.executions().all()[-3]
    read = history.jobs(third.execution_id).one()
    assert sorted(tasks(history.upstream(read))) == ["read", "write"]


def test_downstream_of_a_file_reaches_what_was_made_from_it(made):
    path = made.history.files().first().path
    found = made.history.downstream(path)
    assert {"read", "join", "report"} == set(tasks(found))
    assert sum(name == "report" for name in tasks(found)) == 2


def test_upstream_ten_deep_is_one_recursive_statement(made):
    history = made.history
    deep = history.jobs("-").where(task="step").all()
    last = max(deep, key=lambda job: len(job.result))
    record = history.record(last.call_hash)
    with StatementCounter(made.database) as counter:
        lineage = history.upstream(record)
    assert len(counter.statements) == 1
    assert "RECURSIVE" in counter.statements[0]
    assert len(lineage.calls) == 12
    assert max(call.depth for call in lineage.calls.values()) == 11
    assert len(history.upstream(record, depth=3).calls) == 3


def test_small_equal_values_are_no_evidence(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(unrelated("abc"))
        scheduler.run(inner(3))
    assert tasks(repository.history.upstream(repository.history.calls().first())) == ["inner"]


def test_a_value_inside_a_container_is_traced(repository, tmp_path):
    with Scheduler(repository) as scheduler:
        made = scheduler.run(pair(str(tmp_path)))
        scheduler.run(use([made[0]]))
    history = repository.history
    path = f"{tmp_path}/made.txt"
    assert tasks(history.upstream(path)) == ["pair"]
    assert tasks(history.downstream(path)) == ["use"]
    assert tasks(history.upstream(history.calls().where(task="use").one())) == ["use", "pair"]


def test_what_a_call_returns_from_its_calls_is_upstream_and_downstream(repository):
    with Scheduler(repository) as scheduler:
        assert scheduler.run(outer(3)) == [4, 5]
    history = repository.history
    assert tasks(history.upstream(history.calls().where(task="outer").one())) == ["outer", "inner", "inner"]
    one = history.calls().where(task="inner", argument=3).one()
    assert tasks(history.downstream(one)) == ["inner", "outer"]


def test_pages_of_a_wide_lineage_make_up_the_whole(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(wide(40))
    call = repository.history.calls().where(task="wide").one()
    whole = repository.history.upstream(call)
    assert len(whole.calls) == 42
    edges, cursor = [], None
    while True:
        page = repository.history.upstream(call, rows=7, cursor=cursor)
        assert len(page.edges) <= 7
        edges += page.edges
        cursor = page.cursor
        if cursor is None:
            break
    assert set(edges) == set(whole.edges)
    assert len(edges) == len(whole.edges)


def test_wrong_bounds_cursors_and_records_are_typed_errors(made):
    history = made.history
    call = history.calls().first()
    for wrong in ({"depth": 0}, {"rows": 10**9}, {"rows": True}, {"cursor": "x"}, {"cursor": "W10"}):
        with pytest.raises(QueryError):
            history.upstream(call, **wrong)
    failed = history.jobs().where(status="failed").one()
    for wrong in ("nothing", history.executions().first(), failed):
        with pytest.raises(RecordNotFound):
            history.upstream(wrong)


def test_the_tree_names_arguments_and_shows_a_call_once(made):
    lines = list(tree(made.history.upstream(made.history.calls().where(task="report").first())))
    assert lines[0][0] == 0
    assert lines[0][1].startswith("tests.db.history.made_history.report = ")
    assert any(re.match(r"called: tests.db.history.made_history.join = ", line) for _, line in lines)
    assert sum("parts: tests.db.history.made_history.read" in line for _, line in lines) == 3
    assert any(line.startswith("number: ") for _, line in lines)


def test_json_and_openlineage_have_their_documented_shape(made):
    lineage = made.history.upstream(made.history.calls().where(task="report").first())
    data = json.loads(json.dumps(nested(lineage)))
    assert set(data) == {"direction", "root", "calls", "steps", "files", "cursor"}
    assert {step["call"] for step in data["steps"]} == set(data["calls"])
    events = json.loads(json.dumps(openlineage(lineage)))
    assert [event["eventType"] for event in events].count("COMPLETE") == 8
    for event in events:  # https://openlineage.io/spec/2-0-2/OpenLineage.json
        assert set(event) == {
            *("eventType", "eventTime", "run", "job", "inputs", "outputs", "producer", "schemaURL")
        }
        assert event["eventType"] in ("START", "COMPLETE")
        assert datetime.fromisoformat(event["eventTime"]).tzinfo is not None
        assert uuid.UUID(event["run"]["runId"]).version == 7
        assert set(event["job"]) == {"namespace", "name"}
        assert event["producer"].startswith("https://")
        for dataset in (*event["inputs"], *event["outputs"]):
            assert dataset["namespace"]
            assert dataset["name"]
            for facet in dataset["facets"].values():
                assert facet["_producer"]
                assert facet["_schemaURL"]
    runs = [event["run"]["runId"] for event in events]
    assert all(runs.count(run) == 2 for run in runs)
    assert any(each["namespace"] == "file" for event in events for each in event["outputs"])


def test_a_file_is_given_as_itself_by_any_spelling_or_as_one_content(made, tmp_path):
    history = made.history
    record = next(file for file in history.files() if file.path.endswith("0.txt"))
    for given in (
        record,
        File(record.path),
        record.path,
        f"{tmp_path}/./data/../data/0.txt",
        tmp_path / "data/0.txt",
    ):
        assert set(tasks(history.downstream(given))) == {"read", "join", "report"}
        assert tasks(history.upstream(given)) == ["write"]
    made.tags.add(record, seen=True)
    assert history.files().where(tag="seen").one() == record
