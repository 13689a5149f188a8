"""S3Store against its peers on one server: ``python -m benchmarks.s3_store``.

All put and get the same values in turns, in one process, on an S3 server of the tests: ``moto``, or
``rclone``, which is quicker but ignores ``If-None-Match``, so that a put asks first. obstore by hand makes 16
requests at once, by threads or by asyncio; s3fs and boto3 make one after the other, as their plain calls do.
Peers keep no attributes and no etag of the content. A ratio is the peer's median over S3Store's: above 1,
S3Store is better.

The last table is that of payloads one by one, by a ContentStore on S3Store: digest, metadata and all, over
obstore by hand, in turns payload by payload. There a ratio is ours over that by hand: below the goal is good.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import count
from typing import Any

import fsspec
import obstore
from obstore.store import S3Store as NativeStore
from rich.console import Console
from rich.table import Table

from tests.servers import S3Server, SigningS3Server
from valuestore.hashing import hash_bytes
from valuestore.stores.content import ContentStore
from valuestore.stores.s3.store import S3Store

VALUES = 1000
VALUE_BYTES = 100_000
AT_ONCE = 16
GOALS = {
    "obstore, 16 threads": "at least 1",
    "obstore, asyncio": "at least 1",
    "s3fs, one by one": "at least 3",
    "boto3, one by one": "",
}

Work = Callable[[], object]
Cost = tuple[float, float]
"""CPU and wall seconds."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3_store", description=__doc__)
    parser.add_argument("--server", choices=["rclone", "moto"], default="moto")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    server_class = SigningS3Server if arguments.server == "rclone" else S3Server
    table = Table("work", "peer", "CPU ratio", "wall ratio", "goal", title=f"S3Store on {arguments.server}")
    with server_class(own=True) as server, server.bucket() as bucket:
        puts, gets = _works(server, bucket)
        for name, works in (("put", puts), ("get", gets)):
            costs = _in_turns(works, arguments.rounds)
            ours = costs.pop("S3Store")
            cpu, wall = (statistics.median(cost[kind] for cost in ours) for kind in (0, 1))
            table.add_row(name, "S3Store", f"({cpu:.2f} s)", f"({wall:.2f} s)")
            for peer, theirs in costs.items():
                table.add_row(name, peer, *_ratio(theirs, ours), GOALS[peer])
        payloads = _payloads(server, bucket)
    Console().print(table, payloads)


def _works(server: S3Server, bucket: str) -> tuple[dict[str, Work], dict[str, Work]]:
    """What to do by whom: puts, gets. Every get checks what it got."""
    keys = [f"{n % 256:02x}/{n:08x}" for n in range(VALUES)]
    values = [hashlib.shake_128(key.encode()).digest(VALUE_BYTES) for key in keys]
    key, secret = server.access_key, server.secret_key
    store, native, client = _ours(server, bucket), _native(server, bucket), server.client()
    client_kwargs = {"endpoint_url": server.url, "region_name": server.region}
    s3fs: Any = fsspec.filesystem(
        "s3", key=key, secret=secret, client_kwargs=client_kwargs, use_listings_cache=False
    )
    pool = ThreadPoolExecutor(AT_ONCE)
    runner = asyncio.Runner()

    def put_native(name: str, value: bytes) -> object:
        return obstore.put(native, f"threads/{name}", value, use_multipart=False)

    def get_native(name: str) -> bytes:
        return bytes(obstore.get(native, f"threads/{name}").bytes())

    async def put_async(name: str, value: bytes, limit: asyncio.Semaphore) -> object:
        async with limit:
            return await obstore.put_async(native, f"asyncio/{name}", value, use_multipart=False)

    async def get_async(name: str, limit: asyncio.Semaphore) -> bytes:
        async with limit:
            return bytes(await (await obstore.get_async(native, f"asyncio/{name}")).bytes_async())

    async def put_all() -> None:
        limit = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(put_async(*pair, limit) for pair in zip(keys, values, strict=True)))

    async def get_all() -> list[bytes]:
        limit = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(get_async(name, limit) for name in keys))

    def check(found: Sequence[bytes]) -> None:
        if list(found) != values:
            raise AssertionError("what was got is not what was put")

    def put_by(put: Callable[[str, bytes], object]) -> Work:
        return lambda: [put(*pair) for pair in zip(keys, values, strict=True)]

    def get_by(get: Callable[[str], bytes]) -> Work:
        return lambda: check([get(name) for name in keys])

    turn = count()

    def put_ours() -> None:
        # new keys each time, as payloads are; keys that are taken cost two requests more
        number = next(turn)
        store.put_many([f"{number}/{name}" for name in keys], values)

    puts: dict[str, Work] = {
        "S3Store": put_ours,
        "obstore, 16 threads": lambda: list(pool.map(put_native, keys, values)),
        "obstore, asyncio": lambda: runner.run(put_all()),
        "s3fs, one by one": put_by(lambda name, value: s3fs.pipe_file(f"{bucket}/s3fs/{name}", value)),
        "boto3, one by one": put_by(
            lambda name, value: client.put_object(Bucket=bucket, Key=f"boto3/{name}", Body=value)
        ),
    }
    gets: dict[str, Work] = {
        "S3Store": lambda: check(store.get_many([f"0/{name}" for name in keys])),
        "obstore, 16 threads": lambda: check(list(pool.map(get_native, keys))),
        "obstore, asyncio": lambda: check(runner.run(get_all())),
        "s3fs, one by one": get_by(lambda name: bytes(s3fs.cat_file(f"{bucket}/s3fs/{name}"))),
        "boto3, one by one": get_by(
            lambda name: bytes(client.get_object(Bucket=bucket, Key=f"boto3/{name}")["Body"].read())
        ),
    }
    return puts, gets


def _ours(server: S3Server, bucket: str) -> S3Store:
    key, secret = server.access_key, server.secret_key
    return S3Store(
        f"s3://{bucket}/ours", endpoint_url=server.url, access_key_id=key, secret_access_key=secret
    )


def _native(server: S3Server, bucket: str) -> NativeStore:
    return NativeStore(
        bucket,
        config={
            "endpoint": server.url,
            "access_key_id": server.access_key,
            "secret_access_key": server.secret_key,
            "region": server.region,
            "virtual_hosted_style_request": False,
        },
        client_options={"allow_http": True},
    )


# --- payloads, one by one -------------------------------------------------------------------------------

PAYLOADS = 300
PAYLOAD_GOALS = {"put, new": "at most 1.7", "put, there already": "", "get": ""}


def _payloads(server: S3Server, bucket: str) -> Table:
    """What one payload costs: the medians, and their ratio."""
    native, content = _native(server, bucket), ContentStore(_ours(server, bucket))
    costs: dict[str, list[tuple[Cost, Cost]]] = {work: [] for work in PAYLOAD_GOALS}
    for number in range(PAYLOADS):
        name, value = f"hand/{number}", hashlib.shake_128(b"%d" % number).digest(VALUE_BYTES)
        put = partial(obstore.put, native, name, value, use_multipart=False)
        digest = hash_bytes(value, algorithm=content.algorithm)
        get, get_ours = partial(_get_whole, native, name), partial(content.get, digest)
        costs["put, new"].append((_cost(partial(content.put, value)), _cost(put)))
        costs["put, there already"].append((_cost(partial(content.put, value)), _cost(put)))
        costs["get"].append((_cost(get_ours), _cost(get)))
    table = Table(
        "work", "by hand", "CPU ratio", "wall ratio", "goal", title="payloads of 100 KB, one by one"
    )
    for work, pairs in costs.items():
        ours, theirs = zip(*pairs[10:], strict=True)  # the first warm up
        by_hand = statistics.median(cost[0] for cost in theirs)
        table.add_row(work, f"({by_hand * 1e3:.2f} ms)", *_ratio(ours, theirs), PAYLOAD_GOALS[work])
    return table


def _get_whole(native: NativeStore, name: str) -> bytes:
    return bytes(obstore.get(native, name).bytes())


def _cost(work: Work) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


# --- turns ----------------------------------------------------------------------------------------------


def _in_turns(works: dict[str, Work], rounds: int) -> dict[str, list[Cost]]:
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            cost = _cost(work)
            if turn:  # the first warms up
                costs[name].append(cost)
    return costs


def _ratio(over: Sequence[Cost], under: Sequence[Cost]) -> tuple[str, str]:
    """CPU and wall."""
    cpu, wall = (
        statistics.median(cost[kind] for cost in over) / statistics.median(cost[kind] for cost in under)
        for kind in (0, 1)
    )
    return f"{cpu:.2f}", f"{wall:.2f}"


if __name__ == "__main__":
    main()
