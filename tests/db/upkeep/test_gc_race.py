"""Writers that put and pause, beside a collector without any grace: nothing dangles and nothing is lost."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from tests.db.upkeep.conftest import dangling
from valuestore import Repository
from valuestore.errors import PayloadError

ROOT = Path(__file__).parents[3]


class Race:
    """Some writers, stopped now and then for longer than the grace, and a collector in this process."""

    def __init__(self, folder, database="", payloads="", *, how="careful", writers=3, puts=10**9):
        settings = {"database": database or None, "payloads": payloads or None}
        self.repository = Repository.open(folder, **settings, inline_max_bytes=0)
        arguments = [str(folder), database, payloads, str(puts)]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # a pipe would be full after some findings
        self.writers = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.db.upkeep.race", *arguments, str(seed), how],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
            )
            for seed in range(writers)
        ]
        for writer in self.writers:
            assert writer.stdout.readline() == "ready\n", self._said()
        self._ending = threading.Event()
        self._stopper = threading.Thread(target=self._stop_now_and_then)
        self._stopper.start()

    def _stop_now_and_then(self):
        chance = random.Random(7)
        while not self._ending.wait(0.02 * chance.random()):
            writer = chance.choice(self.writers)
            if writer.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(writer.pid, signal.SIGSTOP)
                    self._ending.wait(0.05 + 0.2 * chance.random())
                    os.kill(writer.pid, signal.SIGCONT)

    def collect(self):
        return self.repository.gc(dry_run=False, grace_seconds=0, force=True)

    @property
    def is_on(self):
        return any(writer.poll() is None for writer in self.writers)

    def end(self):
        """Stop all; how many puts there were, how many values were lost, and what the writers said."""
        self._ending.set()
        self._stopper.join()
        said: list[str] = []
        for writer in self.writers:
            writer.send_signal(signal.SIGCONT)
            if writer.poll() is None:
                writer.kill()
            said += writer.communicate()[0].splitlines()
        done = [line.split() for line in said if line.startswith("done")]
        return sum(int(one[1]) for one in done), self._said()

    def _said(self):
        self._errors.seek(0)
        return self._errors.read()

    def close(self):
        if not self._ending.is_set():
            self.end()
        self.repository.close()
        self._errors.close()


def held_and_unreadable(repository):
    lost = []
    for (value_hash,) in repository.history.query("SELECT value_hash FROM held").rows:
        try:
            repository.get(value_hash)
        except PayloadError:
            lost.append(value_hash)
    return lost


@pytest.fixture
def race(tmp_path):
    races = []

    def begin(*arguments, **settings):
        races.append(Race(tmp_path, *arguments, **settings))
        return races[-1]

    yield begin
    for one in races:
        one.close()


def freed_in(race, seconds):
    """How many payloads were collected in so many seconds, or in a minute if these are few."""
    freed, began = 0, time.monotonic()
    while time.monotonic() < began + (seconds if freed > 20 else 60):
        freed += race.collect().freed["payloads"].count
    return freed


@pytest.mark.timeout(300)
def test_nothing_dangles_beside_a_collector(race):
    one = race()
    assert freed_in(one, 3) > 20
    _, errors = one.end()
    assert "lost" not in errors, errors
    assert "Traceback" not in errors, errors
    one.collect()
    assert dangling(one.repository) == {}
    assert held_and_unreadable(one.repository) == []


def test_writers_that_do_not_look_are_caught(race):
    assert is_caught(race(how="naive"))


@pytest.mark.thorough
@pytest.mark.parametrize("place", ["redis", "s3"])
def test_writers_that_do_not_look_are_caught_on_servers(race, request, place):
    assert is_caught(race("", request.getfixturevalue(f"{place}_url"), how="naive"))


def is_caught(one):
    """Whether something dangled at some time: the next put of the same value heals it."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        one.collect()
        if dangling(one.repository).get("payloads"):
            return True
    return False


@pytest.mark.thorough
@pytest.mark.timeout(900)
@pytest.mark.parametrize("place", ["files", "postgres", "redis", "s3"])
def test_a_hundred_thousand_puts_take_ten_minutes(race, request, place):
    database = request.getfixturevalue("postgres_url") if place == "postgres" else ""
    payloads = request.getfixturevalue(f"{place}_url") if place in ("redis", "s3") else ""
    puts = 100_000 if place in ("files", "postgres") else 10_000
    one = race(database, payloads, puts=puts // 4, writers=4)
    freed = 0
    while one.is_on:
        freed += one.collect().freed["payloads"].count
    done, errors = one.end()
    print(f"{place}: {done} puts, {freed} payloads collected meanwhile")
    assert done >= puts
    assert "lost" not in errors, errors
    one.collect()
    assert dangling(one.repository) == {}
    assert held_and_unreadable(one.repository) == []
