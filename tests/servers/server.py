"""Server: what is the same for every server of the tests: where it comes from, its life, its faults.

A subclass is a recipe (``runner``): it says what to run, and when that is ready. The order in which places
are tried stands in the package.
"""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Self

from tests.servers.container import Container, engine_answers
from tests.servers.process import Process
from tests.servers.runner import Run, Runner
from valuestore.config import environment
from valuestore.errors import NotSupported, ValuestoreError

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
        except Exception as error:
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
