"""What is new is one request to S3 once the server was seen to refuse; whatever it does, nothing is lost."""

from __future__ import annotations

import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.stores.faulty import LOSE, SLOW_DOWN, FaultyProxy
from valuestore.errors import (
    AlreadyExists,
    NotSupported,
    StoreReadOnly,
    StoreUnavailable,
    ValuestoreWarning,
)
from valuestore.stores import ContentStore
from valuestore.stores.s3.store import S3Store
from valuestore.stores.wrappers.compressed import Compressed
from valuestore.stores.wrappers.renaming import Prefixed
from valuestore.stores.wrappers.retrying import Retrying

PART = 5 << 20
CONDITION = "If-None-Match"
CONFLICT = (409, "ConditionalRequestConflict")


def open_store(server, bucket, url=None, **options):
    credentials = {"access_key_id": server.access_key, "secret_access_key": server.secret_key}
    given = {"timeout_seconds": 4, "part_bytes": PART, "region": server.region} | credentials | options
    return S3Store(f"s3://{bucket}", endpoint_url=url or server.url, **given)


@pytest.fixture
def proxy(s3_server):
    with FaultyProxy(s3_server.url) as proxy:
        yield proxy


@pytest.fixture
def opened(s3_server, s3_bucket, proxy):
    return partial(open_store, s3_server, s3_bucket, proxy.url)


@pytest.fixture
def store(opened):
    with opened() as store:
        yield store


@pytest.fixture
def content(store):
    content = ContentStore(store)
    content.put(b"first")
    return content


@pytest.fixture(params=["keeps", "ignores"])
def anywhere(request):
    """Opens stores on one bucket, of a server that keeps conditions or of one that does not."""
    name = "s3_server" if request.param == "keeps" else "signing_s3_server"
    server = request.getfixturevalue(name)
    with server.bucket() as bucket:
        yield partial(open_store, server, bucket)


def methods(proxy):
    """Those of the requests for objects, since it was asked before."""
    seen = [method for method, path in proxy.requests if path.count("/") > 1]
    proxy.requests.clear()
    return seen


def delete_before(proxy, number, delete):
    """Have something deleted before the server gets the PUT of that number."""
    puts = 0

    def rule(method, _):
        nonlocal puts
        puts += method == "PUT"
        if method == "PUT" and puts == number:
            delete()

    proxy.rule = rule


# --- how many requests --------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", [bytes, bytearray, io.BytesIO, lambda data: (data[:9], data[9:])])
def test_a_new_payload_is_one_request(content, proxy, wrap):
    for size in (0, 1, 100_000, 1 << 20):
        methods(proxy)
        data = os.urandom(size)
        ref = content.put(wrap(data))
        assert methods(proxy) == ["PUT"]
        assert content.get(ref.digest) == data


@pytest.mark.parametrize("wrap", [Retrying, Compressed, partial(Prefixed, prefix="p")])
def test_it_is_one_request_behind_a_wrapper(store, proxy, wrap):
    content = ContentStore(wrap(store))
    content.put(b"first")
    methods(proxy)
    ref = content.put(b"data" * 1000)
    assert methods(proxy) == ["PUT"]
    assert content.get(ref.digest) == b"data" * 1000


def test_a_large_payload_is_not_sent_before_it_is_known_to_be_new(content, proxy):
    data = os.urandom((1 << 20) + 1)
    methods(proxy)
    content.put(data)
    assert methods(proxy) == ["HEAD", "PUT"]
    content.put(data)
    assert methods(proxy) == ["HEAD"]


def test_a_payload_that_is_there_is_checked_and_left_alone(content, store, proxy):
    ref = content.put(b"data")
    (key,) = store.keys(ref.digest[:2])
    before = store.stat(key)
    methods(proxy)
    assert content.put(b"data") == ref
    assert methods(proxy) == ["PUT", "HEAD", "GET"]
    assert content.holds(ref)
    assert methods(proxy) == ["GET"]
    assert store.stat(key) == before


def test_the_first_creation_asks_and_proves(store, proxy):
    store.put("a", b"1", overwrite=False)
    assert methods(proxy) == ["HEAD", "PUT", "PUT"]
    store.put("b", b"2", overwrite=False)
    store.put("c", b"3")
    assert methods(proxy) == ["PUT", "PUT"]
    assert store.get_many("abc") == [b"1", b"2", b"3"]


def test_what_was_declared_is_not_proved(opened, proxy):
    with opened(conditional=True) as store:
        store.put("a", b"1", overwrite=False)
        assert methods(proxy) == ["PUT"]
    with opened(conditional=False) as store:
        store.put("b", b"1", overwrite=False)
        assert methods(proxy) == ["HEAD", "PUT"]
        with pytest.raises(AlreadyExists):
            store.put("a", b"2", overwrite=False)


# --- healing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"date", b"data and more", bytes(1 << 20)])
def test_a_put_heals_what_is_damaged(content, store, damage):
    ref = content.put(b"data")
    (key,) = store.keys(ref.digest[:2])
    store.put(key, damage)
    assert content.put(b"data") == ref
    assert content.get(ref.digest) == b"data"
    assert store.get(f"quarantine/{ref.digest}.0") == damage


def test_who_may_not_write_is_told_only_if_it_is_not_there(content, proxy):
    ref = content.put(b"data")
    proxy.fail((403, "AccessDenied"), method="PUT")
    assert content.put(b"data") == ref
    with pytest.raises(StoreReadOnly):
        content.put(b"other")


# --- servers that do not keep the condition -----------------------------------------------------------


def test_nothing_is_lost_on_a_server_that_ignores_conditions(signing_s3_server):
    with signing_s3_server.bucket() as bucket, open_store(signing_s3_server, bucket) as store:
        store.put("t", b"1", attrs={"a": 1})
        assert store.put("t", b"22").attrs == store.stat("t").attrs == {"a": 1}
        with pytest.raises(AlreadyExists):
            store.put("t", b"333", overwrite=False)
        with pytest.warns(ValuestoreWarning, match=f"{bucket}.*conditional=false") as said:
            assert store.put("u", b"1", overwrite=False) == store.stat("u")
        assert said[0].filename == __file__
        with pytest.raises(AlreadyExists):
            store.put("u", b"2", overwrite=False)
        store.put("v", b"3", attrs={"v": 3}, overwrite=False)
        assert store.put("v", b"4").attrs == {"v": 3}
        assert store.get_many("tuv") == [b"22", b"1", b"4"]


def test_it_is_said_once_and_not_to_those_who_know(opened, proxy):
    proxy.ignored = CONDITION
    with opened() as store:
        with pytest.warns(ValuestoreWarning):
            store.put("a", b"1")
        assert methods(proxy) == ["HEAD", "PUT", "PUT", "PUT"]
        store.put("b", b"1")
        assert methods(proxy) == ["HEAD", "PUT"]
    with opened(conditional=False) as store:
        store.put("c", b"1", overwrite=False)


def test_whoever_makes_errors_of_warnings_can_go_on(opened, proxy):
    proxy.ignored = CONDITION
    with opened() as store, warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValuestoreWarning):
            store.put("a", b"1")
        store.put("b", b"2")
        assert store.get_many("ab") == [b"1", b"2"]


@pytest.mark.parametrize(
    "refusal", [(501, "NotImplemented"), (400, "InvalidArgument"), (400, "InvalidRequest")]
)
@pytest.mark.parametrize("size", [4, PART + 1])
def test_a_server_that_does_not_know_the_condition_is_used_without(opened, proxy, refusal, size):
    proxy.unknown, proxy.refusal = CONDITION, refusal
    with opened() as store:
        with pytest.warns(ValuestoreWarning):
            store.put("a", bytes(size), overwrite=False)
        store.put("b", bytes(size), overwrite=False)
        with pytest.raises(AlreadyExists):
            store.put("a", b"", overwrite=False)
        assert store.size("a") == store.size("b") == size
    with opened(conditional=True) as store, pytest.raises(NotSupported, match="conditional=false"):
        store.put("c", bytes(size), overwrite=False)


def test_a_bad_request_for_another_reason_stays_one(store, proxy):
    proxy.fail((400, "InvalidRequest"), method="PUT")
    with pytest.raises(StoreUnavailable, match="InvalidRequest"):
        store.put("a", b"1", overwrite=False)
    proxy.fail(None)
    store.put("a", b"1", overwrite=False)
    methods(proxy)
    store.put("b", b"1", overwrite=False)
    assert methods(proxy) == ["PUT"]


# --- others at the same time, and answers that do not come -----------------------------------------------


@pytest.mark.filterwarnings("ignore:the server of:valuestore.errors.ValuestoreWarning")
def test_of_many_who_put_one_payload_all_succeed(anywhere):
    # rclone writes in place, so that a reader may find half of it and has to ask again
    stores = [ContentStore(Retrying(anywhere())) for _ in range(8)]
    payloads = [os.urandom(1000) for _ in range(10)]
    with ThreadPoolExecutor(8) as pool:
        refs = list(pool.map(lambda content: [content.put(data) for data in payloads], stores))
    assert all(found == refs[0] for found in refs)
    assert [stores[0].get(ref.digest) for ref in refs[0]] == payloads
    assert list(stores[0].verify()) == []
    for content in stores:
        content.close()


def test_of_many_who_create_one_key_one_wins(opened):
    stores = [opened(timeout_seconds=60) for _ in range(8)]

    def create(turn, number):
        try:
            return stores[number].put(f"k{turn}", b"%d" % number, overwrite=False).etag
        except AlreadyExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        for turn in range(5):
            (etag,) = filter(None, pool.map(partial(create, turn), range(8)))
            assert stores[0].stat(f"k{turn}").etag == etag
    for store in stores:
        store.close()


def test_what_is_deleted_before_the_proof_proves_nothing_wrong(opened, proxy, s3_server, s3_bucket):
    delete = partial(s3_server.client().delete_object, Bucket=s3_bucket, Key="a")
    delete_before(proxy, 2, delete)
    with opened() as store:
        store.put("a", b"1", overwrite=False)
        assert methods(proxy) == ["HEAD", "PUT", "PUT", "PUT"]
        store.put("b", b"1", overwrite=False)
        assert methods(proxy) == ["PUT"]


def test_what_is_deleted_while_it_is_looked_at_is_put(content, store, proxy):
    ref = content.put(b"data")
    (key,) = store.keys(ref.digest[:2])
    proxy.rule = lambda method, _: (404, "NoSuchKey") if method == "GET" else None
    assert content.put(b"data") == ref
    proxy.fail(None)
    store.delete(key)
    assert content.put(b"data") == ref
    assert content.get(ref.digest) == b"data"


@pytest.mark.parametrize("fault", [SLOW_DOWN, CONFLICT])
def test_a_proof_that_fails_is_left_to_the_next_creation(store, proxy, fault):
    puts = []

    def rule(method, path):
        puts.extend([path] * (method == "PUT"))
        return fault if method == "PUT" and len(puts) > 1 else None

    proxy.rule = rule
    store.put("a", b"1", overwrite=False)
    proxy.fail(None)
    methods(proxy)
    store.put("b", b"1", overwrite=False)
    store.put("c", b"1", overwrite=False)
    assert methods(proxy) == ["HEAD", "PUT", "PUT", "PUT"]
    assert store.get_many("abc") == [b"1"] * 3


def test_a_conflict_in_passing_is_no_proof(opened, proxy):
    proxy.ignored = CONDITION
    with opened() as store:
        proxy.fail(CONFLICT, times=2, method="PUT")
        with pytest.warns(ValuestoreWarning):
            store.put("a", b"1", overwrite=False)
        with pytest.raises(AlreadyExists):
            store.put("a", b"2", overwrite=False)


def test_a_conflict_in_passing_does_not_fail_a_payload(content, proxy):
    methods(proxy)
    proxy.fail(CONFLICT, times=2, method="PUT")
    ref = content.put(b"data")
    assert methods(proxy) == ["PUT", "HEAD", "PUT", "HEAD", "PUT"]
    assert content.get(ref.digest) == b"data"


def test_a_creation_whose_answer_was_lost_is_a_proof(store, proxy):
    proxy.fail(LOSE, times=1, method="PUT")
    try:
        store.put("a", b"1", overwrite=False)
    except StoreUnavailable:
        pass
    assert store.get("a") == b"1"
    with pytest.raises(AlreadyExists):
        store.put("a", b"2", overwrite=False)
