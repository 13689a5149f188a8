"""A soak: many jobs on Postgres, an S3 server and Dask, with workers killed at random: right, nothing lost.

How many is in ``SOAK_JOBS``. Each round maps, adds up in a tree and keeps a larger payload of every tenth.
"""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter

import pytest

from tests.executors.pipelines import add, large_of, total
from valuestore import Repository, Scheduler
from valuestore.executors.dask import open_dask

JOBS = int(os.environ.get("SOAK_JOBS", "500"))
SECONDS_BETWEEN_KILLS = 2.0
_TREE = 10


def pipeline(jobs):
    """About that many calls, and what they give."""
    numbers = range(jobs * 9 // 10)
    level = [large_of(add(n)) if n % 10 == 0 else add(n) for n in numbers]
    while len(level) > 1:
        level = [total(level[n : n + _TREE]) for n in range(0, len(level), _TREE)]
    return level[0], sum(n + 1 if n % 10 else 100_000 + n + 1 for n in numbers)


class Killer(threading.Thread):
    """Kills a worker at random moments until it is told to stop."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client = client
        self.over = threading.Event()
        self.kills = 0

    def run(self):
        pause = 0.3  # so that even a fast run has lost one
        while not self.over.wait(pause):
            pause = random.uniform(0.5, 1.5) * SECONDS_BETWEEN_KILLS
            pids = [*self.client.run(os.getpid, on_error="ignore").values()]
            if pids:
                os.kill(random.choice(pids), signal.SIGKILL)
                self.kills += 1


@pytest.mark.thorough
@pytest.mark.timeout(3600)
def test_nothing_is_lost_when_workers_die(tmp_path, monkeypatch, postgres_url, s3_server, s3_bucket):
    import dask

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    payloads = f"s3://{s3_bucket}?endpoint_url={s3_server.url}&region=us-east-1"
    call, expected = pipeline(JOBS)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 50}),  # bodies are innocent here
        Repository.open(tmp_path, database=postgres_url, payloads=payloads) as repository,
    ):
        with open_dask(workers=3) as executor, Scheduler(repository, executor=executor) as scheduler:
            killer = Killer(executor.client)
            killer.start()
            try:
                assert scheduler.run(call) == expected
            finally:
                killer.over.set()
                killer.join()
        assert killer.kills > 0
        done = scheduler.execution.counts.done
        with Scheduler(repository) as threads:
            assert threads.run(pipeline(JOBS)[0]) == expected
            assert threads.execution.counts.done == 0
        statuses = repository.history.query("select status, call_hash, traceback from job").rows
        assert Counter(status for status, *_ in statuses)["failed"] == 0
        assert Counter(status for status, *_ in statuses)["done"] == done
        for (value_hash,) in repository.history.query("select value_hash from value").rows:
            repository.archive.read(repository.find_value(value_hash))
        print(f"{JOBS} jobs, {done} bodies, {killer.kills} kills")
