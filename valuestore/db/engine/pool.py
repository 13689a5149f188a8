"""Pool: SQLAlchemy's engine over a database: which URLs it takes, how its connections are made and watched.

Imported where SQLAlchemy is needed: on Postgres, whose connections it lends, and on SQLite by whoever makes
the schema or puts queries together (database.py).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import make_url

from valuestore.db.engine.deadline import Watchdog, watch
from valuestore.db.engine.failure import escape_text
from valuestore.errors import ConfigError
from valuestore.kinds import unknown
from valuestore.lazy import renew_after_fork

CONNECT_TIMEOUT_SECONDS = 10.0
_NUMBERS = (
    "connect_timeout",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "port",
    "prepare_threshold",
    "tcp_user_timeout",
)
_OF_A_PLACE = ("gssencmode", "host", "hostaddr", "port", "prepare_threshold")
_PLAIN_FILE = (
    "a SQLite database is sqlite:/// and a path, and nothing else: how long to wait for it is "
    "busy_timeout_seconds, and a file that cannot be written is read as it is"
)


def parsed(url: str | URL, password: str | None) -> URL:
    """The URL of a database of ours, for the drivers that we have. Raises: ConfigError."""
    try:
        found = make_url(url)
    except (exc.ArgumentError, ValueError):  # whose texts quote the URL, or what may be a password
        raise ConfigError("database", "it is not a database URL") from None
    backend = found.get_backend_name()
    if backend == "sqlite":
        has_more = found.query or found.host or (found.database or "file:").startswith("file:")
        if has_more or found.drivername not in ("sqlite", "sqlite+pysqlite"):
            raise ConfigError("database", _PLAIN_FILE)
        return found
    if backend not in ("postgresql", "postgres"):
        raise ConfigError("database", f"there is SQLite and Postgres, not {backend!r}")
    try:
        import psycopg  # noqa: F401  # an optional driver
    except ImportError as error:
        raise ConfigError(
            "database", "Postgres needs a driver: pip install 'valuestore[postgres]'"
        ) from error
    _check_arguments(found.query)
    return found.set(drivername="postgresql+psycopg", password=password or found.password)


def _check_arguments(given: Mapping[str, str | tuple[str, ...]]) -> None:
    """Raises: ConfigError for an argument of a Postgres URL that libpq would refuse, or that is ours."""
    from psycopg.conninfo import make_conninfo
    from psycopg.pq import Conninfo, PGconn

    secret = {option.keyword.decode() for option in Conninfo.get_defaults() if option.dispchar == b"*"}
    known = {option.keyword.decode() for option in Conninfo.get_defaults()} | {"prepare_threshold"}
    for name, value in given.items():
        if name in secret:
            raise ConfigError(
                "database", "a password in its query would show; set VALUESTORE_DATABASE_PASSWORD"
            )
        if name not in known - {"replication"}:
            raise unknown("database", name, known - secret, f"its URL has the unknown argument {name!r}")
        if isinstance(value, tuple) and name not in ("host", "port"):
            raise ConfigError("database", f"its URL has the argument {name!r} twice")
        for number in ",".join([value] if isinstance(value, str) else value).split(","):
            least = 1 if name == "connect_timeout" else 0  # where libpq would wait for ever
            is_none = name == "prepare_threshold" and number in ("none", "None")
            if (
                name in _NUMBERS
                and not is_none
                and not (number.isdecimal() and least <= int(number) < 1 << 31)
            ):
                raise ConfigError(
                    "database", f"{name}={number} in its URL is no whole number from {least} on"
                )
        if name == "client_encoding" and value not in ("utf8", "UTF8", "utf-8", "UTF-8"):
            raise ConfigError("database", f"client_encoding={value} in its URL: it has to be utf8")
    rest = {name: str(value) for name, value in given.items() if name not in _OF_A_PLACE}
    nowhere = {"host": "/", "port": "1"}  # libpq looks at the rest before it finds nobody there
    plain, found = (
        PGconn.connect_start(make_conninfo("", **words, **nowhere).encode()).error_message
        for words in ({}, rest)
    )
    if found != plain:
        raise ConfigError("database", f"an argument of its URL: {found.decode(errors='replace').strip()}")


def sqlite_engine(url: URL, connect: Callable[[], sqlite3.Connection]) -> Engine:
    """An engine whose connections ``connect`` makes; they begin as the option ``writes`` says."""
    engine = create_engine(url, hide_parameters=True, creator=connect)
    event.listen(engine, "begin", _begin)
    _keep_track(engine)
    return engine


def postgres_engine(url: URL, watchdog: Watchdog, statement_seconds: float, busy_seconds: float) -> Engine:
    """An engine with deadlines on both sides: the server's own, and the watchdog's.

    Behind a pooler, which gives each transaction another session, the server's are set in each, and nothing
    is prepared. What the URL itself says of any of these counts.
    """
    query = dict(url.query)
    seconds = max(1, int(min(CONNECT_TIMEOUT_SECONDS, statement_seconds)))
    arguments: dict[str, Any] = {
        "client_encoding": "utf8",
        "connect_timeout": int(str(query.pop("connect_timeout", seconds))),
    }
    if threshold := str(query.pop("prepare_threshold", "")):
        arguments["prepare_threshold"] = int(threshold) if threshold.isdecimal() else None
    limits = {
        "statement_timeout": statement_seconds,
        "lock_timeout": min(busy_seconds, 0.9 * statement_seconds),  # to be told apart
        "idle_in_transaction_session_timeout": 10 * statement_seconds,
    }
    ours = {name: max(1, int(1000 * value)) for name, value in limits.items()}
    own = str(query.get("options", ""))
    sets = [f"{name} = {value}" for name, value in ours.items() if name not in own]

    def on_connect(driver: Any, record: Any) -> None:
        ((backend,),) = driver.execute("SELECT pg_backend_pid()", prepare=False).fetchall()
        if backend == driver.info.backend_pid:
            driver.execute("; ".join(f"SET {one}" for one in sets), prepare=False)
        else:  # who answered the connection is not who does the work
            record.info["limits"] = "; ".join(f"SET LOCAL {one}" for one in sets)
            if not threshold:
                driver.prepare_threshold = None
        driver.commit()
        if driver.info.parameter_status("server_encoding") == "SQL_ASCII":  # others check all text
            escape_text(driver)

    engine = create_engine(
        url.set(query=query),
        hide_parameters=True,
        connect_args=arguments,
        pool_size=5,
        max_overflow=20,
        pool_use_lifo=True,
    )
    event.listen(engine, "connect", on_connect)
    watch(engine, watchdog)
    _keep_track(engine)
    return engine


_lent: dict[tuple[int, int], tuple[Engine, Any]] = {}
"""The connections that threads have taken and not given back, by thread and driver."""
renew_after_fork(_lent.clear)


def _keep_track(engine: Engine) -> None:
    def lend(driver: Any, _record: Any, _proxy: Any) -> None:
        _lent[threading.get_ident(), id(driver)] = engine, driver

    def give_back(driver: Any, _record: Any) -> None:
        _lent.pop((threading.get_ident(), id(driver)), None)

    event.listen(engine, "checkout", lend)
    event.listen(engine, "checkin", give_back)


def let_go(engine: Engine) -> None:
    """Close what the pool has, and what this thread has taken and not given back."""
    engine.dispose()
    for key, (owner, driver) in list(_lent.items()):
        if key[0] == threading.get_ident() and owner is engine:
            _lent.pop(key, None)
            with suppress(Exception):
                driver.close()


def ping(connection: Connection) -> None:
    """Ask whether the server is still there; if not, the next statement gets a new connection."""
    try:
        connection.exec_driver_sql("SELECT 1")
        connection.rollback()
    except exc.DBAPIError as error:
        if not error.connection_invalidated:
            raise
        connection.rollback()


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
