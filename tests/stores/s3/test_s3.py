"""S3Store keeps the contract on a real server; URLs, pages, parts, copies and what others put there."""

from __future__ import annotations

import base64
import hashlib
import os
import pickle
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from hypothesis import HealthCheck, settings

from tests.servers import S3Server
from valuestore.errors import (
    AlreadyExists,
    BadKey,
    BadReference,
    ConfigError,
    NotFound,
    NotSupported,
    StoreUnavailable,
    TooLarge,
)
from valuestore.stores import open_store
from valuestore.stores.base import Page
from valuestore.stores.s3.store import S3Store
from valuestore.testing import StoreContract, StoreMachine
from valuestore.testing import stores as contract

PART = 5 << 20  # what S3 allows at least


@pytest.fixture(autouse=True)
def _credentials(s3_server, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)


@pytest.fixture
def url(s3_server, s3_bucket):
    return f"s3://{s3_bucket}?endpoint_url={s3_server.url}&region=us-east-1"


@pytest.fixture
def store(url):
    with S3Store(url, part_bytes=PART) as store:
        yield store


class TestS3Store(StoreContract):
    @pytest.fixture
    def make_store(self, s3_server, s3_bucket):
        return partial(S3Store, f"s3://{s3_bucket}", endpoint_url=s3_server.url)

    def test_every_key_is_itself(self, store, monkeypatch):
        # moto's routes end at a newline, so it knows no such object (404); S3 does
        keys = [key for key in contract.ODD_KEYS if "\n" not in key]
        monkeypatch.setattr(contract, "ODD_KEYS", [*keys, "tab\tbell\a"])
        super().test_every_key_is_itself(store)


_servers: list[S3Server] = []


class S3Machine(StoreMachine):
    def open_store(self):
        server = _servers[0]
        return S3Store(
            f"s3://machine/{self.place.strip('/')}",
            endpoint_url=server.url,
            access_key_id=server.access_key,
            secret_access_key=server.secret_key,
            create=True,
        )


class TestS3Machine(S3Machine.TestCase):
    settings = settings(
        max_examples=8,
        stateful_step_count=25,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )

    @pytest.fixture(autouse=True)
    def _server(self, s3_server):
        _servers[:] = [s3_server]


# --- places -----------------------------------------------------------------------------------------


def test_it_is_opened_by_url_and_tells_it(url, s3_bucket, s3_server):
    with open_store(url.replace("?", "/a%20b/c?")) as store:
        store.put("k", b"data")
        assert open_store(store.url).get("k") == b"data"
        assert store.url.startswith(f"s3://{s3_bucket}/a%20b/c?endpoint_url=http")
    assert open_store(url).list() == Page(["a b/c/k"], None)
    assert s3_server.client().get_object(Bucket=s3_bucket, Key="a b/c/k")["Body"].read() == b"data"


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        ("s3://", BadReference),
        ("s3:///prefix", BadReference),
        ("s3://bucket/a//b", BadReference),
        ("s3://bucket#x", BadReference),
        ("s3://bucket?colour=red", BadReference),
        ("s3://key:canary@bucket/prefix", BadReference),
        ("s3://bucket?access_key_id=canary", ConfigError),
        ("s3://bucket?endpoint_url=ftp://x", ConfigError),
        ("s3://bucket?endpoint_url=http://user:canary@x", ConfigError),
        ("s3://bucket?timeout_seconds=never", ConfigError),
        ("s3://bucket?create=perhaps", ConfigError),
        ("s3://bucket?addressing_style=baroque", ConfigError),
        ("s3://bucket?access_key_id=k&secret_key_path=/nowhere/at/all", ConfigError),
    ],
)
def test_a_bad_url_is_refused_without_its_secrets(bad, error):
    with pytest.raises(error) as caught:
        open_store(bad)
    assert "canary" not in str(caught.value)


def test_a_missing_bucket_is_told_apart_from_a_missing_key(s3_server):
    with S3Store("s3://no-such-bucket", endpoint_url=s3_server.url) as store:
        uses = [store.stat, store.get, store.delete, store.open, store.exists, partial(store.put, data=b"")]
        for use in [*uses, partial(store.put, data=bytes(10 << 20)), store.list]:
            with pytest.raises(StoreUnavailable, match="no bucket 'no-such-bucket'.*create=True"):
                use("k")


def test_a_bucket_is_made_on_request(s3_server):
    name = f"made-{os.urandom(6).hex()}"
    for region in ("us-east-1", "eu-west-1"):
        for _ in range(2):
            place = f"s3://{name}-{region}?region={region}&create=true"
            with S3Store(place, endpoint_url=s3_server.url) as store:
                store.put("k", b"")


def test_a_key_with_the_prefix_is_as_long_as_s3_allows(url):
    with S3Store(url.replace("?", "/prefix?")) as store:
        store.put("x" * 1017, b"")
        assert store.list().keys == ["x" * 1017]
        with pytest.raises(BadKey, match="prefix"):
            store.put("x" * 1018, b"")


def test_a_pickle_holds_no_secret_and_asks_the_usual_places(url):
    with S3Store(url, access_key_id="key-canary", secret_access_key="secret-canary") as store:
        store.put("k", b"data")
        pickled = pickle.dumps(store)
    assert b"canary" not in pickled
    assert pickle.loads(pickled).get("k") == b"data"


# --- listing and many at once -----------------------------------------------------------------------


def test_a_listing_goes_on_after_a_thousand_keys(store):
    keys = [f"k/{n:04}" for n in range(1003)]
    with ThreadPoolExecutor(4) as threads:  # with attributes, so that none asks for those that are there
        assert len([*threads.map(partial(store.put, data=b"", attrs={}), keys)]) == len(keys)
    assert store.list() == Page(keys, None)
    first = store.list("k/", limit=1001)
    assert first == Page(keys[:1001], keys[1000])
    assert store.list("k/", limit=1001, cursor=first.cursor) == Page(keys[1001:], None)
    assert store.delete_many(keys) == set(keys)
    assert store.list() == Page([], None)


def test_what_is_no_key_is_not_listed(store, s3_server, s3_bucket):
    client = s3_server.client()
    for name in ("a", "folder/", "x//y", "b"):
        client.put_object(Bucket=s3_bucket, Key=name, Body=b"")
    assert store.list() == Page(["a", "b"], None)
    assert store.list(limit=1) == Page(["a"], "a")
    assert store.list(limit=1, cursor="a") == Page(["b"], None)


def test_of_two_values_for_one_key_the_last_wins(store):
    values = [b"%d" % n for n in range(50)]
    store.put_many(["k"] * 50, values)
    assert store.get("k") == values[-1]


# --- attributes and etags ---------------------------------------------------------------------------


def test_what_others_put_has_their_metadata_as_attributes(store, s3_server, s3_bucket):
    client = s3_server.client()
    client.put_object(Bucket=s3_bucket, Key="k", Body=b"data", Metadata={"colour": "red"})
    known = store.stat("k")
    assert (known.attrs, known.size) == ({"colour": "red"}, 4)
    assert known.etag == hashlib.md5(b"data").hexdigest()
    assert store.copy("k", "l").attrs == {"colour": "red"}
    assert store.put("k", b"more").attrs == {"colour": "red"}


def test_attributes_beyond_what_s3_keeps_are_refused_before_the_data_is_read(store):
    def data():
        raise AssertionError("read")
        yield b""

    with pytest.raises(TooLarge, match="attributes of k"):
        store.put("k", data(), attrs={"x": "y" * 2000})


def test_text_that_headers_would_change_comes_back(store):
    attrs = {"spaces": "  a  b  ", "word": "=?utf-8?q?x?=", "control": "\r\n\x7f\x00", "wide": "\U0001f600"}
    store.put("k", b"", attrs=attrs)
    assert store.stat("k").attrs == attrs


def test_large_values_have_the_etag_of_their_content_however_they_come(store):
    data = os.urandom(1 << 20) * 12
    whole = store.put("bytes", data)
    ragged = store.put("pieces", (data[at : at + 777_777] for at in range(0, len(data), 777_777)))
    assert whole.etag == ragged.etag == store.stat("pieces").etag == store.copy("bytes", "copy").etag
    assert store.put("other", data[:-1] + b"x").etag != whole.etag
    assert store.get("pieces") == store.get("copy") == data
    assert store.get("bytes", PART - 1, PART + 1) == data[PART - 1 : PART + 1]


def test_large_values_keep_attributes_and_are_created_once(store):
    data = bytes(PART + 1)
    store.put("k", data, attrs={"x": 1}, overwrite=False)
    assert store.put("k", data).attrs == store.stat("k").attrs == {"x": 1}
    with pytest.raises(AlreadyExists):
        store.put("k", iter([data]), overwrite=False)


def test_a_large_value_at_an_odd_key_is_itself(store):
    data = os.urandom(1 << 20) * 6
    known = store.put("tab\t", data, attrs={"x": 1})
    assert known == store.stat("tab\t")
    with store.open("tab\t") as stream:
        assert stream.read() == data
    assert store.get("tab\t", -3) == data[-3:]
    assert store.get("tab\t", 1, -5) == data[1:-5]
    assert store.delete_many(["tab\t", "none\t"]) == {"tab\t"}


# --- signed URLs: that signatures are right is tested on a server that checks them --------------------


def test_a_signed_get_tells_when_it_expires(store):
    store.put("a/k", b"data")
    signed = store.sign("a/k", "GET", 60)
    assert signed.url.partition("?")[0].endswith("/a/k")
    assert "X-Amz-Expires=60" in signed.url
    assert signed.headers == {}
    with urllib.request.urlopen(signed.url) as answer:
        assert answer.read() == b"data"


def test_a_signed_put_says_which_headers_it_needs(store):
    md5 = base64.b64encode(hashlib.md5(b"data").digest()).decode()
    assert store.sign("k", "PUT", 60, content_md5=md5).headers == {"Content-MD5": md5}
    signed = store.sign("k", "PUT", 60, content_md5=md5, add_md5_attr=True)
    assert signed.headers == {"Content-MD5": md5, "x-amz-meta-flytecontentmd5": md5}
    request = urllib.request.Request(
        signed.url, b"data", {**signed.headers, "Content-Type": ""}, method="PUT"
    )
    urllib.request.urlopen(request).close()
    assert store.stat("k").attrs == {"flytecontentmd5": md5}
    assert store.get("k") == b"data"


@pytest.mark.parametrize("wrong", [{"method": "POST"}, {"expires_seconds": 0}, {"expires_seconds": 10**6}])
def test_what_cannot_be_signed_is_refused(store, wrong):
    with pytest.raises((NotSupported, ValueError)):
        store.sign("k", **wrong)
    with pytest.raises(ValueError):
        store.sign("k", "GET", content_md5="x")
    with pytest.raises(NotFound):
        store.get("k")
