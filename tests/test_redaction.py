"""Redaction: secrets are hidden, all else stays as it is (I15). The texts are in redaction_corpus.py."""

from __future__ import annotations

import json
import re
import sqlite3
import time

import pytest

from tests.redaction_corpus import CODE, HIDDEN, KEPT, KEPT_CODE, TOKENS, body
from valuestore import Scheduler, task
from valuestore.db.record.rows import hidden_text
from valuestore.redaction import FORMS, redact, redact_command, redact_source
from valuestore.scheduler.record import command_line

SECRET = "canary0Word"


@pytest.mark.parametrize("text", HIDDEN)
def test_secrets_are_hidden_in_text(text):
    found = redact(text.replace("§", SECRET))
    assert "canary" not in found
    assert "***" in found
    assert redact(found) == found


@pytest.mark.parametrize(
    "text", [text for text in HIDDEN if text.count('"') % 2 == 0 and "OPENSSH" not in text]
)
def test_lines_around_a_secret_stay(text):
    found = redact(f"before\n{text.replace('§', SECRET)}\nafter it")
    assert found.startswith("before\n")
    assert found.endswith("\nafter it")


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_of_providers_are_hidden_wherever_they_stand(name):
    token = TOKENS[name]
    secret = token[-20:]
    for text in (token, f"failed with {token}.", f"f('{token}')", f'{{"x": "{token}"}}'):
        assert secret not in redact(text)
        assert "***" in redact(text)
    assert secret not in redact_source(f'x = "{token}"')


@pytest.mark.parametrize("text", KEPT)
def test_what_is_no_secret_stays(text):
    assert redact(text) == text


@pytest.mark.parametrize("code", CODE)
def test_literal_secrets_are_hidden_in_code(code):
    found = redact_source(code.replace("§", SECRET))
    assert "canary" not in found
    assert redact_source(found) == found


@pytest.mark.parametrize("code", KEPT_CODE)
def test_other_code_stays_as_it_is(code):
    assert redact_source(code) == code


@pytest.mark.parametrize(
    "words",
    [
        ["curl", "-u", "u:canary"],
        ["curl", "-H", "Cookie: a=1; b=canary"],
        ["mysql", "-u", "root", "-pcanary"],
        ["tool", "--pass", "canary of words"],
        ["tool", "--token", "canary"],
        ["tool", "--key", "canary"],
        ["tool", "--auth", "canary"],
        ["tool", "--sig", "canary"],
        ["tool", "--password", "-canary"],
        ["tool", "--password", "--token", "--db-pass", "canary"],
        ["sshpass", "-p", "canary"],
    ],
)
def test_words_of_a_command_line_are_hidden_by_what_stands_before(words):
    found = redact_command([*words, "--name", "kept"])
    assert "canary" not in repr(found)
    assert len(found) == len(words) + 2
    assert found[-1] == "kept"


def test_the_corpus_is_large():
    assert len(HIDDEN) + len(CODE) + len(TOKENS) >= 150
    assert len(KEPT) + len(KEPT_CODE) >= 75


PIECES = [
    *(
        "token: ",
        "token = ",
        'token="""',
        "token",
        "a-",
        '"token" ',
        "-eyJhbGciOiJIUzI1",
        "a://",
        "a://b:c",
        "x@",
    ),
    *(
        "password='",
        'password="\\',
        "password=(",
        "password=,",
        "\\",
        '\\"',
        "--pass",
        "--",
        "-u a:",
        "mysql ",
        "Cookie:",
    ),
    *(
        "Authorization: ",
        "-----BEGIN PRIVATE KEY-----",
        "<password>",
        "login a password ",
        "('password', '",
        "(",
        "'",
    ),
    *(
        '"""',
        "'''",
        "#",
        "jdbc:oracle:thin:a/",
        "heroku ",
        "Bearer ",
        "sk-",
        "0",
        "M",
        "a.",
        "s.",
        "SG.a",
        "discord.com/",
    ),
    *(
        "a:",
        "x-amz-",
        "key-",
        "_",
        "[",
        "{",
        "password={",
        "x@tcp(",
        " ",
        "\n",
        ",",
        "mariadb-",
        "sshpass -a",
    ),
]


def seconds(change, text):
    times = []
    for _ in range(2):
        started = time.process_time()
        change(text)
        times.append(time.process_time() - started)
    return min(times)


@pytest.mark.parametrize("change", [redact, redact_source])
@pytest.mark.parametrize("piece", PIECES)
def test_time_is_in_proportion_to_the_text(change, piece):
    """Where each piece is compared with all that follow, four times the text takes sixteen times as long."""
    small, large = (piece * (size // len(piece)) for size in (1 << 14, 1 << 16))
    assert seconds(change, large) < 8 * seconds(change, small) + 0.02


@pytest.mark.thorough
@pytest.mark.parametrize("change", [redact, redact_source])
@pytest.mark.parametrize("piece", PIECES)
def test_time_is_in_proportion_to_a_megabyte(change, piece):
    small, large = (piece * (size // len(piece)) for size in (1 << 18, 1 << 20))
    assert seconds(change, large) < 8 * seconds(change, small) + 0.1


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_form_hides_something(form):
    pattern = re.compile(form.pattern, form.flags)
    assert any(pattern.search(text.replace("§", SECRET)) for text in (*HIDDEN, *TOKENS.values()))


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_no_text_with_a_match_is_left_unsearched(form):
    pattern = re.compile(form.pattern, form.flags)
    matching = [text.replace("§", SECRET) for text in (*HIDDEN, *TOKENS.values())]
    assert all(form.may_match(text.lower()) for text in matching if pattern.search(text))


def test_a_megabyte_is_read_within_seconds():
    started = time.process_time()
    redact(("a line of a log with words, key=1 and (brackets) " + body(40) + "\n") * 11_000)
    assert time.process_time() - started < 10


TOKEN = "ghp_" + "canary0Word" * 4


@pytest.mark.parametrize("longest", [200, 2_000, 20_000])
@pytest.mark.parametrize("at", [-30, -9, -1, 0, 5, 30])
def test_no_half_of_a_secret_stays_where_a_long_text_is_cut(longest, at):
    """Wherever it lies, and whatever is hidden before it, which makes the text shorter."""
    for before in ("x" * 100_000, f"{TOKEN} " * 3_000, "password=" + "y" * 9_000 + " ", ""):
        for place in (longest // 2 + at, len(before) + at):
            text = (
                f"{(before + 'words ' * 10_000)[: max(place, 0)]} {TOKEN} {'z' * 50_000} {TOKEN} {'end ' * 9}"
            )
            assert "canary" not in hidden_text(text, longest)


@task(namespace="tests", name="exploding")
def exploding(size):
    raise ValueError(f"token={SECRET} " + "x" * size)


def test_the_text_of_a_failure_is_cut_before_it_is_searched(tmp_path):
    """Searching costs half a second of CPU for each megabyte."""
    with Scheduler(tmp_path) as scheduler:
        started = time.process_time()
        with pytest.raises(ValueError, match="token="):
            scheduler.run(exploding(20_000_000))
        assert time.process_time() - started < 3
        [[error, trace]] = scheduler.repository.database.rows("SELECT error, traceback FROM job")
    assert max(len(error), len(trace)) < 70_000
    assert SECRET not in error + trace


def test_a_command_line_of_megabytes_is_recorded_in_part():
    recorded = json.loads(command_line([f"--password={SECRET}", "x" * 1_000_000, *map(str, range(9_000))]))
    assert len(recorded) == 1001
    assert recorded[0] == "--password=***"
    assert recorded[-1] == "... and 8002 more"
    assert max(map(len, recorded)) < 3_000


def connect(password="canary-word"):
    return len(password)


@task(namespace="tests", name="connecting")
def connecting(value):
    secret = "canary-word"
    return connect() + len(secret) + value


def test_source_is_recorded_without_secrets(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        assert scheduler.run(connecting(1)) == 23
    with sqlite3.connect(scheduler.repository.database.path) as raw:
        sources = raw.execute("SELECT source FROM task UNION SELECT source FROM dependency").fetchall()
    raw.close()
    assert any("def connect(" in (source or "") for (source,) in sources)
    assert "canary" not in repr(sources)
