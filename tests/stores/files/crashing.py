"""Writers that are killed or race each other, run by ``test_filesystem_crashes.py`` in a process of its own.

It forks, and only a process with one thread may do that safely. Prints what it counted; fails by assertion.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.faults.forking import exit_code, fork
from valuestore.errors import AlreadyExists, NotFound, PayloadError
from valuestore.hashing import hash_bytes
from valuestore.stores import ContentStore, FileStore

KEYS = [f"{folder}/{n}" for folder in ("k", "k/0", "x" * 300) for n in range(5)]
MUTATING = ["open", "write", "close", "utime", "mkdir", "replace", "link", "unlink", "rename", "rmdir"]


def pattern(number: int) -> bytes:
    return (b"%d," % number) * (10 + number % 7 * 2000)


def state(store: FileStore, key: str) -> tuple[bytes, object] | None:
    try:
        return store.get(key), store.stat(key).attrs.get("n")
    except NotFound:
        return None


def assert_clean(root: Path) -> None:
    """After a sweep nothing is left but what keys refer to."""
    store = FileStore(root)
    store.sweep(older_than_seconds=0)
    assert not list((root / ".vs~/tmp").iterdir())
    attributed = sum(bool(store.stat(key).attrs) for key in store.keys())  # noqa: SIM118
    assert len(list((root / ".vs~").glob("attrs/*"))) == attributed


# --- killed at any time -------------------------------------------------------------------------------


def kills(root: Path, times: int) -> str:
    """Kill a writer again and again: what it acknowledged is there, what it was at is old or new."""
    store = FileStore(root)
    known: dict[str, int | None] = dict.fromkeys(KEYS)
    acknowledged = 0
    for attempt in range(times):
        reader, writer = os.pipe()
        pid = fork(partial(write_forever, root, writer, attempt))
        os.close(writer)
        os.read(reader, 1)  # it runs
        time.sleep(random.uniform(0, 0.012))
        os.kill(pid, signal.SIGKILL)
        assert exit_code(pid) == -signal.SIGKILL
        with os.fdopen(reader) as lines:
            words = [line.split() for line in lines if line.endswith("\n")]
        for word, key, number in (line for line in words if len(line) == 3):
            if word == "ack":
                known[key] = int(number)
                acknowledged += 1
        begun = words[-1] if words and words[-1][0] == "try" else None
        for key in KEYS:
            found = state(store, key)
            allowed = {known[key]} | ({int(begun[2])} if begun and begun[1] == key else set())
            number = None if found is None else found[1]
            assert number in allowed, (key, number, allowed)
            assert found is None or found[0] == pattern(number), key
            known[key] = number
    for key in KEYS:
        store.put(key, b"again", attrs={"n": 0})
        assert state(store, key) == (b"again", 0)
    assert_clean(root)
    return f"{times} kills, {acknowledged} acknowledged"


def write_forever(root: Path, pipe: int, attempt: int) -> None:
    store = FileStore(root)
    os.write(pipe, b".")
    for n in itertools.count():
        key, number = random.choice(KEYS), attempt * 100_000 + n + 1
        os.write(pipe, f"try {key} {number}\n".encode())
        store.put(key, pattern(number), attrs={"n": number})
        os.write(pipe, f"ack {key} {number}\n".encode())


# --- killed at each step ------------------------------------------------------------------------------


def points(root: Path) -> str:
    """Die before or after each call that changes the disk: then the key is as before, or as after."""
    counted = 0
    for name, (before, operate) in operations().items():
        for late in (False, True):
            for step in itertools.count(1):
                shutil.rmtree(root, ignore_errors=True)
                store = FileStore(root)
                before(store)
                snapshot = {key: state(store, key) for key in store.list().keys}
                code = exit_code(fork(partial(operate_until, root, operate, step, late)))
                found = {key: state(store, key) for key in store.list().keys}
                if code == 0:
                    break
                assert code == 9, (name, step, code)
                counted += 1
                check_point(name, step, snapshot, found, FileStore(root), operate)
                assert_clean(root)
            assert found != snapshot, name
    return f"{counted} points"


def check_point(name, step, before, found, store, operate) -> None:
    done = dict(found)
    if found == before:  # not yet: then it can be done now
        operate(store)
        done = {key: state(store, key) for key in store.list().keys}
        assert done != before, (name, step)
    else:
        assert all(value is None or value[0] == b"n%d" % value[1] for value in found.values()), (
            name,
            step,
            found,
        )
    for key in done:
        store.put(key, b"n5", attrs={"n": 5})
        assert state(store, key) == (b"n5", 5), (name, step, key)


def operations() -> dict[str, tuple[Callable[[FileStore], object], Callable[[FileStore], object]]]:
    def put(key: str, n: int, **options: object) -> Callable[[FileStore], object]:
        return lambda store: store.put(key, b"n%d" % n, attrs={"n": n}, **options)

    def nothing(store: FileStore) -> None:
        pass

    return {
        "new": (nothing, put("a/b/c", 2)),
        "replace": (put("a/b", 1), put("a/b", 2)),
        "create": (put("z", 1), put("a/b", 2, overwrite=False)),
        "odd": (put("a", 1), put("a/b", 2)),
        "replace odd": (put("x" * 300, 1), put("x" * 300, 2)),
        "delete": (put("a/b", 1), lambda store: store.delete("a/b")),
    }


def operate_until(root: Path, operate: Callable[[FileStore], object], step: int, late: bool) -> None:
    store = FileStore(root)
    calls = itertools.count(1)

    def dying(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if real.__name__ == "open" and not arguments[1] & os.O_CREAT:  # type: ignore[operator]
                return real(*arguments, **options)
            last = next(calls) == step
            if last and not late:
                os._exit(9)
            result = real(*arguments, **options)
            if last:
                os._exit(9)
            return result

        return call

    for name in MUTATING:
        setattr(os, name, dying(getattr(os, name)))
    operate(store)


# --- racing -------------------------------------------------------------------------------------------


def creators(root: Path) -> str:
    """Of many processes that create the same keys, each key has one that did."""
    keys = [f"race/{n}/k" for n in range(100)]
    reader, writer = os.pipe()

    def create() -> None:
        store = FileStore(root)
        for key in random.sample(keys, len(keys)):
            try:
                store.put(key, str(os.getpid()).encode(), attrs={"n": os.getpid()}, overwrite=False)
            except AlreadyExists:
                continue
            os.write(writer, f"{key} {os.getpid()}\n".encode())

    codes = [exit_code(pid) for pid in [fork(create) for _ in range(8)]]
    os.close(writer)
    with os.fdopen(reader) as lines:
        winners = [line.split() for line in lines]
    store = FileStore(root)
    assert codes == [0] * 8
    assert sorted(key for key, _ in winners) == sorted(keys)
    assert all(state(store, key) == (pid.encode(), int(pid)) for key, pid in winners)
    return f"{len(winners)} keys"


def readers(root: Path, seconds: float = 0.8) -> str:
    """While others put and delete, a reader finds whole values with the attributes that belong to them."""

    def write(number: int) -> None:
        store, ends = FileStore(root), time.monotonic() + seconds
        for n in itertools.count(number):
            store.put("a/k", pattern(n), attrs={"n": hash_bytes(pattern(n))} if n % 3 else {})
            if n % 5 == 0:
                store.put("a/k/below", b"")
                store.delete_many(["a/k", "a/k/below"])
            if time.monotonic() > ends:
                return

    pids = [fork(lambda n=n: write(n)) for n in (1, 1_000_000)]
    store, looks, ends = FileStore(root), 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            data = store.get("a/k")
            assert data == pattern(int(data.partition(b",")[0]))
            known = store.stat("a/k")
            assert known.attrs.get("n") in (None, known.etag)
            looks += 1
        except NotFound:
            pass
        assert set(store.list().keys) <= {"a/k", "a/k/below"}
    assert [exit_code(pid) for pid in pids] == [0, 0]
    assert looks > 10
    return f"{looks} looks"


def contents(root: Path, seconds: float = 0.8) -> str:
    """Processes that put, damage and read the same payloads: no wrong bytes, and a put leaves it readable."""
    payloads = [pattern(n) for n in range(4)]

    def work(number: int) -> None:
        content, ends, pick = ContentStore(FileStore(root)), time.monotonic() + seconds, random.Random(number)
        while time.monotonic() < ends:
            data = pick.choice(payloads)
            digest = content.put(data).digest
            if number == 0:
                with suppress(FileNotFoundError):
                    (root / digest[:2] / digest).write_bytes(data[:5])
            else:
                check_get(content, digest, data)

    assert [exit_code(pid) for pid in [fork(lambda n=n: work(n)) for n in range(3)]] == [0] * 3
    content = ContentStore(FileStore(root))
    for data in payloads:
        assert content.get(content.put(data).digest) == data
    return "no wrong bytes"


def check_get(content: ContentStore, digest: str, data: bytes) -> None:
    with suppress(PayloadError):
        assert content.get(digest) == data


HARNESSES = {
    "kills": partial(kills, times=100),
    "points": points,
    "creators": creators,
    "readers": readers,
    "contents": contents,
}

if __name__ == "__main__":
    print(HARNESSES[sys.argv[1]](Path(sys.argv[2])))
