"""Database: lost connections, stopped servers, forks, locks, read-only folders, passwords: what happens."""

from __future__ import annotations

import gc
import os
import pickle
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import pytest
from sqlalchemy import text

from tests.servers import PostgresServer
from valuestore import Repository
from valuestore.config import Settings, database_password, load_settings
from valuestore.db.engine import deadline
from valuestore.db.engine.database import Database
from valuestore.db.engine.deadline import Watchdog
from valuestore.db.engine.failure import is_transient
from valuestore.errors import (
    ConfigError,
    DatabaseBusy,
    DatabaseError,
    DatabaseUnavailable,
    StoreReadOnly,
    ValuestoreError,
)

NOBODY = 65534


def execute(database, sql):
    with database.write() as connection:
        connection.execute(text(sql))


def scalar(database, sql):
    return database.fetch(lambda connection: connection.execute(text(sql)).scalar())


@pytest.fixture
def postgres(postgres_url):
    database = Database(postgres_url, busy_timeout_seconds=10)
    yield database
    database.close()


def backend(database):
    return scalar(database, "SELECT pg_backend_pid()")


def terminate(postgres_url, *, everyone_but_me=True):
    other = Database(postgres_url)
    execute(
        other,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    other.close()


# --- lost connections -----------------------------------------------------------------------------


def test_work_is_done_again_when_its_backend_is_killed(postgres, postgres_url):
    execute(postgres, "CREATE TABLE t (n INTEGER PRIMARY KEY)")
    attempts = []

    def work(connection):
        connection.execute(text("INSERT INTO t VALUES (1)"))
        attempts.append(1)
        if len(attempts) == 1:
            terminate(postgres_url)

    postgres.transact(work)
    assert len(attempts) == 2
    assert scalar(postgres, "SELECT count(*) FROM t") == 1


def test_reads_survive_killed_connections(postgres, postgres_url):
    assert scalar(postgres, "SELECT 1") == 1
    terminate(postgres_url)
    assert scalar(postgres, "SELECT 2") == 2


def test_idle_connection_that_was_killed_is_replaced_before_it_is_used(postgres, postgres_url, monkeypatch):
    monkeypatch.setattr("valuestore.db.engine.database._PING_AFTER_SECONDS", 0.0)
    assert scalar(postgres, "SELECT 1") == 1
    terminate(postgres_url)
    with postgres.read() as connection:
        assert connection.execute(text("SELECT 2")).scalar() == 2


def test_batches_survive_killed_backends(tmp_path, postgres_url):
    with Repository.open(tmp_path, database=postgres_url) as repository:
        refs = []
        for number in range(30):
            refs.append(repository.put([number]))
            if number % 10 == 0:
                repository.flush()
                terminate(postgres_url)
        repository.flush()
        assert [repository.get(ref.value_hash) for ref in refs] == [[number] for number in range(30)]


def test_two_transactions_that_deadlock_both_succeed(postgres):
    execute(postgres, "CREATE TABLE t (n INTEGER PRIMARY KEY, x INTEGER)")
    execute(postgres, "INSERT INTO t VALUES (1, 0), (2, 0)")
    first_locked = threading.Barrier(2)

    def add(order):
        tries = []

        def work(connection):
            tries.append(1)
            connection.execute(text(f"UPDATE t SET x = x + 1 WHERE n = {order[0]}"))
            if len(tries) == 1:
                first_locked.wait(timeout=20)
            connection.execute(text(f"UPDATE t SET x = x + 1 WHERE n = {order[1]}"))

        postgres.transact(work)

    threads = [threading.Thread(target=add, args=(order,)) for order in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert scalar(postgres, "SELECT sum(x) FROM t") == 4


@pytest.fixture(scope="module")
def own_server():
    """One that a test may stop, here and on this machine."""
    with PostgresServer(own=True) as server:
        yield server


def test_server_that_stands_still_is_given_up_and_one_that_restarts_is_waited_for(own_server):
    server = own_server
    with server.database() as url:
        database = Database(url, busy_timeout_seconds=20, statement_timeout_seconds=0.5)
        pid = scalar(database, "SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DatabaseUnavailable), database.write() as connection:
                connection.execute(text("SELECT 2"))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert scalar(database, "SELECT 3") == 3
        server.kill()
        restart = threading.Timer(0.5, server.restart)
        restart.start()
        assert scalar(database, "SELECT 4") == 4
        restart.join()
        database.close()


def test_server_that_is_not_there_is_unavailable(tmp_path):
    database = Database("postgresql://postgres@127.0.0.1:1/nothing", busy_timeout_seconds=0.3)
    with pytest.raises(DatabaseUnavailable) as caught:
        scalar(database, "SELECT 1")
    assert is_transient(caught.value)
    assert isinstance(caught.value, ConnectionError)


def test_statement_that_takes_too_long_is_ended(postgres_url):
    database = Database(postgres_url, statement_timeout_seconds=0.2)
    with pytest.raises(DatabaseError, match="statement_timeout_seconds"):
        scalar(database, "SELECT pg_sleep(30)")
    database.close()


def test_lock_of_another_is_waited_for_and_then_reported(postgres_url):
    holder = Database(postgres_url)
    waiter = Database(postgres_url, busy_timeout_seconds=0.2)
    with holder.lock(), pytest.raises(DatabaseBusy), waiter.lock():
        pass
    with waiter.lock(), waiter.lock():
        pass
    holder.close()
    waiter.close()


def test_child_of_a_fork_makes_its_own_connection(database):
    assert scalar(database, "SELECT 1") == 1
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if scalar(database, "SELECT 2") == 2 else 2
            database.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert scalar(database, "SELECT 3") == 3


# --- on the driver --------------------------------------------------------------------------------


def numbers(database):
    return [number for (number,) in database.rows("SELECT n FROM t ORDER BY n")]


def test_work_on_the_driver_is_committed_whole_or_not_at_all(database):
    database.change(lambda driver: driver.change("CREATE TABLE t (n INTEGER PRIMARY KEY)"))
    place = "?" if database.is_sqlite else "%s"

    def insert(*rows):
        return lambda driver: driver.insert(f"INSERT INTO t VALUES ({place})", rows)

    database.change(insert((1,), (2,)))
    with pytest.raises(DatabaseError):
        database.change(insert((3,), (1,)))
    with pytest.raises(KeyError):
        database.change(lambda driver: (insert((4,))(driver), {}["no"]))
    assert numbers(database) == [1, 2]
    assert database.table("SELECT n, n + 1 AS next FROM t ORDER BY n") == (("n", "next"), [(1, 2), (2, 3)])
    assert database.change(lambda driver: driver.change("DELETE FROM t WHERE n > 1")) == 1


def test_work_on_the_driver_is_done_again_when_its_backend_is_killed(postgres, postgres_url):
    execute(postgres, "CREATE TABLE t (n INTEGER PRIMARY KEY)")
    attempts = []

    def work(driver):
        attempts.append(driver.rows("SELECT pg_backend_pid()"))
        driver.insert("INSERT INTO t VALUES (%s)", [(1,)])
        if len(attempts) == 1:
            terminate(postgres_url)

    postgres.change(work)
    assert len(attempts) == 2
    assert attempts[0] != attempts[1]
    assert numbers(postgres) == [1]


def test_reads_on_the_driver_survive_killed_connections(postgres, postgres_url):
    assert postgres.rows("SELECT 1") == [(1,)]
    terminate(postgres_url)
    assert postgres.rows("SELECT 2") == [(2,)]


def test_statement_on_the_driver_that_takes_too_long_is_ended(postgres_url):
    database = Database(postgres_url, statement_timeout_seconds=0.2)
    with pytest.raises(DatabaseError, match="statement_timeout_seconds"):
        database.rows("SELECT pg_sleep(30)")
    assert database.rows("SELECT 1") == [(1,)]
    database.close()


def test_server_that_stands_still_is_given_up_on_the_driver(own_server):
    with own_server.database() as url:
        database = Database(url, busy_timeout_seconds=0.1, statement_timeout_seconds=0.5)
        ((pid,),) = database.rows("SELECT pg_backend_pid()")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DatabaseUnavailable):
                database.change(lambda driver: driver.rows("SELECT 2"))
        finally:
            os.kill(pid, signal.SIGCONT)
        assert database.rows("SELECT 3") == [(3,)]
        database.close()


def test_child_of_a_fork_has_its_own_driver(database):
    assert database.rows("SELECT 1") == [(1,)]
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if database.rows("SELECT 2") == [(2,)] else 2
            database.close()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert database.rows("SELECT 3") == [(3,)]


def test_text_that_is_damaged_comes_escaped_on_the_driver(tmp_path):
    database = Database.at(tmp_path / "valuestore.db")
    damaged = "SELECT CAST(x'61ff62' AS TEXT) AS damaged"
    assert database.table(damaged) == (("damaged",), [("a\\xffb",)])
    assert database.rows(damaged) == [("a\\xffb",)]
    database.close()


@pytest.mark.parametrize("name", ["plain.db", "with space.db", "per%20cent.db", "que?stion.db", "ümlaut.db"])
def test_a_file_is_found_by_its_path_and_by_its_url(tmp_path, name):
    by_path = Database.at(tmp_path / name)
    by_path.change(lambda driver: driver.change("CREATE TABLE t (n INTEGER)"))
    by_url = Database(by_path.url)
    by_text = Database(by_path.name)
    assert by_url.path == by_text.path == str(tmp_path / name)
    for database in (by_url, by_text, by_path):
        assert numbers(database) == []
        assert scalar(database, "SELECT count(*) FROM t") == 0
        database.close()


def test_a_relative_path_stays_what_it_was_when_the_program_changes_its_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    with Repository.open("repository") as repository:
        monkeypatch.chdir("elsewhere")
        ref = repository.put("kept")
        found = []
        repository.flush()
        other = threading.Thread(target=lambda: found.append(repository.lookup.value(ref.value_hash).preview))
        other.start()
        other.join()
        assert found == ['"kept"']
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- SQLite ---------------------------------------------------------------------------------------


def test_lock_that_is_held_too_long_names_its_holder(tmp_path):
    with Repository.open(tmp_path, busy_timeout_seconds=0.3) as repository:
        path = repository.database.path
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.readline()"
        )
        holder = subprocess.Popen(
            [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert holder.stdout.readline() == "held\n"
        repository.put("later")
        with pytest.raises(DatabaseBusy) as caught:
            repository.flush()
        holder.communicate("\n", timeout=20)
        assert f"process {holder.pid}" in str(caught.value)
        assert "0.3 s" in str(caught.value)
        repository.flush()


def as_nobody(function):
    """Whether ``function`` is true for a user who owns nothing."""
    child = os.fork()
    if not child:
        status = 1
        try:
            if os.getuid() == 0:
                os.setuid(NOBODY)
            status = 0 if function() else 2
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def reads_and_cannot_write(folder, value_hash):
    with Repository.open(folder) as repository:
        if repository.get(value_hash) != {"a": 1}:
            return False
        try:
            repository.put("new")
            repository.flush()
        except StoreReadOnly:
            return True
    return False


@pytest.mark.parametrize("with_log", [False, True])
def test_repository_in_a_folder_that_cannot_be_written_can_be_read(with_log):
    folder = tempfile.mkdtemp(dir="/tmp")  # others may enter it, unlike pytest's folders
    try:
        os.chmod(folder, 0o755)
        repository = Repository.open(folder)
        value_hash = repository.put({"a": 1}).value_hash
        repository.flush()
        if not with_log:
            repository.close()
        for parent, folders, files in os.walk(folder):
            for name in folders:
                os.chmod(os.path.join(parent, name), 0o555)
            for name in files:
                os.chmod(os.path.join(parent, name), 0o444)
        os.chmod(folder, 0o555)
        assert as_nobody(lambda: reads_and_cannot_write(folder, value_hash))
    finally:
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        repository.close()
        shutil.rmtree(folder)


def test_read_only_database_refuses_to_write(tmp_path, monkeypatch):
    with Repository.open(tmp_path) as repository:
        path = repository.database.path
    monkeypatch.setattr("valuestore.db.engine.database._is_read_only", lambda _: True)
    database = Database.at(path)
    assert scalar(database, "SELECT count(*) FROM value") == 0
    with pytest.raises(StoreReadOnly), database.write():
        pass
    database.close()


def test_connections_of_threads_end_with_them(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put("seen by all")
        found = []
        threads = [
            threading.Thread(target=lambda: found.append(repository.get(ref.value_hash))) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == ["seen by all"] * 8
    other = sqlite3.connect(repository.database.path, isolation_level=None)
    other.execute("PRAGMA locking_mode=EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    other.close()


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:secret@host/db",
        "postgresql+psycopg://me:secret@host/db",
        "postgresql://host/db?password=secret",
    ],
)
def test_password_in_the_settings_file_is_refused_and_not_shown(tmp_path, url):
    (tmp_path / "valuestore.toml").write_text(f'database = "{url}"\n')
    with pytest.raises(ConfigError, match="VALUESTORE_DATABASE_PASSWORD") as caught:
        load_settings(tmp_path, {})
    assert "secret" not in str(caught.value)


def test_password_comes_from_the_environment_or_a_file(tmp_path, monkeypatch):
    secret = tmp_path / "secret"
    secret.write_text("from a file\nsecond line\n")
    settings = Settings(database_password_file=str(secret))
    assert database_password(settings) == "from a file"
    monkeypatch.setenv("VALUESTORE_DATABASE_PASSWORD", "from outside")
    assert database_password(settings) == "from outside"
    monkeypatch.delenv("VALUESTORE_DATABASE_PASSWORD")
    with pytest.raises(ConfigError, match="database_password_file"):
        database_password(Settings(database_password_file=str(tmp_path / "none")))
    assert database_password(Settings()) is None


def test_password_is_in_no_message_and_no_row(tmp_path, postgres_url, monkeypatch):
    monkeypatch.setenv("VALUESTORE_DATABASE_PASSWORD", "s3cret")
    with Repository.open(tmp_path, database=postgres_url) as repository:
        assert "s3cret" not in repr(vars(repository.settings)) + repository.database.name
        assert "s3cret" not in repr(repository.database.url)
        with pytest.raises(DatabaseError) as caught:
            scalar(repository.database, "SELECT nothing")
        assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)


@pytest.mark.parametrize(
    "url",
    [
        "mysql://me:s3cret@host/db",
        "s3cret",
        "postgresql://host/db?password=s3cret",
        "postgresql://host/db?sslpassword=s3cret",
        "postgresql://me@host:s3cret/db",
    ],
)
def test_url_of_no_database_of_ours_is_refused_and_not_shown(url):
    with pytest.raises(ConfigError, match="database") as caught:
        Database(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_child_of_a_fork_hangs_up_on_none_of_its_parents_connections():
    here, there = socket.socketpair()
    watchdog = Watchdog(0.02)
    with here, there:
        watchdog._thread = threading.current_thread()  # the parent's is slow to notice
        watchdog.arm(here)
        child = os.fork()
        if not child:
            mine, _other = socket.socketpair()
            watchdog.arm(mine)
            time.sleep(0.2)
            os._exit(0 if mine.recv(1) == b"" else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        there.send(b"x")
        assert here.recv(1) == b"x"


def test_connection_armed_while_the_watcher_is_ending_is_watched(monkeypatch):
    monkeypatch.setattr(deadline, "_IDLE_SECONDS", 0.0)
    watchdog = Watchdog(0.02)
    for _ in range(20):
        here, there = socket.socketpair()
        with here, there:
            there.settimeout(20)
            watchdog.arm(here)
            assert there.recv(1) == b""
        time.sleep(random.uniform(0, 0.01))


def test_errors_survive_pickling():
    error = DatabaseBusy("db", "locked", 3.0, (1, 2))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert "process 1, 2" in str(again)
    assert isinstance(again, ValuestoreError)


def test_a_database_that_is_left_open_or_cannot_be_opened_keeps_no_file(tmp_path, recwarn):
    """In a circle the connection may be collected before what closes it: Python 3.13 warns of that."""
    for name, content in (("left.db", b""), ("no.db", b"no database" * 100)):
        (tmp_path / name).write_bytes(content)
        circle = [Database.at(tmp_path / name)]
        circle.append(circle)
        try:
            circle[0].rows("SELECT 1")
        except DatabaseError:
            assert name == "no.db"
        del circle
        gc.collect()
        opened = {os.path.realpath(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")}
        assert str(tmp_path / name) not in opened
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]
