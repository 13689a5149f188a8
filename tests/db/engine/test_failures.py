"""What comes out of a driver is one of our errors, and none of them lasts longer than its reason (I12)."""

from __future__ import annotations

import errno
import os
import resource
import sqlite3
import subprocess
import sys
import threading
import time

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import text

from tests.servers import PostgresServer
from valuestore import Repository, Scheduler, task
from valuestore.config import load_settings
from valuestore.db.engine import failure, sqlite
from valuestore.db.engine.database import Database
from valuestore.errors import (
    ConfigError,
    DatabaseBusy,
    DatabaseDamaged,
    DatabaseError,
    DatabaseFull,
    DatabaseUnavailable,
    NotARepository,
    StoreReadOnly,
    StoreUnavailable,
    ValuestoreError,
)


class Panic(BaseException):
    """As what is written in Rust raises: no Exception."""


def sqlite_error(code):
    error = sqlite3.OperationalError("so it says")
    error.sqlite_errorcode = code
    return error


THROWN = [
    sqlite3.OperationalError("no code"),
    sqlite3.InterfaceError("bad"),
    sqlite3.ProgrammingError("closed"),
    sqlite3.Warning("one statement at a time"),
    OverflowError("Python int too large to convert to SQLite INTEGER"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    MemoryError(),
    SystemError("error return without exception set"),
    TypeError("not supported"),
    ValueError("embedded null"),
    OSError(errno.EIO, "Input/output error"),
    RecursionError("deep"),
    Panic("in Rust"),
    sqlite_error(sqlite3.SQLITE_IOERR_WRITE),
    sqlite_error(sqlite3.SQLITE_SCHEMA),
]


class Throwing(sqlite3.Connection):
    """A connection whose next statement fails."""

    error: BaseException | None = None

    def _throw(self):
        error, Throwing.error = Throwing.error, None
        if error is not None:
            raise error

    def execute(self, *arguments):
        self._throw()
        return super().execute(*arguments)

    def executemany(self, *arguments):
        self._throw()
        return super().executemany(*arguments)

    def cursor(self, *arguments):
        self._throw()
        return super().cursor(*arguments)


OPERATIONS = {
    "rows": lambda database: database.rows("SELECT 1"),
    "table": lambda database: database.table("SELECT 1"),
    "change": lambda database: database.change(lambda driver: driver.change("DELETE FROM t")),
    "insert": lambda database: database.change(
        lambda driver: driver.insert("INSERT INTO t VALUES (1)", [()])
    ),
    "fetch": lambda database: database.fetch(lambda connection: connection.execute(text("SELECT 1")).all()),
    "transact": lambda database: database.transact(
        lambda connection: connection.execute(text("DELETE FROM t"))
    ),
}


@pytest.mark.parametrize("operation", OPERATIONS)
def test_all_that_a_driver_raises_becomes_one_of_our_errors(tmp_path, monkeypatch, operation):
    monkeypatch.setattr("valuestore.db.engine.database._RETRY_SECONDS", 0.1)
    plain = sqlite3.connect
    monkeypatch.setattr(sqlite.sqlite3, "connect", lambda *a, **k: plain(*a, **k, factory=Throwing))
    database = Database.at(tmp_path / "x.db")
    database.change(lambda driver: driver.change("CREATE TABLE t (n INTEGER)"))
    OPERATIONS[operation](database)
    for error in THROWN:
        Throwing.error = error
        if failure.is_transient(failure.typed_error("x", error) or ValuestoreError()):
            OPERATIONS[operation](database) if operation in ("fetch", "transact") else None
            if Throwing.error is None:
                continue
        with pytest.raises(DatabaseError) as caught:
            OPERATIONS[operation](database)
        assert caught.value.__cause__ is not None
        assert caught.value.args[0] == database.name
        OPERATIONS[operation](database)
    for passed in (KeyboardInterrupt(), SystemExit(3)):
        Throwing.error = passed
        with pytest.raises(type(passed)):
            OPERATIONS[operation](database)
        OPERATIONS[operation](database)
    database.close()


def test_what_work_itself_raises_stays_what_it_is(database):
    for error in (KeyError("mine"), Panic("mine"), OSError("mine")):

        def work(connection, error=error):
            raise error

        for operation in (database.ask, database.change, database.fetch, database.transact):
            with pytest.raises(type(error), match="mine"):
                operation(work)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY_SNAPSHOT, DatabaseBusy),
        (sqlite3.SQLITE_LOCKED_SHAREDCACHE, DatabaseBusy),
        (sqlite3.SQLITE_FULL, DatabaseFull),
        (sqlite3.SQLITE_IOERR_FSYNC, DatabaseUnavailable),
        (sqlite3.SQLITE_READONLY_DBMOVED, StoreReadOnly),
        (sqlite3.SQLITE_CORRUPT_INDEX, DatabaseDamaged),
        (sqlite3.SQLITE_NOTADB, NotARepository),
        (sqlite3.SQLITE_CANTOPEN, StoreReadOnly),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, DatabaseError),
    ],
)
def test_sqlite_says_by_its_code_what_happened(code, kind):
    assert type(failure.typed_error("x", sqlite_error(code))) is kind


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", DatabaseFull),
        ("53300", DatabaseUnavailable),
        ("57P01", DatabaseUnavailable),
        ("08006", DatabaseUnavailable),
        ("40P01", DatabaseUnavailable),
        ("XX001", DatabaseDamaged),
        ("25006", StoreReadOnly),
        ("55P03", DatabaseBusy),
        ("42P01", DatabaseError),
    ],
)
def test_postgres_says_by_its_code_what_happened(state, kind):
    error = psycopg.errors.lookup(state)("so it says; the database does not exist")
    found = failure.typed_error("x", sqlalchemy.exc.DBAPIError("SELECT 1", {}, error))
    assert type(found) is kind
    assert "password" not in str(found)


def test_a_folder_or_a_link_in_the_place_of_the_lock_is_said_and_nothing_is_changed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o644)
    for make in (lambda lock: lock.mkdir(), lambda lock: lock.symlink_to(victim)):
        database = Database.at(tmp_path / "x.db")
        lock = tmp_path / "x.db.lock"
        make(lock)
        with pytest.raises(NotARepository, match="x.db.lock"), database.lock():
            pass
        lock.rmdir() if lock.is_dir() and not lock.is_symlink() else lock.unlink()
    assert (victim.read_text(), victim.stat().st_mode & 0o777) == ("mine", 0o644)


def test_a_folder_in_the_place_of_the_database_is_none(tmp_path):
    (tmp_path / "x.db").mkdir()
    with pytest.raises(NotARepository, match="directory"):
        Repository.open(tmp_path, database=f"sqlite:///{tmp_path}/x.db")


def test_no_file_handles_left_is_not_called_a_matter_of_the_settings_or_of_permission(tmp_path):
    Repository.open(tmp_path).close()
    database = Database.at(tmp_path / ".valuestore/valuestore.db")
    (tmp_path / "valuestore.toml").write_text("")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(map(int, os.listdir("/proc/self/fd"))) + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (used, before[1]))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        found = []
        for ask in (
            lambda: load_settings(tmp_path, {}),
            lambda: database.rows("SELECT 1"),
            database.lock().__enter__,
        ):
            try:
                ask()
            except ValuestoreError as error:
                found.append(error)
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert [type(error) for error in found] == [StoreUnavailable, DatabaseUnavailable, DatabaseUnavailable]
    assert all("open files" in str(error) for error in found)
    assert database.rows("SELECT 1") == [(1,)]
    database.close()


def test_settings_that_are_a_folder_are_a_matter_of_the_settings(tmp_path):
    (tmp_path / "valuestore.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_settings(tmp_path, {})


# --- errors do not last -----------------------------------------------------------------------------


def test_a_disk_that_was_full_for_a_moment_is_forgotten_when_it_is_not(tmp_path):
    """The file system is a real one, of four megabytes."""
    program = """
import os, sys, time, warnings
from valuestore import Repository, Scheduler, task
from valuestore.errors import DatabaseFull, ValuestoreError
warnings.simplefilter("ignore")
@task(namespace="full", version="1")
def text_of(n): return str(n) * 500
folder = sys.argv[1]
with Scheduler(Repository.open(folder)) as scheduler:
    repository = scheduler.repository
    assert scheduler.run(text_of(1)) == "1" * 500
    repository.flush()
    filler = os.open(f"{folder}/filler", os.O_WRONLY | os.O_CREAT)
    try:
        while os.write(filler, bytes(4096)): pass
    except OSError: pass
    for n in range(2000):
        try:
            repository.put([n, "x" * 3000]); repository.flush()
        except DatabaseFull as error:
            assert "make room" in str(error); break
        except ValuestoreError as error:
            print(type(error), error); raise
    else: sys.exit("it was never full")
    os.ftruncate(filler, 0)
    assert repository.get(repository.put("again").value_hash) == "again"
    assert scheduler.run(text_of(2)) == "2" * 500
    repository.flush()
    print("well again")
"""
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", "/mnt"]
    script = f"{' '.join(words)} && exec {sys.executable} - /mnt"
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        input=program,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "permitted" in done.stderr or "denied" in done.stderr:
        pytest.skip("nobody may mount here")
    assert done.stdout == "well again\n", done.stdout + done.stderr[-2000:]


@task(namespace="failures", version="1")
def add(n):
    return n + 1


def test_postgres_that_was_away_is_forgotten_when_it_is_back(tmp_path, monkeypatch):
    monkeypatch.setattr("valuestore.db.engine.database._RETRY_SECONDS", 0.3)
    with PostgresServer(own=True) as server, server.database() as url:
        scheduler = Scheduler(Repository.open(tmp_path, database=url))
        with scheduler:
            assert scheduler.run(add(1)) == 2
            scheduler.repository.flush()
            server.kill()
            ref = scheduler.repository.put("kept")
            time.sleep(0.6)
            with pytest.raises(DatabaseUnavailable):
                scheduler.repository.flush()
            server.restart()
            assert scheduler.run(add(2)) == 3
            assert scheduler.run(add(3)) == 4
            assert scheduler.repository.get(ref.value_hash) == "kept"


def test_the_thread_writes_what_is_left_without_being_asked(tmp_path):
    with Repository.open(tmp_path, busy_timeout_seconds=0.1) as repository:
        holder = sqlite3.connect(repository.database.path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        ref = repository.put("kept")
        time.sleep(0.5)
        with pytest.raises(DatabaseBusy):
            repository.put("too early")
        holder.execute("ROLLBACK")
        end = time.monotonic() + 20
        while not holder.execute("SELECT 1 FROM value WHERE value_hash = ?", (ref.value_hash,)).fetchall():
            assert time.monotonic() < end
            time.sleep(0.05)
        holder.close()


def test_a_checkpoint_that_fails_does_not_fail_what_is_committed(tmp_path, monkeypatch):
    monkeypatch.setattr("valuestore.db.engine.database._CHECKPOINT_BYTES", 0)
    with Repository.open(tmp_path) as repository:
        lock = f"{repository.database.path}.lock"
        os.unlink(lock)
        os.mkdir(lock)
        ref = repository.put("kept")
        repository.flush()
        assert repository.get(ref.value_hash) == "kept"
        os.rmdir(lock)
        reading = repository.database._own()._connection.execute(
            "SELECT 1 UNION SELECT name FROM sqlite_schema"
        )
        repository.tags.add(ref.value_hash, {"also": True})
        assert list(reading)


# --- the log ----------------------------------------------------------------------------------------


def longest_log(folder, jobs, reader):
    with Scheduler(Repository.open(folder), workers=2) as scheduler:
        assert scheduler.run(add(-1)) == 0
        scheduler.repository.flush()
        path = scheduler.repository.database.path
        other = sqlite3.connect(path, isolation_level=None)
        if reader:
            other.execute("BEGIN")
            other.execute("SELECT count(*) FROM job").fetchall()
        longest, is_over = [0], threading.Event()

        def watch():
            while not is_over.wait(0.005):
                longest[0] = max(longest[0], os.stat(f"{path}-wal").st_size)

        watcher = threading.Thread(target=watch)
        watcher.start()
        scheduler.run([add(n) for n in range(jobs)])
        scheduler.repository.flush()
        is_over.set()
        watcher.join()
        other.close()
        if reader:  # it is gone: the log begins anew
            time.sleep(1.1)  # a second after it was waited for
            for n in range(3):
                scheduler.run(add(-2 - n))
                scheduler.repository.flush()
            assert os.stat(f"{path}-wal").st_size < 4 << 20
    return longest[0]


def test_the_log_stays_short_while_jobs_are_written(tmp_path):
    assert longest_log(tmp_path, 3000, reader=False) < 8 << 20


def test_the_log_is_short_again_when_a_reader_that_held_on_is_gone(tmp_path):
    assert longest_log(tmp_path, 3000, reader=True) > 4 << 20
