"""Runner: what keeps a test server going, be it a program of this machine or a container.

It starts, kills, pauses and ends what a recipe (``servers.Server``) describes, and knows nothing of Redis,
Postgres or S3. Only ``testing.servers`` calls it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias

LOOPBACK = "127.0.0.1"
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_DOCKER_SOCKET = "/var/run/docker.sock"


Run: TypeAlias = Callable[[Sequence[str]], None]
"""Runs a command to its end. Raises: OSError with its complaint."""


class Recipe(Protocol):
    """What a server says of itself."""

    image: str
    image_port: int
    kill_signal: int
    unprivileged: bool

    def prepare(self, program: str, folder: str, run: Run) -> None: ...
    def command(self, program: str, folder: str, port: int) -> list[str]: ...
    def image_command(self) -> list[str]: ...
    def image_environment(self) -> Mapping[str, str]: ...
    def is_ready(self, host: str, port: int) -> bool: ...


class Runner(Protocol):
    host: str
    port: int

    def start(self) -> None: ...
    def kill(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def is_running(self) -> bool: ...
    def log(self) -> str: ...
    def close(self) -> None: ...


def _wait_until_ready(recipe: Recipe, runner: Runner) -> None:
    """Raises: OSError, with the end of the log, if the server ended or takes too long."""
    deadline = time.monotonic() + _START_SECONDS
    interval = 0.002
    while True:
        with suppress(OSError):
            if recipe.is_ready(runner.host, runner.port) and runner.is_running():
                return
        if not runner.is_running():
            raise OSError(f"it ended while starting: {runner.log()[-2000:].strip()}")
        if time.monotonic() > deadline:
            raise OSError(f"it was not ready after {_START_SECONDS:g} s: {runner.log()[-2000:].strip()}")
        time.sleep(interval)
        interval = min(interval * 1.5, 0.1)


class Process:
    """A program in a folder of its own. Both end when we do, even if we are killed."""

    host = LOOPBACK

    def __init__(self, recipe: Recipe, program: str) -> None:
        self._recipe = recipe
        self._program = program
        self._prepared = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.mkdtemp(prefix="valuestore-test-")
        self._user = _unprivileged_user() if recipe.unprivileged else {}
        if self._user:
            os.chown(self._folder, self._user["user"], self._user["group"])
        self._reserved = _reserve_port()
        self.port: int = self._reserved.getsockname()[1]
        if sys.platform != "linux":  # nobody else could listen there
            self._reserved.close()

    def start(self) -> None:
        if not self._prepared:
            if self._user:
                self._program = self._reachable(self._program)
            self._recipe.prepare(self._program, self._folder, self._run)
            self._prepared = True
        command = self._recipe.command(self._program, self._folder, self.port)
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                start_new_session=True,  # Ctrl-C ends the tests; they end the server
                **self._user,
            )
        self._guard()
        _wait_until_ready(self._recipe, self)

    def kill(self) -> None:
        self._end()

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def log(self) -> str:
        with open(self._log_path, "rb") as log:
            return log.read().decode(errors="replace")

    def close(self) -> None:
        self.resume()
        self._end()
        self._reserved.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _log_path(self) -> str:
        return os.path.join(self._folder, "log")

    def _run(self, command: Sequence[str]) -> None:
        try:
            subprocess.run(
                command,
                check=True,
                capture_output=True,
                cwd=self._folder,
                timeout=_START_SECONDS,
                **self._user,
            )
        except subprocess.CalledProcessError as error:
            raise OSError(f"{command[0]}: {error.stderr.decode(errors='replace')[-2000:].strip()}") from error

    def _reachable(self, program: str) -> str:
        """The program where its user may run it: where it is, or in a copy of its installation."""
        with suppress(PermissionError):
            self._run([program, "--version"])
            return program
        installed = os.path.dirname(os.path.dirname(os.path.realpath(program)))
        copied = shutil.copytree(installed, os.path.join(self._folder, "program"))
        return os.path.join(copied, "bin", os.path.basename(program))

    def _guard(self) -> None:
        """Have a shell wait for our end, of whatever kind: it reads a pipe whose other side is ours."""
        assert self._process is not None
        script = 'read _; kill -9 "$0"; sleep 0.2; rm -rf "$1"'
        self._guardian = subprocess.Popen(
            ["/bin/sh", "-c", script, str(self._process.pid), self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(self._recipe.kill_signal)
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None


def _unprivileged_user() -> dict[str, Any]:
    """For root, what makes subprocess run something as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _reserve_port() -> socket.socket:
    """A bound socket, whose port nobody else is given; on Linux a server may still listen there.

    Both sides have SO_REUSEADDR, and only one of them listens: see socket(7).
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    reserved.bind((LOOPBACK, 0))
    return reserved


class Container:
    """The recipe's image, run by the container engine at a fixed port of this machine."""

    def __init__(self, recipe: Recipe) -> None:
        from testcontainers.core.container import DockerContainer  # only where an engine answers

        self._recipe = recipe
        reserved = _reserve_port()
        self.port: int = reserved.getsockname()[1]
        reserved.close()
        self.host = LOOPBACK
        self._container = DockerContainer(recipe.image)
        self._container.with_bind_ports(recipe.image_port, self.port)
        self._container.with_envs(**recipe.image_environment())
        if command := recipe.image_command():
            self._container.with_command(command)
        self._created = False

    def start(self) -> None:
        if self._created:
            self._engine_side().start()
        else:
            self._container.start()
            self._created = True
            self.host = self._container.get_container_host_ip()
        _wait_until_ready(self._recipe, self)

    def kill(self) -> None:
        self._engine_side().kill()
        self._engine_side().wait(timeout=_STOP_SECONDS)

    def pause(self) -> None:
        self._engine_side().pause()

    def resume(self) -> None:
        self._engine_side().unpause()

    def is_running(self) -> bool:
        side = self._engine_side()
        side.reload()
        return bool(side.status == "running")

    def log(self) -> str:
        return bytes(self._engine_side().logs()).decode(errors="replace")

    def close(self) -> None:
        self._container.stop()

    def _engine_side(self) -> Any:
        return self._container.get_wrapped_container()


@cache
def engine_answers() -> bool:
    """Whether containers can be had. Asks once, and only where there are signs of an engine."""
    if not (os.environ.get("DOCKER_HOST") or os.path.exists(_DOCKER_SOCKET)):
        return False
    if find_spec("testcontainers") is None:
        return False
    import docker

    try:
        docker.from_env(timeout=2).ping()
    except Exception:  # noqa: BLE001 - whatever is wrong with it, it is no engine for us
        return False
    return True
