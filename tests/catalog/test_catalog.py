"""The catalog beside its contract: values, arguments of tasks, collections, history, processes, plans."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.catalog import pipelines as p
from tests.db.upkeep.conftest import dangling
from valuestore import Repository, Scheduler
from valuestore.db.record.entries import probe_of
from valuestore.db.schema.kept import kept
from valuestore.db.upkeep.verify import Verifier
from valuestore.errors import (
    NotFound,
    NotSupported,
    PayloadCorrupt,
    RecordNotFound,
    StoreClosed,
    StoreError,
    UndeclaredRead,
    VersionConflict,
)

LARGE = b"large" * 10_000
ROOT = Path(__file__).parents[2]


def program(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.catalog.pipelines", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True, cwd=ROOT)


def rows(repository, table):
    return repository.stats().rows[table]


# --- values ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"k": [1, 2]}, "text", b"bytes", None, LARGE, ["x" * 20_000]], ids=repr)
def test_a_bound_name_loads_as_its_value_and_gets_as_its_payload(repository, catalog, value):
    ref = repository.put(value)
    entry = catalog.bind("k", ref, attrs={"x": 1})
    assert (entry.value_hash, entry.size, entry.attrs) == (ref.value_hash, ref.size, {"x": 1})
    assert catalog.load("k") == value
    assert catalog.get("k") == repository.archive.read(repository.find_value(ref.value_hash))
    assert len(catalog.get("k")) == entry.size
    assert catalog.bind("other", ref.value_hash).digest == entry.digest
    assert catalog.put("k", b"bare").value_hash is None
    assert (catalog.load("k"), catalog.load("k", version=1)) == (b"bare", value)


def test_equal_bytes_of_values_and_entries_are_one_payload(repository, catalog):
    ref = repository.put(LARGE)
    entry = catalog.put("k", LARGE)
    assert (entry.digest, len(list(repository.payloads.digests()))) == (ref.payload_digest, 1)


def test_names_and_attributes_of_unequal_lengths_are_said_to_be(catalog):
    catalog.put("k", b"")
    for change in (catalog.set_attrs_many, catalog.update_attrs_many):
        with pytest.raises(ValueError, match="1 names, but attributes of 2; nothing was stored"):
            change(["k"], [{"x": 1}, {"x": 2}])
    assert catalog.attrs("k") == {}


def test_a_ref_in_a_result_is_read_whether_or_not_that_was_cached(repository, catalog):
    catalog.put("k", b"bytes")
    catalog.bind("v", repository.put([LARGE]))
    with Scheduler(repository) as scheduler:
        for _ in range(2):
            assert scheduler.run(p.among(catalog.ref("k")))["models"][0].get() == b"bytes"
            assert scheduler.run(p.among(catalog.ref("v")))["models"][0].load() == [LARGE]
        assert scheduler.execution.counts.cached == 1
        other = scheduler.run(p.among.options(executor="processes", cache=False)(catalog.ref("k")))
    assert other["models"][0].get() == b"bytes"


def test_a_text_is_no_list_of_names(catalog):
    catalog.put("a", b"")
    for use in (
        lambda: catalog.delete_many("a"),
        lambda: catalog.put_many("ab", [b"", b""]),
        lambda: catalog.get_many("a"),
        lambda: catalog.set_attrs_many("a", [{}]),
    ):
        with pytest.raises(TypeError, match="a list of names"):
            use()
    assert list(catalog.names()) == ["a"]


def test_a_value_that_is_not_there_is_not_bound(catalog):
    with pytest.raises(NotFound):
        catalog.bind("k", "0" * 32)
    assert not catalog.exists("k")


def test_damage_is_found(repository, catalog):
    digest = catalog.put("k", LARGE).digest
    [file] = (path for path in repository.folder.rglob(f"*{digest}*") if path.is_file())
    file.chmod(0o600)
    file.write_bytes(b"other" * 10_000)
    for ask in (catalog.get, catalog.open, catalog.load):
        with pytest.raises((PayloadCorrupt, KeyError)):
            ask("k")


def test_a_row_that_leads_to_other_bytes_is_found(repository, catalog):
    catalog.put("k", b"1")
    other = catalog.put("k", b"22").digest
    change = f"UPDATE entry_version SET payload_digest = '{other}' WHERE version = 1"
    repository.database.change(lambda driver: driver.change(change))
    with pytest.raises(PayloadCorrupt, match="which had 1 bytes"):
        catalog.get("k", version=1)
    assert catalog.get("k") == b"22"
    [finding] = Verifier(repository.database, repository.lookup, repository.archive).verify()
    assert finding.verdict.name == "DAMAGED"
    assert "catalog:k, version 1" in finding.reason


# --- arguments of tasks ---------------------------------------------------------------------------


@pytest.fixture
def scheduler(repository):
    with Scheduler(repository) as scheduler:
        yield scheduler


def ran(scheduler, call):
    """What it gives, and how many bodies ran for it."""
    return scheduler.run(call), scheduler.execution.counts.done


def test_a_name_that_has_moved_is_another_argument(scheduler, catalog):
    catalog.put("k", b"12")
    assert ran(scheduler, p.length(catalog.ref("k"))) == (2, 1)
    catalog.update_attrs("k", {"x": 1})
    assert ran(scheduler, p.length(catalog.ref("k"))) == (2, 0)
    catalog.put("k", b"123")
    assert ran(scheduler, p.length(catalog.ref("k"))) == (3, 1)
    catalog.revert("k", 1)
    assert ran(scheduler, p.length(catalog.ref("k"))) == (2, 0)
    catalog.copy("k", "other")
    assert ran(scheduler, p.length(catalog.ref("other"))) == (2, 1)


def test_a_ref_is_of_what_the_name_stood_for(scheduler, repository, catalog):
    catalog.bind("k", repository.put({"a": LARGE}))
    ref = catalog.ref("k")
    catalog.put("k", b"other")
    assert ran(scheduler, p.loaded(ref)) == ({"a": LARGE}, 1)
    assert (ref.load(), ref.name, ref.external()) == ({"a": LARGE}, "k", "catalog:k")


def test_a_subtree_is_replayed_while_its_names_stand_for_the_same(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        catalog, call = scheduler.repository.catalog, p.pass_on(str(tmp_path), "k")
        catalog.put("k", b"12")
        assert ran(scheduler, call) == (2, 2)
        assert ran(scheduler, call) == (2, 0)
        catalog.put("k", b"123")
        assert ran(scheduler, call) == (3, 2)
        catalog.delete("k")
        with pytest.raises(NotFound):
            scheduler.run(call)


@pytest.mark.thorough
def test_workers_read_what_they_are_given(repository, catalog):
    catalog.put("k", LARGE)
    catalog.bind("v", repository.put([1, 2]))
    with Scheduler(repository, executor="processes") as scheduler:
        assert scheduler.run([p.length(catalog.ref("k")), p.loaded(catalog.ref("v"))]) == [len(LARGE), [1, 2]]


def test_a_body_that_asks_the_catalog_is_warned_of(tmp_path):
    with Scheduler(tmp_path) as scheduler:
        repository = scheduler.repository
        repository.catalog.put("k", b"12")
        with pytest.warns(UndeclaredRead, match=r"asked the catalog for k.*pass catalog.ref\('k'\)"):
            assert scheduler.run(p.ask(str(tmp_path), "k")) == b"12"
        [made] = repository.history.query("SELECT execution_id FROM entries WHERE name = 'made/inside'").rows
        assert made == (repository.history.find_one("-").record_id,)


def test_a_ref_from_a_store_is_read_by_no_program_that_it_was_not_given_to(repository, catalog):
    catalog.put("k", b"12")
    stored = repository.get(repository.put([catalog.ref("k")]).value_hash)[0]
    assert stored == catalog.ref("k")
    with pytest.raises(NotSupported, match="pass it to a task"):
        stored.get()


# --- history --------------------------------------------------------------------------------------


def test_a_name_has_a_past_and_a_future(any_repository):
    repository, catalog = any_repository, any_repository.catalog
    catalog.put("input", LARGE)
    with Scheduler(repository) as scheduler:
        scheduler.run(p.loaded(catalog.ref("input")))
    catalog.bind("output", repository.history.find_one("-").record_id)
    up = repository.history.upstream("catalog:output")
    assert [call.task for call in up.calls.values()] == ["catalog.loaded"]
    assert up.files() == ["catalog:input"]
    for record in ("catalog:input", catalog.stat("input")):
        assert [call.task for call in repository.history.downstream(record).calls.values()] == [
            "catalog.loaded"
        ]
    assert repository.history.result("catalog:output") == catalog.stat("output").value_hash
    assert repository.history.jobs().where(file="catalog:input").count() == 1
    with pytest.raises(RecordNotFound):
        repository.history.find_one("catalog:missing")


def test_names_are_tagged_as_records_are(repository, catalog):
    entry = catalog.put("k", b"")
    repository.tags.update(entry, stage="trial")
    repository.tags.update("catalog:k", stage="final")
    catalog.put("k", b"again")
    assert repository.tags.get(catalog.stat("k")) == {"stage": "final"}
    assert [tag.entity for tag in repository.tags.history(entry)] == ["entry", "entry"]


# --- collections ----------------------------------------------------------------------------------


def collected(repository):
    report = repository.gc(dry_run=False, grace_seconds=0, keep_last=0, older_than_seconds=0)
    assert dangling(repository) == {}
    return report


def test_all_versions_of_a_name_that_is_there_are_kept(any_repository):
    repository, catalog = any_repository, any_repository.catalog
    catalog.put("k", b"1")
    catalog.put("k", b"2")
    catalog.bind("v", repository.put([LARGE]))
    catalog.delete("v")
    catalog.bind("w", repository.put({"small": 1}))
    repository.flush()
    report = collected(repository)
    assert (catalog.get("k", version=1), catalog.get("k"), catalog.load("w")) == (b"1", b"2", {"small": 1})
    assert (report.freed["entries"].count, report.freed["payloads"].count) == (1, 1)
    with pytest.raises(NotFound):
        catalog.versions("v")
    assert catalog.put("v", b"anew").version == 2
    assert rows(repository, "entry_version") == 4


def test_a_pinned_name_keeps_its_versions_when_it_is_deleted(repository, catalog):
    repository.tags.update(catalog.put("k", b"1"), pinned=True)
    catalog.delete("k")
    collected(repository)
    assert catalog.revert("k", 1).version == 2


def test_deleting_a_value_leaves_what_a_name_stands_for(repository, catalog):
    ref = repository.put("by hand")
    catalog.bind("k", ref)
    catalog.put("gone", b"1")
    catalog.delete("gone")
    repository.delete(ref.value_hash)
    assert (catalog.load("k"), catalog.get("gone", version=1)) == ("by hand", b"1")


def test_what_is_collected_before_its_name_is_written_is_stored_again(any_repository):
    repository, catalog = any_repository, any_repository.catalog
    with catalog.batch():
        catalog.put("k", LARGE)
        collected(repository)
        assert list(repository.payloads.digests()) == []
    assert catalog.get("k") == LARGE
    assert dangling(repository) == {}


def test_a_stream_that_is_collected_before_its_name_is_written_has_to_be_put_again(repository, catalog):
    with pytest.raises(StoreError, match="put it again"), catalog.batch():  # its end raises
        catalog.put("other", b"small")
        catalog.put("k", iter([LARGE]))
        collected(repository)
    assert list(catalog.names()) == []


def test_a_value_that_is_collected_before_its_name_is_written_is_not_bound(repository, catalog):
    ref = repository.put("by hand")
    with pytest.raises(StoreError, match="collected"), catalog.batch():
        catalog.bind("k", ref)
        collected(repository)
    assert not catalog.exists("k")


# --- plans and costs ------------------------------------------------------------------------------


def plan(repository, name, **given):
    explain = "EXPLAIN QUERY PLAN" if repository.database.is_sqlite else "EXPLAIN"
    found = repository.database.rows(f"{explain} {kept(repository.database.dialect_name)[name]}", given)
    return "\n".join(str(row[-1]) for row in found)


RANGE = {"low": "", "high": "\U0010ffff", "since": 0, "most": 10}


def test_finding_is_one_probe_of_an_index_in_the_order_of_names(any_repository):
    repository, catalog = any_repository, any_repository.catalog
    catalog.put_many([f"n{n}" for n in range(2000)], [b""] * 2000, [{"n": n, "all": 1} for n in range(2000)])
    repository.database.change(lambda driver: driver.change("ANALYZE"))
    given = {"probe": probe_of("all", 1), "keys": f'["{probe_of("n", 7)}"]', "number": 1, **RANGE}
    found = plan(repository, "entries with", **given)
    if repository.database.is_sqlite:
        assert "SEARCH a USING PRIMARY KEY (probe=? AND name>? AND name<?)" in found
        assert "SEARCH b USING PRIMARY KEY (probe=? AND name=?)" in found
        assert "SCAN e" not in found
        assert "SCAN v" not in found
        assert "TEMP B-TREE" not in found
    else:
        assert "entry_attribute_pkey on entry_attribute a" in found
        assert "Sort" not in found
    assert "SCAN" not in plan(repository, "entry names", **{k: v for k, v in RANGE.items() if k != "since"})


def test_changes_of_attributes_move_no_bytes(tmp_path):
    events = []
    with Repository.open(tmp_path, observers=[events.append]) as repository:
        catalog = repository.catalog
        catalog.put("k", LARGE)
        moved = [event for event in events if event.bytes_done]
        assert moved
        events.clear()
        catalog.update_attrs("k", {"x": 1})
        catalog.copy("k", "m")
        catalog.move("m", "n")
        catalog.revert("k", 1)
        assert [event.operation for event in events if event.operation != "flush"] == []


# --- threads, processes, places ---------------------------------------------------------------------


def test_threads_that_put_one_name_each_make_a_version(any_repository):
    repository, catalog = any_repository, any_repository.catalog

    def put(number):
        for turn in range(5):
            catalog.put("k", b"%d" % number, attrs={"thread": number, "turn": turn})
            with catalog.batch():
                catalog.put(f"own{number}", b"")

    threads = [threading.Thread(target=put, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [entry.version for entry in catalog.versions("k")] == list(range(1, 21))
    assert [name for name, _ in catalog.find(["turn"], turn=4)] == ["k"]
    assert dangling(repository) == {}


def test_a_batch_is_of_its_thread(catalog):
    seen = []
    with catalog.batch():
        catalog.put("k", b"")
        other = threading.Thread(target=lambda: seen.append(catalog.exists("k")))
        other.start()
        other.join()
    assert seen == [False]
    assert catalog.exists("k")


def test_processes_that_expect_versions_lose_no_update(tmp_path):
    with Repository.open(tmp_path) as repository:
        repository.catalog.put("count", b"", attrs={"n": 0})
    others = [program("count_up", tmp_path, 20) for _ in range(3)]
    for other in others:
        other.communicate(timeout=60)
    assert [other.returncode for other in others] == [0, 0, 0]
    with Repository.open(tmp_path) as repository:
        assert repository.catalog.attrs("count") == {"n": 60}
        assert repository.catalog.stat("count").version == 61


def test_a_killed_process_leaves_whole_batches(tmp_path):
    with program("put_until_killed", tmp_path) as other:
        for line in other.stdout:
            if int(line) >= 20:
                os.kill(other.pid, signal.SIGKILL)
                break
    with Repository.open(tmp_path) as repository:
        catalog = repository.catalog
        number = catalog.attrs("a")["n"]
        assert number >= 20
        assert catalog.attrs("b") == {"n": number}
        assert [name for name, _ in catalog.find(n=number)] == ["a", "b"]
        assert (catalog.get("a"), catalog.get("b")) == (b"%d" % number * 1000, b"%d" % number * 2000)
        assert len(catalog.versions("a")) == number + 1
        assert dangling(repository) == {}


def test_a_closed_repository_has_a_closed_catalog(tmp_path):
    with Repository.open(tmp_path) as repository:
        catalog = repository.catalog
    for ask in (lambda: catalog.get("k"), lambda: catalog.put("k", b""), catalog.list, catalog.find):
        with pytest.raises(StoreClosed):
            ask()


def test_payloads_in_s3_are_signed(opened, s3_url):
    import urllib.request

    repository = opened(payloads=s3_url)
    repository.catalog.put("k", LARGE)
    url = repository.catalog.sign("k")
    with urllib.request.urlopen(urllib.request.Request(url.url, headers=url.headers)) as answer:
        assert answer.read() == LARGE
    over = opened().catalog.over(repository.catalog, "m/").sign("m/k").url
    assert over.partition("?")[0] == url.url.partition("?")[0]
    repository.catalog.bind("v", repository.put([1]))
    for name, method in (("k", "PUT"), ("v", "GET")):
        with pytest.raises(NotSupported):
            repository.catalog.sign(name, method)


def test_a_mount_pushes_what_was_changed(opened):
    top, behind = opened().catalog, opened().catalog
    behind.put("x", b"behind", attrs={"a": 3})
    view = top.over(behind, "m/")
    with pytest.raises(ValueError):
        view.put("outside", b"")
    with pytest.raises(NotFound):
        view.get("x")
    view.update_attrs("m/x", {"a": 4})
    assert (view.get("m/x"), behind.attrs("x"), list(view.find(a=3))) == (b"behind", {"a": 3}, [])
    assert [entry.version for entry in view.versions("m/x")] == [1, 2]
    assert view.push("m/x").version == 2
    assert (behind.attrs("x"), top.exists("m/x"), view.attrs("m/x")) == ({"a": 4}, False, {"a": 4})
    for name in ("m/x", "m/unknown"):
        with pytest.raises(NotFound):
            view.push(name)
    view.put("m/x", b"changed")
    with pytest.raises(VersionConflict):
        top._commits.forget("m/x", 1)
    assert (view.get("m/x"), view.stat("m/x").version) == (b"changed", 3)
    view.delete("m/x")
    assert (view.exists("m/x"), list(view.names()), behind.exists("x")) == (False, [], True)
    assert view.put("m/x", b"again").attrs == {}


@pytest.mark.parametrize("value", [[1, 2], [LARGE.decode("latin-1")]])
def test_a_value_stays_one_when_it_is_copied_up_and_pushed(opened, value):
    top, behind = opened(), opened()
    behind.catalog.bind("v", behind.put(value))
    view = top.catalog.over(behind.catalog, "m/")
    assert view.load("m/v") == value
    view.update_attrs("m/v", {"a": 1})
    assert view.copy("m/v", "m/w").value_hash == behind.catalog.stat("v").value_hash
    assert view.load("m/v") == view.load("m/w") == value
    view.push("m/w")
    assert behind.catalog.load("w") == value
    below = behind.catalog.over(opened().catalog).over(top.catalog, "t/")
    assert below.revert("t/m/v", 2).attrs == {"a": 1}
    assert below.load("t/m/v") == value
    assert top.catalog.over(top.catalog, "s/").set_attrs("s/m/v", {}).value_hash is not None
    for repository in (top, behind):
        assert dangling(repository) == {}


def test_a_value_of_another_digest_is_not_copied_up(opened):
    top, behind = opened(), opened(digest="blake3-256")
    behind.catalog.bind("v", behind.put([1]))
    view = top.catalog.over(behind.catalog)
    with pytest.raises(NotSupported, match="another digest"):
        view.update_attrs("v", {"a": 1})
    assert view.load("v") == [1]


def test_of_what_is_behind_there_are_no_refs(opened):
    top, behind = opened().catalog, opened().catalog
    behind.put("x", b"1")
    view = top.over(behind, "m/")
    with pytest.raises(NotSupported, match="ask that catalog"):
        view.ref("m/x")
    view.set_attrs("m/x", {})
    assert view.ref("m/x").get() == b"1"


# --- sharing and verification -----------------------------------------------------------------------


def test_names_are_pushed_with_versions_attributes_and_tags(any_repository, tmp_path):
    repository, catalog = any_repository, any_repository.catalog
    catalog.put("a", b"1", attrs={"x": 1})
    catalog.put("a", LARGE, attrs={"x": 2})
    catalog.bind("v", repository.put({"big": LARGE}))
    catalog.put("gone", b"")
    catalog.delete("gone")
    repository.tags.update(catalog.stat("a"), stage="final")
    with Repository.open(tmp_path / "other", digest=repository.algorithm) as other:
        other.catalog.put("own", b"", attrs={"x": 2})
        repository.push(other)
        assert [entry.attrs for entry in other.catalog.versions("a")] == [{"x": 1}, {"x": 2}]
        assert (other.catalog.get("a"), other.catalog.get("a", version=1)) == (LARGE, b"1")
        assert other.catalog.load("v") == {"big": LARGE}
        assert [name for name, _ in other.catalog.find(x=2)] == ["a", "own"]
        assert list(other.catalog.find(x=1)) == []
        assert list(other.catalog.names()) == ["a", "own", "v"]
        assert other.tags.get("catalog:a") == {"stage": "final"}
        catalog.put("a", b"3")
        catalog.delete("v")
        assert other.catalog.put("own", b"2").version == 2
        repository.push(other)
        assert (other.catalog.get("a"), other.catalog.stat("a").version) == (b"3", 3)
        assert repository.push(other).records == 0
        assert dangling(other) == {}


def test_one_name_is_exported_with_what_it_stands_for(repository, catalog, tmp_path):
    catalog.put("other", b"other")
    catalog.bind("v", repository.put([LARGE]))
    repository.export(tmp_path / "bundle", "catalog:v")
    with Repository.open(tmp_path / "other", digest=repository.algorithm) as other:
        other.import_(tmp_path / "bundle")
        assert list(other.catalog.names()) == ["v"]
        assert other.catalog.load("v") == [LARGE]


def test_lost_and_damaged_bytes_are_found_by_verification(repository, catalog):
    lost, damaged = catalog.put("lost", LARGE), catalog.put("damaged", LARGE + b"!")
    catalog.put("whole", b"whole")
    repository.payloads.delete_many([lost.digest])
    [file] = (path for path in repository.folder.rglob(f"*{damaged.digest}*") if path.is_file())
    file.chmod(0o600)
    file.write_bytes(b"other" * 10_000)
    verifier = Verifier(repository.database, repository.lookup, repository.archive)
    found = {finding.reason.partition(": ")[0]: finding for finding in verifier.verify()}
    assert {name: each.verdict.name for name, each in found.items()} == {
        "catalog:lost, version 1": "MISSING",
        "catalog:damaged, version 1": "DAMAGED",
    }
