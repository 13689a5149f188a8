"""Process: a runner whose server is a program of this machine."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from tests.servers.runner import (
    LOOPBACK,
    START_SECONDS,
    STOP_SECONDS,
    Recipe,
    reserve_port,
    wait_until_ready,
)

_SHM = "/dev/shm"


class Process:
    """A program in a folder of its own. Both end when we do, even if we are killed."""

    host = LOOPBACK

    def __init__(self, recipe: Recipe, program: str) -> None:
        self._recipe = recipe
        self._program = program
        self._prepared = False
        self._process: subprocess.Popen[bytes] | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.mkdtemp(prefix="valuestore-test-", dir=_in_memory())
        self._user = _unprivileged_user() if recipe.unprivileged else {}
        if self._user:
            os.chown(self._folder, self._user["user"], self._user["group"])
        self._reserved = reserve_port()
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
        wait_until_ready(self._recipe, self)

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
                timeout=START_SECONDS,
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
        """To all processes of the server: it leads a session of its own."""
        if self.is_running():
            assert self._process is not None
            os.killpg(self._process.pid, number)

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(self._recipe.kill_signal)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._guardian is not None:
            self._guardian.kill()
            self._guardian.communicate()
            self._guardian = None


def _in_memory() -> str | None:
    """Where files are in memory, if there is room: each test has a database, which is 400 files."""
    with suppress(OSError):
        found = os.statvfs(_SHM)
        is_roomy = found.f_bavail * found.f_frsize > 2 << 30
        if is_roomy and not found.f_flag & os.ST_NOEXEC and os.access(_SHM, os.W_OK):
            return _SHM
    return None


def _unprivileged_user() -> dict[str, Any]:
    """For root, what makes subprocess run something as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
