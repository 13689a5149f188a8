"""FsspecStore keeps the contract on filesystems of several kinds; HTTP is for reading; secrets stay."""

from __future__ import annotations

import http.server
import pickle
import threading
from functools import partial

import fsspec
import pytest
from hypothesis import settings

from valuestore.errors import (
    AlreadyExists,
    BadReference,
    NotFound,
    NotSupported,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.stores import open_store
from valuestore.stores.fsspec.store import MAGIC, FsspecStore
from valuestore.testing import StoreContract, StoreMachine


class TestFsspecStoreInMemory(StoreContract):
    shared_between_processes = False

    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FsspecStore, f"memory://{tmp_path}")


class TestFsspecStoreOnFiles(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FsspecStore, f"file://{tmp_path}/store")


class MemoryMachine(StoreMachine):
    def open_store(self):
        return FsspecStore(f"memory://{self.place}")


class FileMachine(StoreMachine):
    def open_store(self):
        return FsspecStore(f"file://{self.place}")


TestMemoryMachine = MemoryMachine.TestCase
TestMemoryMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
TestFileMachine = FileMachine.TestCase
TestFileMachine.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


# --- S3 by s3fs ---------------------------------------------------------------------------------------


@pytest.fixture
def s3(s3_server, s3_bucket):
    client = {"endpoint_url": s3_server.url, "region_name": "us-east-1"}
    place = f"s3://{s3_bucket}/base"
    with FsspecStore(place, key="key-canary", secret="secret-canary", client_kwargs=client) as store:
        yield store


def test_s3_does_for_a_plain_user(s3):
    s3.put("a/b c", b"data", attrs={"x": [1]})
    assert (s3.get("a/b c"), s3.stat("a/b c").attrs) == (b"data", {"x": [1]})
    s3.put("a", b"beside", overwrite=False)
    with pytest.raises(AlreadyExists):
        s3.put("a", b"again", overwrite=False)
    assert s3.list().keys == ["a", "a/b c"]
    assert s3.get("a", 1, 3) == b"es"
    data = bytes(range(256)) * 40_000
    s3.put("large", iter([data]))
    with s3.open("large") as stream:
        assert stream.read() == data
    s3.delete("a")
    with pytest.raises(NotFound):
        s3.delete("a")
    assert s3.list("a").keys == ["a/b c"]


def test_secrets_are_in_no_name_and_no_pickle(s3):
    texts = [repr(s3), s3.url, repr(pickle.dumps(s3))]
    with pytest.raises(NotFound) as caught:
        s3.get("missing")
    texts += [str(caught.value), repr(pickle.dumps(caught.value))]
    assert not [text for text in texts if "canary" in text]


def test_nobody_there_is_unavailability():
    client = {"endpoint_url": "http://127.0.0.1:9", "region_name": "us-east-1"}
    quick = {"retries": {"max_attempts": 1}, "connect_timeout": 1}
    with (
        FsspecStore("s3://bucket", key="k", secret="s", client_kwargs=client, config_kwargs=quick) as store,
        pytest.raises(StoreUnavailable),
    ):
        store.get("k")


# --- layout -------------------------------------------------------------------------------------------


def test_bytes_without_attributes_are_there_for_others(tmp_path):
    store = FsspecStore(f"file://{tmp_path}")
    store.put("ab/ab3f.npy", b"data")
    assert (tmp_path / "ab=" / "ab3f.npy").read_bytes() == b"data"
    (tmp_path / "foreign").write_bytes(b"other")
    assert (store.get("foreign"), store.stat("foreign").attrs) == (b"other", {})
    assert store.list().keys == ["ab/ab3f.npy", "foreign"]


def test_bytes_that_look_like_a_trailer_are_bytes(tmp_path):
    store = FsspecStore(f"file://{tmp_path}")
    for n, data in enumerate([MAGIC, b"x" * 30 + MAGIC, bytes(4) + MAGIC, b"{}" + b"\0\0\0\2" + MAGIC]):
        assert store.put(f"k{n}", data) == store.stat(f"k{n}")
        assert store.get(f"k{n}") == data
        (tmp_path / "foreign").write_bytes(data)
        assert store.get("foreign") == data
        assert store.size("foreign") == len(data)


def test_a_failing_filesystem_leaves_nothing(tmp_path, monkeypatch):
    store = FsspecStore(f"file://{tmp_path}")
    store.put("k", b"old")
    local = fsspec.get_filesystem_class("file")

    def fail(self, *_, **__):
        raise OSError(28, "No space left on device")

    for name in ("mv", "pipe_file"):
        with monkeypatch.context() as patch:
            patch.setattr(local, name, fail)
            with pytest.raises(StoreUnavailable, match="No space left"):
                store.put("k", b"new")
    assert store.get("k") == b"old"
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["k"]


@pytest.mark.parametrize("url", ["gopher+x://y", "path", "simplecache::s3://b/k", "memory://x?secret=canary"])
def test_what_fsspec_does_not_know_is_refused(url):
    with pytest.raises(BadReference) as caught:
        FsspecStore(url)
    assert "canary" not in str(caught.value)


def test_it_is_opened_by_url(tmp_path):
    with open_store(f"fsspec+memory://{tmp_path}") as store:
        store.put("k", b"data")
        assert open_store(f"fsspec+memory://{tmp_path}").get("k") == b"data"


# --- HTTP ---------------------------------------------------------------------------------------------


def test_http_is_for_reading(tmp_path):
    (tmp_path / "a b").write_bytes(b"0123456789")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(tmp_path))

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            with open_store(f"http://127.0.0.1:{server.server_port}") as store:
                assert store.get("a b") == b"0123456789"
                assert store.size("a b") == 10
                for refused in (lambda: store.put("k", b""), lambda: store.delete("a b")):
                    with pytest.raises(StoreReadOnly):
                        refused()
                with pytest.raises(NotFound):
                    store.get("missing")
                with pytest.raises(NotSupported):
                    store.list()
        finally:
            server.shutdown()
            thread.join()
