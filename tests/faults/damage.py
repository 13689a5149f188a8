"""Payloads damaged in eight ways wherever they may lie: a get tells it, and a rerun heals it."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis as redis_client

from tests.faults import workflow
from tests.faults.found import Found
from tests.servers import RedisServer, S3Server
from valuestore import Repository, Scheduler
from valuestore.db.schema import tables
from valuestore.errors import PayloadError
from valuestore.stores import open_store

VALUES, KINDS = 24, 7
ANOTHER_TYPE = "a key of Redis that holds another type"
Damage = Callable[[bytes, random.Random], bytes | None]


def _flipped(data: bytes, place: int) -> bytes:
    changed = bytearray(data)
    changed[place] ^= 1 << (place % 8)
    return bytes(changed)


OTHER = b"the payload of somebody else" * 40
MODES: dict[str, Damage] = {
    "bit flipped": lambda data, chance: _flipped(data, chance.randrange(len(data))),
    "bit flipped in its head": lambda data, chance: _flipped(data, chance.randrange(min(200, len(data)))),
    "truncated": lambda data, chance: data[: chance.randrange(len(data))],
    "emptied": lambda data, chance: b"",
    "half zeroed": lambda data, chance: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "longer": lambda data, chance: data + chance.randbytes(chance.randrange(1, 100)),
    "another's": lambda data, chance: OTHER,
    "gone": lambda data, chance: None,
    "odd": lambda data, chance: None,
}
"""What becomes of the bytes. Odd is what is no file, no string of Redis, no text of a row."""


@dataclass(frozen=True)
class Place:
    """Where payloads lie: settings of a repository, and what changes the payload of a value there."""

    settings: dict[str, Any]
    change: Callable[[Repository, str, Damage], None]
    odd: Callable[[Repository, str, random.Random], None]


def damage(folder: Path, size: int, chance: random.Random) -> Found:
    """``size`` damages of each mode in each place."""
    found = Found()
    values = min(VALUES, KINDS * size)  # each kind at least
    with ExitStack() as stack:
        places = _places(folder, stack)
        for place_name, place in places.items():
            where = folder / place_name.replace(" ", "-")
            expected = [workflow.value(n) for n in range(values)] + [workflow.Plain(n) for n in range(3)]
            _run(where, place, values)
            for mode in MODES:
                done = 0
                here = Found()
                while done < size:
                    done += _round(where, place, mode, min(values // 2, size - done), chance, here, expected)
                if (place_name, mode) == ("redis", "odd") and here.faults:
                    here.faults = Counter({ANOTHER_TYPE: here.faults.total()})
                found.add(here)
                found.done["damages"] += done
    return found


def _calls(values: int) -> list[Any]:
    return [workflow.make(n) for n in range(values)] + [workflow.signed(n) for n in range(3)]


def _run(where: Path, place: Place, values: int) -> list[Any]:
    with Repository.open(where, **place.settings) as repository, Scheduler(repository) as scheduler:
        return list(scheduler.run(_calls(values)))


def _round(
    where: Path, place: Place, mode: str, count: int, chance: random.Random, found: Found, expected: list[Any]
) -> int:
    label = f"{where.name}, {mode}"
    with Repository.open(where, **place.settings) as repository:
        hashes = [repository.archive.registry.hash(part) for part in expected]
        chosen = chance.sample(range(len(expected)), count)
        for number in chosen:
            if mode == "odd":
                place.odd(repository, hashes[number], chance)
            else:
                place.change(repository, hashes[number], lambda data: MODES[mode](data, chance))
    with Repository.open(where, **place.settings) as repository:
        for number in chosen[: count // 3]:  # put, whatever lies there
            with found.catching("not healed by a put", f"{label} {number}"):
                repository.put(expected[number])
                found.check(_is_same(repository.get(hashes[number]), expected[number]), "wrong", label)
        for number in chosen[count // 3 : 2 * count // 3]:  # the others are found by the rerun
            try:
                got = repository.get(hashes[number])
                found.check(_is_same(got, expected[number]), "wrong", f"{label} {number}")
            except PayloadError:
                found.done["refused"] += 1
            except Exception as error:
                found.fault("not told as damage", f"{label} {number} {type(error).__name__}: {error}")
    with found.catching("could not be run again", label):
        results = _run(where, place, len(expected) - 3)
        for number, (one, other) in enumerate(zip(results, expected, strict=True)):
            found.check(_is_same(one, other), "wrong", f"{label} {number}")
    with Repository.open(where, **place.settings) as repository:
        for number in chosen:
            with found.catching("not healed", f"{label} {number}"):
                found.check(_is_same(repository.get(hashes[number]), expected[number]), "wrong", label)
    return count


def _is_same(one: object, other: object) -> bool:
    if isinstance(other, workflow.Plain):
        return isinstance(one, workflow.Plain) and vars(one) == vars(other)
    return workflow.same(one, other)


# --- places -------------------------------------------------------------------------------------------


def _places(folder: Path, stack: ExitStack) -> dict[str, Place]:
    with_redis = stack.enter_context(RedisServer())
    with_s3 = stack.enter_context(S3Server())
    bucket = stack.enter_context(with_s3.bucket())
    os.environ |= {
        "AWS_ACCESS_KEY_ID": with_s3.access_key,
        "AWS_SECRET_ACCESS_KEY": with_s3.secret_key,
        "AWS_REGION": with_s3.region,
    }
    s3_url = f"s3://{bucket}/damaged?endpoint_url={with_s3.url}"
    return {
        "file": Place({"inline_max_bytes": 0}, _change_at(f"{folder}/file/.valuestore/payloads"), _odd_file),
        "inline": Place({"inline_max_bytes": 1 << 30}, _change_row, _odd_row),
        "redis": Place(
            {"inline_max_bytes": 0, "payloads": f"{with_redis.url}/damaged"},
            _change_at(f"{with_redis.url}/damaged"),
            _odd_redis(with_redis.url),
        ),
        "s3": Place(
            {"inline_max_bytes": 0, "payloads": s3_url}, _change_at(s3_url), _odd_by(_change_at(s3_url))
        ),
    }


def _address(repository: Repository, value_hash: str) -> str:
    ref = repository.find_value(value_hash)
    digest = ref.payload_digest or ref.value_hash
    return f"{digest[:2]}/{digest}"


def _change_at(url: str) -> Callable[[Repository, str, Damage], None]:
    def change(repository: Repository, value_hash: str, damaged: Any) -> None:
        key = _address(repository, value_hash)
        with open_store(url) as store:
            data = damaged(store.get(key))
            store.delete(key)
            if data is not None:
                store.put(key, data)

    return change


def _change_row(repository: Repository, value_hash: str, damaged: Any) -> None:
    value = tables.value
    with repository.database.write() as connection:
        where = value.c.value_hash == value_hash
        data = connection.execute(value.select().where(where)).one()._mapping["inline"]
        connection.execute(value.update().where(where).values(inline=damaged(data)))


def _odd_file(repository: Repository, value_hash: str, chance: random.Random) -> None:
    path = repository.folder / "payloads" / _address(repository, value_hash)
    if path.is_dir():  # of an earlier round: the payload is kept elsewhere since
        return
    path.unlink(missing_ok=True)
    kind = chance.randrange(4)
    if kind == 0:
        path.mkdir()
        (path / "inside").write_text("x")
    elif kind == 1:
        path.symlink_to("nowhere")
    elif kind == 2:
        os.mkfifo(path)
    else:
        shutil.rmtree(path.parent)


def _odd_row(repository: Repository, value_hash: str, chance: random.Random) -> None:
    odd = chance.choice(["7", "'text'", "1.5"])
    with repository.database.write() as connection:
        connection.exec_driver_sql(f"UPDATE value SET inline = {odd} WHERE value_hash = '{value_hash}'")


def _odd_redis(url: str) -> Callable[[Repository, str, random.Random], None]:
    def make_odd(repository: Repository, value_hash: str, chance: random.Random) -> None:
        key = _address(repository, value_hash)
        with redis_client.Redis.from_url(url) as client:
            for name in client.scan_iter(match=f"*{key}*", count=10_000):
                client.delete(name)
                client.rpush(name, b"x") if chance.random() < 0.5 else client.sadd(name, b"x")

    return make_odd


def _odd_by(
    change: Callable[[Repository, str, Any], None],
) -> Callable[[Repository, str, random.Random], None]:
    return lambda repository, value_hash, chance: change(
        repository, value_hash, lambda data: data[::-1] + b"x"
    )
