"""``valuestore catalog``: what it prints and keeps, and its exit codes."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.scripts import Ended
from valuestore import Repository


def test_names_are_put_found_changed_and_deleted(cli: Cli, here: Path) -> None:
    (here / "file").write_bytes(b"one line\n")
    assert cli("catalog", "put", "a/b", "file", "x=1", "stage=trial", "none=").out == "1\n"
    assert cli("catalog", "put", "other", "file").out == "1\n"
    assert cli("catalog", "put", "a/b", "file").out == "2\n"
    assert cli("catalog", "ls").out == "a/b\nother\n"
    assert cli("catalog", "ls", "a/", "--glob", "*b").out == "a/b\n"
    assert json.loads(cli("catalog", "ls", "--json").out) == ["a/b", "other"]
    found = cli("catalog", "find", "x=1.0", "none=", "--json")
    assert json.loads(found.out) == [{"name": "a/b", "attrs": {"x": 1, "stage": "trial", "none": None}}]
    assert "a/b" in cli("catalog", "find", "stage=trial", "--prefix", "a", "-n", "1").out
    nothing = cli("catalog", "find", "x=true")
    assert (nothing.code, nothing.err[:28]) == (1, "valuestore: no names match; ")
    assert (
        cli("catalog", "attrs", "a/b", "stage=final", "--remove", "none").out == 'x      1\nstage  "final"\n'
    )
    assert json.loads(cli("catalog", "attrs", "a/b", "y=2", "--replace", "--json").out) == {"y": 2}
    assert [each["version"] for each in json.loads(cli("catalog", "versions", "a/b", "--json").out)] == [
        1,
        2,
        3,
        4,
    ]
    assert '{"y": 2}' in cli("catalog", "versions", "a/b").out
    assert cli("catalog", "rm", "a/b", "missing").code == 1
    assert cli("catalog", "ls").out == "a/b\nother\n"
    assert cli("catalog", "rm", "a/b", "other").code == 0
    assert cli("catalog", "ls").out == ""


def test_bytes_come_back_as_they_were(cli: Cli, here: Path, piped: Callable[..., Ended]) -> None:
    data = bytes(range(256)) * 100

    def run(*arguments: str, given: bytes = b"") -> bytes:
        ended = piped("catalog", *arguments, given=given)
        assert ended.code == 0, ended.err
        return ended.written

    assert run("put", "k", "-", given=data) == b"1\n"
    assert run("get", "k") == data
    (here / "file").write_bytes(b"new")
    (here / "out").write_bytes(b"old")
    cli("catalog", "put", "k", "file")
    assert cli("catalog", "get", "k", "--version", "1", "-o", "out").code == 0
    assert (here / "out").read_bytes() == data


def test_a_value_is_bound_shown_and_pinned(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        ref = repository.put({"a": 1})
    assert cli("catalog", "put", "v", "x=1", "--value", ref.value_hash[:8]).out == "1\n"
    shown = cli("show", "catalog:v").out
    assert ref.value_hash in shown
    assert '{"x": 1}' in shown
    assert cli("pin", "catalog:v").out.startswith("pinned entry ")
    assert "pinned" in cli("tag", "list", "catalog:v").out
    assert cli("show", "catalog:v", "--json").code == 0


def test_what_cannot_be_done_is_one_sentence(cli: Cli, here: Path) -> None:
    (here / "file").write_bytes(b"")
    cli("catalog", "put", "k", "file")
    for arguments, code in (
        (("get", "missing"), 1),
        (("versions", "missing"), 1),
        (("put", "k"), 2),
        (("put", "k", "no-file"), 2),
        (("put", "../k", "file"), 2),
        (("put", "k", "file", "no-pair"), 2),
        (("get", "k", "-o", "."), 2),
        (("put", "k", "file", "x=1", "x=2"), 2),
        (("find", "x=1", "x=2"), 2),
        (("put", "k", "--value", "0" * 32), 1),
        (("get", "k", "-o", "."), 2),
    ):
        done = cli("catalog", *arguments)
        assert (done.code, done.err.count("\n")) == (code, 1), done.err
    assert "models/best" in cli("catalog").out
    assert "`valuestore catalog ls`" in cli("catalog", "get", "missing").err
    assert "`valuestore catalog ls`" in cli("show", "catalog:missing").err
    assert "attribute 'no-pair'" in cli("catalog", "find", "no-pair").err


def test_a_terminal_shows_text_of_several_lines_and_no_other_bytes(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "text").write_bytes(b"one\n\x1b[2Jtwo\n")
    (here / "bytes").write_bytes(b"\xff\x00")
    cli("catalog", "put", "text", "text")
    cli("catalog", "put", "bytes", "bytes")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for command in (("catalog", "get"), ("get",)):
        name = "" if "catalog" in command else "catalog:"
        assert cli(*command, f"{name}text").out == "one\n\\x1b[2Jtwo\n"
        refused = cli(*command, f"{name}bytes")
        assert (refused.code, refused.out, "-o FILE" in refused.err) == (2, "", True)


def test_get_writes_what_a_name_stands_for(cli: Cli, here: Path) -> None:
    (here / "file").write_bytes(b"bytes")
    cli("catalog", "put", "bare", "file")
    with Repository.open(here) as repository:
        repository.catalog.bind("value", repository.put({"a": 1}).value_hash)
    assert cli("get", "catalog:value").out == '{"a": 1}\n'
    assert cli("get", "catalog:bare", "-o", "out").code == 0
    assert (here / "out").read_bytes() == b"bytes"
    assert cli("get", "catalog:missing").code == 1


def test_lineage_and_show_call_a_name_by_its_name(cli: Cli, here: Path) -> None:
    assert cli("run", "pipe.py", "greet").code == 0
    cli("catalog", "put", "v", "--value", "-")
    assert cli("lineage", "catalog:v").out.startswith("catalog:v\n")
    shown = cli("show", "catalog:v").out
    assert re.search(r"^created +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$", shown, re.M)
