"""What is done at the same time: collections, verifications, repairs, pushes and tags leave what is whole."""

from __future__ import annotations

import shutil
import threading

import pytest

from tests.db.upkeep.conftest import dangling
from valuestore import Repository, Scheduler, task
from valuestore.db.record import recorder
from valuestore.db.upkeep import sync, verify
from valuestore.db.upkeep.gc import Freed
from valuestore.db.upkeep.repair import Outcome, Repairer
from valuestore.db.upkeep.sweep import Sweep
from valuestore.db.upkeep.verify import Verdict, Verifier
from valuestore.errors import CollectionRefused, RecordNotFound

LARGE = 20_000


class Sized:
    """Its code counts: what is given one depends on it."""

    def __init__(self, size):
        self.size = size

    def doubled(self):
        return 2 * self.size


@task(version="1", namespace="beside")
def large(seed):
    return str(seed).encode() * LARGE


@task(version="1", namespace="beside")
def marked(data, mark):
    return [len(data), mark]


@task(version="1", namespace="beside")
def both(seed):
    return marked(large(seed), "x")


@task(namespace="beside")
def use(thing):
    return thing.doubled()


@task(namespace="beside")
def top(size):
    return [use(Sized(size))]


@pytest.fixture
def scheduler(repository):
    with Scheduler(repository, progress=False) as scheduler:
        yield scheduler


def found(repository):
    repository.flush()
    return [(one.verdict, one.kind) for one in checking(repository).verify()]


def checking(repository):
    return Verifier(repository.database, repository.lookup, repository.archive)


def collected(repository, **rules):
    return repository.gc(dry_run=False, grace_seconds=0, **rules).freed


def change(repository, sql):
    repository.database.change(lambda driver: driver.change(sql))


def count(repository, table):
    return repository.stats().rows[table]


# --- what writers record while others delete


def test_what_is_recorded_in_part_is_not_recorded(repository, scheduler, monkeypatch):
    """A result that a collection took is argument of one call and part of another: verify finds no damage."""
    monkeypatch.setattr(recorder, "FLUSH_SECONDS", 60.0)  # all of it in one transaction, at the end
    collected(repository)
    keep, taken = repository.recorder.record_jobs, []

    def record(jobs, released):
        for job in jobs:
            if job.result and job.result.size > LARGE:
                repository.payloads.delete(job.result.payload_digest)
                repository.archive.stored.pending.forget([job.result.payload_digest])
                taken.append(job)
        keep(jobs, released)

    repository.recorder.record_jobs = record
    scheduler.run(both(12))
    repository.recorder.record_jobs = keep
    assert taken
    assert found(repository) == []
    assert dangling(repository) == {}
    names = repository.history.query(
        "SELECT t.task_name FROM call_node c JOIN task t ON t.task_no = c.task_no"
    )
    assert [name for (name,) in names.rows] == ["beside.marked"]
    scheduler.run(both(12))
    assert scheduler.execution.counts.done == 1
    assert found(repository) == []


def test_a_task_that_was_collected_is_recorded_with_its_code(repository, scheduler):
    collected(repository)
    keep = repository.recorder.record_jobs

    def record(jobs, released):
        repository.flush()
        for table in ("task", "dependency"):
            change(repository, f"DELETE FROM {table}")
        keep(jobs, released)

    repository.recorder.record_jobs = record
    scheduler.run(top(3))
    repository.flush()
    bare = "SELECT count(*) FROM task t WHERE NOT EXISTS "
    bare += "(SELECT 1 FROM dependency d WHERE d.task_hash = t.task_hash)"
    assert [tuple(row) for row in repository.history.query(bare).rows] == [(0,)]
    assert count(repository, "task") == 2


def test_a_tag_during_a_collection_keeps_its_record(repository, scheduler, monkeypatch):
    scheduler.run(large(1))
    scheduler.run(large(2))
    call, gone = [one.call_hash for one in repository.history.calls()]
    steps = Sweep.steps

    def tagging(self):
        yield lambda: repository.tags.add(call, stage="late")
        yield from steps(self)

    monkeypatch.setattr(Sweep, "steps", tagging)
    collected(repository, keep_last=0)
    assert [one.call_hash for one in repository.history.calls()] == [call]
    assert dangling(repository) == {}
    assert found(repository) == []
    with pytest.raises(RecordNotFound):
        repository.tags.add(gone, stage="later")


def test_no_tag_is_left_of_a_record_that_goes_while_it_is_tagged(repository, scheduler, monkeypatch):
    scheduler.run(large(1))
    call = repository.history.calls().all()[0]
    find = repository.tags._names.find_one

    def late(name):
        one = find(name)
        collected(repository, keep_last=0)
        return one

    monkeypatch.setattr(repository.tags._names, "find_one", late)
    with pytest.raises(RecordNotFound):
        repository.tags.add(call.call_hash, stage="late")
    assert count(repository, "tag") == 0


# --- what is kept


def test_numbers_that_no_database_takes_keep_everything(repository, scheduler):
    scheduler.run(large(1))
    for rules in ({"keep_last": 10**30}, {"older_than_seconds": 1e300}):
        assert collected(repository, **rules)["executions"] == Freed()
    assert count(repository, "call_node") == 1


def test_cache_entries_of_a_kept_replay_outlive_the_jobs_that_made_them(repository, scheduler):
    for _ in range(2):
        scheduler.run(top(4))
    for _ in range(3):
        collected(repository, keep_last=1)
    scheduler.run(use(Sized(4)))
    assert scheduler.execution.counts.done == 0
    collected(repository, keep_last=0)
    assert [count(repository, table) for table in ("evaluation", "value")] == [0, 0]


def test_what_was_received_without_an_execution_stays_without_a_rule(repository, scheduler, tmp_path):
    with (
        Repository.open(tmp_path / "theirs", digest=repository.algorithm) as theirs,
        Scheduler(theirs, progress=False) as other,
    ):
        other.run([both(1), top(2)])
        repository.pull(theirs, "beside.both", "beside.use")
    assert not any(each.count for each in collected(repository).values())
    assert (count(repository, "call_node"), count(repository, "execution")) == (4, 0)
    for call in (both(1), use(Sized(2))):
        scheduler.run(call)
        assert scheduler.execution.counts.done == 0
    collected(repository, keep_last=0)
    assert count(repository, "call_node") == 0


def test_arguments_of_what_was_killed_stay_for_its_rerun(repository, scheduler):
    """Its cache entries are found by the next run, which takes its arguments for recorded."""
    scheduler.run(both(1))
    repository.flush()
    tables = ("job", "call_node", "call_edge", "argument_source")
    for sql in (
        *(f"DELETE FROM {table}" for table in tables),
        "UPDATE execution SET status = 'running', ended = NULL, updated = 0",
    ):
        change(repository, sql)
    collected(repository, keep_last=1)
    scheduler.run(both(1))
    assert scheduler.execution.counts.done == 0
    repository.flush()
    calls = "SELECT count(*) FROM call_node c WHERE NOT EXISTS "
    calls += "(SELECT 1 FROM argument a WHERE a.args_hash = c.args_hash)"
    assert [tuple(row) for row in repository.history.query(calls).rows] == [(0,)]


def test_an_execution_with_a_pinned_job_is_not_deleted(repository, scheduler):
    scheduler.run(both(1))
    repository.tags.add(repository.history.jobs().all()[0], pinned=True)
    with pytest.raises(CollectionRefused, match="a job of it"):
        repository.delete("-")
    assert count(repository, "job") == 3


def test_a_database_on_a_server_is_one_repository_wherever_it_is_opened(postgres_url, tmp_path):
    settings = {"database": postgres_url, "payloads": str(tmp_path / "payloads")}
    with Repository.open(tmp_path / "a", **settings) as a, Repository.open(tmp_path / "b", **settings) as b:
        a.put(b"a" * LARGE)
        b.put(b"b" * LARGE)
        a.flush(), b.flush()
        assert collected(a, older_than_seconds=0)["payloads"].count == 2
        assert "postgres" not in a.payloads.owners()[0][1]  # who opened it does not count


def test_a_copy_of_a_server_s_database_is_another_repository(postgres_server, tmp_path):
    """It has the same id, and its payloads lie in the same folder."""
    place = {"payloads": str(tmp_path / "payloads")}
    with postgres_server.database() as first, postgres_server.database() as second:
        with Repository.open(tmp_path / "a", database=first, **place) as a:
            a.put(b"a" * LARGE)
            owner = a.repository_id
        with Repository.open(tmp_path / "b", database=second, **place) as b:
            change(b, f"UPDATE repository SET value = '{owner}' WHERE name = 'id'")
        shutil.rmtree(tmp_path / "payloads" / "repositories")
        with (
            Repository.open(tmp_path / "a", database=first, **place) as a,
            Repository.open(tmp_path / "b", database=second, **place) as b,
        ):
            a.put(b"aa" * LARGE), b.put(b"b" * LARGE)
            with pytest.raises(CollectionRefused, match="--with"):
                collected(b)


def test_a_copy_that_uses_the_payloads_of_the_original_is_told_of_it(tmp_path):
    with Repository.open(tmp_path / "a") as a:
        kept = a.put(b"a" * LARGE)
        own = a.folder / "payloads"
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with Repository.open(tmp_path / "a") as a, Repository.open(tmp_path / "copy", payloads=str(own)) as copy:
        later = a.put(b"later" * LARGE)
        a.flush()
        with pytest.raises(CollectionRefused, match="/a/.valuestore; name each by --with"):
            collected(copy, older_than_seconds=0)
        collected(copy, older_than_seconds=0, shared_with=[a])
        assert len(a.get(kept.value_hash)) + len(a.get(later.value_hash)) == 6 * LARGE
    with Repository.open(tmp_path / "a", payloads=str(own)) as a:  # by its name, too, it is its own
        shutil.rmtree(tmp_path / "copy")
        assert collected(a, older_than_seconds=0)["payloads"].count == 2


def test_a_value_is_deleted_where_others_share_the_payloads(tmp_path):
    settings = {"payloads": str(tmp_path / "payloads")}
    with Repository.open(tmp_path / "a", **settings) as a, Repository.open(tmp_path / "b", **settings) as b:
        gone, stays = a.put(b"a" * LARGE), b.put(b"b" * LARGE)
        a.put(b"b" * LARGE)
        with pytest.raises(CollectionRefused, match="--with"):
            a.delete(gone.value_hash)
        assert a.delete(gone.value_hash, shared_with=[b]).freed["payloads"] == Freed(1, LARGE)
        a.delete(stays.value_hash, shared_with=[b])
        assert b.get(stays.value_hash) == b"b" * LARGE


# --- receiving, verifying, repairing


def test_what_goes_while_it_is_sent_is_named_by_no_row(tmp_path, monkeypatch):
    """Not even if the sender is killed before it begins again."""
    with Repository.open(tmp_path / "a") as a, Repository.open(tmp_path / "b") as b:
        ref = a.put(b"a" * LARGE)
        receive, left = sync.receive, [1]

        def late(database, *given):
            if left.pop() if left else 0:
                assert collected(b)["unnamed"] == Freed(1, LARGE)
                with pytest.raises(sync.Collected):
                    receive(database, *given)
                assert dangling(b) == {}
            return receive(database, *given)

        monkeypatch.setattr(sync, "receive", late)
        a.push(b)
        assert b.get(ref.value_hash) == b"a" * LARGE


def test_a_value_that_was_put_again_meanwhile_is_not_dropped(repository):
    ref = repository.put(b"a" * LARGE)
    repository.flush()
    repository.payloads.delete(ref.payload_digest)
    [finding] = checking(repository).verify()
    repository.put(b"a" * LARGE)
    repository.flush()
    repairer = Repairer(repository.database, repository.lookup, repository.archive)
    assert [one.outcome for one in repairer.repair([finding])] == [Outcome.RESTORED]
    assert repository.get(ref.value_hash) == b"a" * LARGE


def test_payloads_on_their_way_are_no_orphans(repository, scheduler, monkeypatch):
    scheduler.run(large(1))
    repository.flush()
    execution = repository.history.executions().all()[0].execution_id
    digest = repository.payloads.put(b"late" * LARGE).digest
    beat = "UPDATE execution SET status = 'running', updated = {} WHERE execution_id = '{}'"
    now = repository.database.rows(f"SELECT {clock(repository)}")[0][0]

    change(repository, beat.format(now, execution))
    insert = f"INSERT INTO payload (payload_digest, size) VALUES ('{digest}', {4 * LARGE})"
    named = threading.Timer(0.3, change, [repository, insert])
    named.start()
    assert found(repository) == []
    named.join()
    repository.payloads.put(b"never" * LARGE)
    monkeypatch.setattr(verify, "_PATIENCE_SECONDS", 0.1)
    assert found(repository) == [(Verdict.ORPHAN, "payload")]


def clock(repository):
    from valuestore.db.schema.views import NOW

    return NOW[repository.database.dialect_name]


def test_verifications_end_side_by_side(any_repository):
    with Scheduler(any_repository, progress=False) as scheduler:
        scheduler.run(both(1))
    failures = []

    def look():
        try:
            for _ in range(10):
                list(checking(any_repository).verify(max_seconds=0.0))
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
