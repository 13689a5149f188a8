"""Tags: added, replaced, removed, with their history; on every kind of record, on both databases."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from tests.db.history import made_history
from valuestore import Repository, Scheduler, tag, task
from valuestore.db.record.tag import ANY_VALUE, format_tag, parse_tag, parse_tag_filter
from valuestore.errors import RecordNotFound, TagError
from valuestore.redaction import redact, redact_command


@task
def number(n: int) -> int:
    return n


@task
def labelled(n: int) -> int:
    return tag(n, {"depth.in-body": n}, job_tags={"job": 1}, execution_tags={"run": True})


@task
def leak(url: str) -> int:
    raise ValueError(f"cannot reach {url} with token=canary-in-error")


@pytest.fixture
def made(repository):
    with Scheduler(repository) as scheduler:
        scheduler.run(number(7), tags={"n": 1})
    return repository


def pairs(records):
    return [(record.key, record.value) for record in records]


def test_tags_are_added_replaced_and_removed_with_author_and_time(made):
    tags, [job] = made.tags, made.history.jobs("-")
    assert pairs(tags.add(job, {"a.b": [1]}, stage="trial")) == [("a.b", [1]), ("stage", "trial")]
    tags.add(job, stage="second")
    tags.add(job, stage="second")
    assert pairs(tags.all(job)) == [("a.b", [1]), ("stage", "trial"), ("stage", "second")]
    assert tags.get(job) == {"a.b": [1], "stage": "second"}
    tags.update(job, stage="final", author="somebody else")
    assert pairs(tags.all(job)) == [("a.b", [1]), ("stage", "final")]
    assert tags.remove(job, tags={"a.b": [2]}) == 0
    assert tags.remove(job, tags={"a.b": [1]}) == 1
    assert tags.remove(job, "stage") == 1
    assert tags.all(job) == []
    history = tags.history(job)
    assert [(each.key, each.value, each.author != "somebody else") for each in history] == [
        ("a.b", [1], True),
        ("stage", "trial", True),
        ("stage", "second", True),
        ("stage", "final", False),
    ]
    assert history[1].ended_by == "somebody else"
    assert all(each.created <= each.ended for each in history)
    tags.add(job, stage="final")
    assert pairs(tags.all(job)) == [("stage", "final")]


def test_update_keeps_a_value_that_stays(made):
    made.tags.add("-", kept=1)
    [before] = [each for each in made.tags.all("-") if each.key == "kept"]
    made.tags.update("-", kept=1)
    assert before in made.tags.all("-")


def test_every_kind_of_record_can_have_tags(made):
    history = made.history
    records = [query.first() for query in (history.executions(), history.jobs(), history.calls())]
    records += [history.tasks().first(), history.values().first()]
    for record in records:
        made.tags.add(record, note=record.kind)
        made.tags.add(record.record_id, second=True)
        assert made.tags.get(record)["note"] == record.kind
    assert {each.entity for each in history.tags().where(key="note")} == {each.kind for each in records}
    ref = made.put([1, 2, 3])
    made.tags.add(ref, note="a ref")
    assert history.values().where(tag="note=a ref").one().value_hash == ref.value_hash
    with pytest.raises(RecordNotFound):
        made.tags.add(history.tags().first(), note=1)


def test_removing_nothing_named_is_an_error_and_removes_nothing(made):
    made.tags.add("-", a=1)
    before = made.tags.all("-")
    for wrong in (lambda: made.tags.remove("-"), lambda: made.tags.remove("-", tags={})):
        with pytest.raises(TagError, match="nothing named"):
            wrong()
    for wrong in (lambda: made.tags.add("-"), lambda: made.tags.update("-", {})):
        with pytest.raises(TagError):
            wrong()
    assert made.tags.all("-") == before


DEEP: list = []
for _ in range(100_000):
    DEEP = [DEEP]


@pytest.mark.parametrize(
    "tags",
    [
        {"a": "x" * 10_000_000},
        {"a": DEEP},
        {"a": {1}},
        {"a": float("nan")},
        {"a": b"x"},
        {"": 1},
        {"a=b": 1},
        {"k" * 256: 1},
        {5: 1},
        {"a": {1: 2, "b": 3}},
    ],
    ids=range(10),
)
def test_a_tag_that_cannot_be_is_a_typed_error_and_changes_nothing(made, tags):
    before = made.tags.all("-")
    for change in (made.tags.add, made.tags.update):
        with pytest.raises(TagError):
            change("-", tags)
    with Scheduler(made) as scheduler, pytest.raises(TagError):
        scheduler.run(number(8), tags=tags)
    assert made.tags.all("-") == before


@pytest.mark.parametrize(
    "text", ["a\0b", "a\ud800b", "é\U0001f600", "'; drop table tag; --", "%_\\", "\x1b["]
)
def test_any_text_is_kept_as_it_is_and_found(made, text):
    made.tags.add("-", {"key": text, f"odd{text}": 1})
    assert made.tags.get("-")["key"] == text
    assert made.history.executions().where(tag={"key": text}).count() == 1
    assert made.history.executions().where(tag={f"odd{text}": 1}).count() == 1
    assert made.history.executions().where(tag={"key": text + "x"}).count() == 0


def test_bare_keys_find_any_value_and_numbers_differ_from_text(made):
    made.tags.add("-", {"one": 1, "text": "1", "none": None})
    for found in ("one", "one=1", 'text="1"', "none=", ["one", "text"]):
        assert made.history.executions().where(tag=found).count() == 1
    for missing in ("two", "one=2", "one=1.0", "text=1", "one=true", ["one", "two"]):
        assert made.history.executions().where(tag=missing).count() == 0


def test_two_writers_of_one_key_leave_one_value_and_a_whole_history(made):
    execution = made.history.executions().first()

    def work(author):
        for number in range(10):
            made.tags.update(execution, shared=f"{author}{number}", author=author)

    threads = [threading.Thread(target=work, args=(author,)) for author in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [each.key for each in made.tags.all(execution)].count("shared") == 1
    assert len([each for each in made.tags.history(execution) if each.key == "shared"]) == 30


def test_tags_are_set_inside_a_pipeline(repository):
    with Scheduler(repository) as scheduler:
        assert scheduler.run(tag(labelled(5), outer=1)) == 5
        assert scheduler.run(tag(labelled(5), outer=1)) == 5
        assert scheduler.run([tag(number(6), only="value")]) == [6]
    history = repository.history
    assert {each.key for each in history.tags().where(entity="value")} == {"depth.in-body", "outer", "only"}
    assert history.values().where(tag="depth.in-body=5").one().preview == "5"
    assert history.executions().where(tag="run=true").count() == 2
    assert {job.task.rpartition(".")[2] for job in history.jobs().where(tag="job=1")} == {"labelled"}
    keys = [each.key for each in history.tags().where(entity="value")]
    assert len(keys) == 3


def test_every_execution_has_version_user_and_host_and_configured_tags(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".valuestore").mkdir()
    (tmp_path / ".valuestore" / "valuestore.toml").write_text('[tags]\nteam = "maps"\nuser = "robot"\n')
    with Scheduler(tmp_path) as scheduler:
        scheduler.run(number(1), tags={"n": 1})
        found = scheduler.repository.tags.get("-")
    assert found["team"] == "maps"
    assert found["user"] == "robot"
    assert {"valuestore.version", "host", "n"} <= set(found)
    assert "git.commit" not in found


@pytest.mark.parametrize("text", ["a=1", "a=", "a=text", 'a="1"', "a=true", 'a={"b":[1]}', "a=b=c", "a=NaN"])
def test_written_tags_are_read_back(text):
    key, value = parse_tag(text)
    assert parse_tag(format_tag(key, value)) == (key, value)


def test_a_bare_key_is_any_value():
    assert parse_tag_filter("a") == ("a", ANY_VALUE)
    with pytest.raises(TagError):
        parse_tag("a")


CANARIES = [
    ["--password", "canary-word"],
    ["--password=canary-word"],
    ["-token", "canary-word"],
    ["--api-key", "canary-word"],
    ["postgresql://user:canary-word@host/db"],
    ["--db=redis://:canary-word@host:1/0"],
    ["https://host/path?X-Amz-Signature=canary-word&x=1"],
    ["https://acc.blob/c?sv=1&sig=canary-word"],
    ["AWS_SECRET_ACCESS_KEY=canary-word"],
    ["--header", "Authorization: Bearer canary-word"],
    ['{"password": "canary-word", "a": 1}'],
    ["ghp_canaryword0123456789abcdefghij"],
    ["https://ghp_canaryword0123456789abcdefghij@github.com/x"],
]


@pytest.mark.parametrize("words", CANARIES, ids=range(len(CANARIES)))
def test_no_secret_of_a_command_line_is_kept(words):
    assert "canary" not in json.dumps(redact_command(["prog", *words, "--name", "kept"]))
    assert redact_command(["prog", *words, "--name", "kept"])[-1] == "kept"


@pytest.mark.parametrize(
    "text",
    [
        *("--count 3", "s3://bucket/key.csv", "f(key=1)", "basic arithmetic", "C:\\token", "a:b@c"),
        *("monkey=3", "max_tokens=5", "tokenizer=x"),
    ],
)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


def test_no_secret_reaches_the_database(repository, monkeypatch):
    words = ["prog", "--password", "canary-argv", "--db", "redis://u:canary-url@h/0"]
    monkeypatch.setattr(sys, "argv", words)
    with Scheduler(repository) as scheduler, pytest.raises(ValueError, match="cannot reach"):
        scheduler.run(leak("redis://user:canary-label@host/0"))
    for table in ("execution", "job", "tag", "task"):
        rows = repository.history.query(f"select * from {table}").rows
        assert rows
        text = repr(rows).replace('token=canary-in-error")', "")  # the task's own source says that
        assert "canary" not in text, table


def test_tags_of_a_made_history_are_pages_of_their_own(tmp_path):
    with Repository.open(tmp_path) as repository:
        made_history.make(repository, tmp_path)
        assert repository.history.tags().where(key="project", value="census").count() == 2
        assert repository.history.tags().where(key="pro*").count() == 2


def test_a_key_is_given_several_values_at_once_as_pairs(made):
    tags = made.tags
    tags.add("-", [("colour", "red"), ("colour", "blue")])
    assert [each.value for each in tags.all("-") if each.key == "colour"] == ["red", "blue"]
    tags.update("-", [("colour", "blue"), ("colour", "green")])
    assert [each.value for each in tags.all("-") if each.key == "colour"] == ["blue", "green"]
    assert tags.remove("-", tags=[("colour", "blue"), ("colour", "green")]) == 2


def test_secrets_in_tags_are_hidden_and_still_match(made):
    made.tags.add(
        "-", {"url": "https://me:canary-1@host/", "api_key": "canary-2", "max_tokens": 5, "token": ""}
    )
    made.tags.add("-", {"settings": {"db": {"password": "canary-3"}, "hosts": ["redis://:canary-4@h/0"]}})
    with made.database.read() as connection:
        rows = str(connection.exec_driver_sql("SELECT value FROM tag").all())
    assert "canary" not in rows
    assert made.tags.get("-")["max_tokens"] == 5
    assert made.history.executions().where(tag="url=https://me:canary-1@host/").count() == 1
