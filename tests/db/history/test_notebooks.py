"""What a notebook shows of questions and records: tables, escaped, bounded, without loading a value."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from tests.statements import StatementCounter
from valuestore import Repository, Scheduler, task
from valuestore.db.history.query import MOST_COUNTED, Query

EVIL = "<script>alert('x')</script>\"&\x1b[2J"


class Page(HTMLParser):
    """The tags and texts of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.attributes = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.texts.append(data)


def page(shown):
    found = Page(shown._repr_html_())
    assert set(found.tags) <= {"table", "caption", "tr", "th", "td"}
    assert found.attributes == []
    assert "\x1b" not in "".join(found.texts)
    return found


@task(name=f"t{EVIL}", namespace="n", version="1")
def echo(text: str) -> str:
    return text + EVIL


@task(namespace="n", version="1")
def number(n: int) -> int:
    return n


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    with Scheduler(tmp_path_factory.mktemp("notebooks")) as scheduler:
        scheduler.run([number(n) for n in range(30)])
        scheduler.run(echo(EVIL), tags={"note": EVIL})
        yield scheduler.repository.history


KINDS = ["executions", "jobs", "calls", "tasks", "values", "tags"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_query_is_a_table_and_nothing_in_it_is_markup(history, kind):
    found = page(getattr(history, kind)())
    assert found.texts[0].endswith(f" {kind}")


@pytest.mark.parametrize("kind", KINDS)
def test_a_record_is_a_table(history, kind):
    for record in getattr(history, kind)().limit(5):
        assert page(record).texts[0] == type(record).__name__


def test_evil_names_labels_and_previews_are_shown_as_text(history):
    job = history.jobs().where(task="*script*").one()
    assert any("<script>" in text for text in page(job).texts)
    assert "<script>" not in job._repr_html_()
    execution = history.executions().first()
    assert "&lt;script&gt;" in execution._repr_html_()
    odd = replace(history.values().first(), type_name=EVIL, preview=EVIL)
    assert "&lt;script&gt;" in odd._repr_html_()
    assert page(history.upstream(job)).texts[0].startswith("1 of 1 calls upstream")
    assert "&lt;script&gt;" in history.upstream(job)._repr_html_()


def test_a_long_answer_is_twenty_rows_of_so_many(history):
    found = page(history.jobs())
    assert found.texts[0] == "20 of 31 jobs"
    assert found.tags.count("tr") == 21
    assert page(history.jobs().limit(3)).texts[0] == "3 of 3 jobs"
    assert page(history.jobs().where(task="nothing")).texts[0] == "0 of 0 jobs"


def test_counting_ends_somewhere(history, monkeypatch):
    monkeypatch.setattr("valuestore.db.history.query.MOST_COUNTED", 25)
    assert page(history.jobs()).texts[0] == "20 of 25 or more jobs"
    assert MOST_COUNTED == 10_000


def test_showing_a_query_is_two_statements_that_load_no_payload(history):
    with StatementCounter(history.database) as counter:
        history.values()._repr_html_()
    assert len(counter.of("SELECT")) == 2
    assert not any("value.inline," in sql or "inline AS" in sql for sql in counter.statements)


def test_the_text_of_a_query_asks_nothing(history):
    with StatementCounter(history.database) as counter:
        text = repr(history.jobs().where(status="done").limit(5))
    assert text == "<query of jobs: 1 filters, newest first, at most 5; .all() asks it>"
    assert counter.statements == []
    assert isinstance(history.jobs(), Query)


def test_the_text_of_a_lineage_is_its_size(history):
    job = history.jobs().where(task="*script*").one()
    assert repr(history.upstream(job)) == f"<upstream of job {job.job_id}: 1 calls, 1 steps>"


def test_a_value_ref_shows_no_payload(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put({"key": b"the payload" * 20 + EVIL.encode()})
    assert "the payloadthe payloadthe payload" not in repr(ref) + ref._repr_html_()
    assert ref.value_hash in repr(ref)
    page(ref)


def test_a_long_text_is_cut(history):
    record = replace(history.executions().first(), label="x" * 1_000_000)
    assert len(record._repr_html_()) < 5000
