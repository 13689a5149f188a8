"""RedisTable on a real server: round trips, other processes, other schemas, and what is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import redis

from tests.servers import RedisServer
from tests.servers.programs import on_path
from tests.tables.things import DECLARED, SOON, Things, at, ids, texts, thing
from valuestore.errors import CodecError, StoreError, StoreUnavailable
from valuestore.stores.redis import client as redis_client
from valuestore.tables import CachedTable, Int32, Interval, RedisTable, String
from valuestore.tables.table import Asked
from valuestore.testing import TableContract

ROOT = Path(__file__).parents[2]
LARGE = "x" * (9 << 20)
"""More than one piece."""


@pytest.fixture
def raw(redis_server):
    """What another program sees."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def open_table(redis_url):
    return lambda **changed: RedisTable(redis_url, "things", **{**DECLARED, **changed})


@pytest.fixture
def table(open_table):
    with open_table() as table:
        yield table


@pytest.fixture
def base(redis_url):
    return f"{urlsplit(redis_url).path.removeprefix('/0/')}/{{things}}:"


# --- round trips ------------------------------------------------------------------------------------------


@contextmanager
def trips(monkeypatch):
    """How often the server is asked meanwhile: what goes through the two ways there are."""
    asked = []
    run, send = redis_client.RedisClient.run, redis_client.RedisClient._send
    with monkeypatch.context() as patch:
        patch.setattr(redis_client.RedisClient, "run", lambda *given: asked.append(1) or run(*given))
        patch.setattr(redis_client.RedisClient, "_send", lambda *given: asked.append(1) or send(*given))
        yield asked


def test_an_operation_is_one_round_trip(table, monkeypatch):
    table.put_many(thing(number) for number in range(1, 302))
    loaded = CachedTable(table, Things(*range(1, 302)))
    loaded.load("x", Interval())
    operations = {
        "put": lambda: table.put(thing(0)),
        "overwrite": lambda: table.put(thing(0, "again", 5)),
        "get": lambda: table.get(3),
        "find of 50 intervals": lambda: list(table.find("x", *(Interval.at(2 * n) for n in range(50)))),
        "count": lambda: table.count("x", *at(2, 4, 6)),
        "a covered find": lambda: list(loaded.find("x", Interval())),
        "delete of 101 rows": lambda: table.delete("x", Interval(100, 201)),
        "delete of 50 keys": lambda: table.delete_keys(range(50)),
        "batch of 1,000": lambda: table.put_many(thing(number) for number in range(1000)),
        "clear": table.clear,
    }
    counted = {}
    for name, operation in operations.items():
        with trips(monkeypatch) as asked:
            operation()
        counted[name] = len(asked)
    assert counted == dict.fromkeys(operations, 1)


def test_the_server_is_sent_one_command_for_each(table, raw):
    """Counted by the server itself: as many scripts as operations, and nothing else."""
    table.put(thing(0))
    raw.config_resetstat()
    table.put(thing(1))
    table.get(1)
    list(table.find("x", *at(*range(50))))
    stats = raw.info("commandstats")
    assert stats["cmdstat_evalsha"]["calls"] == 3
    assert "cmdstat_multi" not in stats


# --- what is there ----------------------------------------------------------------------------------------


def test_what_redis_keeps(table, raw, base):
    table.put_many([thing(1), thing(2, x=5)])
    table.put(thing(1, x=7))
    with table.batch() as batch:
        batch.put(thing(3, LARGE))
    key, names = (1).to_bytes(8, "big"), raw.keys(f"{base}*")
    assert sorted(name.decode().removeprefix(base) for name in names) == [
        "c",
        "i:id",
        "i:x",
        "i:y",
        "r",
    ]
    assert raw.zscore(f"{base}i:x", key) == 7
    assert raw.zcard(f"{base}i:x") == raw.hlen(f"{base}r") == int(raw.hget(f"{base}c", "rows")) == 3
    table.clear()
    assert raw.keys(f"{base}*") == []


def test_names_are_kept_apart(redis_url, raw):
    names = ["a", "a:i", "{a}", "a}:r", "a b", "a/b", "a%2Fb", "ä", "A"]
    tables = [RedisTable(redis_url, name, **DECLARED) for name in names]
    for number, table in enumerate(tables):
        table.put(thing(number))
    tables[0].clear()
    for number, table in enumerate(tables[1:], 1):
        assert ids(table.find("x", Interval())) == [number]
        table.clear()
        table.close()
    assert raw.keys(f"{urlsplit(redis_url).path.removeprefix('/0/')}*") == []


def test_what_waits_to_be_made_visible_expires_and_is_cleared(table, raw, base):
    table.put(thing(1))
    table._server.do_all("", ("HSET", f"{base}s", "f", "x"), ("PEXPIRE", f"{base}s", 10**6))
    with table.batch() as batch:
        batch.put(thing(2, LARGE))
        batch.put(thing(3))
    assert raw.hkeys(f"{base}s") == [b"f"]
    assert raw.pttl(f"{base}s") > 0
    table.clear()
    assert raw.keys(f"{base}*") == []


def test_a_large_load_takes_the_place_of_the_table(table, raw, base, monkeypatch):
    table.put_many(thing(number) for number in range(-5, 0))
    cache = CachedTable(table, lambda *_: [thing(number % 3000, "x") for number in range(4000)])
    assert cache.load("x", Interval()) == (5, 3000)
    assert ids(cache.find("x", Interval())) == list(range(3000))
    assert sorted(name.decode().removeprefix(base) for name in raw.keys(f"{base}*")) == [
        "c",
        "i:id",
        "i:x",
        "i:y",
        "r",
    ]
    assert {raw.pttl(name) for name in raw.keys(f"{base}*")} == {-1}
    table.reindex()
    assert table.count("y", Interval()) == 3000
    run = table._run
    monkeypatch.setattr(
        table,
        "_run",
        lambda script, *given, **may: [0, b""] if "table" in given else run(script, *given, **may),
    )
    table.reindex()
    waiting = raw.keys(f"{base}s:*")
    assert len(waiting) == 4
    assert all(raw.pttl(name) > 0 for name in [*waiting, f"{base}s"])
    monkeypatch.undo()
    table.clear()
    assert raw.keys(f"{base}*") == []


@pytest.mark.parametrize(("rows", "which"), [(2, "s"), (3000, "s:*"), (3000, "s:*:r"), (3000, "s:*:i:y")])
def test_what_the_server_dropped_before_it_was_visible_changes_nothing(
    table, raw, base, monkeypatch, rows, which
):
    table.put(thing(1))
    run = table._run

    def drop(script, *given, **may):
        for name in raw.keys(f"{base}{which}"):
            raw.delete(name)
        return run(script, *given, **may)

    monkeypatch.setattr(table, "_run", drop)
    text = LARGE if rows == 2 else ""
    with pytest.raises(StoreUnavailable, match="dropped"):
        CachedTable(table, lambda *_: [thing(number, text) for number in range(rows)]).load("x", Interval())
    monkeypatch.undo()
    assert list(table.find("x", Interval())) == [thing(1)]


def test_large_batches_are_made_at_once(table):
    with table.batch() as batch:
        batch.put(thing(1, LARGE))
        batch.put(thing(2, LARGE))
        batch.delete("x", *at(1))
        batch.put(thing(3))
    assert ids(table.find("x", Interval())) == [2, 3]
    assert table.get(2)["text"] == LARGE


# --- schemas ----------------------------------------------------------------------------------------------


def test_other_indexes_are_refused_until_reindex(table, open_table):
    table.put_many([thing(1), thing(2, "longer")])
    indexes = {"length": lambda row: len(row["text"]), "x": lambda row: -row["x"]}
    with open_table(indexes=indexes) as other:
        uses = [
            lambda: other.put(thing(3)),
            lambda: other.get(1),
            lambda: other.find("length", Interval()),
            lambda: other.count("length", Interval()),
            lambda: other.delete("length", Interval()),
            lambda: other.delete_keys([1]),
            lambda: CachedTable(other, Things(), wait_seconds=0).loaded(),
        ]
        for use in uses:
            with pytest.raises(ValueError, match="reindex"):
                use()
        other.reindex()
        assert ids(other.find("length", Interval(1))) == [2]
        assert ids(other.find("x", Interval())) == [2, 1]
        with pytest.raises(ValueError, match="length, x"):
            table.get(1)
        other.clear()
        table.put(thing(3))


def test_a_row_written_while_others_are_indexed_anew_is_not_lost(table, open_table):
    table.put_many(thing(number) for number in range(5))

    def score(row):
        if row["id"] == 3 and table.count("x", *at(9)) == 0:
            table.put(thing(9))
        return row["x"]

    with open_table(indexes={**DECLARED["indexes"], "x": score}) as other:
        other.reindex()
        assert ids(other.find("x", Interval())) == [0, 1, 2, 3, 4, 9]


def test_rows_of_another_schema_are_codec_errors(table, open_table):
    table.put(thing(1))
    with open_table(codecs={**DECLARED["codecs"], "x": Int32()}) as other:
        uses = [
            lambda: other.get(1),
            lambda: list(other.find("x", Interval())),
            lambda: other.delete("x", Interval()),
        ]
        for use in [*uses, other.reindex]:
            with pytest.raises(CodecError, match="schema"):
                use()
        other.put(thing(2))
        with pytest.raises(CodecError):
            other.delete("id", Interval())
    assert table.get(1) == thing(1)
    with open_table(codecs=dict(reversed(DECLARED["codecs"].items()))) as same:
        assert same.get(1) == thing(1)


@pytest.mark.parametrize(
    "damage", [lambda row: row[:-1], lambda row: row + b"x", lambda row: row[:9], lambda row: b""]
)
def test_damaged_rows_are_codec_errors(table, raw, base, damage):
    table.put_many([thing(1, "text"), thing(2, "text")])
    key = (1).to_bytes(8, "big")
    raw.hset(f"{base}r", key, damage(raw.hget(f"{base}r", key)))
    with pytest.raises(CodecError):
        table.get(1)
    with pytest.raises(CodecError):
        list(table.find("x", Interval()))
    assert ids(table.find("x", *at(2))) == [2]
    table.put(thing(1, "healed"))
    assert texts(table.find("x", Interval())) == ["healed", "text"]


def test_something_else_under_its_name_is_left_alone(table, raw, base):
    raw.set(f"{base}r", "mine")
    for use in (lambda: table.put(thing(1)), lambda: table.get(1)):
        with pytest.raises(StoreError, match="left alone"):
            use()
    assert raw.get(f"{base}r") == b"mine"


# --- loss -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", ["r", "c", "i:x", "i:y"])
@pytest.mark.parametrize("writes", [False, True])
def test_what_the_server_lost_is_read_from_the_source_at_once(table, raw, base, lost, writes):
    source = Things(*range(10))
    cache = CachedTable(table, source, wait_seconds=SOON)
    cache.load("x", Interval())
    raw.delete(f"{base}{lost}")
    if writes:
        table.put(thing(3))
    assert ids(cache.find("x", Interval(2, 5))) == [2, 3, 4]
    assert ids(cache.find("y", Interval())) == [*reversed(range(10))]
    assert not cache.loaded(0)
    if not writes:
        for use in (lambda: table.find("x", Interval()), lambda: table.count("x", Interval())):
            with pytest.raises(StoreError, match="lost"):
                use()
    cache.load("x", Interval())
    source.rows.clear()
    assert ids(cache.find("x", Interval(2, 5))) == [2, 3, 4]


def test_a_lost_index_is_made_again_by_reindex(table, raw, base):
    table.put_many(thing(number) for number in range(5))
    raw.delete(f"{base}i:x")
    table.reindex()
    assert ids(table.find("x", Interval(3))) == [3, 4]


def test_a_server_that_does_not_answer(redis_url):
    with RedisServer(own=True) as server:
        table = RedisTable(server.url, "t", timeout_seconds=0.5, **DECLARED)
        cache = CachedTable(table, Things(1))
        cache.load("x", Interval())
        server.stop()
        for use in (lambda: table.put(thing(1)), lambda: table.get(1), lambda: cache.find("x", Interval())):
            with pytest.raises(StoreUnavailable):
                use()


# --- others -----------------------------------------------------------------------------------------------


def start(text, *arguments):
    """A process of its own that has the table ``t``, and says what it prints."""
    begin = "import sys, time; from tests.tables.things import *; from valuestore.tables import *\n"
    begin += "t = RedisTable(sys.argv[1], 'things', **DECLARED)\n"
    return subprocess.Popen(
        [sys.executable, "-c", begin + text, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )


def said(process):
    with process:
        return process.communicate(timeout=60)[0].split()


def test_other_processes_see_rows_coverage_and_invalidations(table, redis_url):
    source = Things(*range(5))
    cache = CachedTable(table, source)
    cache.load("x", Interval())
    invalidate = "c = CachedTable(t, Things(), wait_seconds=0); print(*ids(c.find('x', Interval(2))))\n"
    invalidate += "c.invalidate({'x': at(3)})"
    assert said(start(invalidate, redis_url)) == ["2", "3", "4"]
    source.change(3, "new")
    assert texts(cache.find("x", *at(3))) == ["new"]
    assert said(start("print(t.get(3)['text'])", redis_url)) == ["new"]


def test_a_refresher_that_is_killed_is_followed(table, redis_url, raw, base):
    source = Things(*range(5))
    cache = CachedTable(table, source, wait_seconds=SOON)
    cache.load("x", Interval())
    cache.invalidate({"x": at(3)})
    source.change(3, "new")
    wait = "def source(*_):\n print('here', flush=True); time.sleep(600)\n"
    wait += "from valuestore.tables import cached; cached._LEASE_SECONDS = 0.5\n"
    stuck = start(f"{wait}CachedTable(t, source).find('x', Interval())", redis_url)
    with stuck:
        assert stuck.stdout.readline() == "here\n"
        assert raw.exists(f"{base}l")
        assert ids(table.find("x", Interval())) == [0, 1, 2, 3, 4]
        stuck.send_signal(signal.SIGKILL)
    assert texts(cache.find("x", *at(3))) == ["new"]
    assert not raw.exists(f"{base}l")


@pytest.mark.parametrize("reads", [300, pytest.param(10_000, marks=pytest.mark.thorough)])
def test_readers_see_all_of_a_batch_or_nothing(table, reads):
    def rows(text):
        return (thing(number, text, x=number) for number in range(1000))

    table.put_many(rows("a"))
    everything = Asked("x", (Interval(),))

    def read(_):
        found = table.rows(everything)
        return len(found), len({row[32:33] for row in found})  # where the text is

    def write():
        written = 0
        while not (written and is_done.is_set()):
            with table.batch() as batch:
                batch.delete("x", Interval(0, 500))
                batch.delete("x", Interval(500), where=lambda row: row["id"] % 2)
                for row in rows("ba"[written % 2]):
                    batch.put(row)
            written += 1
        return written

    is_done = threading.Event()
    with ThreadPoolExecutor(4) as pool:
        writer = pool.submit(write)
        seen = set(pool.map(read, range(reads)))
        is_done.set()
        assert writer.result(SOON) > 0
    assert seen == {(1000, 1)}


@pytest.mark.thorough
def test_a_killed_writer_leaves_all_or_nothing(table, redis_url):
    table.put_many(thing(number) for number in range(100))
    write = (
        "print('here', flush=True)\nfor text in 'abcdefghij' * 1000:\n"
        " t.put_many(thing(n, text * 1000) for n in range(100))"
    )
    for _ in range(3):
        with start(write, redis_url) as writer:
            assert writer.stdout.readline() == "here\n"
            while not table.get(99)["text"]:
                pass
            writer.send_signal(signal.SIGKILL)
        found = list(table.find("x", Interval()))
        assert (len(found), len(set(texts(found)))) == (100, 1)
        table.put_many(thing(number) for number in range(100))


@pytest.mark.thorough
def test_many_writers_lose_nothing(table, redis_url):
    writers = [
        start(f"for n in range(200):\n t.put(thing({place} + 2 * n)); t.put(thing(-1, x=n))", redis_url)
        for place in range(2)
    ]
    assert [said(writer) for writer in writers] == [[], []]
    assert ids(table.find("id", Interval(0))) == list(range(400))
    assert ids(table.find("x", Interval.at(199))) == [199, -1]  # by the key's bytes
    assert table.count("x", Interval()) == table.count("y", Interval()) == 401


def test_a_fork_uses_the_table_too(table):
    table.put(thing(1))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            table.put(thing(2))
            code = 0 if table.get(1) == thing(1) else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    assert ids(table.find("x", Interval())) == [1, 2]


# --- the newest server ------------------------------------------------------------------------------------

FOUND = [found for name in ("redis-server", "valkey-server") if (found := on_path(name))]
OTHERS = [found for found in FOUND if not found.startswith(sys.prefix)]


if OTHERS:

    @pytest.mark.parametrize("program", OTHERS)
    class TestOtherServers(TableContract):
        """On each server of the path, beside the one that all tests use."""

        @pytest.fixture
        def make_table(self, program, monkeypatch):
            monkeypatch.setattr(RedisServer, "find_program", lambda _: program)
            with RedisServer(own=True) as server:
                yield lambda name="t", **declared: RedisTable(server.url, name, **declared)


def test_keys_may_be_anything_that_a_codec_makes(redis_url):
    with RedisTable(
        redis_url,
        "t",
        key=("a", "b"),
        codecs={"a": String(), "b": String()},
        indexes={"n": lambda row: len(row["a"])},
    ) as table:
        table.put_many({"a": a, "b": b} for a in ("", "x", "\0") for b in ("", "y", "\0"))
        assert table.count("n", Interval()) == 9
        assert table.delete_keys([("", "y"), ("x", "\0"), ("x", "no")]) == 2
