"""Push and pull: everything travels, only what is missing, and a rerun there is answered from the cache."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from tests.db.upkeep import made_repository as made
from tests.scheduler import pipelines as p
from tests.statements import StatementCounter
from valuestore import Repository, Scheduler
from valuestore.db.record.rows import ExecutionRow
from valuestore.db.upkeep.verify import Verifier
from valuestore.errors import ConfigError, PayloadError, RecordNotFound, StoreReadOnly, UntrustedPayload

ROOT = Path(__file__).parents[3]


@pytest.fixture
def target(tmp_path):
    with Repository.open(tmp_path / "target") as repository:
        yield repository


def rerun(repository, folder):
    """How many bodies ran for calls that the source has answers to."""
    p.RAN.names.clear()
    done = 0
    with Scheduler(repository) as scheduler:
        for call in made.calls(folder):
            scheduler.run(call)
            done += scheduler.execution.counts.done
    return done


def test_every_kind_of_row_travels_and_is_the_same_there(source, target):
    sent = source.push(target)
    assert sent.records > 100
    assert sent.lost == 0
    assert sent.problems == []
    before, after = made.everything(source), made.everything(target)
    assert all(before.values()), [kind for kind, rows in before.items() if not rows]
    assert after == before
    counts = "select task, status, jobs, seconds from task_counts order by 1, 2"
    assert target.history.query(counts).rows == source.history.query(counts).rows


def test_history_asked_on_the_other_side_gives_the_same(source, target):
    target.pull(source)
    for view in ("executions", "jobs", "arguments", "results", "lineage", "files", "tags", "storage"):
        ask = f"select * from {view}"
        assert sorted(map(repr, target.history.query(ask).rows)) == sorted(
            map(repr, source.history.query(ask).rows)
        ), view


def test_second_push_sends_nothing(source, target):
    source.push(target)
    again = source.push(target)
    assert (again.records, again.payloads) == (0, 0)


def test_rerun_on_the_other_side_runs_no_body(source, target, tmp_path):
    source.push(target)
    assert rerun(target, tmp_path) == 0


def test_from_sqlite_to_postgres_and_back(source, target, postgres_url, tmp_path):
    with Repository.open(tmp_path / "pg", database=postgres_url, digest=source.algorithm) as between:
        source.push(between)
        assert made.everything(between) == made.everything(source)
        assert rerun(between, tmp_path) == 0
        assert target.pull(between, "~6").lost == 0
        target.pull(between)
        whole = made.everything(source)
        assert {
            kind: [row for row in rows if row not in after]
            for kind, rows in whole.items()
            for after in [set(made.everything(target)[kind])]
        } == {kind: [] for kind in whole}


def test_one_execution_travels_with_all_that_a_rerun_needs(source, target):
    newest = next(each for each in source.history.executions() if "nested" in each.label)
    source.push(target, newest.execution_id)
    assert [each.execution_id for each in target.history.executions()] == [newest.execution_id]
    with Scheduler(target) as scheduler:
        scheduler.run(p.nested(3))
        assert scheduler.execution.counts.done == 0
    assert len(made.everything(target)["job"]) < len(made.everything(source)["job"])


def test_by_task_by_tag_and_by_value(source, tmp_path):
    for number, (names, tags, call) in enumerate(
        [
            (["tests.db.upkeep.made_repository.bigs"], (), made.bigs(3)),
            ([], ("project=census",), None),
            ([source.put([bytes([n]) * made.BIG for n in range(3)]).value_hash], (), made.bigs(3)),
        ]
    ):
        with Repository.open(tmp_path / str(number)) as target:
            assert source.push(target, *names, tags=tags).records
            if call is None:
                assert len(list(target.history.executions())) == 2
                continue
            with Scheduler(target) as scheduler:
                assert len(scheduler.run(call)) == 3
                assert scheduler.execution.counts.done == 0


def test_name_of_nothing_is_said_before_anything_is_sent(source, target):
    with pytest.raises(RecordNotFound):
        source.push(target, "nonsense")
    with pytest.raises(RecordNotFound):
        source.push(target, tags=("nonsense=1",))
    assert not any(made.everything(target).values())


def test_other_digest_is_refused_with_both_names(source, tmp_path):
    with Repository.open(tmp_path / "other", digest="blake3-256") as other:
        with pytest.raises(ConfigError, match=r"xxh3-128.*blake3-256"):
            source.push(other)
        with pytest.raises(ConfigError, match="hashes"):
            source.pull(other)


def test_itself_is_refused(source):
    with pytest.raises(ConfigError, match="both source and target"), Repository.open(source.folder) as again:
        source.push(again)


def test_target_that_can_only_be_read_is_refused(source, tmp_path):
    folder = tmp_path / "closed"
    Repository.open(folder).close()
    database = folder / ".valuestore" / "valuestore.db"
    with Repository.open(folder) as target:
        target.database.is_read_only = True  # as the tests' user may be root, whom no mode keeps out
        with pytest.raises(StoreReadOnly):
            source.push(target)
    with closing(sqlite3.connect(database)) as opened:
        assert opened.execute("select count(*) from value").fetchone() == (0,)


def test_what_was_running_has_ended_and_what_was_tagged_is_no_longer(target, tmp_path):
    with Repository.open(tmp_path / "going") as going:
        row = ExecutionRow("0" * 31 + "1", "f()", "running", 1, None, 1)
        going.recorder.record_execution(row)
        going.flush()
        going.tags.add(row.execution_id, {"mood": "good"})
        going.push(target)
        going.recorder.record_execution(row._replace(status="done", ended=5))
        going.flush()
        going.tags.remove(row.execution_id, "mood")
        going.push(target)
        assert made.everything(target)["tag"] == made.everything(going)["tag"]
        assert target.history.query("select status from executions").rows == [("done",)]
        target.recorder.record_execution(row._replace(status="failed", ended=9))
        target.flush()
        going.push(target)
        assert target.history.query("select status from executions").rows == [("failed",)]


def test_state_of_a_handle_that_ended_there_ends_here(target, tmp_path):
    from tests.scheduler import handle_pipelines as h

    with Repository.open(tmp_path / "going") as going, Scheduler(going) as scheduler:
        scheduler.run(h.chain(h.Database("db", str(tmp_path / "handles.db"))))
        going.push(target)
        scheduler.run(h.write_named(h.Database("db", str(tmp_path / "handles.db")), "other"))
        going.push(target)
        assert made.everything(target)["handle"] == made.everything(going)["handle"]


def test_evaluation_of_this_side_is_kept(source, target, tmp_path):
    source.push(target)
    target.database.change(lambda driver: driver.change("UPDATE evaluation SET value_hash = 'x'"))
    target.database.change(lambda driver: driver.change("DELETE FROM payload"))
    assert source.push(target).records == len(made.everything(source)["payload"])
    assert {row[2] for row in made.everything(target)["evaluation"]} == {"'x'"}


def test_payload_that_was_lost_there_is_brought_again(source, target):
    source.push(target)
    lost = next(iter(target.payloads.digests()))
    target.payloads.delete(lost)
    assert source.push(target).payloads == 1
    assert lost in set(target.payloads.digests())


def test_what_is_damaged_at_the_source_is_left_out_and_told(target, tmp_path):
    with Repository.open(tmp_path / "harmed") as harmed:
        whole, lost = harmed.put(b"a" * made.BIG), harmed.put(b"b" * made.BIG)
        small = harmed.put("some text")
        harmed.flush()
        harmed.payloads.delete(lost.payload_digest)
        harmed.database.change(
            lambda driver: driver.change(
                f"UPDATE value SET inline = x'00', size = 1 WHERE value_hash = '{small.value_hash}'"
            )
        )
        sent = harmed.push(target)
        assert sent.lost == 2
        assert lost.payload_digest in "".join(sent.problems)
        assert target.get(whole.value_hash) == b"a" * made.BIG
        hashes = [row[0] for row in made.everything(target)["value"]]
        assert repr(small.value_hash) not in hashes


def test_foreign_pickle_counts_only_with_its_key(source, target, monkeypatch, tmp_path):
    source.push(target)
    with Scheduler(target) as scheduler:
        assert scheduler.run(made.opaque(1)).number == 1
    ref = next(row for row in made.everything(target)["signature"])
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "somebody"))
    with Repository.open(target.folder) as foreign, pytest.raises(UntrustedPayload):
        foreign.get(ref[0].strip("'"))


def test_statements_grow_by_batches(tmp_path):
    counted = {}
    for rows in (500, 2000):
        with (
            Repository.open(tmp_path / f"from{rows}") as one,
            Repository.open(tmp_path / f"to{rows}") as other,
        ):
            one.put_many(range(rows))
            one.flush()
            with StatementCounter(one.database) as asked, StatementCounter(other.database) as sent:
                assert one.push(other).records == 2 * rows  # each value, and that it was put by hand
            counted[rows] = len(asked.statements) + len(sent.statements)
    assert counted[2000] - counted[500] <= 3 * 24


def test_target_that_others_write_to_meanwhile(source, tmp_path):
    folder = tmp_path / "busy"
    with Repository.open(folder) as target, Repository.open(folder) as other:
        stop = threading.Event()

        def write():
            number = 0
            while not stop.is_set():
                number += 1
                with Scheduler(other) as scheduler:
                    scheduler.run(p.fan(number % 7))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            source.push(target)
        finally:
            stop.set()
            writer.join()
        there = made.everything(target)
        for kind, rows in made.everything(source).items():
            keyed = rows if kind not in ("value", "call", "evaluation", "task") else [row[:1] for row in rows]
            present = {
                row if kind not in ("value", "call", "evaluation", "task") else row[:1] for row in there[kind]
            }
            assert set(keyed) <= present, kind


KILLED = """
import os, sys
from valuestore import Repository
from valuestore.db.upkeep import receiving
from valuestore.db.record.writer import Writer
left = int(sys.argv[3])
from valuestore.db.upkeep import sync
sync._GROUP = 40
def dying(database, work):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return transact(database, work)
transact, receiving.Writer = Writer.transact, type("Dying", (), {"transact": staticmethod(dying)})
with Repository.open(sys.argv[1]) as source:
    source.push(sys.argv[2])
"""


def test_killed_half_way_is_resumed(source, tmp_path):
    folder = tmp_path / "there"
    for groups in (1, 4, 2):
        command = [sys.executable, "-c", KILLED, str(source.folder), str(folder), str(groups)]
        assert subprocess.run(command, cwd=ROOT, check=False, timeout=60).returncode == -9
    with Repository.open(folder) as target:
        partly = made.everything(target)
        known = {row[0] for row in partly["value"]}
        assert known
        assert {row[2] for row in partly["evaluation"]} <= known
        rest = source.push(target)
        assert 0 < rest.records < sum(map(len, made.everything(source).values()))
        assert made.everything(target) == made.everything(source)


def test_source_that_is_written_to_meanwhile_is_sent_as_it_was(source, tmp_path, monkeypatch):
    from valuestore.db.upkeep import sync

    folder = tmp_path / "growing"
    with (
        Repository.open(folder) as growing,
        Repository.open(folder) as writing,
        Repository.open(tmp_path / "to") as to,
    ):
        growing.put_many(range(10))
        growing.flush()
        lacking = sync.lacking

        def later(kind, *given):
            if kind == "task":
                with Scheduler(writing) as scheduler:
                    scheduler.run(p.fan(3))
                writing.flush()
            return lacking(kind, *given)

        monkeypatch.setattr(sync, "lacking", later)
        with Scheduler(growing) as scheduler:
            scheduler.run(p.add(1))
        growing.push(to)
        assert len(made.everything(to)["execution"]) == 1
        growing.push(to)
        assert made.everything(to)["job"] != []


def test_what_points_to_what_is_damaged_is_left_out_with_it(source, tmp_path):
    folder = tmp_path / "harmed"
    source.push(folder)
    with Repository.open(folder) as harmed, Repository.open(tmp_path / "to") as to:
        harmed.database.change(
            lambda driver: driver.change(
                "UPDATE call_node SET value_hash = 'ab' WHERE call_no IN (SELECT child_no FROM call_edge)"
            )
        )
        assert harmed.push(to).lost
        harmed.export(tmp_path / "harmed.vsb")
        with Repository.open(tmp_path / "restored") as restored:
            assert restored.import_(tmp_path / "harmed.vsb").lost
            assert made.everything(restored) == made.everything(to)
            assert made.everything(restored)["job"] == made.everything(source)["job"]


def test_payloads_go_to_a_server_and_come_back(source, redis_url, tmp_path):
    with Repository.open(tmp_path / "there", payloads=redis_url, digest=source.algorithm) as there:
        large = source.put(bytes(3_000_000))
        assert source.push(there).payloads
        assert there.get(large.value_hash) == bytes(3_000_000)
        there.export(tmp_path / "all.vsb")
        for place in ("here", redis_url + "-other"):
            payloads = {"payloads": place} if "://" in place else {}
            with Repository.open(tmp_path / place[:4], digest=source.algorithm, **payloads) as back:
                back.import_(tmp_path / "all.vsb")
                assert made.everything(back) == made.everything(source)
                assert back.get(large.value_hash) == bytes(3_000_000)


def test_repository_in_memory_takes_and_gives(source, tmp_path):
    with Repository.open(":memory:", digest=source.algorithm) as passing:
        source.push(passing)
        passing.push(tmp_path / "kept")
    with Repository.open(tmp_path / "kept") as kept:
        assert made.everything(kept) == made.everything(source)


def test_source_that_can_only_be_read_gives(source, tmp_path):
    source.push(tmp_path / "closed")
    with Repository.open(tmp_path / "closed") as closed, Repository.open(tmp_path / "to") as to:
        closed.database.is_read_only = True
        assert closed.push(to).records
        assert made.everything(to) == made.everything(source)


def test_what_was_collected_there_meanwhile_is_sent_again(source, target, monkeypatch):
    from valuestore.db.upkeep import sync

    source.push(target)
    receive, left = sync.receive, [1]
    target.database.change(lambda driver: driver.change("DELETE FROM job"))

    def collecting(database, *given):
        if left.pop() if left else 0:
            database.change(lambda driver: driver.change("DELETE FROM evaluation"))
            database.change(lambda driver: driver.change("INSERT INTO repository VALUES ('collection', '2')"))
        return receive(database, *given)

    monkeypatch.setattr(sync, "receive", collecting)
    source.push(target)
    assert made.everything(target) == made.everything(source)


def test_value_that_was_given_up_is_sent_as_such_and_replaced_once_it_is_whole(tmp_path):
    with Repository.open(tmp_path / "from") as one, Repository.open(tmp_path / "to") as other:
        with Scheduler(one) as scheduler:
            value = scheduler.run(p.fan(3))
        value_hash = one.history.result("-")
        gone = "codec = 'dropped', payload_digest = NULL, inline = NULL"
        given_up = f"UPDATE value SET {gone} WHERE value_hash = '{value_hash}'"
        one.flush()
        one.database.change(lambda driver: driver.change(given_up))
        assert one.push(other).lost == 0
        assert one.push(other).records == 0
        with pytest.raises(PayloadError):
            other.get(value_hash)
        assert [*Verifier(other.database, other.lookup, other.archive).verify()] == []
        assert one.put(value).value_hash == value_hash
        one.push(other)
        assert other.get(value_hash) == value


def test_one_tag_is_given_as_a_list(tmp_path):
    with Repository.open(tmp_path / "mine") as repository:
        for send in (repository.push, repository.export):
            with pytest.raises(TypeError, match="such as \\['stage=paper'\\]"):
                send(tmp_path / "other", tags="stage=paper")
    assert not (tmp_path / "other").exists()
