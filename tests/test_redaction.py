"""Redaction of source code: literals that are named as secrets are hidden, and the code stays readable."""

from __future__ import annotations

import sqlite3

import pytest

from valuestore import Scheduler, task
from valuestore.redaction import redact_source


@pytest.mark.parametrize(
    "code",
    [
        'connect(password="canary")',
        "PASSWORD = 'canary'",
        'password: str = "canary"',
        'def f(token: str | None = "canary"): pass',
        'settings = {"api_key": "canary", "a": 1}',
        'API_KEY = b"canary"',
        'secret = """canary\nof two lines"""',
        'URL = "postgresql://user:canary@host/db"',
        'key = "ghp_canaryword0123456789abcdefghij"',
    ],
)
def test_literal_secrets_are_hidden_in_code(code):
    assert "canary" not in redact_source(code)


@pytest.mark.parametrize(
    "code",
    [
        "token = tokens[0]",
        'password = os.environ["DB_PASSWORD"]',
        'password = ""',
        'secret: str = read("file")\nname = "kept"',
        'max_tokens = "5"',
        'URL = "https://host/path"',
        "def auth(pwd=None):\n    return pwd",
    ],
)
def test_other_code_stays_as_it_is(code):
    assert redact_source(code) == code


@pytest.mark.parametrize("piece", ["token: ", "token = ", 'token="""', "token", "a-", '"token" '])
def test_long_lines_take_no_more_than_their_length(piece):
    code = piece * 50_000  # where each piece is compared with all that follow, this takes minutes
    assert redact_source(code)


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
