"""What can be computed again is a warned miss; what would hide lost writes is an error (I4)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import warnings

import pytest

from tests.servers import RedisServer
from valuestore import Repository, Scheduler, task
from valuestore.db.engine import sqlite
from valuestore.errors import DatabaseFull, StoreUnavailable, ValuestoreWarning

ran: list[object] = []


@pytest.fixture(autouse=True)
def nothing_ran():
    ran.clear()


@pytest.fixture
def redis():
    with RedisServer(own=True) as server:
        yield server


@task(version="1")
def small(n: int) -> int:
    ran.append(n)
    return n


@task(version="1")
def large(n: int) -> bytes:
    ran.append(("large", n))
    return bytes(20_000) + bytes([n])


@task(version="1")
def length(data: bytes) -> int:
    ran.append(len(data))
    return len(data)


@task(version="1")
def smalls(count: int) -> list[int]:
    return [small(n) for n in range(count)]


def run(place, call, **settings):
    """The value of a call, and the warnings of its run."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with Repository.open(place, **settings) as repository, Scheduler(repository) as scheduler:
            value = scheduler.run(call)
    return value, [str(one.message) for one in said if issubclass(one.category, ValuestoreWarning)]


def said_by(program, *arguments):
    """The JSON that a program of its own process prints."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_is_inline_comes_from_the_cache_while_the_payload_store_is_frozen(tmp_path, redis):
    settings = {"payloads": redis.url, "payload_retry_seconds": 0.2}
    run(tmp_path, smalls(20), **settings)
    ran.clear()
    redis.pause()
    try:
        began = time.monotonic()
        assert run(tmp_path, smalls(20), **settings) == (list(range(20)), [])
        assert time.monotonic() - began < 5
    finally:
        redis.resume()
    assert ran == []


def test_what_a_payload_store_that_is_away_holds_is_computed_again_with_one_warning(tmp_path, redis):
    settings = {"payloads": redis.url, "payload_retry_seconds": 0.2}
    run(tmp_path, large(1), **settings)
    ran.clear()
    redis.kill()
    value, said = run(tmp_path, length(large(1)), **settings)
    assert (value, ran) == (20_001, [("large", 1), 20_001])
    missed, *unkept = said
    assert "unavailable" in missed
    assert missed.endswith("computed again")
    assert all("not cached" in one for one in unkept)
    redis.restart()
    assert run(tmp_path, length(large(1)), **settings)[0] == 20_001  # kept where it is inline


def test_the_verbs_of_a_repository_say_that_the_store_does_not_answer(tmp_path, redis):
    with Repository.open(tmp_path, payloads=redis.url, payload_retry_seconds=0.2) as repository:
        ref = repository.put(bytes(20_000))
        redis.kill()
        with pytest.raises(StoreUnavailable):
            repository.get(ref.value_hash)
        with pytest.raises(StoreUnavailable):
            repository.put(bytes(30_000))
        redis.restart()
        assert repository.get(ref.value_hash) == bytes(20_000)


def test_a_payload_store_that_is_away_for_a_moment_is_waited_for(tmp_path, redis):
    """No run fails, no body runs twice, whenever it goes."""
    back = threading.Event()

    @task(version="1")
    def outage(n: int) -> bytes:
        ran.append(n)
        if n == 2:
            redis.kill()
            threading.Timer(1.0, lambda: (redis.restart(), back.set())).start()
        return bytes(20_000) + bytes([n])

    value, said = run(tmp_path, [length(outage(n)) for n in range(6)], payloads=redis.url)
    assert (value, said) == ([20_001] * 6, [])
    assert back.is_set()
    assert sorted(ran) == [*range(6), *[20_001] * 6]
    ran.clear()
    assert run(tmp_path, [length(outage(n)) for n in range(6)], payloads=redis.url) == (value, [])
    assert ran == []


def test_a_result_is_run_again_when_an_argument_of_a_later_body_is_gone(tmp_path):
    """Between the moment that it was found in the cache and the moment that it is needed."""

    @task(version="1")
    def lose(data: bytes) -> int:
        [kept] = repository.payloads.digests()
        repository.payloads.delete(kept)
        return 1

    @task(version="1")
    def after(data: bytes, _: int) -> int:
        return len(data)

    data = large(1)
    with (
        Repository.open(tmp_path) as repository,
        Scheduler(repository) as scheduler,
        pytest.warns(ValuestoreWarning, match="missing"),
    ):
        assert scheduler.run(after(data, lose(data))) == 20_001
    assert ran.count(("large", 1)) == 2


# --- a repository that can only be read ----------------------------------------------------------

READER = """
import json, os, sys, warnings
from tests.scheduler.test_availability import large, length, ran, small
from valuestore import Repository, Scheduler
from valuestore.errors import StoreReadOnly
with Scheduler(sys.argv[1]) as scheduler:
    scheduler.run([small(1), length(large(1))])
ran.clear()
for folder, _, files in os.walk(sys.argv[1], topdown=False):
    for file in files:
        os.chmod(os.path.join(folder, file), 0o444)
    os.chmod(folder, 0o555)
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
said = []
warnings.showwarning = lambda message, *more: said.append(str(message))
warnings.simplefilter("always")
with Scheduler(sys.argv[1]) as scheduler:
    value = scheduler.run([small(1), length(large(1))])
    try:
        scheduler.run([small(1), small(2)])
    except StoreReadOnly as error:
        refused = str(error)
    try:
        scheduler.repository.put(1)
    except StoreReadOnly:
        refused += " (put)"
print(json.dumps([value, said, refused, ran]))
"""


def test_a_repository_that_can_only_be_read_runs_what_it_knows():
    """With one warning for each run. What it does not know is refused before a body begins."""
    with tempfile.TemporaryDirectory(prefix="valuestore-") as folder:
        os.chmod(folder, 0o755)
        try:
            value, said, refused, bodies = said_by(READER, os.path.join(folder, "made"))
        finally:
            for name, _, _ in os.walk(folder):
                os.chmod(name, 0o755)
    assert value == [1, 20_001]
    assert len(said) == 2
    assert said[0].startswith("nothing of this run is kept: cannot write to ")
    assert refused.startswith("cannot write to ")
    assert refused.endswith("(put)")
    assert bodies == []


# --- a full disk -----------------------------------------------------------------------------------

FULL = """
import json, resource, signal, sys, warnings
from tests.scheduler.test_availability import large, length, ran, small
from valuestore import Scheduler
from valuestore.errors import DatabaseFull
said = []
warnings.showwarning = lambda message, *more: said.append(str(message))
warnings.simplefilter("always")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
with Scheduler(sys.argv[1]) as scheduler:
    value = scheduler.run([small(1), length(large(1))])
    try:
        scheduler.run([small(1), small(2)])
    except DatabaseFull as error:
        said.append(str(error))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    value += scheduler.run([small(1), small(2)])
    recorded = len(scheduler.repository.history.executions().all())
print(json.dumps([value, said, ran, recorded]))
"""


def test_a_program_that_begins_on_a_full_disk_runs_what_is_known_and_goes_on_when_there_is_room(tmp_path):
    run(tmp_path, [small(1), length(large(1))])
    value, (first, second, refused), bodies, recorded = said_by(FULL, str(tmp_path))
    assert value == [1, 20_001, 1, 2]
    assert first.startswith("nothing of this run is kept: ")
    assert second.startswith("nothing of this run is kept: ")
    assert "no log can be written beside it" in refused
    assert (bodies, recorded) == ([2], 2)


def test_a_disk_that_is_full_by_now_fails_no_run_of_what_is_known(tmp_path, monkeypatch):
    """What is new is an error, since it would not be kept; with room again the same program goes on."""
    connect, room = sqlite.connect, [False]

    def connect_without_room(*given, **more):
        connection = connect(*given, **more)
        if not room[0]:
            connection.execute("PRAGMA max_page_count = 1")  # as many as there are
        return connection

    run(tmp_path, [small(1), length(large(1))])
    ran.clear()
    monkeypatch.setattr(sqlite, "connect", connect_without_room)
    much = {"much": "x" * 60_000}
    with Scheduler(tmp_path) as scheduler:
        with pytest.warns(ValuestoreWarning, match=r"nothing of this run is kept: .* is full"):
            assert scheduler.run([small(1), length(large(1))], tags=much) == [1, 20_001]
        assert ran == []
        with pytest.raises(DatabaseFull):
            scheduler.run([small(2)], tags=much)
        assert ran == [2]
        room[0] = True
        scheduler.repository.database._close()
        ran.clear()
        assert scheduler.run([small(2), small(3)], tags=much) == [2, 3]
    ran.clear()
    assert run(tmp_path, [small(2), small(3)]) == ([2, 3], [])
    assert ran == []
