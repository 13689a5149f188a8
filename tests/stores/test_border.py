"""The border of a store to foreign code: whatever a client raises is typed, and says what it is about."""

from __future__ import annotations

import errno
import pickle

import botocore.exceptions
import obstore.exceptions
import pytest
import redis

from valuestore.errors import NotFound, StoreError, StoreUnavailable
from valuestore.stores import FileStore, MemoryStore
from valuestore.stores.base import Store
from valuestore.stores.fsspec.store import FsspecStore
from valuestore.stores.redis.store import RedisStore
from valuestore.stores.s3.store import S3Store
from valuestore.stores.wrappers import Compressed, Limited, Observed, Prefixed, ReadOnly, Retrying

VERBS = {
    "get": lambda store: store.get("k"),
    "get a range": lambda store: store.get("k", -3, 5),
    "put": lambda store: store.put("k", b"data"),
    "put attributes": lambda store: store.put("k", b"data", attrs={"x": 1}),
    "put to create": lambda store: store.put("k", b"data", overwrite=False),
    "put a stream": lambda store: store.put("k", iter([b"data"]), size=4),
    "put parts": lambda store: store.put("k", iter([b"x" * (9 << 20)] * 2), attrs={}),
    "stat": lambda store: store.stat("k"),
    "size": lambda store: store.size("k"),
    "exists": lambda store: store.exists("k"),
    "delete": lambda store: store.delete("k"),
    "map": lambda store: store.map("k"),
    "open": lambda store: store.open("k").read(),
    "copy": lambda store: store.copy("k", "l"),
    "move": lambda store: store.move("k", "l"),
    "list": lambda store: store.list(),
    "keys": lambda store: list(store.keys()),
    "scan": lambda store: list(store.scan()),
    "folders": lambda store: list(store.folders()),
    "get_many": lambda store: store.get_many(["k"]),
    "put_many": lambda store: store.put_many(["k"], [b"data"]),
    "exists_many": lambda store: store.exists_many(["k"]),
    "delete_many": lambda store: store.delete_many(["k"]),
}
"""The verbs that ask somebody, each as a user would."""


class OwnError(Exception):
    pass


class OwnPanic(BaseException):
    """As pyo3's PanicException, which is no Exception either."""


KINDS = [
    OSError(errno.EIO, "broken"),
    ConnectionResetError(),
    FileNotFoundError("somewhere"),
    ValueError("what a parser says"),
    TypeError("what a version says"),
    RuntimeError(),
    KeyError("Contents"),
    MemoryError(),
    RecursionError(),
    OwnError("of its own"),
    OwnPanic("of its own"),
]
DRIVERS = {
    "s3": [
        obstore.exceptions.GenericError("no"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://x"),
        botocore.exceptions.ClientError({"Error": {"Code": "NoSuchKey"}}, "PutObject"),
        botocore.exceptions.ClientError({}, "GetObject"),
    ],
    "redis": [redis.ConnectionError("no"), redis.ResponseError("ERR no"), redis.DataError()],
    "fsspec": [PermissionError("no")],
    "theirs": [],
}


class Thrower:
    """A client of which whatever is asked raises."""

    def __init__(self, error):
        self.error = error

    def __getattr__(self, name):
        raise self.error

    def __getitem__(self, name):
        raise self.error

    def get(self):
        raise self.error


class Theirs(MemoryStore):
    """A store that somebody else wrote, who knows nothing of our errors."""

    error = None

    def get(self, *args, **options):
        raise self.error

    stat = size = delete = list = exists = map = open = copy = move = get
    get_many = exists_many = delete_many = get

    def put(self, key, data, **options):
        for _ in data if not isinstance(data, bytes) else ():
            pass
        raise self.error

    def keys(self, prefix=""):
        return Store.keys(self, prefix)

    put_many = Store.put_many


def throwing(name, error):
    if name == "s3":
        store = S3Store("s3://bucket", endpoint_url="http://127.0.0.1:1", part_bytes=5 << 20)
        store._client._connections = Thrower(error)
    elif name == "redis":
        store = RedisStore("redis://127.0.0.1:1/0")
        store._server._redis = store._server._scripts = Thrower(error)
    elif name == "fsspec":
        store = FsspecStore("fsspec+file:///nowhere")
        store._filesystem._opened = Thrower(error)
    else:
        store = Theirs()
        store.error = error
    return store


def is_told(store, verb, error):
    """Whether it becomes an error: arguments, a stream or absence may be to blame, where none can know."""
    if isinstance(store, Theirs):
        return not isinstance(error, TypeError | ValueError) and verb not in ("put a stream", "put parts")
    absent = (isinstance(error, FileNotFoundError) and isinstance(store, FsspecStore)) or "NoSuchKey" in str(
        error
    )
    return not (
        absent and verb in ("exists", "list", "keys", "scan", "folders", "exists_many", "delete_many")
    )


CASES = [(name, error) for name, own in DRIVERS.items() for error in [*KINDS, *own]]


@pytest.mark.parametrize(
    ("name", "error"), CASES, ids=lambda case: case if isinstance(case, str) else repr(case)
)
def test_what_a_client_raises_is_typed_and_says_of_what(name, error):
    for verb, use in VERBS.items():
        store = throwing(name, error)
        if not is_told(store, verb, error):
            continue
        with pytest.raises(StoreError) as caught:
            use(store)
        raised = pickle.loads(pickle.dumps(caught.value))
        assert str(raised) == str(caught.value)
        assert not (verb.startswith("put") and isinstance(raised, NotFound))
        if isinstance(raised, StoreUnavailable):
            assert (raised.args[0], raised.cause) == (store.url, type(error).__name__)
            if verb not in ("keys", "scan", "folders"):  # which are under way when it happens
                assert raised.operation == verb.partition(" ")[0]
            if verb not in ("list", "keys", "scan", "folders") and not verb.endswith("_many"):
                assert (raised.key, "'k'" in str(raised)) == ("k", True)
            if verb.startswith("put") and verb not in ("put parts", "put_many"):
                assert raised.size == 4


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("name", DRIVERS)
def test_an_interrupt_is_none_of_a_stores_errors(name, interrupt):
    for verb, use in VERBS.items():
        with pytest.raises(interrupt):
            use(throwing(name, interrupt(verb)))


@pytest.mark.parametrize("name", DRIVERS)
def test_what_the_callers_stream_raises_is_the_callers(name):
    def stream():
        yield b"x"
        raise OwnError

    with pytest.raises(OwnError):
        throwing(name, ZeroDivisionError()).put("k", stream())


@pytest.mark.parametrize(
    "wrap", [Limited, Observed, Compressed, Retrying, lambda below: Prefixed(below, "p")]
)
def test_wrappers_pass_on_what_an_error_is_about_in_the_words_of_the_caller(wrap):
    below = Theirs()
    below.error = OwnError("no")
    store = wrap(below)
    if isinstance(store, Retrying):
        store = Retrying(below, attempts=1)
    with pytest.raises(StoreUnavailable, match=r"OwnError: no \(put 'k', 3 bytes\)") as caught:
        store.put("k", b"123")
    assert (caught.value.operation, caught.value.key, caught.value.size) == ("put", "k", 3)
    assert isinstance(caught.value.__cause__, OwnError)
    with pytest.raises(StoreUnavailable, match=r"\(get 'k'\)"):
        store.get("k")
    with pytest.raises(StoreError):
        ReadOnly(store).put("k", b"")


def test_a_file_that_shrank_before_it_was_mapped_is_unavailable(tmp_path, monkeypatch):
    store = FileStore(tmp_path)
    store.put("k", b"data" * 2000)
    find = store._places.open

    def found(raw):
        fd, known, path = find(raw)
        (tmp_path / "k").write_bytes(b"")
        return fd, known, path

    monkeypatch.setattr(store._places, "open", found)
    with pytest.raises(StoreUnavailable, match="map 'k'") as caught:
        store.map("k")
    assert caught.value.cause == "ValueError"
