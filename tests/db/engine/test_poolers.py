"""Postgres behind a pooler: no session is ours from one transaction to the next."""

from __future__ import annotations

import multiprocessing
import threading

import pytest
from sqlalchemy import text

from tests.servers import PgBouncer
from valuestore import Repository, Scheduler, task
from valuestore.db.engine.database import Database
from valuestore.errors import DatabaseBusy, DatabaseError

pytestmark = pytest.mark.skipif(not PgBouncer.is_there(), reason="no pgbouncer on this machine")


@task(namespace="poolers", version="1")
def double(n):
    return 2 * n


@pytest.fixture(params=["", "ignore_startup_parameters = options"], ids=["plain", "options ignored"])
def pooled_url(request, postgres_url):
    with PgBouncer(postgres_url, more=request.param) as server:
        yield server.url


@pytest.fixture
def url(postgres_url):
    with PgBouncer(postgres_url) as server:
        yield server.url


def test_runs_are_recorded_and_found_again_by_run_after_run(pooled_url, tmp_path):
    for turn in range(3):
        with Scheduler(Repository.open(tmp_path / str(turn), database=pooled_url)) as scheduler:
            assert scheduler.run([double(n) for n in range(20)]) == [2 * n for n in range(20)]
            assert scheduler.execution.counts.done == (20 if turn == 0 else 0)
            assert len(scheduler.repository.history.executions().all()) == turn + 1


def test_nothing_is_prepared_however_often_it_is_asked_by_many_threads(url, tmp_path):
    with Repository.open(tmp_path, database=url) as repository:
        refs = [repository.put([n]) for n in range(30)]
        repository.flush()
        failed = []

        def ask():
            try:
                assert [repository.get(ref.value_hash) for ref in refs] == [[n] for n in range(30)]
            except Exception as error:
                failed.append(error)

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


def open_and_put(folder, url, number):
    with Repository.open(folder, database=url) as repository:
        repository.put([number])


def test_eight_processes_open_a_new_database_at_once_with_two_sessions(url, tmp_path):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=open_and_put, args=(tmp_path, url, n)) for n in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 8
    with Repository.open(tmp_path, database=url) as repository:
        assert repository.stats().rows["value"] == 8


def test_a_transaction_has_the_deadlines_and_leaves_none_behind(url):
    database = Database(url, statement_timeout_seconds=0.3)
    with pytest.raises(DatabaseError, match="statement_timeout_seconds"), database.write() as connection:
        connection.execute(text("SELECT pg_sleep(20)"))
    for _ in range(4):
        assert database.rows("SELECT current_setting('statement_timeout')") == [("0",)]
    database.close()


def test_the_lock_is_one_of_its_transaction(url):
    holder, waiter = Database(url), Database(url, busy_timeout_seconds=0.2)
    with holder.lock():
        assert holder.rows("SELECT 1") == [(1,)]
        with pytest.raises(DatabaseBusy), waiter.lock():
            pass
    with waiter.lock(), waiter.lock():
        pass
    holder.close()
    waiter.close()
