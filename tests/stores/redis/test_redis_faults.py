"""RedisStore when its server dies, stops, is full, refuses, loses things, or talks nonsense."""

from __future__ import annotations

import datetime
import ipaddress
import pickle
import re
import signal
import socket
import ssl
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import pytest
import redis

from tests.servers import RedisServer
from tests.servers.proxy import TcpProxy
from valuestore.errors import (
    NotFound,
    NotSupported,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    ValuestoreWarning,
)
from valuestore.stores import open_store
from valuestore.stores.base import Store
from valuestore.stores.redis import client as redis_client
from valuestore.stores.redis.store import RedisStore

MIB = 1 << 20
TIMEOUT = 0.4
SLACK = 0.3

USES: dict[str, Callable[[Store], object]] = {
    "get": lambda store: store.get("k"),
    "range": lambda store: store.get("k", 1, 2),
    "open": lambda store: store.open("k"),
    "put": lambda store: store.put("new", b"new"),
    "put large": lambda store: store.put("new", bytes(9 * MIB)),
    "stat": lambda store: store.stat("k"),
    "size": lambda store: store.size("k"),
    "exists": lambda store: store.exists("k"),
    "delete": lambda store: store.delete("k"),
    "list": lambda store: store.list(),
    "copy": lambda store: store.copy("k", "new"),
    "move": lambda store: store.move("k", "new"),
    "get_many": lambda store: store.get_many(["k"]),
    "put_many": lambda store: store.put_many(["new"], [b""]),
    "delete_many": lambda store: store.delete_many(["k"]),
    "exists_many": lambda store: store.exists_many(["k"]),
    "adopt": lambda store: store.adopt(),
    "batch": lambda store: _batch(store),
}


def _batch(store: Store) -> None:
    with store.batch() as batch:
        batch.put("new", b"", attrs={})


def _raw(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url)


@pytest.fixture(autouse=True)
def _nothing_reported_yet(monkeypatch):
    monkeypatch.setattr(redis_client, "_reported", set())  # a port may come back


@pytest.fixture
def server():
    with RedisServer(own=True) as server:
        yield server


@pytest.fixture
def store(server):
    with RedisStore(server.url, timeout_seconds=TIMEOUT) as store:
        store.put("k", b"value", attrs={"x": 1})
        yield store


# --- gone, stopped, slow ---------------------------------------------------------------------------


def test_a_killed_server_is_no_absence_and_comes_back_with_everything(server, store):
    store.put("large", bytes(9 * MIB))
    server.kill()
    for use in USES.values():
        with pytest.raises(StoreUnavailable) as caught:
            use(store)
        assert store.url in str(caught.value)
        assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    server.restart()
    assert (store.get("k"), store.stat("k").attrs) == (b"value", {"x": 1})
    assert store.list().keys == ["k", "large"]


@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
def test_what_a_server_forgot_is_not_found_and_can_be_put_again():
    with RedisServer(appendonly="no") as server, RedisStore(server.url) as store:
        store.put("k", b"value", attrs={"x": 1})
        server.kill()
        server.restart()
        for use in (store.get, store.stat, store.delete):
            with pytest.raises(NotFound):
                use("k")
        assert (store.exists("k"), store.list().keys) == (False, [])
        assert store.put("k", b"again", overwrite=False).attrs == {}
        assert store.get("k") == b"again"


def test_a_stopped_server_is_given_up_within_the_timeout(server, store):
    store.put("other", b"other")

    def failure(name: str) -> str:
        started = time.monotonic()
        try:
            USES[name](store)
        except StoreUnavailable as error:
            late = time.monotonic() - started > TIMEOUT + SLACK
            return f"{name} took too long" if late else error.args[1].rpartition(" ")[2]
        return f"{name} got an answer"

    server.pause()
    with ThreadPoolExecutor(len(USES)) as pool:
        assert set(pool.map(failure, USES)) == {"timeout_seconds=0.4"}
    server.resume()
    assert store.get("other") == b"other"


def test_a_server_that_was_stopped_before_the_first_use_is_given_up_within_the_timeout(server):
    server.pause()
    for url in (server.url, server.url.replace("//", "//user:password@")):
        with RedisStore(url, timeout_seconds=TIMEOUT) as store:
            started = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.get("k")
            assert time.monotonic() - started < TIMEOUT + SLACK


def test_a_late_answer_is_never_taken_for_another(server, store):
    store.put("other", b"other")
    for _ in range(2):
        with _raw(server) as raw:
            raw.client_pause(int(TIMEOUT * 1500))
        with pytest.raises(StoreUnavailable):
            store.get("k")
        time.sleep(TIMEOUT)
        assert store.get("other") == b"other"


def test_an_interrupt_leaves_the_store_usable(server, store):
    store.put("other", b"other")

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        server.pause()
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            store.get("k")
    finally:
        signal.signal(signal.SIGALRM, before)
        server.resume()
    assert store.get("other") == b"other"


def test_no_server_at_all_is_told_at_once():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        places = [f"redis://127.0.0.1:{port}", "redis://no..host", "unix:///nowhere/r.sock"]
        for place in places:
            with open_store(place) as store, pytest.raises(StoreUnavailable):
                store.get("k")


def test_forgotten_scripts_are_sent_again(server, store):
    for use in (store.stat, store.get, lambda key: store.put(key, b"v"), store.delete):
        with _raw(server) as raw:
            raw.script_flush()
        use("k")


# --- between us and the server ----------------------------------------------------------------------


@pytest.fixture
def proxy(server):
    proxy = TcpProxy(server.url)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("use", ["get", "stat", "put", "list", "get_many", "exists_many"])
def test_an_answer_that_never_ends_is_given_up_within_the_timeout(proxy, store, use):
    with RedisStore(f"redis://{proxy.address}", timeout_seconds=TIMEOUT) as slow:
        assert slow.get("k") == b"value"
        proxy.stall = True
        started = time.monotonic()
        with pytest.raises(StoreUnavailable):
            USES[use](slow)
        assert time.monotonic() - started < TIMEOUT + SLACK
        proxy.stall = False
        assert slow.get("k") == b"value"


@pytest.mark.parametrize("after", [0, 1, 4, 7])
def test_an_answer_that_breaks_off_is_no_answer(proxy, store, after):
    with RedisStore(f"redis://{proxy.address}", timeout_seconds=TIMEOUT) as far:
        assert far.get("k") == b"value"
        for use in ("get", "stat", "list", "get_many"):
            proxy.cut_after = after
            with pytest.raises(StoreUnavailable):
                USES[use](far)
            proxy.cut_after = None
            assert far.get("k") == b"value"


def test_a_stream_whose_server_dies_says_so(server):
    with RedisStore(server.url, timeout_seconds=TIMEOUT) as store:
        store.put("k", bytes(20 * MIB))
        with store.open("k") as stream:
            stream.read(MIB)
            server.kill()
            with pytest.raises(StoreUnavailable):
                stream.read()
        server.restart()
        with store.open("k") as stream, _raw(server) as raw:
            stream.read(MIB)
            raw.delete(*raw.keys("/tmp/*"))
            with pytest.raises(StoreUnavailable, match="dropped 'k'"):
                stream.read()


@contextmanager
def _tls_files(folder) -> Iterator[ssl.SSLContext]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "ca.pem").write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "ca.pem", folder / "key.pem")
    yield context


def test_tls_is_spoken_and_the_certificate_checked(server, tmp_path):
    with _tls_files(tmp_path) as context:
        proxy = TcpProxy(server.url, context)
        try:
            url = f"rediss://{proxy.address}/0/tls"
            with open_store(f"{url}?ssl_ca_certs={tmp_path}/ca.pem") as store:
                store.put("k", b"v")
                assert (store.get("k"), store.url) == (b"v", url)
            with (
                open_store(url, timeout_seconds=5) as store,
                pytest.raises(StoreUnavailable, match=r"(?i)certif"),
            ):
                store.get("k")
            missing = f"{url}?ssl_ca_certs={tmp_path}/missing"
            with open_store(missing) as store, pytest.raises(StoreUnavailable):
                store.get("k")
        finally:
            proxy.close()


# --- full, read-only, refusing ------------------------------------------------------------------------


def test_a_full_server_refuses_and_keeps_what_it_has(server, store):
    with _raw(server) as raw:
        raw.config_set("maxmemory", raw.info("memory")["used_memory"] + 12 * MIB)
        store.put_many([f"fill/{n}" for n in range(3)], [bytes(MIB)] * 3)
        with pytest.raises(StoreUnavailable, match="full"):
            for n in range(30):
                store.put(f"more/{n}", bytes(MIB))
        raw.config_set("maxmemory", MIB)
        assert len(raw.keys("more/*")) == len(store.list("more/").keys)
        before, keys = store.stat("k"), store.list().keys
        writes = ("put", "put large", "copy", "put_many", "batch")
        for use in writes:
            with pytest.raises(StoreUnavailable, match="full"):
                USES[use](store)
        with pytest.raises(StoreUnavailable), store.batch() as batch:
            batch.put("k", b"other", attrs={})
            batch.put("k2", b"other", attrs={})
        assert (store.stat("k"), store.get("k"), store.list().keys) == (before, b"value", keys)
        assert not raw.keys("/tmp/*")
        store.delete("fill/0")
        raw.config_set("maxmemory", 0)
        store.put("k", b"fits")


def test_a_large_value_that_does_not_fit_leaves_nothing(server, store):
    with _raw(server) as raw:
        raw.config_set("maxmemory", raw.info("memory")["used_memory"] + 30 * MIB)
        with pytest.raises(StoreUnavailable, match="full"):
            store.put("k", bytes(60 * MIB))
        assert (store.get("k"), raw.keys("/tmp/*")) == (b"value", [])


def test_a_large_value_can_be_read_from_a_full_server(server, store):
    store.put("large", bytes(9 * MIB))
    with _raw(server) as raw:
        raw.config_set("maxmemory", MIB)
    with store.open("large") as stream:
        assert stream.read() == bytes(9 * MIB)


def test_what_a_server_evicts_is_a_miss():
    options = {"maxmemory": str(20 * MIB), "maxmemory-policy": "allkeys-random"}
    with RedisServer(**options) as server, RedisStore(server.url) as store:
        with pytest.warns(ValuestoreWarning, match="evicts"):
            store.put("k", b"")
        for n in range(60):
            with suppress(StoreError):
                store.put(f"k/{n}", bytes(MIB))
        listed = store.list().keys
        for key in listed:
            assert store.get(key) == b"" if key == "k" else bytes(MIB)
        for n in range(60):
            if not store.exists(f"k/{n}"):
                with pytest.raises(NotFound):
                    store.get(f"k/{n}")
                assert f"k/{n}" not in listed


def test_a_replica_is_read_and_refuses_writes(server, store):
    store.put("large", bytes(9 * MIB))
    with _raw(server) as raw:
        raw.config_set("repl-diskless-sync", "yes")
        raw.config_set("repl-diskless-sync-delay", 0)
    port = server.url.rpartition(":")[2].partition("/")[0]
    with RedisServer(replicaof=f"127.0.0.1 {port}") as other, RedisStore(other.url) as replica:
        with _raw(other) as raw:
            while raw.info("replication")["master_link_status"] != "up":
                time.sleep(0.02)
        assert (replica.get("k"), replica.stat("k").attrs) == (b"value", {"x": 1})
        assert replica.list().keys == ["k", "large"]
        assert replica.open("large").read() == bytes(9 * MIB)
        for use in ("put", "put large", "delete", "copy", "move", "put_many", "batch"):
            with pytest.raises(StoreReadOnly, match="replica"):
                USES[use](replica)


@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
def test_wrong_credentials_are_told_and_never_shown(server):
    with _raw(server) as raw:
        raw.execute_command("ACL SETUSER writer on >s3cr3t ~team/* +@all -config -info")
        raw.execute_command("ACL SETUSER default off")
        address = server.url.removeprefix("redis://").removesuffix("/0")
        refused = [
            f"redis://{address}/0/team",
            f"redis://:s3cr3t@{address}/0/team",
            f"redis://writer:wrong-s3cr3t@{address}/0/team",
            f"redis://nobody:s3cr3t@{address}/0/team",
            f"redis://writer:s3cr3t@{address}/0/elsewhere",
        ]
        for url in refused:
            with open_store(url) as store:
                for use in ("get", "put", "list"):
                    with pytest.raises(StoreUnavailable) as caught:
                        USES[use](store)
                    error: BaseException | None = caught.value
                    while error is not None:
                        assert "s3cr3t" not in f"{error} {error!r} {error.args}"
                        error = error.__cause__ or error.__context__
                    assert b"s3cr3t" not in pickle.dumps(caught.value)
                assert "s3cr3t" not in repr(store) + store.url
        with open_store(f"redis://{address}/0/team", username="writer", password="s3cr3t") as store:
            store.put("k", b"v", attrs={"x": 1})
            assert (store.get("k"), store.list().keys) == (b"v", ["k"])
            assert pickle.loads(pickle.dumps(store)).get("k") == b"v"


@contextmanager
def _answering(line: bytes) -> Iterator[str]:
    """The URL of a server that gives one answer to every command."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    with client, suppress(OSError):
                        while data := client.recv(1 << 20):
                            client.sendall(line * len(re.findall(rb"(?:^|\r\n)\*\d+\r\n", data)))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", StoreUnavailable),
        (b"-BUSY Redis is busy running a script\r\n", StoreUnavailable),
        (b"-MISCONF Redis is configured to save RDB snapshots\r\n", StoreUnavailable),
        (b"-MASTERDOWN Link with MASTER is down\r\n", StoreUnavailable),
        (b"-NOREPLICAS Not enough good replicas to write.\r\n", StoreUnavailable),
        (b"-ERR max number of clients reached\r\n", StoreUnavailable),
        (b"-ERR unknown command\r\n", StoreUnavailable),
        (b"-NOSCRIPT No matching script\r\n", StoreUnavailable),
        (b"-CLUSTERDOWN Hash slot not served\r\n", StoreUnavailable),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", NotSupported),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", StoreUnavailable),
    ],
)
def test_every_refusal_has_its_type(line, error):
    with _answering(line) as url, open_store(url, timeout_seconds=TIMEOUT) as store:
        for use in ("get", "stat", "put", "list", "delete", "exists_many"):
            with pytest.raises(error):
                USES[use](store)


def test_on_a_cluster_a_hash_tag_keeps_a_store_together():
    options = {"cluster-enabled": "yes", "cluster-require-full-coverage": "no"}
    with RedisServer(**options) as server:
        with _raw(server) as raw:
            raw.execute_command("CLUSTER ADDSLOTS", *range(16384))
            while raw.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                time.sleep(0.02)
        with RedisStore(server.url, prefix="team") as apart, pytest.raises(NotSupported, match="{name}"):
            apart.put("k", b"v")
        with RedisStore(server.url, prefix="{team}") as store:
            store.put_many(["a", "b"], [b"1", b"2"])
            store.copy("a", "c")
            store.put("large", bytes(9 * MIB))
            assert store.open("large").read() == bytes(9 * MIB)
            with store.batch() as batch:
                batch.delete("b")
            assert store.list().keys == ["a", "c", "large"]
            assert list(store.get_many(["a", "c"])) == [b"1", b"1"]


# --- policies -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"appendonly": "no", "save": ""}, "forgets everything"),
        ({"appendonly": "no", "save": "3600 1"}, "forgets what came after its last snapshot"),
        ({"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, "evicts any key .*allkeys-lru"),
    ],
)
def test_a_policy_that_loses_values_is_reported_once(options, said):
    with RedisServer(**options) as server:
        with RedisStore(server.url) as store, pytest.warns(ValuestoreWarning, match=said):
            store.put("k", b"v")
        with RedisStore(server.url) as again:
            assert store.url == again.url
            assert again.get("k") == b"v"
            assert re.search(said, " ".join(again.losses()))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"maxmemory-policy": "allkeys-lru"},
        {"maxmemory": "100mb"},
        {"maxmemory": "100mb", "maxmemory-policy": "volatile-lru"},
    ],
)
def test_a_policy_that_keeps_values_is_no_news(options):
    with RedisServer(**options) as server, RedisStore(server.url) as store:
        store.put("k", b"v")


def test_where_looking_is_forbidden_nothing_is_said():
    with RedisServer(appendonly="no") as server, _raw(server) as raw:
        raw.execute_command("ACL SETUSER default -config -info")
        with warnings.catch_warnings(), RedisStore(server.url) as store:
            warnings.simplefilter("error")
            assert store.put("k", b"v").size == 1
