"""URLs of databases: each argument is joined, converted or refused; none is dropped."""

from __future__ import annotations

import pytest

from valuestore import Repository
from valuestore.db.engine.database import Database
from valuestore.errors import ConfigError, DatabaseError


def asked(url, question):
    database = Database(url)
    try:
        return database.rows(question)[0][0]
    finally:
        database.close()


@pytest.mark.parametrize(
    ("argument", "setting", "value"),
    [
        ("options=-csearch_path%3Dpg_temp", "search_path", "pg_temp"),
        ("options=-c%20search_path%3Dpg_temp%20-c%20work_mem%3D77kB", "work_mem", "77kB"),
        ("options=-cstatement_timeout%3D7000", "statement_timeout", "7s"),
        ("options=-csearch_path%3Dpg_temp", "statement_timeout", "1min"),
        ("application_name=mine", "application_name", "mine"),
        ("prepare_threshold=0", "statement_timeout", "1min"),
        ("prepare_threshold=None&connect_timeout=3", "lock_timeout", "54s"),
        ("sslmode=disable&keepalives=1&keepalives_idle=30", "client_encoding", "UTF8"),
    ],
)
def test_arguments_of_postgres_are_joined_with_ours(postgres_url, argument, setting, value):
    assert asked(f"{postgres_url}?{argument}", f"SELECT current_setting('{setting}')") == value


def test_the_schema_is_made_where_the_search_path_of_the_url_says(postgres_url, tmp_path):
    database = Database(postgres_url)
    with database.write() as connection:
        connection.exec_driver_sql("CREATE SCHEMA vs")
    with Repository.open(tmp_path, database=f"{postgres_url}?options=-csearch_path%3Dvs"):
        found = database.rows(
            "SELECT DISTINCT schemaname::text FROM pg_tables WHERE schemaname IN ('public', 'vs')"
        )
    assert found == [("vs",)]
    database.close()


@pytest.mark.parametrize(
    "argument",
    [
        "connect_timeout=abc",
        "connect_timeout=0",
        "connect_timeout=99999999999",
        "prepare_threshold=-1",
        "prepare_threshold=often",
        "keepalives_idle=x",
        "tcp_user_timeout=1s",
        "port=abc",
        "sslmode=bogus",
        "target_session_attrs=foo",
        "load_balance_hosts=maybe",
        "service=nowhere",
        "client_encoding=latin1",
        "nonsense=1",
        "autocommit=true",
        "row_factory=x",
        "cursor_factory=x",
        "context=1",
        "conninfo=x",
        "replication=database",
        "options=-ca%3D1&options=-cb%3D2",
    ],
)
def test_arguments_that_nobody_takes_are_refused_when_they_are_read(argument):
    with pytest.raises(ConfigError, match="database") as caught:
        Database(f"postgresql://me@127.0.0.1:1/db?{argument}")
    assert argument.partition("=")[0] in str(caught.value) or "nowhere" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///x.db?timeout=5",
        "sqlite:///x.db?mode=ro",
        "sqlite:///x.db?nonsense=1",
        "sqlite:///file:x.db?uri=true",
        "sqlite://x.db",
        "sqlite+pysqlcipher:///x.db",
        "sqlite+aiosqlite:///x.db",
    ],
)
def test_a_sqlite_url_is_a_path_and_nothing_else(url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="busy_timeout_seconds"):
        Database(url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["LATIN1", "WIN1251"])
def test_a_database_that_does_not_take_all_text_is_refused_when_the_schema_is_made(
    postgres_server, tmp_path, encoding
):
    with postgres_server.database(encoding=encoding) as url:
        with pytest.raises(ConfigError, match=f"{encoding}.*UTF8"):
            Repository.open(tmp_path, database=url)
        assert asked(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_only_who_was_refused_for_a_password_is_told_where_it_comes_from(postgres_server, postgres_url):
    base = postgres_url.rpartition("/")[0]
    for url, question in (
        (f"{base}/nowhere", "SELECT 1"),
        (postgres_url.replace("postgres@", "nobody@"), "SELECT 1"),
        (f"{postgres_url}?options=-cnonsense%3D1", "SELECT 1"),
        (postgres_url, "SELECT * FROM nowhere"),
    ):
        with pytest.raises(DatabaseError) as caught:
            asked(url, question)
        assert type(caught.value) is DatabaseError  # which is not tried again
        assert "password" not in str(caught.value)
