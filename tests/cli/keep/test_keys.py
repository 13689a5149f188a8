"""``valuestore keys``: ids are shown, secrets never, and what signs changes only when it is told to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from valuestore.errors import ValuestoreWarning

SECRET = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
SHOP = """
from dataclasses import dataclass

from valuestore import task


class Cart:
    def __init__(self, n):
        self.n = n


@dataclass
class Row:
    n: int


@task
def cart(n: int):
    print("computed")
    return Cart(n)


@task
def row(n: int):
    return [Row(n)]
"""


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


def test_list_and_doctor_and_show_say_who_vouches_for_what(
    cli: Cli, here: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "shop.py").write_text(SHOP)
    cli("run", "shop.py", "cart", "--n", "1")
    [mine] = ids(cli)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "colleague"))
    with pytest.warns(ValuestoreWarning, match=f"signed by key {mine}"):
        cli("run", "shop.py", "cart", "--n", "1")
    cli("run", "shop.py", "cart", "--n", "2")
    found = {key["key_id"]: key for key in json.loads(cli("keys", "list", "--json").out)}
    [theirs] = found.keys() - {mine}
    assert found[mine] == {"key_id": mine, "signs": False, "accepted": False, "values": 1}
    assert found[theirs] == {"key_id": theirs, "signs": True, "accepted": True, "values": 2}
    assert "keys add" in cli("keys", "list").out
    signatures = json.loads(cli("doctor", "--json").out)["signatures"]
    assert f"{mine} (not accepted here) 1" in signatures
    assert f"{theirs} 2" in signatures
    with closing(sqlite3.connect(here / ".valuestore" / "valuestore.db")) as connection:
        [(value_hash,)] = connection.execute("SELECT value_hash FROM signature WHERE key_id = ?", (mine,))
    assert json.loads(cli("show", value_hash, "--json").out)["signed_by"] == sorted([mine, theirs])
    assert mine in cli("show", value_hash).out
    assert cli("keys", "list", "-r", "nowhere").code == 3


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


# --- adopt


@pytest.fixture
def unsigned(cli: Cli, here: Path) -> Path:
    """A repository with a Row, and a Cart without a signature, as they were before there were any."""
    (here / "shop.py").write_text(SHOP)
    assert "computed" in cli("run", "shop.py", "cart", "--n", "1").out
    cli("run", "shop.py", "row", "--n", "2")
    database = here / ".valuestore" / "valuestore.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        [(value_hash,)] = connection.execute("SELECT value_hash FROM value WHERE codec = 'signed'")
        connection.execute("UPDATE value SET codec = 'tagged' WHERE value_hash = ?", (value_hash,))
        connection.execute("DELETE FROM signature")
    return database


def codecs(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT type_name, codec FROM value"))


def test_adopt_shows_what_needs_a_signature_and_has_none(cli: Cli, unsigned: Path) -> None:
    [found] = json.loads(cli("keys", "adopt", "--json").out)
    assert found == {"types": "shop.Cart", "values": 1, "signed": False}
    assert cli("keys", "adopt").out.split("\n")[1].split() == ["shop.Cart", "1", "not", "signed"]
    assert codecs(unsigned)["shop.Cart"] == "tagged"


def test_adopt_signs_it_when_told_to_and_leaves_data_classes_alone(cli: Cli, unsigned: Path) -> None:
    assert json.loads(cli("keys", "adopt", "--yes", "--json").out)[0]["signed"] is True
    assert codecs(unsigned)["shop.Cart"] == "signed"
    assert codecs(unsigned)["builtins.list"] == "tagged"
    assert json.loads(cli("keys", "adopt", "--json").out) == []
    again = cli("run", "shop.py", "cart", "--n", "1")
    assert (again.code, "computed" in again.out) == (0, False)


def test_without_adopting_it_is_computed_once_more(cli: Cli, unsigned: Path) -> None:
    with pytest.warns(ValuestoreWarning, match="keys adopt"):
        assert "computed" in cli("run", "shop.py", "cart", "--n", "1").out
    assert codecs(unsigned)["shop.Cart"] == "signed"
    assert "computed" not in cli("run", "shop.py", "cart", "--n", "1").out


def test_adopt_knows_the_data_classes_of_what_it_is_told_to_import(program: Cli, unsigned: Path) -> None:
    def types(*arguments: str) -> set[str]:
        return {found["types"] for found in json.loads(program("keys", "adopt", "--json", *arguments).out)}

    assert types() == {"shop.Cart", "shop.Row"}
    assert types("--import", "shop") == {"shop.Cart"}
    assert program("keys", "adopt", "--import", "no_such_module").code == 2
