"""Forked workers and Ctrl-C at any moment: whoever goes on finds a repository that works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys

import pytest

from valuestore import Repository
from valuestore.db.engine.database import Database

WORK = """
import fcntl, os, random, signal, sqlite3, sys, tempfile, time
from valuestore import Repository
kind, times, url = sys.argv[1], int(sys.argv[2]), sys.argv[3]
settings = {"database": url} if url else {}
folder = tempfile.mkdtemp(dir=".")
repository = Repository.open(folder, **settings)
first = repository.put([0]).value_hash
repository.flush()
chance = random.Random(5)

def flush():
    repository.put([chance.random()])
    repository.flush()

def get():
    assert repository.get(first) == [0]

def tag():
    repository.tags.add(first, {"n": [chance.random()]})

def opened():
    with Repository.open(folder if url else tempfile.mkdtemp(dir="."), **settings) as another:
        another.put([chance.random()])

work = {"flush": flush, "get": get, "tag": tag, "opened": opened}[kind]
work()
began = time.perf_counter()
work()
usual = time.perf_counter() - began
is_armed = False

def hear(*_):
    global is_armed
    if is_armed:
        is_armed = False
        raise KeyboardInterrupt

signal.signal(signal.SIGALRM, hear)
kept, unheard = [], 0  # as a notebook keeps the last traceback
for _ in range(times):
    try:
        is_armed = True
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-6, usual))
        work()
        while is_armed:
            time.sleep(0.0001)
        unheard += 1
    except KeyboardInterrupt as error:
        kept = [*kept[-9:], error]
    is_armed = False
    if not url:
        path = f"{folder}/.valuestore/valuestore.db"
        repository.database.rows("PRAGMA wal_checkpoint")  # refused while a statement is open
        other = sqlite3.connect(path, timeout=2, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        other.close()
        with open(f"{path}.lock", "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    began = time.monotonic()
    work()
    assert time.monotonic() - began < 20
print(times - unheard)
"""


def interrupted(tmp_path, kind, times, url=""):
    """How many of so many interrupts of that work were heard; it works again after each."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WORK, kind, str(times), url],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout)


@pytest.mark.parametrize("kind", ["flush", "get", "tag"])
def test_an_interrupt_at_any_moment_is_heard_and_locks_nobody_out(tmp_path, kind):
    assert interrupted(tmp_path, kind, 100) >= 97  # libraries have callbacks, which swallow what is raised


def test_an_interrupt_at_any_moment_leaves_postgres_usable(tmp_path, postgres_url):
    assert interrupted(tmp_path, "flush", 40, postgres_url) >= 38  # SQLAlchemy has callbacks, too


@pytest.mark.thorough
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", ["flush", "get", "tag", "opened"])
@pytest.mark.parametrize("is_postgres", [False, True], ids=["sqlite", "postgresql"])
def test_300_interrupts_leave_300_usable_repositories(request, tmp_path, kind, is_postgres):
    url = request.getfixturevalue("postgres_url") if is_postgres else ""
    assert interrupted(tmp_path, kind, 300, url) >= 285


def test_an_interrupt_that_a_driver_covers_with_its_own_error_stays_one(tmp_path):
    database = Database.at(tmp_path / "x.db")

    def work(_driver):
        try:
            raise KeyboardInterrupt
        finally:
            raise sqlite3.OperationalError("covers it")

    with pytest.raises(KeyboardInterrupt):
        database.ask(work)
    try:
        raise KeyboardInterrupt
    except KeyboardInterrupt:  # handled by then: what fails afterwards is what it is
        with pytest.raises(Exception, match="no such table"):
            database.rows("SELECT * FROM nowhere")
    database.close()


def forked(number, work):
    """The exit codes of so many forked children that do ``work``."""
    children = []
    for child in range(number):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                work(child)
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]


def put_in_children(folder, each, database=""):
    settings = {"database": database} if database else {}
    before = Repository.open(folder, **settings)
    before.put("before")
    before.close()  # its lock, its connections and its threads are the parent's
    open_one = Repository.open(folder, **settings)
    open_one.put("held")
    open_one.flush()

    def work(child):
        repository = open_one if child % 2 else Repository.open(folder, **settings)
        for number in range(each):
            repository.put(f"{child} {number}")
            if number % 50 == 0:
                repository.flush()
        repository.close()

    assert forked(8, work) == [0] * 8
    assert open_one.stats().rows["value"] == 8 * each + 2
    open_one.close()


def test_eight_forked_workers_put_into_a_repository_that_was_opened_and_closed(tmp_path):
    put_in_children(tmp_path, 100)


def test_eight_forked_workers_put_into_postgres(tmp_path, postgres_url):
    put_in_children(tmp_path, 20, postgres_url)


@pytest.mark.thorough
def test_eight_forked_workers_put_8_000_values(tmp_path):
    put_in_children(tmp_path, 1000)
