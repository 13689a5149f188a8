"""The questions of docs/sql.md, asked of the census's history on SQLite and on Postgres; and the views."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from valuestore import Repository, Scheduler
from valuestore.db.schema.views import VIEWS

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "sql.md").read_text("utf-8")
QUESTIONS = re.findall(r"```sql\n(.*?)```", PAGE, re.S)
MAY_BE_EMPTY = ("crashed", "slow_jobs", "= 'failed'", "'8'", "having")


@pytest.fixture(scope="module")
def census():
    """The module itself, not a copy: a second one would take over the names of the first one's classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "examples"))
        return importlib.import_module("census")


def run_census(census, repository, folder):
    root = folder / "tree"
    (root / "package").mkdir(parents=True)
    for name in ("one", "two", "three"):
        (root / "package" / f"{name}.py").write_text(f"def {name}():\n    return 1\n")
    with Scheduler(repository) as scheduler:
        for number in range(3):
            (root / "package" / "two.py").write_text(f"def two():\n    return {number}\n")
            call = census.census(census.SourceTree(root), str(folder / "page.html"))
            scheduler.run(call, tags={"project": "census"})
    repository.catalog.put("census/page", b"<html>", attrs={"stage": "final"})


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def asked(request, census, tmp_path_factory):
    folder = tmp_path_factory.mktemp("questions")
    if request.param == "sqlite":
        with Repository.open(folder) as repository:
            run_census(census, repository, folder)
            yield repository
        return
    server = request.getfixturevalue("postgres_server")
    with server.database() as url, Repository.open(folder, database=url) as repository:
        run_census(census, repository, folder)
        yield repository


def test_there_are_twenty_questions():
    assert len(QUESTIONS) == 20


@pytest.mark.parametrize("question", QUESTIONS, ids=range(len(QUESTIONS)))
def test_a_question_has_an_answer(asked, question):
    if not asked.database.is_sqlite:
        question = re.sub(r"json_extract\((\w+), '\$\.(\w+)'\)", r"(\1::json ->> '\2')", question)
    found = asked.history.query(question)
    assert found.columns
    assert found.rows or any(word in question for word in MAY_BE_EMPTY)


def test_the_newest_result_is_led_to_by_all_tasks(asked):
    [question] = [each for each in QUESTIONS if "recursive" in each]
    tasks = {row[0] for row in asked.history.query(question).rows}
    assert {"census.report", "census.join", "census.measure"} <= tasks


@pytest.mark.parametrize("view", VIEWS)
def test_views_read_well_and_are_documented(asked, view):
    found = asked.history.query(f"select * from {view}")
    section = PAGE.partition(f"**`{view}`**")[2].partition("**`")[0]
    documented = {
        name for row in re.findall(r"^\| (`.*?) \|", section, re.M) for name in re.findall(r"`(\w+)`", row)
    }
    assert documented == set(found.columns)
    assert found.rows or view == "running"


# --- plans ------------------------------------------------------------------------------------------


def plan_of(database, query):
    """How the database reads the first page of a query, in its own words."""
    with database.read() as connection:
        statement = query._statement(connection, 100, None)
        compiled = statement.compile(connection, compile_kwargs={"render_postcompile": True})
        asks = "EXPLAIN QUERY PLAN " if database.is_sqlite else "EXPLAIN "
        parameters = compiled.params
        if compiled.positional:
            parameters = tuple(compiled.params[name] for name in compiled.positiontup or ())
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(asks + str(compiled), parameters))


def scans(repository, query):
    """The tables that the first page of a query reads as a whole."""
    plan = plan_of(repository.database, query)
    pattern = r"SCAN (job|call_node|value|file)\b(?! USING (?:COVERING )?INDEX job_failed)(?! USING PRIMARY)"
    if not repository.database.is_sqlite:
        pattern = r"Seq Scan on (job|call_node|value|file)\b"
    return re.findall(pattern, plan)


@pytest.mark.parametrize(
    "make",
    [
        lambda h: h.executions(),
        lambda h: h.executions().where(tag="project=census"),
        lambda h: h.executions().where(task="measure"),
        lambda h: h.executions().where(id="01"),
        lambda h: h.jobs().where(task="measure"),
        lambda h: h.jobs().where(id="01a"),
        lambda h: h.jobs().where(status="failed"),
        lambda h: h.jobs().where(status="failed", task="measure"),
        lambda h: h.jobs().where(tag="a=1"),
        lambda h: h.jobs().where(execution="-"),
        lambda h: h.jobs().where(file="x/one.py"),
        lambda h: h.jobs().where(argument="package"),
        lambda h: h.jobs().where(result=3, status="done"),
        lambda h: h.calls().where(id="01a"),
        lambda h: h.calls().where(file="x/*"),
        lambda h: h.calls().where(task="measure"),
        lambda h: h.values().where(id="01a"),
        lambda h: h.values().where(value="package"),
        lambda h: h.files().where(path="x/one.py"),
        lambda h: h.files().where(path="x/*"),
        lambda h: h.files().where(path="x/*.py"),
    ],
    ids=range(21),
)
def test_no_question_reads_a_whole_table(asked, make):
    query = make(asked.history).limit(20)
    if asked.database.is_sqlite:
        assert scans(asked, query) == []
        return
    with asked.database.read() as connection:
        connection.exec_driver_sql("SET enable_seqscan = off")
    try:
        assert scans(asked, query) == []
    finally:
        with asked.database.read() as connection:
            connection.exec_driver_sql("RESET enable_seqscan")
