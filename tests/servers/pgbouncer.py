"""PgBouncer: a pooler in front of a Postgres, which gives each transaction whatever session is free."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit

from tests.servers.programs import on_path
from tests.servers.runner import Run
from tests.servers.server import Server
from valuestore.config import environment


class PgBouncer(Server):
    """pgbouncer in transaction mode, with so many ``sessions``, in front of the database at ``url``.

    No package has it: it is on the PATH, or VALUESTORE_TEST_PGBOUNCER names it.
    """

    name = "pgbouncer"
    setting = "test_pgbouncer_url"
    remedy = "install the system's pgbouncer"
    image = "edoburu/pgbouncer"
    image_port = 5432
    unprivileged = True

    def __init__(self, url: str, *, sessions: int = 2, more: str = "") -> None:
        super().__init__(own=True)
        self._behind, self._sessions, self._more = urlsplit(url), sessions, more

    @classmethod
    def is_there(cls) -> bool:
        return program() is not None

    def make_url(self, host: str, port: int) -> str:
        return self._behind._replace(netloc=f"postgres@{host}:{port}").geturl()

    def find_program(self) -> str | None:
        return program()

    def prepare(self, program: str, folder: str, run: Run) -> None:
        with open(f"{folder}/settings", "w") as file:
            file.write(
                f"[databases]\n* = host={self._behind.hostname} port={self._behind.port} user=postgres\n"
                f"[pgbouncer]\npool_mode = transaction\ndefault_pool_size = {self._sessions}\n"
                f"auth_type = any\nunix_socket_dir =\n{self._more}\n"
            )

    def command(self, program: str, folder: str, port: int) -> list[str]:
        with open(f"{folder}/settings", "a") as file:
            file.write(f"listen_addr = 127.0.0.1\nlisten_port = {port}\n")
        return [program, f"{folder}/settings"]

    def is_ready(self, host: str, port: int) -> bool:
        socket.create_connection((host, port), timeout=5).close()
        return True


def program() -> str | None:
    named = environment("test_pgbouncer")
    return named if named and os.path.exists(named) else on_path("pgbouncer", "/usr/sbin")
