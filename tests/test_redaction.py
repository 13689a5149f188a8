"""Redaction: secrets are hidden, and everything else stays as it is. The texts are in redaction_corpus.py."""

from __future__ import annotations

import re
import sqlite3
import time

import pytest

from tests.redaction_corpus import CODE, HIDDEN, KEPT, KEPT_CODE, TOKENS, body
from valuestore import Scheduler, task
from valuestore.redaction import FORMS, redact, redact_command, redact_source

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
    small, large = (piece * (size // len(piece)) for size in (1 << 19, 1 << 20))
    assert seconds(change, large) < 2.5 * seconds(change, small) + 0.1


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_every_form_hides_something(form):
    pattern = re.compile(form.pattern, form.flags)
    assert any(pattern.search(text.replace("§", SECRET)) for text in (*HIDDEN, *TOKENS.values()))


def test_a_megabyte_is_read_within_seconds():
    started = time.process_time()
    redact(("a line of a log with words, key=1 and (brackets) " + body(40) + "\n") * 11_000)
    assert time.process_time() - started < 10


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
