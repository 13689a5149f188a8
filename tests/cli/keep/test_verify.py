"""``valuestore verify`` and ``repair``: what exit codes tell, and where lost payloads are looked for."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Cli
from valuestore import Repository
from valuestore.db.upkeep.verify import Verdict


def test_the_exit_code_tells_what_was_found(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        lost = repository.put(b"a" * 20_000)
        damaged = repository.put(b"b" * 20_000)
        repository.payloads.put(b"c" * 20_000)
    assert cli("verify").code == Verdict.ORPHAN
    for ref, data in ((lost, None), (damaged, b"d" * 20_000)):
        place = here / ".valuestore" / "payloads" / str(ref.payload_digest)[:2] / str(ref.payload_digest)
        place.write_bytes(data) if data else place.unlink()
    told = cli("verify", "--json")
    assert told.code == Verdict.MISSING | Verdict.DAMAGED | Verdict.ORPHAN
    facts = json.loads(told.out)
    assert (facts["damaged"], facts["missing"], facts["orphan"], facts["values"]) == (1, 1, 1, 2)
    assert {one["name"] for one in facts["findings"] if one["kind"] == "value"} == {
        lost.value_hash,
        damaged.value_hash,
    }
    assert cli("verify", "--sample", "3", "--max-seconds", "2").code == 2
    assert "dropped" in cli("repair").out
    assert cli("verify").code == Verdict.ORPHAN


def test_repair_takes_payloads_from_a_repository_or_a_store(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository, Repository.open(here / "other") as other:
        refs = [each.put(b"a" * 20_000) for each in (repository, other)]
        place = (
            here / ".valuestore" / "payloads" / str(refs[0].payload_digest)[:2] / str(refs[0].payload_digest)
        )
    cli("repo", "add", "team", "other")
    for source in ("other", f"file://{here}/other/.valuestore/payloads", "team"):
        place.unlink()
        assert "restored" in cli("repair", "--from", source).out
        assert cli("verify").code == 0


def test_nothing_is_dropped_that_a_place_may_have_which_is_not_there(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        digest = str(repository.put(b"a" * 20_000).payload_digest)
    (here / ".valuestore" / "payloads" / digest[:2] / digest).unlink()
    (here / "empty").mkdir()
    for source in ("otter", f"file://{here}/otter", "empty", "redis://localhost:1/0"):
        told = cli("repair", "--from", source)
        assert told.code in (2, 3)
        assert source in told.err
        assert "dropped" not in told.out
    assert not (here / "otter").exists()
    assert cli("verify").code == Verdict.MISSING


def test_what_cannot_be_looked_at_is_no_finding_of_damage(cli: Cli, here: Path) -> None:
    outcome = cli("verify", "-r", "nowhere")
    assert outcome.code == 8
    assert "nowhere" in outcome.err
