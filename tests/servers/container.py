"""Container: a runner whose server is an image, run by the container engine if there is one."""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from typing import Any

from tests.servers.runner import (
    LOOPBACK,
    STOP_SECONDS,
    Recipe,
    reserve_port,
    wait_until_ready,
)

_DOCKER_SOCKET = "/var/run/docker.sock"


class Container:
    """The recipe's image, run by the container engine at a fixed port of this machine."""

    def __init__(self, recipe: Recipe) -> None:
        from testcontainers.core.container import DockerContainer  # only where an engine answers

        self._recipe = recipe
        reserved = reserve_port()
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
        wait_until_ready(self._recipe, self)

    def kill(self) -> None:
        self._engine_side().kill()
        self._engine_side().wait(timeout=STOP_SECONDS)

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
    except Exception:
        return False
    return True
