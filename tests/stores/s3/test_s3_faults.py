"""S3Store when the server fails, stops, forgets to answer or refuses; and where its secrets do not go."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.servers import S3Server
from tests.stores.faulty import DROP, LOSE, SLOW_DOWN, TRUNCATE, FaultyProxy
from valuestore.errors import (
    AlreadyExists,
    CredentialsRejected,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
)
from valuestore.stores.s3.store import S3Store

PART = 5 << 20
CANARIES = ("canary-secret", "canary-token")


@pytest.fixture
def proxy(s3_server):
    with FaultyProxy(s3_server.url) as proxy:
        yield proxy


def open_store(bucket, url, **options):
    secrets = {"access_key_id": "key", "secret_access_key": CANARIES[0], "session_token": CANARIES[1]}
    options = {"timeout_seconds": 4, "part_bytes": PART, "region": "us-east-1"} | secrets | options
    return S3Store(f"s3://{bucket}", endpoint_url=url, **options)


@pytest.fixture
def store(proxy, s3_bucket):
    with open_store(s3_bucket, proxy.url) as store:
        store.put("k", b"old" * 1000, attrs={"x": 1})
        yield store


@pytest.fixture
def short_pauses(monkeypatch):
    """Between attempts: botocore's are half a second on average, and obstore's are short."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.01)
    monkeypatch.setattr("valuestore.stores.s3.creation._PAUSE_SECONDS", 0.01)


@pytest.fixture
def uploads(s3_server, s3_bucket):
    """How many uploads are begun and not finished."""
    client = s3_server.client()
    return lambda: len(client.list_multipart_uploads(Bucket=s3_bucket).get("Uploads", ()))


def uses(store):
    return [
        store.get,
        store.stat,
        store.exists,
        store.delete,
        store.list,
        lambda key: store.open(key).read(),
        lambda key: store.get(key, 1, 2),
        partial(store.put, data=b"new"),
        partial(store.put, data=b"new", attrs={}),
        partial(store.put, data=b"new", overwrite=False),
        partial(store.put, data=bytes(PART + 1), attrs={}),
        lambda key: store.copy(key, "to"),
        lambda key: store.get_many([key, "l"]),
        lambda key: store.put_many([key, "l"], [b"", b""]),
        lambda key: store.delete_many([key, "l"]),
    ]


# --- failures -----------------------------------------------------------------------------------------


def test_one_failure_is_forgiven(store, proxy, short_pauses):
    for use in uses(store):
        if isinstance(use, partial) and use.keywords.get("overwrite") is False:
            continue
        store.put("k", b"old")
        store.put("l", b"old")
        proxy.fail(SLOW_DOWN, times=1)
        use("k")
        proxy.fail(None)


@pytest.mark.parametrize("fault", [SLOW_DOWN, (500, "InternalError"), DROP])
def test_lasting_failures_are_unavailability_and_change_nothing(store, proxy, uploads, fault, request):
    if fault != SLOW_DOWN:
        request.getfixturevalue("short_pauses")
    for use in uses(store):
        proxy.fail(fault)
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            use("k")
        assert time.monotonic() - begun < 6
        proxy.fail(None)
        assert store.get("k") == b"old" * 1000
    assert store.list().keys == ["k"]
    assert uploads() == 0


def test_a_truncated_body_is_never_taken_for_the_value(store, proxy):
    data = os.urandom(3 << 20)
    store.put("k", data)
    proxy.fail(TRUNCATE, method="GET")
    with pytest.raises(StoreUnavailable):
        store.get("k")
    with store.open("k") as stream, pytest.raises(StoreUnavailable):
        stream.read()
    with store.open("k") as stream, pytest.raises(StoreUnavailable):
        while stream.read(8000):
            pass
    proxy.fail(None)
    assert store.get("k") == data


def test_a_part_that_fails_leaves_no_upload(store, proxy, short_pauses, uploads):
    proxy.fail(SLOW_DOWN, method="PUT", path="partNumber=2")
    for overwrite, key in ((True, "k"), (False, "new")):
        with pytest.raises(StoreUnavailable):
            store.put(key, (bytes(PART) for _ in range(4)), overwrite=overwrite)
    assert (store.list().keys, store.stat("k").size, uploads()) == (["k"], 3000, 0)


@pytest.mark.parametrize(
    "error", [RuntimeError("x"), OSError(5, "x"), AlreadyExists("x"), KeyboardInterrupt()]
)
def test_a_stream_that_fails_late_leaves_no_upload(store, uploads, error):
    def data():
        for _ in range(3):
            yield bytes(PART)
        raise error

    with pytest.raises(type(error)) as caught:
        store.put("k", data())
    assert caught.value is error
    assert (store.stat("k").size, uploads()) == (3000, 0)


def test_a_stream_that_ends_early_leaves_no_upload(store, uploads):
    with pytest.raises(ValueError):
        store.put("k", (bytes(PART) for _ in range(3)), size=3 * PART + 1)
    assert (store.stat("k").size, uploads()) == (3000, 0)


def test_a_large_creation_that_comes_second_leaves_no_upload(store, proxy, s3_server, s3_bucket, uploads):
    def data():
        for _ in range(2):
            yield bytes(PART)
        with open_store(s3_bucket, s3_server.url) as other:
            other.put("new", b"first", overwrite=False)

    with pytest.raises(AlreadyExists):
        store.put("new", data(), overwrite=False)
    assert (store.get("new"), uploads()) == (b"first", 0)


def test_a_creation_whose_answer_is_lost_is_not_told_that_another_won(store, proxy):
    for size in (1, PART + 1):
        proxy.fail(LOSE, times=1, method="PUT" if size == 1 else "POST", path="uploadId" if size > 1 else "")
        try:
            store.put(f"new{size}", bytes(size), overwrite=False)
        except StoreUnavailable:
            pass
        assert store.size(f"new{size}") == size


def test_a_conflict_in_passing_is_tried_again(store, proxy, short_pauses):
    proxy.fail((409, "ConditionalRequestConflict"), times=2, method="PUT")
    store.put("new", b"data", overwrite=False)
    assert store.get("new") == b"data"
    proxy.fail((409, "ConditionalRequestConflict"), method="PUT")
    with pytest.raises(StoreUnavailable, match="others change"):
        store.put("newer", b"data", overwrite=False)
    with pytest.raises(AlreadyExists):
        store.put("new", b"data", overwrite=False)


def test_a_server_that_stops_or_dies_is_unavailable_in_time():
    with (
        S3Server(own=True) as server,
        server.bucket() as bucket,
        open_store(bucket, server.url, timeout_seconds=2) as store,
    ):
        store.put("k", b"data")
        server.pause()
        expect_unavailable(store)
        server.resume()
        assert store.get("k") in (b"data", b"new")
        server.kill()
        expect_unavailable(store)


class Trickling(BaseHTTPRequestHandler):
    """Answers every GET with a byte now and then: each in time, all of them never."""

    def do_GET(self):
        self.send_response(200)
        for header in (
            ("Content-Length", "3000"),
            ("ETag", '"e"'),
            ("Last-Modified", formatdate(usegmt=True)),
        ):
            self.send_header(*header)
        self.end_headers()
        with suppress(OSError):
            for _ in range(3000):
                self.wfile.write(b"x")
                time.sleep(0.1)

    def log_message(self, *_):
        pass


def test_a_value_that_trickles_is_unavailable_in_time():
    with ThreadingHTTPServer(("127.0.0.1", 0), Trickling) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with S3Store("s3://b", endpoint_url=url, anonymous=True, timeout_seconds=1) as store:
            begun = time.monotonic()
            with pytest.raises(StoreUnavailable, match="3000 bytes were not there"):
                store.get("k")
            assert time.monotonic() - begun < 4
        server.shutdown()


def expect_unavailable(store):
    def seconds(use):
        begun = time.monotonic()
        with pytest.raises(StoreUnavailable):
            use("k")
        return time.monotonic() - begun

    uses = (store.get, store.stat, store.list, partial(store.put, data=b"new"))
    with ThreadPoolExecutor(len(uses)) as threads:
        assert max(threads.map(seconds, uses)) < 4


# --- refusals and secrets -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["ExpiredToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"])
def test_rejected_credentials_are_told_without_them(store, proxy, code):
    proxy.fail((400 if code == "ExpiredToken" else 403, code, f"<Token-0>{CANARIES[1]}</Token-0>"))
    for use in uses(store):
        with pytest.raises(CredentialsRejected, match=code) as caught:
            use("k")
        assert not any(canary in whole_text(caught.value) for canary in CANARIES)


def test_refused_access_is_no_absence(store, proxy):
    proxy.fail((403, "AccessDenied"))
    for use in (store.get, store.stat, store.exists, store.list):
        with pytest.raises(StoreUnavailable, match="AccessDenied|access denied"):
            use("k")
    with pytest.raises(StoreReadOnly, match="AccessDenied"):
        store.put("k", b"", attrs={})


def whole_text(error):
    return "".join(traceback.format_exception(error)) + repr(pickle.loads(pickle.dumps(error)))


def test_secrets_stay_where_they_are(store, proxy, short_pauses, caplog):
    caplog.set_level(logging.DEBUG)
    texts = [repr(store), str(store), store.url, repr(vars(store)), repr(pickle.dumps(store))]
    for fault in (
        None,
        SLOW_DOWN,
        (403, "SignatureDoesNotMatch"),
        (403, "AccessDenied"),
        (404, "NoSuchBucket"),
    ):
        proxy.fail(fault)
        for use in uses(store):
            try:
                use("k")
            except StoreError as error:
                texts.append(whole_text(error))
    store.sign("k", "PUT", content_md5="x")
    texts.append(caplog.text)
    for canary in CANARIES:
        assert not [text[max(0, text.find(canary) - 300) :][:600] for text in texts if canary in text]


# --- processes and memory -----------------------------------------------------------------------------


def run(code, *arguments):
    environment = os.environ | {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}
    program = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_forked_child_goes_on(s3_server, s3_bucket):
    code = """
        import os, sys
        from valuestore.stores import open_store
        store = open_store(sys.argv[1])
        store.put_many(["a", "b"], [b"1", b"2"])
        if (child := os.fork()) == 0:
            store.put_many(["c", "d"], [b"3", bytes(9 << 20)])
            assert store.get_many("abc") == [b"1", b"2", b"3"]
            assert store.get("d", -2) == bytes(2)
            os._exit(store.delete_many(["a"]) != {"a"})
        assert os.waitpid(child, 0)[1] == 0
        print(*store.list().keys)
        """
    assert run(code, f"s3://{s3_bucket}?endpoint_url={s3_server.url}") == "b c d\n"


def test_a_long_stream_passes_through_little_memory(s3_server, s3_bucket):
    code = """
        import sys
        from tests.memory import peak_kibibytes
        from valuestore.stores import open_store
        store = open_store(sys.argv[1])
        store.put("small", bytes(1 << 20))
        with store.open("small") as stream:
            stream.read()
        before = peak_kibibytes()
        store.put("k", (bytes(1 << 20) for _ in range(150)))
        size = 0
        with store.open("k") as stream:
            while piece := stream.read(1 << 20):
                size += len(piece)
        assert size == 150 << 20
        print(peak_kibibytes() - before >> 10)
        """
    assert int(run(code, f"s3://{s3_bucket}?endpoint_url={s3_server.url}")) < 96
