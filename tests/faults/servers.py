"""Redis, S3 and Postgres killed, frozen, slow, or cut off in an answer, while pipelines run."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tests.faults import workflow
from tests.faults.found import Found
from tests.servers import PostgresServer, RedisServer, S3Server, Server
from tests.servers.proxy import TcpProxy
from valuestore import Repository
from valuestore.errors import ValuestoreError

_CALLS = 6
_FAULT_SECONDS = 0.8
_LONGEST_SECONDS = 40.0
"""Of a run, whatever happens: deadlines of requests, and the seconds for which they are tried again."""


def redis(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` faults of a Redis that keeps what it acknowledged and holds the payloads."""
    with RedisServer(own=True) as server, TcpProxy(server.url) as proxy:
        settings = {"payloads": f"{proxy.url}/faulty?timeout_seconds=2", "inline_max_bytes": 0}
        return _faults(folder, size, chance, server, proxy, settings)


def s3(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` faults of an S3 that holds the payloads; it is not killed, for it keeps them in memory."""
    with ExitStack() as stack:
        server = stack.enter_context(S3Server(own=True))
        bucket = stack.enter_context(server.bucket())
        os.environ |= {
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_REGION": server.region,
        }
        proxy = stack.enter_context(TcpProxy(server.url))
        settings = {"payloads": f"s3://{bucket}/f?endpoint_url={proxy.url}", "inline_max_bytes": 0}
        return _faults(folder, size, chance, server, proxy, settings, without=("killed",))


def postgres(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` faults of the Postgres that has the rows."""
    with PostgresServer(own=True) as server, server.database() as url, TcpProxy(server.url) as proxy:
        name = url.rpartition("/")[2]
        settings = {"database": f"postgresql://postgres@{proxy.address}/{name}", "busy_timeout_seconds": 20}
        return _faults(folder, size, chance, server, proxy, settings)


def _faults(
    folder: Path,
    size: int,
    chance: random.Random,
    server: Server,
    proxy: TcpProxy,
    settings: dict[str, Any],
    without: tuple[str, ...] = (),
) -> Found:
    found = Found()
    kinds = [kind for kind in KINDS if kind not in without]
    with Repository.open(folder, **settings) as repository:
        workflow.run(repository, 1)
    for number in range(size):
        kind = kinds[number % len(kinds)]
        start = 3 * (number // 2)  # every other run has much of it cached
        began = time.monotonic()
        workflow.RAN.clear()
        with _fault(kind, server, proxy, chance):
            try:
                with Repository.open(folder, **settings) as repository:
                    right = workflow.run(repository, _CALLS, start) == workflow.expected(_CALLS, start)
                    found.check(right, "wrong", f"{number} {kind}")
                found.done["finished"] += 1
            except ValuestoreError as error:
                found.fault("failed runs", f"{number} {kind} {type(error).__name__}: {str(error)[:200]}")
            except BaseException as error:
                found.fault("no typed error", f"{number} {kind} {type(error).__name__}: {str(error)[:300]}")
        found.check(time.monotonic() - began < _LONGEST_SECONDS, "took too long", f"{number} {kind}")
        found.done["faults"] += 1
        most = {"make": _CALLS, "signed": _CALLS, "measure": 2 * _CALLS, "both": _CALLS, "total": 1}
        twice = sum(max(0, workflow.RAN[name] - count) for name, count in most.items())
        found.check(not twice, "runs with a body that ran twice", f"{number} {kind} {workflow.RAN}")
        healed = found.catching("could not be run when all was well again", f"{number} {kind}")
        with healed, Repository.open(folder, **settings) as repository:
            right = workflow.run(repository, _CALLS, start) == workflow.expected(_CALLS, start)
            found.check(right, "wrong", f"{number} {kind} again")
    return found


# --- faults -------------------------------------------------------------------------------------------


@contextmanager
def _fault(kind: str, server: Server, proxy: TcpProxy, chance: random.Random) -> Iterator[None]:
    """Begin it a moment from now, end it after a second or when the block ends, whichever is first."""
    begin, end = KINDS[kind]
    over = threading.Event()
    moment, choice = chance.uniform(0.0, 0.15), chance.random()

    def work() -> None:
        time.sleep(moment)
        begin(server, proxy, choice)
        over.wait(_FAULT_SECONDS)
        end(server, proxy)

    working = threading.Thread(target=work)
    working.start()
    try:
        yield
    finally:
        over.set()
        working.join()


def _slow(server: Server, proxy: TcpProxy, choice: float) -> None:
    proxy.delay = 0.02 + choice * 0.05


def _cut(server: Server, proxy: TcpProxy, choice: float) -> None:
    proxy.cut_after = int(choice * 30)


def _stall(server: Server, proxy: TcpProxy, choice: float) -> None:
    proxy.stall = True


def _refuse(server: Server, proxy: TcpProxy, choice: float) -> None:
    proxy.refuse = True
    proxy.drop()


def _heal(server: Server, proxy: TcpProxy) -> None:
    proxy.heal()


KINDS: dict[str, tuple[Callable[[Server, TcpProxy, float], None], Callable[[Server, TcpProxy], None]]] = {
    "killed": (lambda server, proxy, _: server.kill(), lambda server, proxy: server.restart()),
    "frozen": (lambda server, proxy, _: server.pause(), lambda server, proxy: server.resume()),
    "slow": (_slow, _heal),
    "cut in an answer": (_cut, _heal),
    "stalled": (_stall, _heal),
    "disconnected": (_refuse, _heal),
}
