"""RedisStore keeps the contract on a real server, and what it keeps there is there for others."""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from threading import Event
from urllib.parse import urlsplit

import pytest
import redis
from hypothesis import settings

from tests.servers import RedisServer
from valuestore.errors import (
    AlreadyExists,
    BadReference,
    NotFound,
    NotSupported,
    SizeMismatch,
    StoreClosed,
    StoreError,
    TooLarge,
)
from valuestore.stores import open_store
from valuestore.stores.base import Page
from valuestore.stores.redis.store import RedisStore
from valuestore.stores.wrappers import Routed
from valuestore.testing import StoreContract, StoreMachine

MIB = 1 << 20


@pytest.fixture(scope="module")
def own_server():
    with RedisServer(own=True) as server:
        yield server


@pytest.fixture
def store(redis_url):
    with RedisStore(redis_url) as store:
        yield store


@pytest.fixture
def raw(redis_server):
    """What another program sees: redis-py without us."""
    with redis.Redis.from_url(redis_server.url) as client:
        yield client


@pytest.fixture
def base(redis_url):
    return redis_url.rpartition("/")[2]


class TestRedisStore(StoreContract):
    @pytest.fixture
    def make_store(self, redis_url):
        return partial(RedisStore, redis_url)


class TestRedisStoreWithoutPrefix(StoreContract):
    @pytest.fixture
    def make_store(self, own_server):
        with redis.Redis.from_url(own_server.url) as client:
            client.flushall()
        return partial(RedisStore, own_server.url)


class RedisMachine(StoreMachine):
    def open_store(self):
        return RedisStore(self.server.url, prefix=self.place.strip("/"))


@pytest.fixture(scope="module", autouse=True)
def _server_of_the_machine(own_server):
    RedisMachine.server = own_server


TestRedisMachine = RedisMachine.TestCase
TestRedisMachine.settings = settings(stateful_step_count=30, deadline=None)


# --- beside other programs ------------------------------------------------------------------------


def test_another_program_reads_a_value_verbatim(store, raw, base):
    data = bytes(range(256))
    store.put("a/b", data, attrs={"x": 1})
    assert raw.get(f"{base}/a/b") == data
    assert raw.type(f"{base}/a/b") == b"string"
    assert raw.zrange(f"{base}//index", 0, -1) == [b"a/b"]
    etag, _, size, attrs = raw.hget(f"{base}//about", "a/b").split(b" ", 3)
    assert (etag.decode(), int(size), json.loads(attrs)) == (store.stat("a/b").etag, 256, {"x": 1})


def test_nothing_is_left_of_a_deleted_key(store, raw, base):
    store.put("k", b"v", attrs={"x": 1})
    store.put("l", b"v")
    store.move("l", "m")
    store.delete_many(["k", "m"])
    assert raw.keys(f"{base}*") == []


def test_what_another_program_wrote_is_read_at_once(store, raw, base):
    raw.set(f"{base}/k", b"foreign")
    assert store.get("k") == b"foreign"
    assert store.get("k", 1, 3) == b"or"
    assert store.exists("k")
    known = store.stat("k")
    assert (known.size, known.attrs, known.modified) == (7, {}, datetime(1970, 1, 1, tzinfo=UTC))
    assert known.etag == store.stat("k").etag == store.put("ours", b"foreign").etag
    with pytest.raises(AlreadyExists):
        store.put("k", b"", overwrite=False)


def test_what_another_program_wrote_is_listed_once_adopted(store, raw, base):
    keys = [f"runs/{n}" for n in range(3000)]
    raw.mset({f"{base}/{key}": key for key in keys})
    raw.rpush(f"{base}/runs/list", "x")
    raw.set(f"{base}/runs//odd", "no key")
    raw.set(f"{base}/runs/\xff".encode("latin-1"), "no UTF-8")
    raw.set(f"{base}/other", "elsewhere")
    store.put("runs/own", b"own", attrs={"x": 1})
    assert store.list().keys == ["runs/own"]
    before = store.stat("runs/own")
    assert store.adopt("runs/") == 3000
    assert store.list().keys == sorted([*keys, "runs/own"])
    assert store.stat("runs/own") == before
    assert (store.adopt("runs/"), store.adopt()) == (0, 1)
    adopted = store.stat("runs/7")
    assert (adopted.size, adopted.etag) == (6, store.put("x", b"runs/7").etag)
    assert abs((datetime.now(UTC) - adopted.modified).total_seconds()) < 60


def test_a_prefix_is_no_pattern(redis_server, raw, base):
    with RedisStore(redis_server.url, prefix=f"{base}[1]*?\\") as store:
        raw.set(f"{base}1x?\\/wrong", "")
        raw.set(f"{base}[1]*?\\/[k]/right", "")
        raw.set(f"{base}[1]*?\\/k/wrong", "")
        assert store.adopt("[k]") == 1
        assert store.list().keys == ["[k]/right"]


def test_another_programs_overwriting_changes_the_etag(store, raw, base):
    first = store.put("k", b"ours", attrs={"x": 1})
    raw.set(f"{base}/k", b"longer than ours")
    known = store.stat("k")
    assert (known.size, known.attrs) == (16, {"x": 1})
    assert known.etag != first.etag
    store.adopt()
    assert store.stat("k").etag == known.etag
    assert store.copy("k", "l").etag == store.put("m", b"longer than ours").etag == known.etag


def test_what_another_program_deletes_is_gone_and_forgotten(store, raw, base):
    store.put_many(["a", "b", "c", "d"], [b""] * 4)
    store.put("a", b"", attrs={"x": 1})
    raw.delete(f"{base}/a", f"{base}/c")
    assert store.list(limit=1) == Page(["b"], "b")
    assert store.list() == Page(["b", "d"], None)
    assert raw.zcard(f"{base}//index") == raw.hlen(f"{base}//about") == 2
    with pytest.raises(NotFound):
        store.stat("a")
    assert store.put("a", b"").attrs == {}


def test_a_long_row_of_lost_keys_ends_no_listing(store, raw, base):
    raw.zadd(f"{base}//index", {f"lost/{n:05}": 0 for n in range(25_000)})
    store.put("z", b"")
    assert store.list(limit=1) == Page(["z"], None)
    assert raw.zcard(f"{base}//index") == 1


def test_a_put_takes_away_an_expiry(store, raw, base):
    for key in ("a", "b"):
        raw.set(f"{base}/{key}", b"x", ex=100)
    store.put("a", b"y")
    store.copy("b", "c")
    store.move("b", "d")
    assert [raw.ttl(f"{base}/{key}") for key in ("a", "c", "d")] == [-1, -1, -1]


def test_something_that_is_no_string_is_left_alone(store, raw, base):
    raw.rpush(f"{base}/list", "a", "b")
    store.put("k", b"v")
    uses = [
        lambda: store.get("list"),
        lambda: store.get("list", 1),
        lambda: store.stat("list"),
        lambda: store.open("list"),
        lambda: store.put("list", b""),
        lambda: store.put("list", b"x" * 9 * MIB),
        lambda: store.delete("list"),
        lambda: store.copy("k", "list"),
        lambda: store.copy("list", "k"),
        lambda: store.move("list", "k"),
        lambda: store.get_many(["k", "list"]),
        lambda: store.put_many(["l", "list"], [b"", b""]),
    ]
    for use in uses:
        with pytest.raises(StoreError, match="no string at 'list'"):
            use()
    assert raw.lrange(f"{base}/list", 0, -1) == [b"a", b"b"]
    assert store.list().keys == ["k"]
    assert len(raw.keys(f"{base}*")) == 4


def test_a_damaged_description_counts_as_none(store, raw, base):
    etag = store.put("l", b"v").etag
    for text in (
        "",
        "nonsense",
        f"{etag} x 1 {{}}",
        "e 1 1",
        "e 9 9 {",
        f"{etag} 1 1 {{",
        f"{etag} 1 1 []",
        "e " + "9" * 99,
    ):
        uses = (
            lambda: store.stat("k"),
            lambda: store.copy("k", "m"),
            lambda: store.put("k", b"v"),
        )
        for use in uses:
            store.put("k", b"v", attrs={"x": 1})
            raw.hset(f"{base}//about", "k", text)
            known = use()
            assert (known.etag, known.attrs) == (etag, {})


# --- cost ------------------------------------------------------------------------------------------


def _calls(raw, work):
    """How often which command was called by the work, as the server counts."""
    raw.config_resetstat()
    work()
    stats = raw.info("commandstats")
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in stats.items()}


@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.put("k", b"v"),
        lambda store: store.put("k", b"v", attrs={"x": 1}, overwrite=True),
        lambda store: store.put("new", io.BytesIO(b"v"), overwrite=False),
        lambda store: store.get("k"),
        lambda store: store.get("k", 1, 3),
        lambda store: store.open("k").read(),
        lambda store: store.stat("k"),
        lambda store: store.exists("k"),
        lambda store: store.delete("k"),
        lambda store: store.copy("k", "l"),
        lambda store: store.move("k", "l"),
        lambda store: store.list(limit=10),
        lambda store: store.list(),
        lambda store: store.put_many(map(str, range(100)), [b"v"] * 100),
        lambda store: store.get_many(["k"] * 100),
        lambda store: store.delete_many(map(str, range(100))),
    ],
)
def test_everything_small_is_one_request(own_server, use):
    with RedisStore(own_server.url) as store, redis.Redis.from_url(own_server.url) as raw:
        raw.flushall()
        store.put("k", b"value")
        calls = _calls(raw, lambda: use(store))
    assert (
        sum(calls.get(name, 0) for name in ("evalsha", "eval", "mget"))
        + (calls.get("get", 0) + calls.get("exists", 0) if "evalsha" not in calls else 0)
        == 1
    )


def test_a_listing_looks_at_what_it_returns(own_server):
    with RedisStore(own_server.url) as store, redis.Redis.from_url(own_server.url) as raw:
        raw.flushall()
        store.put_many((f"k/{n:05}" for n in range(2000)), [b""] * 2000)
        calls = _calls(raw, lambda: store.list("k/01", limit=10))
    assert calls["zrangebylex"] == 1
    assert calls["exists"] == 11
    assert not calls.keys() & {"scan", "keys"}


# --- large values ----------------------------------------------------------------------------------


class _Untouched(io.RawIOBase):
    def read(self, size=-1):
        raise AssertionError("it was read")


def test_a_value_over_the_limit_is_refused_before_it_is_read(store):
    for data, size in ((_Untouched(), 600 * MIB), (iter(lambda: _Untouched().read(), None), 512 * MIB + 1)):
        with pytest.raises(TooLarge, match=r"max_value_bytes.*another store"):
            store.put("k", data, size=size)
    assert not store.exists("k")


def test_a_file_over_the_limit_is_refused_before_it_is_read(store, tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(513 * MIB)
    with path.open("rb") as file, pytest.raises(TooLarge):
        store.put("k", file)
    with path.open("rb") as file, pytest.raises(TooLarge):
        store.put_many(["k"], [file])


def test_a_stream_over_the_limit_is_refused_when_it_gets_there(redis_url, raw, base):
    with RedisStore(redis_url, max_value_bytes=20 * MIB) as store:
        store.put("k", b"old")
        read = 0

        def stream():
            nonlocal read
            while True:
                read += MIB
                yield bytes(MIB)

        with pytest.raises(TooLarge):
            store.put("k", stream())
        assert read == 21 * MIB
        assert store.get("k") == b"old"
        assert store.put("l", bytes(20 * MIB)).size == 20 * MIB
        with pytest.raises(TooLarge):
            store.put("l", bytes(20 * MIB + 1))
    assert len(raw.keys(f"{base}*")) == 4


@pytest.mark.parametrize("size", [8 * MIB - 1, 8 * MIB, 8 * MIB + 1, 16 * MIB, 20 * MIB + 7])
def test_pieces_make_the_whole(store, raw, base, size):
    data = os.urandom(MIB) * (size // MIB + 1)
    data = data[:size]
    put = store.put("k", io.BytesIO(data), attrs={"x": 1})
    assert (put.size, put) == (size, store.stat("k"))
    assert raw.get(f"{base}/k") == data
    assert raw.ttl(f"{base}/k") == -1
    with store.open("k") as stream:
        store.put("k", bytearray(data), overwrite=True)
        assert stream.read(3) + stream.read(5 * MIB) + stream.read() == data
    assert store.stat("k").etag == put.etag
    with store.open("k") as stream:
        assert stream.read() == data
    assert not raw.keys(f"{base}//tmp/*")


def test_a_large_value_that_fails_leaves_nothing(store, raw, base):
    store.put("k", b"old")
    with pytest.raises(SizeMismatch):
        store.put("new", bytes(20 * MIB), size=21 * MIB)
    with pytest.raises(AlreadyExists):
        store.put("k", bytes(20 * MIB), overwrite=False)
    with pytest.raises(AlreadyExists):
        store.put("k", iter([bytes(20 * MIB)]), overwrite=False)
    assert (store.get("k"), store.list().keys) == (b"old", ["k"])
    assert not raw.keys(f"{base}//tmp/*")


def test_a_large_value_on_its_way_expires_when_its_writer_dies(store, raw, base):
    halfway, go_on = Event(), Event()

    def stream():
        yield bytes(20 * MIB)
        halfway.set()
        go_on.wait(10)
        yield b"end"

    with ThreadPoolExecutor(1) as pool:
        put = pool.submit(store.put, "k", stream())
        halfway.wait(10)
        [temp] = raw.keys(f"{base}//tmp/*")
        assert 0 < raw.ttl(temp) <= 600
        assert store.list().keys == []
        assert store.adopt() == 0
        go_on.set()
        assert put.result().size == 20 * MIB + 3


def test_many_values_of_any_size_arrive(store):
    sizes = [0, 5 * MIB, 5 * MIB, 1, 9 * MIB, 3, *range(1200)]
    stats = store.put_many(map(str, range(len(sizes))), (bytes(size) for size in sizes))
    assert [stat.size for stat in stats] == sizes
    assert [len(data) for data in store.get_many(map(str, range(len(sizes))))] == sizes


def test_the_pairs_before_a_bad_one_are_put(store):
    with pytest.raises(TypeError):
        store.put_many(["a", "b", "c"], [b"1", "text", b"3"])
    assert store.list().keys == ["a"]


# --- batches ---------------------------------------------------------------------------------------


def test_a_batch_shows_when_it_ends(redis_url, store):
    store.put("old", b"old", attrs={"x": 1})
    store.put("gone", b"")
    with RedisStore(redis_url) as other, store.batch() as batch:
        batch.put("new", b"new", attrs={"y": 2})
        batch.put("old", b"changed")
        batch.delete("gone")
        assert (other.list().keys, other.get("old")) == (["gone", "old"], b"old")
        assert (batch.list().keys, batch.get("old")) == (["new", "old"], b"changed")
        assert batch.stat("old").attrs == {"x": 1}
    assert store.list().keys == ["new", "old"]
    assert (store.get("old"), store.stat("old").attrs) == (b"changed", {"x": 1})
    assert store.stat("new").attrs == {"y": 2}


def test_a_batch_that_raises_changes_nothing(store, raw, base):
    store.put("k", b"old")
    with pytest.raises(ZeroDivisionError), store.batch() as batch:
        batch.put("k", b"new")
        batch.put("large", bytes(9 * MIB))
        batch.delete("k")
        raise ZeroDivisionError
    assert (store.list().keys, store.get("k")) == (["k"], b"old")
    assert not raw.keys(f"{base}//tmp/*")


def test_a_batch_joins_the_batch_around_it(redis_url, store):
    with RedisStore(redis_url) as other, store.batch() as outer:
        outer.put("a", b"1")
        with outer.batch() as inner:
            inner.put("b", inner.get("a") + b"2")
        with pytest.raises(ZeroDivisionError), outer.batch() as inner:
            inner.put("a", b"never")
            inner.put("c", b"never")
            raise ZeroDivisionError
        assert other.list().keys == []
        assert outer.list().keys == ["a", "b"]
    assert list(store.get_many(["a", "b"])) == [b"1", b"12"]


def test_a_batch_in_whose_way_somebody_came_changes_nothing(redis_url, store):
    with RedisStore(redis_url) as other:
        with pytest.raises(AlreadyExists, match="'b'"), store.batch() as batch:
            batch.put("a", b"ours", overwrite=False)
            batch.put("b", b"ours", overwrite=False)
            with pytest.raises(AlreadyExists):
                batch.put("b", b"again", overwrite=False)
            other.put("b", b"theirs")
        assert (store.list().keys, store.get("b")) == (["b"], b"theirs")


def test_other_readers_never_see_half_a_batch(redis_url, store):
    finished = Event()
    store.put_many(["a", "b"], [b"0", b"0"])

    def read():
        with RedisStore(redis_url) as other:
            while not finished.is_set():
                a, b = other.get_many(["a", "b"])
                assert a == b
                assert len(other.list("new/").keys) in (0, 2)

    with ThreadPoolExecutor(1) as pool:
        reader = pool.submit(read)
        try:
            for n in range(100):
                with store.batch() as batch:
                    for key in ("a", "b", "new/1", "new/2"):
                        batch.put(key, b"%d" % n)
        finally:
            finished.set()
        reader.result()


def test_a_batch_may_be_larger_than_a_request(store, raw, base):
    with store.batch() as batch:
        for n in range(30):
            batch.put(f"k{n:02}", bytes(3 * MIB) + b"%d" % n)
        batch.put("large", bytes(9 * MIB))
    assert len(store.list().keys) == 31
    assert store.get("k29")[-2:] == b"29"
    assert not raw.keys(f"{base}//tmp/*")


def test_a_batch_ends_with_its_block_and_stays_in_its_process(store):
    with store.batch() as batch, pytest.raises(NotSupported):
        pickle.dumps(batch)
    with pytest.raises(StoreClosed):
        batch.put("k", b"")
    with pytest.raises(StoreClosed):
        store.close() or store.batch()


class TestBatch(StoreContract):
    """Within a batch, too, a store is a store; but it ends with its block, and stays in its process."""

    shared_between_processes = False
    test_what_was_put_is_there_after_reopening = None
    test_a_pickle_opens_the_same_place = None

    @pytest.fixture
    def make_store(self, redis_url):
        outer = RedisStore(redis_url)
        block = outer.batch()
        batch = block.__enter__()
        yield lambda: batch
        block.__exit__(None, None, None)
        outer.close()


# --- addresses ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://h", "redis://h:6379/0"),
        ("redis://h:1/2/a/b", "redis://h:1/2/a/b"),
        ("redis://h/y", "redis://h:6379/0/y"),
        ("redis://h/1st/2", "redis://h:6379/0/1st/2"),
        ("redis://h/0/1/a", "redis://h:6379/0/1/a"),
        ("redis://h/y?db=4", "redis://h:6379/4/y"),
        ("REDIS://h/0/a%20b/%C3%A4/", "redis://h:6379/0/a%20b/%C3%A4"),
        ("redis://user:se%2Fcret@h/3?timeout_seconds=2", "redis://h:6379/3"),
        ("redis://:se%2Fcret@[::1]:7/0", "redis://[::1]:7/0"),
        ("redis://h?db=4&prefix=p&password=se%2Fcret", "redis://h:6379/4/p"),
        ("rediss://u:se%2Fcret@h/0/p?ssl_ca_certs=/ca.pem", "rediss://h:6379/0/p"),
        ("unix:///run/r.sock?db=1&prefix=a/b&password=se%2Fcret", "unix:///run/r.sock?db=1&prefix=a/b"),
        ("redis+unix://u:se%2Fcret@/run/r.sock", "unix:///run/r.sock?db=0"),
    ],
)
def test_a_url_says_where_and_shows_no_password(url, shown):
    store = open_store(url)
    assert store.url == shown
    for text in (repr(store), str(vars(store)["_address"])):
        assert "se/cret" not in text
        assert "se%2Fcret" not in text
    assert open_store(store.url).url == shown
    assert pickle.loads(pickle.dumps(store)).url == shown


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("redis://u:secret@h?db=x", "number"),
        ("redis://u:secret@h//p", "prefix"),
        ("redis://u:secret@h/0/../p", "prefix"),
        ("redis://u:secret@h/0/a//b", "prefix"),
        ("redis://u:secret@h/0#x", "%23"),
        ("redis://u:secret@h:port/0", "host and port"),
        ("redis://:sec/ret@h/0", "percent-encode"),
        ("redis://:1/sec@h/0", "percent-encode"),
        ("redis://:1?sec=ret@h/0", "percent-encode"),
        ("redis://h/0?pasword=secret", "no option 'pasword'"),
        ("redis://u:secret@h/0?timeout_seconds=soon", "positive number"),
        ("redis://u:secret@h/0?timeout_seconds=0", "positive number"),
        ("unix://u:secret@host/run/r.sock", "unix:///path/of/socket"),
        ("unix://", "unix:///path/of/socket"),
    ],
)
def test_a_url_that_means_nothing_is_refused_without_showing_the_password(url, problem):
    with pytest.raises(BadReference, match=problem) as caught:
        open_store(url)
    assert "sec" not in str(caught.value).replace("timeout_seconds", "")
    assert "ret@" not in str(caught.value)


def test_settings_come_before_the_url(redis_server, base):
    with open_store(f"{redis_server.url}/elsewhere", prefix=base) as store:
        assert store.url == f"{redis_server.url}/{base}"
        store.put("k", b"v")
        with open_store(store.url) as again:
            assert again.get("k") == b"v"


def test_databases_and_prefixes_are_apart(own_server, base):
    server = own_server.url.removesuffix("/0")
    places = [f"{server}/0/{base}", f"{server}/1/{base}", f"{server}/0/{base}/sub", f"{server}/0/{base}s"]
    stores = [open_store(place) for place in places]
    for store in stores:
        store.put("k", store.url.encode())
    for store in stores:
        with store:
            assert store.list().keys == ["k"]
            assert store.get("k") == store.url.encode()
            store.delete("k")


def test_a_prefix_needs_no_database_before_it(own_server, base):
    server = own_server.url.removesuffix("/0")
    with open_store(f"{server}/{base}") as store, redis.Redis.from_url(own_server.url) as client:
        store.put("k", b"v")
        assert client.get(f"{base}/k") == b"v"


def test_without_a_prefix_the_name_of_a_value_is_its_key(own_server):
    container = urlsplit(own_server.url).netloc
    with (
        Routed({"redis": "redis://{container}"}) as routed,
        redis.Redis.from_url(own_server.url) as client,
    ):
        routed.put(f"redis://{container}/y", b"v")
        assert client.get("y") == b"v"
        routed.delete(f"redis://{container}/y")


def test_a_socket_in_the_file_system_does(tmp_path):
    path = f"{tmp_path}/r.sock"
    with RedisServer(unixsocket=path), open_store(f"unix://{path}?prefix=p") as store:
        store.put("k", b"v")
        assert (store.get("k"), store.url) == (b"v", f"unix://{path}?db=0&prefix=p")


# --- processes ---------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # what it is about
def test_a_forked_child_and_its_parent_do_not_mix_their_answers(store):
    store.put_many(["parent", "child"], [b"parent", b"child"])
    assert store.get("parent") == b"parent"
    child = os.fork()
    if child == 0:
        try:
            ok = all(store.get("child") == b"child" for _ in range(200))
            os._exit(0 if ok else 1)
        finally:
            os._exit(2)
    assert all(store.get("parent") == b"parent" for _ in range(200))
    assert os.waitpid(child, 0)[1] == 0


def test_nobody_pays_for_redis_before_it_is_used():
    script = (
        "import sys, valuestore.stores, valuestore.plugins\n"
        "assert not {'redis', 'valuestore.stores.redis.store'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
