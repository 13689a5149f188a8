"""A colleague with write access to the store, who wants code to run in others' pipelines (F35, F36)."""

from __future__ import annotations

import os
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.scripts import Scripts
from valuestore.hashing import encode_plain, hash_bytes
from valuestore.values.identity.canonical import NODE
from valuestore.values.trust.gate import Claim, encode_envelope, sign
from valuestore.values.trust.keys import KeyRing

SECRET = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
SHOP = """
from valuestore import Repository, Scheduler, task

class Cart:
    def __init__(self, n):
        self.n = n
    def __setstate__(self, state):
        self.__dict__.update(state)

@task
def make(n: int) -> Cart:
    print("computed")
    return Cart(n)

@task
def count(cart: Cart) -> int:
    return cart.n

@task
def both(n: int) -> list:
    return [{"cart": make(n)}, count(make(n))]

if __name__ == "__main__":
    with Scheduler() as scheduler:
        print(scheduler.run(both(3))[1])
"""


class Evil:
    def __init__(self, marker: str) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (self.marker,)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "shop.py").write_text(SHOP)
    return tmp_path


@pytest.fixture
def run(scripts: Scripts) -> Callable[[Path], list[str]]:
    """What a run printed: ``computed`` for each body of ``make`` that ran, and the result."""

    def run(shop: Path) -> list[str]:
        ran = scripts.run(shop / "shop.py")
        assert ran.code == 0, ran.err
        assert not (shop / "marker").exists()
        return ran.out.split()

    return run


def rows(shop: Path, where: str) -> list[tuple[str, str, bytes]]:
    with sqlite3.connect(shop / ".valuestore" / "valuestore.db") as database:
        query = f"select value_hash, type_name, inline from value where {where}"
        found = database.execute(query).fetchall()
    database.close()
    return found


def plant(shop: Path, value_hash: str, codec: str, data: bytes) -> None:
    """Bytes in the place of a value's, with a digest that fits them."""
    with sqlite3.connect(shop / ".valuestore" / "valuestore.db") as database:
        columns = "codec = ?, inline = ?, size = ?, payload_digest = ?"
        values = (codec, data, len(data), hash_bytes(data), value_hash)
        database.execute(f"update value set {columns} where value_hash = ?", values)
    database.close()


def repository_id(shop: Path) -> str:
    with sqlite3.connect(shop / ".valuestore" / "valuestore.db") as database:
        [(found,)] = database.execute("select value from repository where name = 'id'")
    database.close()
    return found


@pytest.fixture
def evil(shop: Path) -> bytes:
    return pickle.dumps(Evil(str(shop / "marker")))


def test_without_an_attack_nothing_is_computed_twice(run, shop):
    assert run(shop) == ["computed", "3"]
    assert run(shop) == ["3"]


def test_bare_and_unsigned_pickles_are_computed_anew(run, shop, evil):
    run(shop)
    planted = rows(shop, "codec in ('pickle', 'tagged')")
    assert any(type_name == "shop.Cart" for _, type_name, _ in planted)
    for codec in ("pickle", "tagged"):
        for value_hash, _, _ in planted:
            plant(shop, value_hash, codec, evil)
        assert run(shop)[-1] == "3"


def test_pickles_signed_by_the_attacker_are_computed_anew(run, shop, evil, tmp_path_factory):
    run(shop)
    strangers = KeyRing.open(tmp_path_factory.mktemp("stranger") / "keys")
    planted = rows(shop, "codec in ('pickle', 'tagged')")
    for codec in ("pickle", "tagged"):
        for value_hash, type_name, _ in planted:
            claim = Claim(repository_id(shop), value_hash, type_name, "pickle")
            leaf = encode_plain((value_hash, encode_envelope(*sign(evil, claim, strangers), evil)))
            node = encode_plain([(NODE, type_name, "pickle", leaf)])
            plant(shop, value_hash, codec, leaf if codec == "pickle" else node)
        assert run(shop)[-1] == "3"


def test_what_one_key_signed_in_another_repository_holds_here(run, shop, tmp_path_factory):
    run(shop)
    other = tmp_path_factory.mktemp("other")
    shutil.copy(shop / "shop.py", other / "shop.py")
    run(other)
    for value_hash, _, data in rows(other, "codec = 'pickle'"):
        plant(shop, value_hash, "pickle", data)
    for value_hash, _, data in rows(other, "type_name = 'builtins.list' and codec = 'tagged'"):
        plant(shop, value_hash, "tagged", data)
    assert run(shop) == ["3"]


def test_lost_key_costs_a_run_and_no_wrong_result(run, shop):
    run(shop)
    shutil.rmtree(shop / "config")
    assert run(shop) == ["computed", "3"]


def test_lost_key_costs_one_run_alone(run, shop):
    run(shop)
    shutil.rmtree(shop / "config")
    run(shop)
    assert run(shop) == ["3"]


# --- teams: several machines, each with a home of its own, on one store


@pytest.fixture
def on(run, shop, monkeypatch):
    """What a run on the machine of that name printed."""

    def on(machine: str) -> list[str]:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(shop / machine))
        return run(shop)

    return on


def keys_of(shop: Path, machine: str) -> KeyRing:
    return KeyRing.open(shop / machine / "valuestore" / "keys")


def test_with_a_key_that_all_share_nothing_is_computed_twice(on, shop, monkeypatch):
    team = shop / "team.key"
    team.write_text(SECRET + "\n")
    team.chmod(0o600)
    monkeypatch.setenv("VALUESTORE_KEY_FILE", str(team))
    assert on("one") == ["computed", "3"]
    assert on("other") == ["3"]
    assert not (shop / "one").exists()
    assert not (shop / "other").exists()


def test_a_machine_without_the_teams_key_computes_its_own(on, shop, monkeypatch):
    assert on("one") == ["computed", "3"]
    assert on("other") == ["computed", "3"]
    for machine in ("other", "one") * 2:
        assert on(machine) == ["3"]


def test_machines_that_accept_each_others_keys_compute_nothing_twice(on, shop):
    for machine, accepted in (("one", "other"), ("other", "one")):
        key = keys_of(shop, accepted).signing
        keys_of(shop, machine).add(shop / accepted / "valuestore" / "keys" / f"{key.key_id}.key")
    assert on("one") == ["computed", "3"]
    assert on("other") == ["3"]


def test_what_a_rotated_key_signed_is_accepted_until_the_key_is_deleted(on, shop):
    on("one")
    old = keys_of(shop, "one").signing
    keys_of(shop, "one").rotate()
    assert on("one") == ["3"]
    (shop / "one" / "valuestore" / "keys" / f"{old.key_id}.key").unlink()
    assert on("one") == ["computed", "3"]
    assert on("one") == ["3"]


def test_where_the_teams_key_is_missing_a_run_goes_on_and_says_so(on, scripts, shop, monkeypatch):
    on("one")
    monkeypatch.setenv("VALUESTORE_KEY_FILE", str(shop / "gone"))
    for _ in range(2):
        ran = scripts.run(shop / "shop.py")
        assert (ran.code, ran.out.split()) == (0, ["computed", "3"])
        assert f"{shop / 'gone'}: there is no such file" in ran.err
    monkeypatch.delenv("VALUESTORE_KEY_FILE")
    assert on("one") == ["3"]  # what was signed is there still
