"""A signature per key: colleagues with keys of their own share a repository, and compute nothing twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy

from valuestore import Repository
from valuestore.db.schema import tables as schema
from valuestore.errors import UntrustedPayload
from valuestore.values import get_type_registry, register_type
from valuestore.values.trust.keys import KeyRing


class Model:
    """Pickled; equal ones have equal bytes."""

    def __init__(self, weights: object) -> None:
        self.weights = weights


class Noisy:
    """What it is and what is stored of it differ each time: two keys vouch for other bytes."""

    def __init__(self, number: int, noise: str = "") -> None:
        self.number = number
        self.noise = noise


@pytest.fixture(autouse=True)
def rules() -> None:
    register_type(Noisy, type_name="tests.signatures.Noisy", registry=get_type_registry())(
        type(
            "Rule",
            (),
            {
                "identity": lambda one: one.number,
                "state": lambda one: [
                    one.number,
                    {"size": os.urandom(4 if one.number < 9 else 9000).hex()},
                    len,
                ],
                "from_state": lambda state: Noisy(state[0], state[1]["size"]),
            },
        )
    )


@pytest.fixture
def of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Repository]]:
    """The repository that all share, opened by somebody with a key of their own."""
    opened: list[Repository] = []

    def of(who: str) -> Repository:
        monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / who))
        opened.append(Repository.open(tmp_path / "shared"))
        opened[-1].archive.registry.signer.keys()  # looked for now, while this is who one is
        return opened[-1]

    yield of
    for repository in opened:
        repository.close()


def signatures(repository: Repository) -> list[tuple[str, str, bytes | None]]:
    repository.flush()
    with repository.database.read() as connection:
        rows = connection.execute(sqlalchemy.select(schema.signature).order_by("value_hash", "key_id"))
        return [(row.value_hash, row.key_id, row.inline) for row in rows]


@pytest.mark.parametrize("size", [3, 20_000], ids=["inline", "stored"])
def test_two_keys_vouch_for_equal_bytes_which_are_kept_once(of, size):
    first, second = of("anna"), of("ben")
    ref = first.put(Model(list(range(size))))
    first.flush()
    with pytest.raises(UntrustedPayload, match="keys add"):
        second.get(ref.value_hash)
    assert second.put(Model(list(range(size)))).payload_digest == ref.payload_digest
    second.flush()
    for repository in (first, second, of("anna"), of("ben")):
        assert repository.get(ref.value_hash).weights == list(range(size))
    assert len({key for _, key, _ in signatures(first)}) == 2
    assert {inline for _, _, inline in signatures(first)} == {None}
    assert first.stats().rows["payload"] == (size > 3)


@pytest.mark.parametrize("number", [1, 9], ids=["inline", "stored"])
def test_each_gets_the_bytes_that_its_key_signed(of, number):
    """They differ: none is trusted for another's, and nobody replaces them for ever."""
    first, second = of("anna"), of("ben")
    refs = [one.put(Noisy(number)) for one in (first, second, first, second, second)]
    assert len({ref.value_hash for ref in refs}) == 1
    assert len({ref.payload_digest for ref in refs}) == 5
    for one in (first, second):
        one.flush()
    kept = [one.get(refs[0].value_hash).noise for one in (first, second)]
    assert len(set(kept)) == 2
    assert [one.get(refs[0].value_hash).noise for one in (of("anna"), of("ben"))] == kept


def test_a_key_that_is_added_vouches_for_its_owner(of, tmp_path):
    ref = of("anna").put(Model(1))
    [key_file] = (tmp_path / "anna" / "valuestore" / "keys").glob("*.key")
    KeyRing.open(tmp_path / "ben" / "valuestore" / "keys").add(key_file)
    anna = of("anna")
    anna.put(Model(1))
    anna.flush()
    assert of("ben").get(ref.value_hash).weights == 1


@pytest.mark.parametrize("column", ["mac", "payload_digest", "key_id", "inline"])
def test_an_edited_signature_is_never_believed_and_healed_by_the_next_put(of, column):
    first, second = of("anna"), of("ben")
    ref = first.put(Noisy(1))
    first.flush()
    second.put(Noisy(1))  # other bytes: those of the first lie with its signature
    second.flush()
    value = {"mac": b"\0" * 32, "payload_digest": "0" * 32, "key_id": "00000000", "inline": b"\x80\x05N."}[
        column
    ]
    with first.database.write() as connection:
        table = schema.signature
        connection.execute(
            table.update().where(table.c.key_id == ref.signature.key_id).values({column: value})
        )
    with pytest.raises(Exception, match=r"was not loaded|hashes to|gone|missing|not in"):
        of("anna").get(ref.value_hash)
    third = of("anna")
    noise = third.put(Noisy(1))
    third.flush()
    assert third.find_value(noise.value_hash).payload_digest == noise.payload_digest
    assert third.get(noise.value_hash).number == 1


def test_many_write_the_same_value_with_different_keys_at_once(of):
    repositories = [of(who) for who in ("anna", "ben", "cleo", "dan")]

    def put(repository: Repository) -> None:
        for number in range(1, 60):
            repository.put(Noisy(number % 5))
            repository.put(Model([number]))
            if not number % 7:
                repository.flush()
        repository.flush()

    threads = [threading.Thread(target=put, args=[one]) for one in repositories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for repository in repositories:
        for number in range(5):
            assert repository.get(repository.archive.registry.hash(Noisy(number))).number == number
        for number in range(1, 60):
            assert repository.get(repository.archive.registry.hash(Model([number]))).weights == [number]
    assert len({key for _, key, _ in signatures(repositories[0])}) == 4


def test_a_list_of_models_is_vouched_for_as_a_whole(of):
    first, second = of("anna"), of("ben")
    ref = first.put([Model(1), Model(2)])
    first.flush()
    with pytest.raises(UntrustedPayload):
        second.get(ref.value_hash)
    assert second.put([Model(1), Model(2)]).payload_digest == ref.payload_digest
    second.flush()
    assert [one.weights for one in first.get(ref.value_hash)] == [1, 2]
