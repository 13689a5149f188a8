"""Settings: where they come from, what kind each is, where paths lead, and how mistakes are told."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest

from valuestore.cli.keep.setting import check_writable, write_setting
from valuestore.config import (
    _KINDS,
    OBSERVERS,
    Settings,
    cache_folder,
    database_password,
    key_file,
    load_settings,
)
from valuestore.errors import ConfigError
from valuestore.observe.adapters import ADAPTERS
from valuestore.repository import find_folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def loaded(folder, text="", **arguments):
    (folder / "valuestore.toml").write_text(text, "utf-8")
    return load_settings(folder, arguments)


def test_every_setting_has_a_kind():
    assert set(_KINDS) == {each.name for each in fields(Settings)} - {"folder"}


def test_every_observer_of_the_file_is_there():
    assert set(OBSERVERS) == set(ADAPTERS)


# --- kinds


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("inline_max_bytes = true", "True is not a whole number, 0 or more"),
        ("inline_max_bytes = 1.0", "1.0 is not a whole number"),
        ('inline_max_bytes = "10"', "'10' is not a whole number"),
        ("inline_max_bytes = -1", "-1 is not a whole number, 0 or more"),
        ("busy_timeout_seconds = true", "not a number, 0 or more"),
        ("busy_timeout_seconds = nan", "not a number"),
        ("statement_timeout_seconds = 0", "0 is not a number above 0"),
        ("digest = 5", "5 is not text"),
        ('durability = "eternal"', "'eternal' is not one of fast, full"),
        ("payloads = 5", "5 is not a URL, a path or a table"),
        ("payloads = [1]", "not a URL, a path or a table"),
        ('tags = "a"', "'a' is not a table"),
        ("observe = true", "True is not a table"),
        ("[observe]\nlog = 1", "1 is not true or false"),
        ('[observe]\nlog = "no"', "'no' is not true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_would_be_right(tmp_path, line, right):
    with pytest.raises(ConfigError, match=right):
        loaded(tmp_path, line)


def test_a_number_may_be_whole_where_it_may_be_a_fraction(tmp_path):
    assert repr(loaded(tmp_path, "busy_timeout_seconds = 5").busy_timeout_seconds) == "5.0"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("inline_max_bytes", "1_000", 1000),
        ("busy_timeout_seconds", "2", 2.0),
        ("digest", "blake3-256", "blake3-256"),
        ("digest", "5", "5"),
        ("tags", '{team = "x"}', {"team": "x"}),
        ("observe", "{log = true}", {"log": True}),
    ],
)
def test_the_environment_is_text_and_read_by_the_kind_of_the_setting(
    tmp_path, monkeypatch, name, text, value
):
    monkeypatch.setenv(f"VALUESTORE_{name.upper()}", text)
    assert getattr(loaded(tmp_path), name) == value


@pytest.mark.parametrize("text", ["many", "", "1.5", "true", "-1", '"5"'])
def test_text_in_the_environment_that_is_no_such_value_is_named(tmp_path, monkeypatch, text):
    monkeypatch.setenv("VALUESTORE_INLINE_MAX_BYTES", text)
    with pytest.raises(ConfigError, match="'inline_max_bytes'.*is not a whole number"):
        loaded(tmp_path)


def test_a_secret_of_the_wrong_kind_is_not_shown(tmp_path):
    with pytest.raises(ConfigError, match="int is not text"):
        loaded(tmp_path, database=424242)


# --- names


@pytest.mark.parametrize(
    ("text", "arguments", "near"),
    [
        ("payload = 'x'", {}, "did you mean 'payloads'"),
        ("", {"durabilty": "fast"}, "arguments must not set it; did you mean 'durability'"),
        ("[observe]\nprometeus = true", {}, "did you mean 'prometheus'"),
        ("folder = 'x'", {}, "there is no such setting"),
        ("colour = 'x'", {}, "there are busy_timeout_seconds, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tmp_path, text, arguments, near):
    with pytest.raises(ConfigError, match=near):
        loaded(tmp_path, text, **arguments)


def test_a_misspelt_variable_is_refused_and_others_are_let_be(tmp_path, monkeypatch):
    monkeypatch.setenv("VALUESTORE_SOMETHING_ELSE", "mine")
    loaded(tmp_path)
    monkeypatch.setenv("VALUESTORE_PAYLOAD", "s3://bucket")
    with pytest.raises(ConfigError, match="did you mean VALUESTORE_PAYLOADS"):
        loaded(tmp_path)


# --- the file


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "valuestore.toml").write_bytes("\ufeffinline_max_bytes = 5\r\n".encode())
    assert load_settings(tmp_path, {}).inline_max_bytes == 5


@pytest.mark.parametrize("name", ["payloads", "database_password_file"])
def test_relative_paths_in_the_file_are_relative_to_its_folder(tmp_path, monkeypatch, home, name):
    monkeypatch.chdir("/")
    assert getattr(loaded(tmp_path, f"{name} = 'a/b'"), name) == str(tmp_path / "a/b")
    assert getattr(loaded(tmp_path, f"{name} = '/a/b'"), name) == "/a/b"
    assert getattr(loaded(tmp_path, f"{name} = '~/b'"), name) == str(home / "b")
    monkeypatch.setenv(f"VALUESTORE_{name.upper()}", "~/c")
    assert getattr(loaded(tmp_path), name) == str(home / "c")
    assert getattr(loaded(tmp_path, **{name: Path("~/d")}), name) == str(home / "d")
    assert getattr(loaded(tmp_path, **{name: "d"}), name) == "d"


def test_the_folder_of_the_file_may_itself_be_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    assert loaded(Path("folder"), "payloads = 'a'").payloads == str(tmp_path / "folder/a")


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sqlite:///hist.db", "sqlite:///{folder}/hist.db"),
        ("sqlite+pysqlite:///a/hist.db?timeout=5", "sqlite+pysqlite:///{folder}/a/hist.db?timeout=5"),
        ("sqlite:////abs/hist.db", "sqlite:////abs/hist.db"),
        ("sqlite:///~/hist.db", "sqlite:///{home}/hist.db"),
        ("sqlite:///:memory:", "sqlite:///:memory:"),
        ("sqlite://", "sqlite://"),
        ("postgresql://me@host/~db", "postgresql://me@host/~db"),
    ],
)
def test_a_sqlite_file_is_found_from_any_folder(tmp_path, monkeypatch, home, written, meant):
    monkeypatch.chdir("/")
    settings = loaded(tmp_path, f"database = '{written}'")
    assert settings.database == meant.format(folder=tmp_path, home=home)


def test_urls_of_payloads_are_no_paths(tmp_path):
    assert loaded(tmp_path, "payloads = 's3://bucket/~x'").payloads == "s3://bucket/~x"


def test_a_home_folder_that_is_not_there_is_no_name_of_a_folder(tmp_path):
    with pytest.raises(ConfigError, match="no such home folder"):
        loaded(tmp_path, payloads="~nobody-of-that-name/x")


def test_a_home_folder_is_found_everywhere_else_too(tmp_path, monkeypatch, home):
    home.mkdir()
    (home / "secret").write_text("word\n")
    assert database_password(Settings(database_password_file="~/secret")) == "word"
    monkeypatch.setenv("VALUESTORE_KEY_FILE", "~/key")
    assert key_file() == home / "key"
    monkeypatch.setenv("VALUESTORE_CACHE", "~/cache")
    assert cache_folder() == str(home / "cache")
    assert find_folder("~/here") == home / "here" / ".valuestore"
    monkeypatch.setenv("VALUESTORE_REPOSITORY", "~/there")
    assert find_folder() == home / "there" / ".valuestore"


def test_settings_show_no_secrets():
    settings = Settings(database="postgresql://me:hush@h/d", payloads={"type": "s3", "secret_key": "hush"})
    assert "hush" not in repr(settings)


# --- writing one setting


def written(folder, text, value="s3://b"):
    file = folder / "valuestore.toml"
    file.write_bytes(text.encode())
    write_setting(folder, "payloads", value)
    return file.read_bytes().decode()


def test_one_line_is_changed_and_the_others_stay(tmp_path):
    assert written(tmp_path, "") == 'payloads = "s3://b"\n'
    assert written(tmp_path, "# mine\r\npayloads = 'old'\r\n") == '# mine\r\npayloads = "s3://b"\r\n'
    assert written(tmp_path, "[tags]\npayloads = 'mine'\n") == (
        "payloads = \"s3://b\"\n[tags]\npayloads = 'mine'\n"
    )
    text = "x = '''\npayloads = 1\n'''\npayloads = 'old'\n"
    assert written(tmp_path, text) == "x = '''\npayloads = 1\n'''\npayloads = \"s3://b\"\n"
    assert written(tmp_path, "\ufeffdigest = 'x'\n").endswith("digest = 'x'\n")


@pytest.mark.parametrize(
    "text", ["[payloads]\ntype = 's3'\n", "payloads = {type = 's3'}\n", "payloads.type = 's3'\n"]
)
def test_a_table_is_not_written_over(tmp_path, text):
    with pytest.raises(ConfigError, match="it is a table in"):
        written(tmp_path, text)
    assert (tmp_path / "valuestore.toml").read_text() == text


@pytest.mark.parametrize("text", ["'payloads' = 'x'\n", "payloads = '''\nx'''\n"])
def test_a_line_that_cannot_be_changed_is_left_to_people(tmp_path, text):
    with pytest.raises(ConfigError, match="write payloads = .* there yourself"):
        written(tmp_path, text)
    assert (tmp_path / "valuestore.toml").read_text() == text


def test_asking_changes_nothing(tmp_path):
    check_writable(tmp_path, "payloads", "x")
    assert not list(tmp_path.iterdir())
