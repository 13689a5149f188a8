"""``valuestore doctor``: values are counted by who vouches for them, and nothing is loaded to find out."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli
from tests.scripts import Scripts

SHOP = """
import sys
from valuestore import Repository
class Cart:
    def __init__(self, n):
        self.n = n
    def __setstate__(self, state):
        open("loaded", "w").close()
        self.__dict__.update(state)
if __name__ == "__main__":
    with Repository.open() as repository:
        for obj in ([1, 2], {"a": {1, 2}}, "text", Cart(int(sys.argv[1]))):
            repository.put(obj)
        repository.put(Cart(list(range(20_000))))
"""


@pytest.fixture
def home(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(here / "config"))
    return here / "config" / "valuestore" / "keys"


@pytest.fixture(autouse=True)
def shop(home: Path, here: Path, scripts: Scripts) -> Path:
    (here / "shop.py").write_text(SHOP)
    assert scripts.run(here / "shop.py", "1").code == 0
    return here


def examined(cli: Cli) -> tuple[int, dict[str, Any]]:
    outcome = cli("doctor", "--json")
    return outcome.code, json.loads(outcome.out)


def counts(found: dict[str, Any]) -> dict[str, int]:
    return {name.removeprefix("values_"): n for name, n in found.items() if name.startswith("values_") and n}


def test_all_is_well(cli: Cli, shop: Path) -> None:
    code, found = examined(cli)
    assert code == 0
    assert found["problems"] == []
    assert counts(found) == {"plain": 3, "signed": 2}
    assert "problems" in cli("doctor").out
    assert not (shop / "loaded").exists()


def test_values_of_an_unknown_key_are_foreign_until_it_is_added(cli: Cli, home: Path, shop: Path) -> None:
    [key] = home.glob("*.key")
    kept = shutil.copy(key, shop / "kept.key")
    shutil.rmtree(home)
    code, found = examined(cli)
    assert code == 1
    assert counts(found) == {"plain": 3, "foreign": 2}
    assert any(
        f"unknown key {key.stem}" in problem and "keys add" in problem for problem in found["problems"]
    )
    cli("keys", "add", str(kept))
    assert examined(cli)[0] == 0


def test_forged_values_are_foreign_and_not_loaded(cli: Cli, shop: Path) -> None:
    with sqlite3.connect(shop / ".valuestore" / "valuestore.db") as database:
        database.execute("update value set type_name = 'shop.Other' where codec = 'pickle'")
    database.close()
    code, found = examined(cli)
    assert code == 1
    assert counts(found)["foreign"] == 2
    assert not (shop / "loaded").exists()


def test_unknown_codecs_are_unreadable(cli: Cli, shop: Path) -> None:
    with sqlite3.connect(shop / ".valuestore" / "valuestore.db") as database:
        database.execute("update value set codec = 'holographic' where codec = 'text'")
    database.close()
    code, found = examined(cli)
    assert code == 1
    assert counts(found)["unreadable"] == 1
    assert any("holographic" in problem for problem in found["problems"])


def test_lost_payloads_are_counted(cli: Cli, shop: Path) -> None:
    shutil.rmtree(shop / ".valuestore" / "payloads")
    code, found = examined(cli)
    assert code == 1
    assert counts(found)["lost"] == 1


def test_key_open_to_others_is_a_problem_with_its_remedy(cli: Cli, home: Path) -> None:
    [key] = home.glob("*.key")
    key.chmod(0o644)
    code, found = examined(cli)
    assert code == 1
    assert found["signing_key"] == "unusable"
    assert any(f"chmod 600 {key}" in problem for problem in found["problems"])


def test_no_repository_is_made(cli: Cli, shop: Path) -> None:
    (shop / "elsewhere").mkdir()
    assert cli("doctor", "-r", "elsewhere").code == 3
    assert not list((shop / "elsewhere").iterdir())
