"""``valuestore keys``: ids are shown, secrets never, and what signs changes only when it is told to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SECRET = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"


@pytest.fixture(autouse=True)
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    return here / "config" / "valuestore" / "keys"


@pytest.fixture
def team(here: Path) -> Path:
    file = here / "team.key"
    file.write_text(SECRET + "\n")
    file.chmod(0o600)
    return file


def ids(cli: Cli) -> dict[str, bool]:
    return {key["key_id"]: key["signs"] for key in json.loads(cli("keys", "list", "--json").out)}


def test_list_makes_no_key(cli: Cli, home: Path) -> None:
    assert ids(cli) == {}
    assert cli("keys", "list").code == 0
    assert not home.exists()


def test_rotate_makes_one_that_signs_and_keeps_the_others(cli: Cli) -> None:
    [first] = json.loads(cli("keys", "rotate", "--json").out)
    assert cli("keys", "rotate").out.split()[-1] == "signs"
    found = ids(cli)
    assert found[first["key_id"]] is False
    assert sorted(found.values()) == [False, True]


def test_add_verifies_and_signs_only_when_asked(cli: Cli, team: Path) -> None:
    cli("keys", "rotate")
    [added] = json.loads(cli("keys", "add", str(team), "--json").out)
    assert added["signs"] is False
    assert cli("keys", "add", str(team), "--sign").code == 0
    assert ids(cli)[added["key_id"]] is True


def test_show_path_names_the_folder_or_the_file(
    cli: Cli, home: Path, team: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli("keys", "show-path").out.strip() == str(home)
    monkeypatch.setenv("VALUESTORE_KEY_FILE", str(team))
    assert json.loads(cli("keys", "show-path", "--json").out) == {"path": str(team), "is_file": True}
    assert cli("keys", "rotate").code == 2


def test_key_file_open_to_others_is_refused_with_the_remedy(cli: Cli, team: Path) -> None:
    team.chmod(0o644)
    refused = cli("keys", "add", str(team))
    assert refused.code == 3
    assert f"chmod 600 {team}" in refused.err
    assert cli("keys", "add", "gone.key").code == 3


def test_no_secret_is_printed(cli: Cli, home: Path, team: Path) -> None:
    cli("keys", "rotate")
    [file] = home.glob("*.key")
    secrets = (SECRET, file.read_text().strip())
    for arguments in (["add", str(team)], ["list"], ["list", "--json"], ["rotate"], ["show-path"], []):
        outcome = cli("keys", *arguments)
        assert not any(secret[:16] in outcome.out + outcome.err for secret in secrets)
