"""HistoryBoard shows what the history shows, whatever becomes of Redis, and asks SQL no more than it must."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis

from tests.scheduler import pipelines as p
from tests.servers import RedisServer
from valuestore import Repository, Scheduler
from valuestore.db.history.history import History
from valuestore.errors import QueryError, TableError
from valuestore.interop.board import HistoryBoard
from valuestore.tables import MemoryTable, RedisTable

ROOT = Path(__file__).parents[1]
LONG = 1000.0
"""Seconds that do not pass in a test."""


@pytest.fixture
def repository(tmp_path):
    with Repository.open(tmp_path / "repository") as repository:
        yield repository


@pytest.fixture(params=["memory", "redis"])
def table(request):
    if request.param == "memory":
        return MemoryTable(**HistoryBoard.DECLARED)
    return RedisTable(request.getfixturevalue("redis_url"), "board", **HistoryBoard.DECLARED)


@pytest.fixture
def asked(monkeypatch):
    """How often the history was read."""
    asked, newest = [], History.newest

    def counted(self, kind, limit):
        asked.append(kind)
        return newest(self, kind, limit)

    monkeypatch.setattr(History, "newest", counted)
    return asked


def run(repository, *calls):
    with Scheduler(repository) as scheduler:
        for call in calls:
            try:
                scheduler.run(call)
            except KeyError:
                pass
        repository.flush()


def pages(ask, **filters):
    """All records, page by page."""
    found, cursor = [], None
    while True:
        page = ask(cursor=cursor, **filters)
        found += page.records
        if (cursor := page.cursor) is None:
            return found


def by_time(records):
    return sorted(
        records, key=lambda each: (int(each.started.timestamp() * 1000), each.record_id), reverse=True
    )


def test_it_shows_what_the_history_shows(repository, table):
    run(repository, p.fan(30), p.fails(1), p.fan(2))
    with HistoryBoard(repository, table, max_age_seconds=LONG) as board:
        jobs = by_time(repository.history.jobs())
        assert pages(board.jobs, limit=7) == pages(board.jobs, limit=1) == jobs
        assert board.jobs(limit=1000).records == jobs
        assert board.executions().records == by_time(repository.history.executions())
        for filters in (
            {"status": "failed"},
            {"task": jobs[0].task},
            {"task": jobs[-1].task, "status": "done"},
        ):
            meant = by_time(repository.history.jobs().where(**filters))
            assert meant
            assert pages(board.jobs, limit=2, **filters) == meant
        since, until = jobs[20].started, jobs[5].started
        expected = [job for job in jobs if since <= job.started < until]
        assert pages(board.jobs, limit=4, since=since, until=until) == expected
        assert board.jobs(since=datetime.now(UTC) + timedelta(days=1)).records == []
        assert board.jobs(until=datetime(1960, 1, 1, tzinfo=UTC)).records == []
        assert [each.status for each in board.executions(status="failed").records] == ["failed"]
        for bad in (
            {"limit": 0},
            {"cursor": "x"},
            {"cursor": f"{'9' * 5000}:"},
            {"since": datetime(2024, 1, 1)},
        ):
            with pytest.raises((TableError, QueryError)):
                board.jobs(**bad)
        assert board.jobs(task="no such task").records == board.jobs(status="no").records == []


def test_it_keeps_the_newest(repository, table):
    run(repository, p.fan(30))
    with HistoryBoard(repository, table, jobs=10, executions=1) as board:
        assert pages(board.jobs, limit=4) == by_time(repository.history.newest("job", 10).records)


def test_readers_ask_no_sql(repository, table, asked):
    run(repository, p.fan(3))
    with HistoryBoard(repository, table, max_age_seconds=LONG) as board:
        board.jobs()
        first = len(asked)
        for _ in range(20):
            assert board.jobs(status="done").records
            assert board.executions().records
        assert len(asked) == first == 2


def test_what_is_recorded_appears_without_being_asked_for(repository, table):
    with HistoryBoard(repository, table, every_seconds=0.01, max_age_seconds=LONG) as board:
        assert board.executions().records == []
        run(repository, p.fan(3))
        end = time.monotonic() + 20
        while [each.status for each in board.executions().records] != ["done"]:
            assert time.monotonic() < end
            time.sleep(0.01)
        assert board.jobs(limit=100).records == by_time(repository.history.jobs())


def test_what_is_recorded_last_appears_when_it_is_closed(repository, redis_url):
    with HistoryBoard(repository, redis_url, every_seconds=LONG) as board:
        board.jobs()
        run(repository, p.fan(3))
    run(repository, p.fan(4))  # of which it does not hear
    with HistoryBoard(repository, redis_url, max_age_seconds=LONG) as reader:
        assert [each.jobs for each in reader.executions().records] == [5]
        reader.refresh()
        assert len(reader.executions().records) == 2


def test_who_missed_something_reads_it_when_it_is_too_old(repository, table, asked, monkeypatch):
    with HistoryBoard(repository, table, max_age_seconds=0.2) as board:
        assert board.executions().records == []
        monkeypatch.setattr(repository, "observers", ())
        run(repository, p.fan(3))
        time.sleep(0.25)
        before = len(asked)
        with ThreadPoolExecutor(20) as pool:
            found = list(pool.map(lambda _: len(board.executions().records), range(20)))
        assert found == [1] * 20
        assert len(asked) - before <= 4  # one read of both kinds; a second on a machine that stood still


@pytest.mark.parametrize("loss", ["flushall", "r", "c", "i:task"])
def test_what_redis_lost_is_read_and_shown_again(repository, redis_server, redis_url, asked, loss):
    run(repository, p.fan(3))
    with (
        RedisTable(redis_url, "board", **HistoryBoard.DECLARED) as table,
        HistoryBoard(repository, table, max_age_seconds=LONG) as board,
        redis.Redis.from_url(redis_server.url) as raw,
    ):
        before = board.jobs().records
        for name in (
            table._keys if loss == "flushall" else [each for each in table._keys if each.endswith(loss)]
        ):
            raw.delete(name)
        del asked[:]
        assert board.jobs().records == before
        assert board.jobs().records == before
        assert len(asked) == 4  # to answer, and to fill it again
        assert board.jobs(status="done").records
        assert len(asked) == 4


def test_without_redis_the_history_answers(repository):
    run(repository, p.fan(3), p.fails(1))
    with RedisServer(own=True) as server:
        table = RedisTable(server.url, "board", timeout_seconds=1, **HistoryBoard.DECLARED)
        board = HistoryBoard(repository, table)
        expected = board.jobs().records
        server.stop()
        assert board.jobs().records == expected
        assert pages(board.jobs, limit=2) == expected
        board.close()


WRITER = """
import sys
from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler
from valuestore.interop.board import HistoryBoard
with Repository.open(sys.argv[1]) as repository, HistoryBoard(repository, sys.argv[2], every_seconds=0.01):
    with Scheduler(repository) as scheduler:
        for n in range(5):
            scheduler.run(p.fan(10 * n + int(sys.argv[3])))
"""


def test_two_writers(repository, redis_url):
    with HistoryBoard(repository, redis_url, max_age_seconds=LONG) as board:
        board.jobs()
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(repository.folder), redis_url, str(number)],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )
            for number in (1, 2)
        ]
        assert [writer.wait(60) for writer in writers] == [0, 0]
        assert board.executions().records == by_time(repository.history.executions())
        assert board.jobs(limit=1000).records == by_time(repository.history.jobs())


def test_other_observers_stay(tmp_path, table):
    heard = []
    with Repository.open(tmp_path / "r", observers=[heard.append]) as repository:
        before = repository.observers
        with HistoryBoard(repository, table):
            run(repository, p.fan(2))
        assert repository.observers == before
    assert heard
