"""Verify finds what is not what it should be, goes on, changes nothing; repair restores or drops it (I16)."""

from __future__ import annotations

import warnings
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import text

from valuestore import Repository, Scheduler, task
from valuestore.db.upkeep.repair import Outcome, Repairer
from valuestore.db.upkeep.verify import Verdict, Verifier
from valuestore.errors import PayloadMissing, StoreClosed, ValuestoreWarning


@task(namespace="verified", version="1")
def part(n: int) -> bytes:
    return bytes(10_000) + bytes([n])


@task(namespace="verified", version="1")
def frame(n: int) -> np.ndarray:
    return np.arange(5_000) + n


@task(namespace="verified", version="1")
def size(data: object, array: np.ndarray) -> dict[str, set[int]]:
    return {"size": {len(data) + len(array)}}  # type: ignore[arg-type]


@task(namespace="verified", version="1")
def whole(count: int) -> list[dict[str, set[int]]]:
    return [size(part(n), frame(n)) for n in range(count)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.thorough)])
def repository(request, tmp_path):
    database = request.getfixturevalue("postgres_url") if request.param == "postgresql" else ""
    with made(tmp_path, database) as opened:
        yield opened


@contextmanager
def made(folder, database):
    with Repository.open(folder, database=database) as opened:
        with Scheduler(opened) as scheduler:
            scheduler.run(whole(4))
            scheduler.run(part(1))
        opened.put({"by": {"hand"}})
        opened.put("x" * 20_000)
        opened.flush()
        yield opened


def verifier(repository):
    return Verifier(repository.database, repository.lookup, repository.archive)


def found(repository):
    return sorted((one.verdict, one.kind) for one in verifier(repository).verify())


def change(repository, sql, **parameters):
    with repository.database.write() as connection:
        return connection.execute(text(sql), parameters)


def payload_of(repository, type_name):
    [(digest,), *_] = repository.database.rows(
        f"SELECT payload_digest FROM value WHERE type_name = '{type_name}' AND payload_digest IS NOT NULL"
    )
    return repository.folder / "payloads" / digest[:2] / digest


def test_what_is_whole_is_found_whole(repository):
    checked = verifier(repository)
    assert list(checked.verify()) == []
    report = checked.report
    assert report.values == report.total > 15
    assert report.records > 15
    assert report.bytes > 4 * (10_000 + 40_000)
    assert (report.is_whole, report.exit_code) == (True, 0)


@pytest.mark.parametrize("kind", ["builtins.bytes", "builtins.str", "numpy.ndarray"])
def test_payloads_are_read(repository, kind):
    place = payload_of(repository, kind)
    data = bytearray(place.read_bytes())
    data[5_000] ^= 1
    place.write_bytes(data)
    assert found(repository) == [(Verdict.DAMAGED, "value")]
    assert found(repository) == [(Verdict.DAMAGED, "value")]  # it is where it was
    place.unlink()
    assert found(repository) == [(Verdict.MISSING, "value")]


def test_a_payload_is_that_of_its_value(repository):
    """Whole bytes, and another value's: of arrays only decoding tells."""
    all_of = "FROM value WHERE type_name = :name"
    for type_name in ("numpy.ndarray", "builtins.bytes"):
        change(
            repository,
            f"UPDATE value SET payload_digest = (SELECT max(payload_digest) {all_of}) WHERE value_hash = "
            f"(SELECT min(value_hash) {all_of} AND payload_digest < (SELECT max(payload_digest) {all_of}))",
            name=type_name,
        )
    orphaned = [(Verdict.DAMAGED, "value")] * 2
    assert found(repository) == orphaned


ROWS = {
    "inline": ("UPDATE value SET inline = :data WHERE inline IS NOT NULL", Verdict.DAMAGED, "value"),
    "pair": (
        "UPDATE evaluation SET value_hash = (SELECT min(value_hash) FROM value) "
        "WHERE value_hash = (SELECT max(value_hash) FROM evaluation)",
        Verdict.DAMAGED,
        "evaluation",
    ),
    "argument": (
        "UPDATE argument SET value_hash = (SELECT min(value_hash) FROM value) "
        "WHERE value_hash = (SELECT max(value_hash) FROM argument)",
        Verdict.DAMAGED,
        "arguments",
    ),
    "call": (
        "UPDATE call_node SET value_hash = (SELECT min(value_hash) FROM value) "
        "WHERE call_hash = (SELECT max(call_hash) FROM call_node)",
        Verdict.DAMAGED,
        "call",
    ),
    "edge": ("DELETE FROM call_edge WHERE position = 1", Verdict.DAMAGED, "call"),
    "set": (
        "DELETE FROM set_member WHERE member_hash = (SELECT max(member_hash) FROM set_member)",
        Verdict.DAMAGED,
        "set",
    ),
    "value": (
        "DELETE FROM value WHERE value_hash = (SELECT max(value_hash) FROM evaluation)",
        Verdict.MISSING,
        "evaluation",
    ),
    "payload": ("DELETE FROM payload", Verdict.ORPHAN, "payload"),
}


@pytest.mark.parametrize("damage", ROWS)
def test_rows_are_what_was_written(repository, damage):
    sql, verdict, kind = ROWS[damage]
    change(repository, sql, **({"data": b"i\x01"} if ":data" in sql else {}))
    checked = verifier(repository)
    kinds = {(one.verdict, one.kind) for one in checked.verify()}
    assert (verdict, kind) in kinds
    assert checked.report.exit_code & verdict
    assert all(one[0] == verdict for one in kinds)


def test_what_no_key_vouches_for_is_untrusted(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    monkeypatch.delenv("VALUESTORE_KEY_FILE", raising=False)
    with Repository.open(tmp_path, database=repository.settings.database) as other:
        assert {one.verdict for one in verifier(other).verify()} == {Verdict.UNTRUSTED}


def test_a_sample_reads_so_many_values_alone(repository):
    checked = verifier(repository)
    assert list(checked.sample(5)) == []
    assert (checked.report.values, checked.report.records) == (5, 0)
    change(repository, "UPDATE value SET inline = :data WHERE inline IS NOT NULL", data=b"no")
    assert list(verifier(repository).sample(1_000))


def test_it_goes_on_where_its_time_was_over(repository):
    """Each part is looked at once before any is again."""
    looked, rounds = [], 0
    while True:
        checked = verifier(repository)
        list(checked.verify(max_seconds=0))
        looked.append(checked.report.values + checked.report.records)
        rounds += 1
        if checked._cursor().startswith("payload "):
            break
    whole = verifier(repository)
    list(whole.verify())
    assert rounds > 20
    assert sum(looked) == whole.report.values + whole.report.records
    last = verifier(repository)
    list(last.verify(max_seconds=60))
    assert (last.report.is_whole, last._cursor()) == (True, "")
    assert last.report.values == whole.report.values


def test_what_is_lost_is_restored_from_where_it_is(repository, tmp_path):
    with Repository.open(tmp_path / "copy", digest=repository.algorithm) as copy:
        for n in range(4):
            copy.put(part.func(n))
        place = payload_of(repository, "builtins.bytes")
        data = place.read_bytes()
        place.write_bytes(b"damage")
        payload_of(repository, "numpy.ndarray").unlink()
        repairer = Repairer(repository.database, repository.lookup, repository.archive, [copy.payloads])
        outcomes = sorted(one.outcome.value for one in repairer.repair(verifier(repository).verify()))
    assert outcomes == ["dropped", "restored"]
    assert place.read_bytes() == data
    assert found(repository) == []


@pytest.mark.parametrize("damage", [name for name in ROWS if name != "payload"])
def test_what_is_dropped_is_computed_again(repository, damage):
    change(repository, ROWS[damage][0], **({"data": b"i\x01"} if damage == "inline" else {}))
    place = payload_of(repository, "builtins.bytes")
    place.unlink()
    repairer = Repairer(repository.database, repository.lookup, repository.archive)
    outcomes = {one.outcome for one in repairer.repair(verifier(repository).verify())}
    assert outcomes == {Outcome.DROPPED}
    assert found(repository) == []
    again = Repository.open(repository.folder, database=repository.settings.database)
    with again, Scheduler(again, progress=False) as scheduler, warnings.catch_warnings():
        warnings.simplefilter("ignore", ValuestoreWarning)  # it says that what was dropped is computed again
        expected = [{"size": {15_001}}] * 4
        assert scheduler.run(whole(4)) == expected
        assert scheduler.run(part(1)) == part.func(1)
    assert found(repository) == []


def test_all_damage_at_once_is_found_and_repaired_on_postgres(tmp_path, postgres_url):
    with made(tmp_path, postgres_url) as repository:
        for sql, _, _ in ROWS.values():
            change(repository, sql, **({"data": b"i\x01"} if ":data" in sql else {}))
        assert {kind for _, kind in found(repository)} >= {kind for _, _, kind in ROWS.values()}
        repairer = Repairer(repository.database, repository.lookup, repository.archive)
        list(repairer.repair(verifier(repository).verify()))
        assert {verdict for verdict, _ in found(repository)} == {Verdict.ORPHAN}


def test_a_dropped_value_says_that_it_is_gone(repository):
    ref = repository.put(b"y" * 30_000)
    repository.flush()
    (repository.folder / "payloads" / ref.payload_digest[:2] / ref.payload_digest).unlink()
    repairer = Repairer(repository.database, repository.lookup, repository.archive)
    assert [one.outcome for one in repairer.repair(verifier(repository).verify())] == [Outcome.DROPPED]
    with pytest.raises(PayloadMissing):
        repository.get(ref.value_hash)
    repository.put(b"y" * 30_000)
    assert repository.get(ref.value_hash) == b"y" * 30_000


def test_a_repository_verifies_itself(repository):
    report = repository.verify()
    assert (report.findings, report.exit_code, report.is_whole) == ([], 0, True)
    payload_of(repository, "builtins.str").write_bytes(b"broken")
    report = repository.verify()
    assert [one.verdict for one in report.findings] == [Verdict.DAMAGED]
    assert report.exit_code == 1
    assert repository.verify(sample=3).values == 3
    assert repository.verify(max_seconds=60.0).is_whole
    repository.close()
    with pytest.raises(StoreClosed):
        repository.verify()
