"""Queries of the history: every filter, paging, names and exports, on SQLite and on Postgres."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.db.history import made_history
from tests.statements import StatementCounter
from valuestore import File, Repository, Scheduler
from valuestore.db.history.names import Found
from valuestore.errors import AmbiguousId, DatabaseError, NotFound, QueryError, RecordNotFound, TagError

HOSTILE = ["'; drop table job; --", '" or 1=1', "%", "_", "\\", "\0", "\ud800", "[a-z]*", "é" * 300, "*" * 50]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def repository(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("queries")
    if request.param == "sqlite":
        with Repository.open(folder) as repository:
            made_history.make(repository, folder)
            yield repository
        return
    server = request.getfixturevalue("postgres_server")
    with server.database() as url, Repository.open(folder, database=url) as repository:
        made_history.make(repository, folder)
        yield repository


@pytest.fixture
def history(repository):
    return repository.history


def tasks_of(records):
    return sorted(record.task.rpartition(".")[2] for record in records)


def test_executions_are_found_by_what_people_remember(history):
    def count(**filters):
        return history.executions().where(**filters).count()

    assert count() == 6
    assert count(status="done") == 5
    assert count(status=["failed", "interrupted"]) == 1
    assert count(tag="project=census") == 2
    assert count(tag=["project", "n=2"]) == 1
    assert count(tag={"n": 2}) == 1
    assert count(tag="n=3") == 0
    assert count(task="read") == 3
    assert count(task="tests.db.history.made_history.rep*") == 2
    assert count(file="*/data/2.txt") == 1
    assert count(file="*/data/1.txt") == 3
    assert count(label="step") == 1
    assert count(error_contains="BROKE") == 1
    assert count(error_contains="100% of it_broke") == 1
    assert count(error_contains="100_") == 0
    assert count(since=timedelta(hours=1)) == 6
    assert count(until=timedelta(hours=1)) == 0
    assert count(duration_over=3600) == 0
    assert count(duration_under=timedelta(hours=1)) == 6
    assert count(tag="labelled=21") == 1


def test_jobs_are_found_by_what_people_remember(history, tmp_path_factory):
    def jobs(**filters):
        return history.jobs().where(**filters).all()

    assert {job.status for job in jobs(task="read")} == {"done", "cached"}
    assert len(jobs(task="read", status="cached")) == 3
    assert len(jobs(execution="-")) == 12
    assert tasks_of(jobs(execution="~1")) == ["fail"]
    assert tasks_of(jobs(argument=21)) == ["label"]
    assert tasks_of(jobs(arguments={"number": 2})) == ["write"]
    assert tasks_of(jobs(arguments={"n": 2})) == []
    assert tasks_of(jobs(result=42)) == ["label"]
    assert tasks_of(jobs(status="failed")) == ["fail"]
    assert tasks_of(jobs(argument="100% of it_broke")) == ["fail"]
    assert tasks_of(jobs(error_contains="it_BROKE")) == ["fail"]
    assert tasks_of(jobs(tag="looked=true")) == ["label"]
    assert tasks_of(jobs(execution_tag="n=1", task="read")) == ["read", "read"]
    assert set(tasks_of(jobs(file="*/data/2.txt"))) == {"read", "write"}
    assert len(jobs(file="*/data/0.txt")) == 4
    assert len(jobs(file="*/data/0.txt", status="done")) == 2
    assert tasks_of(jobs(value_type="valuestore.File", status="done")) == ["write"] * 3
    [parent] = jobs(task="report", execution_tag="n=1")
    assert len(jobs(parent=parent.job_id)) == 5
    assert jobs(since=timedelta(hours=1), until=datetime.now(UTC) + timedelta(1))
    assert jobs(until=timedelta(hours=1)) == []


def test_calls_tasks_values_and_files_are_found(history, repository):
    assert tasks_of(history.calls().where(task="write")) == ["write"] * 3
    assert tasks_of(history.calls().where(result=42)) == ["label"]
    assert tasks_of(history.calls().where(file="*/1.txt")) == ["read", "write"]
    assert history.calls().where(value_type="builtins.dict").count() == 2
    assert history.tasks().where(task="step").one().source.startswith("def step")
    assert history.tasks().where(source_contains="RAISE").one().task.endswith(".fail")
    assert history.tasks().where(tag="kind=root").one().task.endswith(".report")
    assert history.values().where(tag="stage=trial").one().preview == "42"
    assert history.values().where(value=42).one().type_name == "builtins.int"
    assert history.values().where(value_type="valuestore.F*").count() == 3
    assert history.values().where(size_over=10**6).count() == 0
    assert history.values().where(preview_contains="number 2, LONG").count() >= 1
    assert history.values().where(file="*/1.txt").one().path.endswith("/data/1.txt")
    assert [file.path[-5:] for file in history.files()] == ["0.txt", "1.txt", "2.txt"]
    folder = history.files().first().path.removesuffix("0.txt")
    assert history.files().where(path=f"{folder}*").count() == 3
    assert history.files().where(path=f"{folder}?.txt", file_kind="File").count() == 3
    assert history.files().where(path=f"{folder}%").count() == 0
    assert history.files().where(path=folder).count() == 0
    assert history.calls().where(argument=File(f"{folder}1.txt")).count() == 1


def test_a_limit_keeps_the_filters(history):
    assert tasks_of(history.jobs().where(task="write").limit(2)) == ["write", "write"]
    assert tasks_of(history.jobs().limit(2).where(task="write")) == ["write", "write"]
    assert history.jobs().where(task="write").limit(2).count() == 2


@pytest.mark.parametrize("kind", ["executions", "jobs", "calls", "tasks", "values", "files", "tags"])
def test_pages_in_every_order_hold_each_record_once(history, kind):
    query = getattr(history, kind)()
    everything = {record.record_id for record in query}
    assert len(everything) == query.count()
    for order in query.orders():
        seen, cursor = [], None
        while True:
            page = query.order(order).page(cursor, 2)
            seen += [record.record_id for record in page.records]
            cursor = page.cursor
            if cursor is None:
                break
        assert len(seen) == len(everything)
        assert set(seen) == everything


def test_pages_of_a_task_with_several_versions_are_in_order(repository, history):
    ids = [job.job_id for job in history.jobs().where(task="*")]
    assert ids == sorted(ids, reverse=True)
    assert ids == [job.job_id for job in history.jobs()]


@pytest.mark.parametrize("kind", ["executions", "jobs", "calls", "tasks", "values", "files", "tags"])
def test_a_page_takes_one_statement_however_long_it_is(repository, history, kind):
    for size in (1, 100):
        with StatementCounter(repository.database) as counter:
            getattr(history, kind)().page(size=size)
        assert len(counter.statements) == 1


def test_a_page_of_a_task_takes_two_statements(repository, history):
    for query in (history.jobs().where(task="write"), history.executions().where(task="write")):
        with StatementCounter(repository.database) as counter:
            query.page(size=50)
        assert len(counter.statements) == 2


def test_names_stand_for_records(history):
    newest, before, *_ = history.executions()
    assert history.find_one("-") == Found("execution", newest.execution_id)
    assert history.find_one("~1").record_id == before.execution_id
    assert history.find_one(newest.execution_id[:20]).kind == "execution"
    assert history.record(newest.execution_id) == newest
    path = history.files().first().path
    assert history.find_one(path) == Found("file", path)
    assert history.record(path).path == path
    assert history.find_one("tests.db.history.made_history.report").kind == "task"
    tag = history.tags().first()
    assert history.record(tag.tag_id) == tag
    for name in ("~99", "~x", "-1", "nothing", "ffffffffffff", *HOSTILE):
        with pytest.raises(RecordNotFound):
            history.find_one(name)


@pytest.mark.parametrize(
    ("text", "count"), [("REPORT", 2), ("label(n=", 1), ("%", 1), ("rep*", 0), ("zz_", 0)]
)
def test_a_label_is_found_by_text_that_it_contains(history, text, count):
    found = history.executions().where(label=text).all()
    assert len(found) == count
    assert all(text.lower() in each.label.lower() for each in found)


def test_a_task_is_found_without_its_namespace(history):
    whole = history.tasks().where(task="label").one()
    assert history.find_one("label").record_id == whole.task_hash
    assert history.find_one(whole.task).record_id == whole.task_hash


def test_an_ambiguous_id_lists_its_matches(history):
    newest = history.executions().first()
    with pytest.raises(AmbiguousId) as caught:
        history.find_one(newest.execution_id[:4])
    assert f"execution {newest.execution_id}" in str(caught.value)
    with pytest.raises(AmbiguousId):
        history.jobs().one()


@pytest.mark.parametrize("text", HOSTILE)
def test_text_is_data_in_every_filter(history, text):
    before = history.jobs().count()
    queries = [
        *(
            history.executions().where(**{name: text})
            for name in ("label", "task", "file", "command_contains")
        ),
        *(history.jobs().where(**{name: text}) for name in ("task", "file", "error_contains", "value_type")),
        history.jobs().where(argument=text) if text.isprintable() else history.jobs().where(task="none"),
        *(history.tasks().where(**{name: text}) for name in ("task", "version", "source_contains")),
        *(history.values().where(**{name: text}) for name in ("value_type", "codec", "preview_contains")),
        history.files().where(path=text),
        *(history.tags().where(**{name: text}) for name in ("key", "author")),
        history.executions().where(tag={"key": text}),
    ]
    everything = set("*") == set(text)
    for query in queries:
        found = query.limit(5).all()
        assert not found or everything or text in "%_\\", query
    assert history.jobs().count() == before


@pytest.mark.parametrize(
    ("kind", "filters"),
    [
        ("jobs", {"nonsense": 1}),
        ("jobs", {"status": "crashed"}),
        ("jobs", {"status": "done' or 'a'='a"}),
        ("jobs", {"id": "xyz"}),
        ("jobs", {"id": ""}),
        ("jobs", {"since": datetime(2026, 1, 1)}),
        ("jobs", {"until": "yesterday"}),
        ("jobs", {"argument_hash": "no hash"}),
        ("jobs", {"duration_over": float("nan")}),
        ("jobs", {"duration_over": "1"}),
        ("jobs", {"task": 5}),
        ("jobs", {"task": "x" * 10_000_000}),
        ("jobs", {"execution": "~x"}),
        ("executions", {"since": datetime(2026, 1, 1)}),
        ("executions", {"tag": {}}),
        ("files", {"file_kind": "file"}),
        ("values", {"size_over": 1 << 70}),
        ("tags", {"entity": "file"}),
    ],
)
def test_a_filter_that_cannot_be_is_a_typed_error(history, kind, filters):
    with pytest.raises(QueryError):
        getattr(history, kind)().where(**filters)


def test_a_hash_as_a_filter_may_be_its_beginning(history):
    text = history.values().where(value_type="builtins.str", preview_contains="number 2, long").first()
    for kind in (history.jobs(), history.calls()):
        whole, part = (kind.where(result_hash=text.value_hash[:length]) for length in (64, 9))
        assert whole.count() == part.count() >= 1
        given = [kind.where(argument_hash=text.value_hash[:length]).count() for length in (64, 9)]
        assert given[0] == given[1]


def test_the_result_of_a_record_is_what_it_gave(history, repository):
    job = history.jobs().where(task="label").one()
    assert repository.get(job) == repository.get(job.job_id) == repository.get(job.call_hash) == 42
    assert repository.get(history.executions().where(task="label").one()) == 42
    assert history.result(job.value_hash[:10]) == job.value_hash


def test_what_gave_no_one_value_has_no_result(history, repository):
    failed = history.jobs().where(status="failed").first()
    for record in (failed, history.executions().where(status="failed").one()):
        with pytest.raises(RecordNotFound):
            history.result(record)
        with pytest.raises(NotFound):
            repository.get(record.record_id)


def test_limits_orders_and_cursors_that_cannot_be_are_typed_errors(history):
    jobs = history.jobs()
    for wrong in (0, -1, True, 10**12, "5"):
        with pytest.raises(QueryError):
            jobs.limit(wrong)
    with pytest.raises(QueryError):
        jobs.order("job_id; drop table job")
    cursor = history.executions().page(size=1).cursor
    for wrong in ("", "x", "AAAA", cursor, "W10", "é"):
        with pytest.raises(QueryError):
            jobs.page(wrong)
    with pytest.raises(TagError):
        history.executions().where(tag="=1")


def test_records_export_to_arrow_pandas_polars_and_csv(history, tmp_path):
    table = history.jobs().where(status="done").to_arrow()
    assert table.num_rows == history.jobs().where(status="done").count()
    assert str(table.schema.field("started").type) == "timestamp[us, tz=UTC]"
    empty = history.jobs().where(task="nothing")
    assert empty.to_arrow().schema == table.schema
    assert list(history.executions().to_pandas()["status"]) == [e.status for e in history.executions()]
    assert history.tags().to_polars().shape == (history.tags().count(), 9)
    assert history.jobs().limit(3).to_csv(tmp_path / "jobs.csv") == 3
    with (tmp_path / "jobs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["job_id"] for row in rows] == [job.job_id for job in history.jobs().limit(3)]
    text = io.StringIO()
    empty.to_csv(text)
    assert text.getvalue().startswith("job_id,")


def test_an_execution_without_sign_of_life_reads_as_crashed(repository, history):
    newest = history.executions().first()
    table = "execution"
    with repository.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE {table} SET status = 'running', updated = started - 60000000, "
            "started = started - 60000000 "
            f"WHERE execution_id = '{newest.execution_id}'"
        )
    assert history.executions().first().status == "crashed"
    assert history.executions().where(status="crashed").count() == 1
    assert history.executions().where(status="running").count() == 0
    assert history.query("select status from executions order by execution_id desc").rows[0] == ("crashed",)
    with repository.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE {table} SET status = 'done' WHERE execution_id = '{newest.execution_id}'"
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.text(max_size=20), st.sampled_from(["task", "file", "error_contains", "value_type"]))
def test_no_text_breaks_a_query(history, text, name):
    for record in history.jobs().where(**{name: text}).limit(3):
        assert record.job_id


WRITES = [
    "delete from job",
    "select 1; delete from job",
    "commit",
    "set transaction read write",
    "with x as (delete from job returning 1) select * from x",
    "insert into repository values ('a', 'b')",
    "create table other (a int)",
    "drop view jobs",
    "select * from job for update",
    "copy job to '/tmp/copied'",
    "copy (select 1) to program 'touch /tmp/copied'",
    "select set_config('transaction_read_only', 'off', false)",
    "select nextval('job_seq')",
    "select 1) union (delete from job",
    "",
    ";",
    "-- nothing",
    "select '\0'",
    "select '\ud800'",
]


@pytest.mark.parametrize("sql", WRITES)
def test_sql_of_the_user_reads_and_nothing_else(repository, history, sql):
    before = history.jobs().count()
    try:
        history.query(sql)
    except DatabaseError:
        pass
    assert history.jobs().count() == before
    assert history.query("select count(*) from job").rows == [(before,)]


def test_sql_of_the_user_gives_at_most_the_limit(history):
    assert len(history.query("select * from jobs;", 2).rows) == 2
    assert history.query("select 1 as a, 2 as a, null as b -- why not").columns == ("a", "a", "b")
    assert history.query("select 5 % 3, 'a:b', '%s'").rows == [(2, "a:b", "%s")]


def test_jobs_are_rows_of_parameters_metrics_and_tags(history):
    [row] = history.jobs().where(task="label").runs()
    assert {name: row[name] for name in ("status", "n", "result")} == {
        "status": "done",
        "n": 21,
        "result": 42,
    }
    assert {name: row[name] for name in ("stage", "looked", "labelled")} == {
        "stage": "trial",
        "looked": True,
        "labelled": 21,
    }
    assert "user" not in row
    reports = history.jobs().where(task="report").runs()
    assert [
        (row["count"], row["project"], row["tag.n"] if "tag.n" in row else row["n"]) for row in reports
    ] == [
        (3, "census", 2),
        (2, "census", 1),
    ]


def test_a_task_tells_who_called_it(history):
    assert [name.rpartition(".")[2] for name, _ in history.code("write").called_by] == ["report"]
    assert len(history.code("write").versions) == 1


def test_a_difference_is_summed_up_by_task(history):
    old, new = [each.execution_id for each in history.executions().where(label="report").order("oldest")]
    tasks = {each.task.rpartition(".")[2]: each for each in history.diff(old, new).tasks}
    assert tasks["report"].calls == {"changed": 1}
    assert (tasks["read"].calls["added"], tasks["read"].calls["equal"]) == (1, 2)
    assert [each.task for each in history.diff(old, new, task="read").tasks] == [tasks["read"].task]
    with pytest.raises(RecordNotFound):
        history.diff(old, new, task="label")


def test_a_plan_is_explained_by_what_ran(history, repository):
    with Scheduler(repository) as scheduler:
        cached, other = scheduler.plan([made_history.label(21), made_history.label(5)]).calls
    assert (cached.status, other.status) == ("cached", "run")
    assert other.reason == "the argument n is another: 21 -> 5"
    assert history.why("label").task.endswith(".label")
