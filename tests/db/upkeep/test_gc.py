"""Collection: what is kept by which rule, what goes, and that what is left is whole."""

from __future__ import annotations

import shutil

import pytest

from tests.db.upkeep import made_repository as made
from tests.db.upkeep.conftest import dangling
from valuestore import Repository, Scheduler, task
from valuestore.db.upkeep.gc import Freed
from valuestore.errors import CollectionRefused, ConfigError, NotFound, StoreError

LARGE = 20_000


@task(version="1", namespace="gc")
def large(seed):
    return str(seed).encode() * LARGE


@task(version="1", namespace="gc")
def several(seeds):
    return [large(seed) for seed in seeds]


@task(version="1", namespace="gc")
def length(data):
    return len(data)


@pytest.fixture
def scheduler(repository):
    with Scheduler(repository) as scheduler:
        yield scheduler


def collected(repository, **rules):
    report = repository.gc(dry_run=False, grace_seconds=0, **rules)
    assert dangling(repository) == {}
    return report


def count(repository, table):
    return repository.stats().rows[table]


def test_without_a_rule_nothing_that_ran_goes(repository, scheduler):
    scheduler.run([several([1, 2]), length(large(3))])
    repository.put("by hand")
    before = repository.stats()
    report = collected(repository)
    assert report.kept == {"no rule": 1}
    assert not any(each.count for each in report.freed.values())
    assert repository.stats().rows == before.rows | {"repository": before.rows["repository"] + 1}


def test_the_newest_executions_are_kept_and_rerun_from_cache(repository, scheduler):
    for seeds in ([1, 2], [2, 3], [3, 4]):
        scheduler.run(several(seeds))
    dry = repository.gc(keep_last=1)
    assert dry.freed["executions"].count == 2
    assert dry.freed["payloads"].count == 4  # two lists, and what was in one of them alone
    assert dry.freed["payloads"].bytes > 6 * LARGE
    assert count(repository, "execution") == 3
    report = collected(repository, keep_last=1)
    assert report.kept == {"last 1": 1}
    assert report.freed == dry.freed
    assert report.freed_bytes > 6 * LARGE
    assert len(list(repository.payloads.digests())) == 3
    scheduler.run(several([3, 4]))
    assert scheduler.execution.counts.done == 0
    scheduler.run(several([1, 4]))
    assert scheduler.execution.counts.done == 2  # the body, and the leaf that went


def test_cache_entries_that_go_are_counted_as_they_are_there(repository, scheduler):
    for number in (1, 2):
        scheduler.run(made.use(made.Brought(number)))
    scheduler.run(made.use(made.Brought(2)))
    there = count(repository, "evaluation")
    assert collected(repository, keep_last=0).freed["evaluations"].count == there > 0
    assert count(repository, "evaluation") == 0


def test_what_is_collected_is_computed_again_by_the_same_process(repository, scheduler):
    scheduler.run(several([1, 2]))
    collected(repository, keep_last=0)
    assert count(repository, "value") == 0
    assert len(scheduler.run(several([1, 2]))) == 2
    assert scheduler.execution.counts.done == 3
    assert dangling(repository) == {}
    assert count(repository, "argument") == 3
    assert [job.call_hash for job in repository.history.jobs() if job.call_hash is None] == []
    assert count(repository, "call_node") == 3


def test_executions_go_by_their_age(repository, scheduler):
    scheduler.run(large(1))
    assert collected(repository, older_than_seconds=3600).kept == {"newer": 1}
    times = "UPDATE execution SET started = {0}, ended = {0}"  # of a writer whose clock is wrong
    repository.database.change(lambda driver: driver.change(times.format(0)))
    assert collected(repository, older_than_seconds=3600).kept == {"newer": 1}
    repository.database.change(lambda driver: driver.change(times.format(4_000_000_000_000_000)))
    assert collected(repository, older_than_seconds=0).freed["executions"].count == 1
    assert list(repository.payloads.digests()) == []


def test_values_put_by_hand_stay_until_they_are_older_or_deleted(repository, scheduler):
    small, big = repository.put(42), repository.put(b"x" * LARGE)
    scheduler.run(length(b"x" * LARGE))
    collected(repository, keep_last=0)
    assert repository.get(small.value_hash) == 42
    assert len(repository.get(big.value_hash)) == LARGE
    assert repository.delete(small.value_hash).freed["values"].count == 1
    with pytest.raises(NotFound):
        repository.get(small.value_hash)
    collected(repository, older_than_seconds=3600)
    assert len(repository.get(big.value_hash)) == LARGE
    collected(repository, older_than_seconds=0)
    assert count(repository, "value") == 0
    assert list(repository.payloads.digests()) == []


def test_a_value_that_is_put_again_is_as_young_as_that(repository):
    ref = repository.put("again")
    repository.flush()
    repository.database.change(lambda driver: driver.change("UPDATE held SET since = 0"))
    repository.put("again")
    collected(repository, older_than_seconds=3600)
    assert repository.get(ref.value_hash) == "again"


def test_parts_of_what_is_kept_are_kept(repository, tmp_path):
    from valuestore import File

    (tmp_path / "a.txt").write_text("a")
    ref = repository.put([File(str(tmp_path / "a.txt"))])
    rows = repository.stats().rows
    collected(repository, keep_last=0)
    after = repository.stats().rows
    assert (after["subvalue"], after["file"]) == (rows["subvalue"], rows["file"])
    assert repository.get(ref.value_hash)


def test_pinned_and_tagged_records_and_named_tasks_are_kept(repository, scheduler):
    for seed in range(4):
        scheduler.run(length(large(seed)))
    _, tagged, _, oldest = repository.history.executions().all()
    repository.tags.add(oldest, pinned=True)
    repository.tags.add(tagged, release="1.0")
    repository.flush()
    object.__setattr__(repository.settings, "keep", {"tags": ["release"]})
    report = collected(repository, keep_last=1)
    assert report.kept == {"last 1": 1, "pinned": 1, "tagged": 1}
    repository.tags.remove(oldest, "pinned")
    object.__setattr__(repository.settings, "keep", {"tasks": ["gc.length"], "last": 0})
    assert collected(repository).freed["executions"].count == 3
    assert count(repository, "call_node") == 3
    assert count(repository, "evaluation") == 3
    value = repository.history.query("SELECT value_hash FROM call_node").rows[0][0]
    repository.tags.add(value, pinned=True)
    object.__setattr__(repository.settings, "keep", {})
    collected(repository, keep_last=0)
    assert repository.get(value) == LARGE
    assert count(repository, "call_node") == 0


def test_an_execution_is_deleted_with_what_it_alone_holds(repository, scheduler):
    scheduler.run(several([1, 2]))
    scheduler.run(several([2, 3]))
    older = repository.history.executions().all()[1]
    repository.tags.add(older, pinned=True)
    with pytest.raises(CollectionRefused, match="pinned"):
        repository.delete(older)
    repository.tags.remove(older, "pinned")
    assert repository.delete(older, dry_run=True).freed["executions"].count == 1
    report = repository.delete(older)
    assert report.freed["payloads"].count == 2
    assert dangling(repository) == {}
    assert [each.jobs for each in repository.history.executions().all()] == [3]
    with pytest.raises(CollectionRefused, match="only executions"):
        repository.delete(repository.history.query("SELECT value_hash FROM call_node").rows[0][0])


def test_counts_of_tasks_follow(repository, scheduler):
    for seed in (1, 2, 2):
        scheduler.run(large(seed))
    collected(repository, keep_last=2)
    counts = repository.history.query("SELECT status, jobs FROM task_counts ORDER BY status").rows
    assert [tuple(row) for row in counts] == [("cached", 1), ("done", 1)]


def test_payloads_that_no_row_names_are_left_for_the_grace(repository):
    named = repository.put(b"n" * LARGE)
    repository.payloads.put(b"u" * LARGE)
    assert repository.gc(dry_run=False).freed["unnamed"] == Freed()
    assert collected(repository).freed["unnamed"] == Freed(1, LARGE)
    assert list(repository.payloads.digests()) == [named.payload_digest]


def test_a_store_that_lacks_what_is_kept_is_left_alone(repository):
    ref = repository.put(b"n" * LARGE)
    repository.payloads.put(b"u" * LARGE)
    repository.flush()
    repository.payloads.delete(ref.payload_digest)
    assert "1 payloads" in repository.gc(grace_seconds=0).problems[0]
    with pytest.raises(CollectionRefused, match="1 payloads"):
        repository.gc(dry_run=False, grace_seconds=0)
    assert repository.gc(dry_run=False, grace_seconds=0, force=True).freed["unnamed"].count == 1


def test_one_collector_at_a_time(repository, monkeypatch):
    from valuestore.db.upkeep import gc as module

    def meanwhile(*_, **__):
        with pytest.raises(CollectionRefused, match="another collection"):
            repository.gc(dry_run=False)

    told = []
    monkeypatch.setattr(module._Collection, "_count", lambda self: (told.append(1), meanwhile()))
    repository.gc(dry_run=False)
    assert told
    monkeypatch.undo()
    repository.gc(dry_run=False)


def test_a_collector_that_died_is_taken_over_and_one_that_slept_ends(repository, monkeypatch):
    from valuestore.db.upkeep import gc as module

    def expire(self):
        repository.database.change(lambda driver: driver.change("UPDATE lease SET expires = 0"))

    monkeypatch.setattr(module._Collection, "_count", expire)
    repository.put(b"u" * LARGE)
    with pytest.raises(CollectionRefused, match="paused"):
        repository.gc(dry_run=False, older_than_seconds=0)
    monkeypatch.undo()
    assert collected(repository, older_than_seconds=0).freed["payloads"].count == 1


def late(repository, *, forgotten=False):
    """Have a payload go between its put and its row."""
    ref = repository.archive.pack(b"late" * LARGE)
    repository.payloads.delete(ref.payload_digest)
    if forgotten:
        repository.archive.stored.pending.forget([ref.payload_digest])
    repository.recorder.record_values((ref,), by_hand=True)
    return ref


@pytest.mark.parametrize("number", ["4", "5"])
def test_a_writer_that_opened_during_a_collection_looks_for_its_payloads(tmp_path, number):
    with Repository.open(tmp_path) as repository:
        insert = f"INSERT INTO repository (name, value) VALUES ('collection', '{number}')"
        repository.database.change(lambda driver: driver.change(insert))
    with Repository.open(tmp_path) as repository:
        if number == "4":
            repository.gc(dry_run=False)
        ref = late(repository)
        repository.flush()
        assert dangling(repository) == {}
        assert repository.get(ref.value_hash) == b"late" * LARGE


def test_a_value_that_cannot_be_written_is_an_error_and_no_row(repository):
    repository.gc(dry_run=False)
    late(repository, forgotten=True)
    with pytest.raises(StoreError, match="put them again"):
        repository.flush()
    repository.flush()
    assert dangling(repository) == {}
    assert count(repository, "value") == 0


def test_what_a_worker_stored_and_a_collection_took_is_left_out(repository, scheduler):
    """The job is recorded, and the next run computes its result."""
    repository.gc(dry_run=False)
    keep = repository.recorder.record_jobs

    def record(jobs, released):
        for job in jobs:
            repository.payloads.delete(job.result.payload_digest)
            repository.archive.stored.pending.forget([job.result.payload_digest])
        keep(jobs, released)

    repository.recorder.record_jobs = record
    scheduler.run(large(1))
    repository.recorder.record_jobs = keep
    repository.flush()
    assert dangling(repository) == {}
    assert [count(repository, table) for table in ("job", "call_node", "evaluation")] == [1, 0, 0]
    scheduler.run(large(1))
    assert scheduler.execution.counts.done == 1


def test_clocks_that_are_apart_are_refused(repository, monkeypatch):
    from valuestore.stores.content.marker import Marker

    repository.payloads.put(b"u" * LARGE)
    clock = Marker.clock
    monkeypatch.setattr(Marker, "clock", lambda self: clock(self) + 3600)
    with pytest.raises(CollectionRefused, match="clocks"):
        repository.gc(dry_run=False)


def test_repositories_that_share_a_folder_are_collected_together(tmp_path):
    settings = {"payloads": str(tmp_path / "payloads")}
    with Repository.open(tmp_path / "a", **settings) as a, Repository.open(tmp_path / "b", **settings) as b:
        kept, both = b.put(b"b" * LARGE), b.put(b"both" * LARGE)
        a.put(b"both" * LARGE)
        gone = a.put(b"a" * LARGE)
        a.flush(), b.flush()
        with pytest.raises(CollectionRefused, match="/b"):
            a.gc(dry_run=False, older_than_seconds=0, grace_seconds=0)
        report = a.gc(dry_run=False, older_than_seconds=0, grace_seconds=0, shared_with=[b])
        assert report.freed["payloads"].count == 2
        assert set(a.payloads.digests()) == {kept.payload_digest, both.payload_digest}
        assert gone.payload_digest not in set(a.payloads.digests())
        assert dangling(b) == {}


def test_a_copy_that_shares_payloads_is_found_and_one_that_was_moved_is_not_missed(tmp_path):
    settings = {"payloads": str(tmp_path / "payloads")}
    with Repository.open(tmp_path / "a", **settings) as a:
        a.put(b"a" * LARGE)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with (
        Repository.open(tmp_path / "copy", **settings) as copy,
        Repository.open(tmp_path / "a", **settings) as a,
    ):
        assert copy.repository_id == a.repository_id
        copy.put(b"copy" * LARGE)
        copy.flush()
        for one, other in ((a, copy), (copy, a)):
            with pytest.raises(CollectionRefused, match="--with"):
                one.gc()
            assert one.gc(grace_seconds=0, shared_with=[other]).freed["unnamed"] == Freed()
    shutil.rmtree(tmp_path / "a")
    with Repository.open(tmp_path / "copy", **settings) as copy:
        assert copy.gc(grace_seconds=0).freed["unnamed"] == Freed()


def test_a_copy_with_its_own_payloads_is_a_repository_of_its_own(tmp_path):
    with Repository.open(tmp_path / "a") as a:
        kept = a.put(b"a" * LARGE)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with Repository.open(tmp_path / "copy") as copy, Repository.open(tmp_path / "a") as a:
        assert collected(copy, older_than_seconds=0).freed["payloads"].count == 1
        assert len(a.get(kept.value_hash)) == LARGE


def test_a_repository_is_not_named_beside_itself(repository):
    repository.put(b"a" * LARGE)
    collected(repository, older_than_seconds=0, shared_with=[repository])


@pytest.mark.parametrize(
    "rules",
    [
        {"keep_last": -1},
        {"older_than_seconds": -1},
        {"keep_last": True},
        *({"grace_seconds": wrong} for wrong in (-1, float("nan"), "1h")),
    ],
)
def test_rules_that_are_none_are_refused(repository, rules):
    with pytest.raises(ConfigError):
        repository.gc(**rules)
