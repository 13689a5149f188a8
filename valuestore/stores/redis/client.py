"""RedisClient: how RedisStore talks to its server, and RedisTable: with a deadline, in typed errors.

There are no retries. It wraps the pool of redis-py, which is safe to use by threads and after a fork.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, cast

import redis
from redis.backoff import NoBackoff
from redis.exceptions import AskError, ClusterCrossSlotError, OutOfMemoryError, ReadOnlyError
from redis.retry import Retry

from valuestore.errors import (
    NotSupported,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    ValuestoreWarning,
    is_foreign,
)
from valuestore.stores.redis import scripts as redis_scripts
from valuestore.stores.redis.address import RedisAddress

_CLUSTER = ("CROSSSLOT", "MOVED", "ASK")

_reported: set[tuple[Any, ...]] = set()
"""The servers of whose policies this process was warned."""


class RedisClient:
    """The server at an address. Everything raises StoreUnavailable when it does not answer or refuses."""

    def __init__(
        self, address: RedisAddress, timeout_seconds: float, scripts: Sequence[str] = redis_scripts.ALL
    ) -> None:
        self.url = address.url
        self._place = tuple(address.connection.get(name) for name in ("host", "port", "path"))
        self._timeout_seconds = timeout_seconds
        self._greeted = False
        self._keeps_values = scripts is redis_scripts.ALL
        pool = redis.ConnectionPool(
            connection_class=address.connection_class,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=timeout_seconds,
            retry=Retry(NoBackoff(), 0),  # a second try would take twice the time, and could put twice
            **address.connection,
        )
        self._redis: Any = redis.Redis(connection_pool=pool)
        self._scripts = {text: self._redis.register_script(text) for text in scripts}

    def do(self, key: str, *command: Any) -> Any:
        """What the server answers to the command; ``key`` is for the messages.

        Raises: StoreError if there is something other than a string; StoreReadOnly; NotSupported.
        """
        return self._answer(key, lambda: self._redis.execute_command(*command))

    def run(self, key: str, script: str, names: Sequence[str], *arguments: Any) -> Any:
        """What the script returns, one of those it was given. Raises: as ``do``."""
        return self._answer(key, lambda: self._scripts[script](names, arguments))

    def do_all(self, key: str, *commands: Sequence[Any]) -> Sequence[Any]:
        """What the server answers to each of the commands, which it gets together."""
        answers = cast(Sequence[Any], self._answer(key, lambda: self._send(commands)))
        for answer in answers:
            if isinstance(answer, Exception):
                raise self._typed(answer, key) from answer
        return answers

    def discard(self, names: Iterable[str], error: BaseException) -> None:
        """Remove temporary names after the error, unless the server does not answer: then they expire.

        One that refused, being full for example, did answer.
        """
        if not isinstance(error, StoreUnavailable) or isinstance(error.__cause__, redis.ResponseError):
            self.forget(*names)

    def forget(self, *names: str) -> None:
        """Remove what expires anyway, if that can be done."""
        if names:
            with suppress(Exception):
                self._redis.execute_command("UNLINK", *names)

    def close(self) -> None:
        self._redis.connection_pool.disconnect(inuse_connections=False)

    def wrong_type(self, key: str) -> StoreError:
        return StoreError(f"{self.url} has something that is no string at {key!r}; it was left alone")

    def _answer(self, key: str, ask: Callable[[], Any]) -> Any:
        try:
            self._greet()
            return ask()
        except BaseException as error:
            if not is_foreign(error):
                raise
            raise self._typed(error, key) from error

    def _send(self, commands: Iterable[Sequence[Any]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)
            # raising here would put all arguments, the data too, into the message
            return cast(list[Any], pipeline.execute(raise_on_error=False))

    def _greet(self) -> None:
        """On first use, hand over the scripts and look for policies that lose values.

        Where INFO or CONFIG is forbidden, there is nothing to see.
        """
        if self._greeted:
            return
        load = (("SCRIPT LOAD", text) for text in self._scripts)
        info, config, *_ = self._send([*_POLICIES, *load])
        self._greeted = True
        if not self._keeps_values or self._place in _reported or not isinstance(info, dict):
            return
        _reported.add(self._place)
        if losses := _find_losses(info, config):
            message = f"{self.url} may lose values, which are then computed again: {'; '.join(losses)}"
            warnings.warn(ValuestoreWarning(message), stacklevel=6)

    def losses(self) -> list[str]:
        """In which ways the server forgets what it acknowledged. Raises: StoreError."""
        return _find_losses(*self.do_all("", *_POLICIES))

    def _typed(self, error: BaseException, key: str) -> StoreError:
        text = str(error)
        if "WRONGTYPE" in text:
            return self.wrong_type(key)
        if isinstance(error, ReadOnlyError) or "READONLY" in text:  # the latter: from a script
            return StoreReadOnly(self.url, "it is a read-only replica")
        if isinstance(error, ClusterCrossSlotError | AskError) or text.startswith(_CLUSTER):
            instead = "put a hash tag into the prefix, {name}, and connect to the node of its slot"
            return NotSupported(self.url, "keys on several nodes of a cluster", instead)
        if isinstance(error, redis.TimeoutError | TimeoutError):
            return StoreUnavailable(self.url, f"no answer within timeout_seconds={self._timeout_seconds:g}")
        if isinstance(error, OutOfMemoryError) or "OOM" in text:
            return StoreUnavailable(self.url, "it is full; raise its maxmemory, or delete something")
        return StoreUnavailable(self.url, text or type(error).__name__)


_POLICIES = ("INFO",), ("CONFIG GET", "save")


def _find_losses(info: Any, config: Any) -> list[str]:
    """What is wrong by the answers to these, which may be errors."""
    losses: list[str] = []
    if not isinstance(info, dict):
        return losses
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if info.get("maxmemory") and policy.startswith("allkeys"):
        losses.append(f"when full it evicts any key (maxmemory-policy {policy}; noeviction keeps them)")
    if info.get("aof_enabled") == 0:
        kept = (
            "what came after its last snapshot"
            if isinstance(config, dict) and config.get("save")
            else "everything"
        )
        losses.append(f"when it dies it forgets {kept} (appendonly no; yes keeps it)")
    return losses
