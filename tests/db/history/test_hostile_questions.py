"""Questions at the edges: odd names and paths, thousands of versions, damaged rows; on both databases."""

from __future__ import annotations

import base64
import json
import types
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from tests.statements import StatementCounter
from valuestore import File, Scheduler, task
from valuestore.db.schema import tables as schema
from valuestore.errors import DatabaseError, QueryError, ValuestoreError


@task(name="add", namespace="")
def add(a: int, b: int = 1) -> int:
    return a + b


@task
def take(file: File) -> File:
    return file


@task
def refuse(file: File, reason: str = "no") -> int:
    raise ValueError(reason)


@task(cache=False)
def unstorable(n: int) -> object:
    return lambda: n


@task
def look(folder: str) -> str:
    return read(File(f"{folder}/in.txt"))


@task
def read(file: File) -> str:
    return file.read_text()


def run(repository, *calls):
    with Scheduler(repository) as scheduler:
        for call in calls:
            scheduler.run(call)


@pytest.fixture(scope="module")
def asked(standing_repository):
    """A repository with one job, for tests that change nothing, or try to."""
    run(standing_repository, add(1))
    return standing_repository


@pytest.fixture
def in_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("pattern", ["many", "ma*"])
def test_a_task_with_thousands_of_versions_can_be_asked_for(repository, pattern):
    run(repository, add(1))
    with repository.database.write() as connection:
        rows = [
            {"task_no": 1000 + n, "task_hash": f"{n:032x}", "task_name": "many", "source": ""}
            for n in range(40_000)
        ]
        connection.execute(schema.task.insert(), rows)
        connection.execute(text("UPDATE job SET task_no = 1007"))
    history = repository.history
    job = history.jobs().where(task=pattern).one()
    assert history.executions().where(task=pattern).one().execution_id == job.execution_id
    assert history.jobs().where(task=pattern, status="failed").count() == 0
    assert history.calls().where(task=pattern).count() == 0


@pytest.mark.parametrize("path", ["a*b.txt", "q?.txt", "w[1].txt", "p%q.txt", "back\\slash.txt", "ü_v.txt"])
def test_a_path_means_that_file_whatever_characters_it_has(repository, in_folder, path):
    for each in (path, "axb.txt", "qq.txt", "w1.txt", "pzq.txt", "üzv.txt"):
        Path(each).write_text(f"content of {each}")
        run(repository, take(File(each)))
    history = repository.history
    assert history.record(path).path == path
    assert history.record(f"./{path}").path == path
    assert [each.path for each in history.files().where(path=Path(path))] == [path]
    assert history.jobs().where(file=Path(path)).count() == 1


def test_filters_take_a_path_in_any_spelling(repository, in_folder):
    Path("data").mkdir()
    Path("data/1.txt").write_text("one")
    run(repository, take(File("data/1.txt")))
    history = repository.history
    assert history.jobs().where(file="./data/../data/1.txt").count() == 1
    assert history.files().where(path="data//1.txt").count() == 1
    assert history.files().where(path="data/2.txt").count() == 0


def test_executions_that_failed_with_a_file_had_that_file(repository, in_folder):
    Path("bad.txt").write_text("bad")
    with pytest.raises(ValueError, match="no"):
        run(repository, refuse(File("bad.txt")))
    assert repository.history.executions().where(file="bad.txt").one().status == "failed"


@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
def test_jobs_whose_results_could_not_be_stored_are_found_by_their_arguments(repository):
    run(repository, unstorable(41), unstorable(42))
    history = repository.history
    assert history.jobs().where(argument=41).one().call_hash is None
    assert history.jobs().where(arguments={"n": 42}, status="done").count() == 1
    assert history.jobs().where(argument=41, status=["cached", "failed"]).count() == 0


def test_a_task_whose_name_could_be_an_id_is_found_by_it(repository):
    run(repository, add(1))
    with repository.database.write() as connection:
        row = {"value_hash": "add" + "0" * 29, "type_name": "t", "codec": "plain", "size": 0, "preview": "1"}
        connection.execute(schema.value.insert(), row)
    assert repository.history.find_one("add").kind == "task"
    assert repository.history.find_one("add0").kind == "value"


def test_times_and_durations_of_any_length_are_compared(repository):
    run(repository, add(1))
    jobs = repository.history.jobs()
    job = jobs.one()
    assert jobs.where(since=timedelta.max).count() == 1
    assert jobs.where(since=timedelta(days=1_000_000)).count() == 1
    assert jobs.where(until=timedelta.min).count() == 1
    assert jobs.where(since=datetime.min.replace(tzinfo=UTC)).count() == 1
    assert jobs.where(duration_over=timedelta.max).count() == 0
    assert jobs.where(duration_over=timedelta.min).count() == 1
    assert jobs.where(since=job.started).count() == 1
    assert jobs.where(since=job.started + timedelta(microseconds=1)).count() == 0
    assert jobs.where(until=job.started).count() == 0
    assert jobs.where(until=job.started + timedelta(microseconds=1)).count() == 1


def test_jobs_made_while_the_clock_was_set_back_are_found_by_their_time(repository):
    run(repository, add(1))
    with repository.database.write() as connection:
        connection.execute(text("UPDATE job SET started = started - 3600000000, ended = ended - 3600000000"))
    assert repository.history.jobs().where(until=timedelta(minutes=30)).count() == 1


@pytest.mark.parametrize("place", [10**30, "\0", "\ud800", 1.5, None, True, []])
@pytest.mark.parametrize("order", ["newest", "slowest"])
def test_a_made_up_cursor_is_refused(asked, place, order):
    places = [place] if order == "newest" else [place, "ab"]
    cursor = base64.urlsafe_b64encode(json.dumps(["job", order, *places]).encode()).decode()
    with pytest.raises(QueryError):
        asked.history.jobs().order(order).page(cursor)


def test_tags_may_be_asked_for_by_any_mapping(repository):
    run(repository, add(1))
    repository.tags.add("-", n=1)
    assert repository.history.executions().where(tag=types.MappingProxyType({"n": 1})).count() == 1


def test_a_damaged_row_hides_no_other(repository):
    run(repository, add(1), add(2))
    repository.tags.add("-", {"broken": 1, "whole": 2})
    with repository.database.write() as connection:
        connection.execute(text("UPDATE tag SET value = '{broken' WHERE key = 'broken'"))
        connection.execute(text("UPDATE value SET preview = '{broken'"))
        newest = "WHERE job_id = (SELECT max(job_id) FROM job)"
        connection.execute(text(f"UPDATE job SET started = 1000000000000000000, ended = 0 {newest}"))
    assert repository.tags.get("-")["broken"] == "{broken"
    assert repository.tags.get("-")["whole"] == 2
    assert len(repository.history.jobs().all()) == 2
    assert len(repository.history.upstream(repository.history.calls().first()).calls) == 1


def test_missing_rows_hide_no_others(repository):
    run(repository, add(1), add(2))
    with repository.database.write() as connection:
        for table in ("value", "execution", "task"):
            connection.execute(text(f"DELETE FROM {table}"))
    history = repository.history
    assert [job.task for job in history.jobs()] == ["", ""]
    assert history.calls().count() == len(history.calls().all()) == 2
    with pytest.raises(ValuestoreError):
        history.why(history.jobs().first())


def test_a_changed_file_below_a_call_is_the_reason_that_it_ran(repository, in_folder):
    for content in ("one", "two"):
        Path("in.txt").write_text(content * 30)
        run(repository, look(str(in_folder)))
    job = repository.history.jobs().where(task="look").first()
    (reason,) = repository.history.why(job).reasons
    assert reason.kind == "file"
    assert reason.subject == f"{in_folder}/in.txt"


def test_why_asks_a_few_statements_however_many_calls_there_were(repository):
    for n in range(40):
        run(repository, add(n))
    job = repository.history.jobs().where(task="add").first()
    with StatementCounter(repository.database) as counter:
        repository.history.why(job)
    assert len(counter.statements) < 12


def test_a_file_with_tens_of_thousands_of_contents_has_a_lineage(repository, in_folder):
    Path("log.txt").write_text("a line of the log, long enough to be told apart")
    run(repository, take(File("log.txt")))
    with repository.database.write() as connection:
        rows = [{"value_hash": f"{n:032x}", "path": "log.txt", "kind": "File"} for n in range(70_000)]
        connection.execute(schema.file.insert(), rows)
    assert len(repository.history.upstream("log.txt").calls) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT pg_ls_dir('/')",
        "SELECT pg_reload_conf()",
        "SELECT pg_switch_wal()",
        "SELECT pg_create_physical_replication_slot('s')",
        "SELECT pg_stat_reset()",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "DO $$ BEGIN DELETE FROM job; END $$",
        "SELECT query_to_xml('DELETE FROM job', true, true, '')",
        "WITH gone AS (DELETE FROM job RETURNING 1) SELECT * FROM gone",
        "SELECT 1; COMMIT; DELETE FROM job",
        "SET TRANSACTION READ WRITE",
        "SELECT set_config('transaction_read_only', 'off', false)",
        "ATTACH 'other.db' AS other",
        "PRAGMA writable_schema = 1",
        "VACUUM INTO 'copy.db'",
        "SELECT load_extension('x')",
    ],
)
def test_ad_hoc_sql_reaches_neither_rows_nor_the_server(asked, in_folder, sql):
    files = set(in_folder.iterdir())
    with pytest.raises(DatabaseError):
        asked.history.query(sql)
    assert asked.history.query("SELECT count(*) FROM job").rows == [(1,)]
    assert set(in_folder.iterdir()) == files


def test_several_values_and_files_are_asked_for_at_once(repository, in_folder):
    Path("1.txt").write_text("one")
    run(repository, add(1, 2), add(1, 3), take(File("1.txt")))
    for query in (repository.history.jobs(), repository.history.calls()):
        assert query.where(argument=1).where(argument=2).count() == 1
        assert query.where(argument=1, result=3, arguments={"b": 2}).count() == 1
        assert len(query.where(argument=1).where(argument=3, result=4).all()) == 1
        assert query.where(argument=2).where(argument=3).all() == []
        assert query.where(file="*.txt", argument=File("1.txt"), result=File("1.txt")).count() == 1
