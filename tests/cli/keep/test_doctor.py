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
from tests.servers.s3 import S3Server
from valuestore import Repository

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


def test_the_database_that_is_there_is_what_it_speaks_of(cli: Cli, here: Path, postgres_url: str) -> None:
    Repository.open(here / "other", database=postgres_url).close()  # which makes the schema
    (here / "other" / ".valuestore" / "valuestore.toml").write_text(
        f"database = {json.dumps(postgres_url)}\n"
    )
    facts = json.loads(cli("doctor", "--json", "--repository", "other").out)
    assert "sqlite" not in facts
    assert ", UTF8, at postgresql" in facts["postgresql"]


def test_versions_sizes_and_durability_are_told(cli: Cli) -> None:
    _, found = examined(cli)
    assert "schema 0" in found["versions"]
    assert found["durability"] == "fast"
    assert "rows" in found["sizes"]
    assert "a file of" in found["sizes"]


def test_advice_is_no_problem(cli: Cli, shop: Path) -> None:
    code, found = examined(cli)
    assert code == 0
    assert any("valuestore gc" in one for one in found["advice"])
    (shop / ".valuestore" / "valuestore.toml").write_text("[keep]\nlast = 5\n")
    (shop / ".valuestore" / "payloads" / "quarantine").mkdir()
    (shop / ".valuestore" / "payloads" / "quarantine" / f"{'0' * 32}.0").write_bytes(b"damaged")
    assert examined(cli)[1]["advice"] == [
        "1 damaged payloads are put aside, below quarantine/; they may be deleted"
    ]


def test_rules_by_which_a_bucket_forgets_are_told(
    cli: Cli, here: Path, s3_server: S3Server, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_server.url)
    url = f"s3://{s3_bucket}/ours"
    assert cli("init", "other", "--payloads", url).code == 0
    assert not [one for one in told(cli) if "lifecycle" in one]
    rules = [
        {"ID": "short", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}},
        {"ID": "else", "Status": "Enabled", "Filter": {"Prefix": "theirs"}, "Expiration": {"Days": 3}},
        {"ID": "off", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}},
    ]
    s3_server.client().put_bucket_lifecycle_configuration(
        Bucket=s3_bucket, LifecycleConfiguration={"Rules": rules}
    )
    [one] = [one for one in told(cli) if "lifecycle" in one]
    assert "rule short" in one


def told(cli: Cli) -> list[str]:
    found: list[str] = json.loads(cli("doctor", "--json", "-r", "other").out)["advice"]
    return found
