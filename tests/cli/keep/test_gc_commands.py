"""``gc``, ``delete``, ``pin``, ``unpin`` and ``stats``: the commands of docs/lifecycle.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from valuestore import Repository

PIPELINE = """
from valuestore import task

@task(namespace="week")
def report(size: int = 1) -> bytes:
    return b"x" * 20_000 * size
"""


@pytest.fixture
def week(cli: Cli, tmp_path: Path) -> Cli:
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    for size in (1, 2, 3):
        assert cli("run", "pipeline.py", "report", "--size", str(size)).code == 0
    return cli


def executions(cli: Cli) -> int:
    return len(json.loads(cli("log", "--json").out))


def test_a_dry_run_deletes_nothing_and_yes_does(week: Cli) -> None:
    shown = week("gc", "--keep-last", "1")
    assert "would go" in shown.out
    assert "--yes" in shown.out
    assert executions(week) == 3
    done = json.loads(week("gc", "--keep-last", "1", "--yes", "--json").out)
    assert done["freed"]["executions"]["count"] == 2
    assert done["freed"]["payloads"]["bytes"] == 60_000
    assert done["freed_bytes"] >= 60_000
    assert executions(week) == 1
    assert "0 executed" in week("run", "pipeline.py", "report", "--size", "3").err


def test_rules_stand_in_the_settings(week: Cli, tmp_path: Path) -> None:
    (tmp_path / ".valuestore" / "valuestore.toml").write_text("[keep]\nlast = 2\n")
    assert "2 (last 2)" in week("gc").out
    assert "3 (last 3)" in week("gc", "--keep-last", "3").out
    (tmp_path / ".valuestore" / "valuestore.toml").write_text("[keep]\nlats = 2\n")
    failed = week("gc")
    assert failed.code == 2
    assert "did you mean 'last'" in failed.err


def test_what_is_pinned_stays(week: Cli) -> None:
    assert week("pin", "-").out.startswith("pinned execution")
    assert json.loads(week("gc", "--keep-last", "0", "--yes", "--json").out)["kept"] == {"pinned": 1}
    refused = week("delete", "-", "--yes")
    assert refused.code == 3
    assert "unpin" in refused.err
    assert week("unpin", "-").code == 0
    assert week("unpin", "-").code == 1
    assert "would go" in week("delete", "-").out
    assert week("delete", "-", "--yes").code == 0
    assert executions(week) == 0


@pytest.mark.parametrize("age", ["30", "3x", "-1d", "d"])
def test_a_time_that_is_none_is_refused(week: Cli, age: str) -> None:
    failed = week("gc", "--older-than", age)
    assert failed.code == 2
    assert "30d" in failed.err or "--older-than" in failed.err


def test_ages_are_written_with_their_unit(week: Cli) -> None:
    assert "3 (newer)" in week("gc", "--older-than", "30d").out
    assert week("gc", "--older-than", "0s", "--grace", "0s", "--yes").code == 0
    assert executions(week) == 0


def test_others_on_the_same_payloads_are_named(cli: Cli, tmp_path: Path) -> None:
    for name in ("a", "b"):
        with Repository.open(tmp_path / name, payloads=str(tmp_path / "both")) as repository:
            (repository.folder / "valuestore.toml").write_text(f'payloads = "{tmp_path / "both"}"\n')
            repository.put(name.encode() * 20_000)
    refused = cli("gc", "-r", "a", "--older-than", "0s", "--grace", "0s", "--yes")
    assert refused.code == 3
    assert "--with" in refused.err
    done = cli("gc", "-r", "a", "--with", "b", "--older-than", "0s", "--grace", "0s", "--yes", "--json")
    assert json.loads(done.out)["freed"]["payloads"]["count"] == 1
    with Repository.open(tmp_path / "b") as repository:
        assert len(list(repository.payloads.digests())) == 1


def test_stats_tell_what_takes_the_room(week: Cli) -> None:
    found = json.loads(week("stats", "--json").out)
    assert found["tasks"]["week.report"] == {"count": 3, "bytes": 120_000}
    assert found["types"]["builtins.bytes"]["count"] == 3
    assert found["ages"]["today"]["bytes"] == 120_000
    assert found["deduplication"] == 1.0
    assert found["compression"] == 1.0
    assert "week.report" in week("stats").out


def test_a_value_is_deleted_where_two_share_their_payloads(cli: Cli, tmp_path: Path) -> None:
    settings = {"payloads": str(tmp_path / "payloads")}
    for name in ("a", "b"):
        with Repository.open(tmp_path / name, **settings) as repository:
            ref = repository.put(name.encode() * 20_000)
        (tmp_path / name / ".valuestore" / "valuestore.toml").write_text(
            f'payloads = "{tmp_path}/payloads"\n'
        )
    assert "--with" in cli("delete", ref.value_hash, "-r", "b", "--yes").err
    assert cli("delete", ref.value_hash, "-r", "b", "--with", "a", "--yes").code == 0


def test_a_number_that_no_database_takes_keeps_all(week: Cli) -> None:
    assert week("gc", "--keep-last", "9" * 30, "--older-than", f"{'9' * 30}d", "--yes").code == 0
    assert executions(week) == 3


def test_without_a_rule_it_says_how_to_say_one(week: Cli) -> None:
    assert "no rule says what may go: --keep-last N" in week("gc").err
    assert week("gc", "--keep-last", "1").err == ""
    assert week("delete", "-").err == ""
