"""S3Store signs as S3 wants it: against a server that checks signatures, their expiry and Content-MD5."""

from __future__ import annotations

import base64
import hashlib
import os
import time
import urllib.request
from urllib.error import HTTPError

import pytest

from valuestore.errors import CredentialsRejected, NotFound
from valuestore.stores.s3.store import S3Store


@pytest.fixture
def bucket(signing_s3_server):
    with signing_s3_server.bucket() as name:
        yield name


@pytest.fixture
def store(signing_s3_server, bucket):
    with open_store(signing_s3_server, bucket) as store:
        yield store


def open_store(server, bucket, **options):
    given = {"access_key_id": server.access_key, "secret_access_key": server.secret_key} | options
    return S3Store(f"s3://{bucket}/base", endpoint_url=server.url, conditional=False, **given)


def ask(signed, method="GET", data=None, headers=None):
    if headers is None:
        headers = signed.headers
    request = urllib.request.Request(signed.url, data, {**headers, "Content-Type": ""}, method=method)
    with urllib.request.urlopen(request) as answer:
        return answer.read()


def refusal(signed, *arguments, **options):
    with pytest.raises(HTTPError) as caught:
        ask(signed, *arguments, **options)
    caught.value.close()
    return caught.value.code


def md5(data):
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_both_clients_sign_what_they_ask(store):
    assert store.put("a/b c", b"data", attrs={"x": [1]}).attrs == {"x": [1]}
    assert store.stat("a/b c").attrs == {"x": [1]}
    assert store.get("a/b c") == b"data"
    data = os.urandom(1 << 20) * 9
    store.put("large", iter([data]))
    assert store.get("large") == data
    assert store.put("a/b c", b"more").attrs == {"x": [1]}
    assert store.list().keys == ["a/b c", "large"]
    assert store.delete_many(["large", "none"]) == {"large"}
    store.delete("a/b c")
    with pytest.raises(NotFound):
        store.delete("a/b c")


@pytest.mark.parametrize("wrong", [{"secret_access_key": "canary"}, {"access_key_id": "canary"}])
def test_wrong_credentials_are_rejected(store, signing_s3_server, bucket, wrong):
    store.put("k", b"data")
    with open_store(signing_s3_server, bucket, **wrong) as other:
        for use in (other.get, other.stat, other.list, other.delete, lambda key: other.put(key, b"")):
            with pytest.raises(CredentialsRejected) as caught:
                use("k")
            assert "canary" not in str(caught.value)
    assert store.get("k") == b"data"


def test_a_signed_url_is_good_for_what_it_was_signed_for(store):
    store.put("k", b"data")
    store.put("l", b"other")
    signed = store.sign("k", "GET", 60)
    assert ask(signed) == b"data"
    assert refusal(type(signed)(signed.url.replace("/k?", "/l?"), {})) == 403
    assert refusal(type(signed)(signed.url.replace("Expires=60", "Expires=600"), {})) == 403
    assert refusal(signed, "PUT", b"new") == 403
    assert store.get("k") == b"data"


def test_a_signed_url_expires(store):
    store.put("k", b"data")
    signed = store.sign("k", "GET", 1)
    time.sleep(1.2)  # signatures count whole seconds, from the one that has begun
    assert refusal(signed) in (400, 403)


def test_a_signed_put_takes_the_data_it_was_signed_for_and_no_other(store):
    signed = store.sign("k", "PUT", 60, content_md5=md5(b"data"), add_md5_attr=True)
    assert refusal(signed, "PUT", b"data", headers={}) == 403
    assert refusal(signed, "PUT", b"data", headers=signed.headers | {"Content-MD5": md5(b"evil")}) == 403
    assert refusal(signed, "PUT", b"evil") == 400
    assert not store.exists("k")
    ask(signed, "PUT", b"data")
    assert store.get("k") == b"data"
    assert store.stat("k").attrs["flytecontentmd5"] == md5(b"data")


def test_a_key_with_control_characters_is_itself_here_too(store):
    store.put("tab\tnew\nline\a", b"data")
    assert store.get("tab\tnew\nline\a") == b"data"
