"""Settings of S3, wherever they come from: both clients go by the same, and what is wrong is said."""

from __future__ import annotations

import pytest

from tests.stores.faulty import FaultyProxy
from valuestore.errors import AlreadyExists, BadReference, ConfigError, NotFound, NotSupported, StoreError
from valuestore.stores import open_store
from valuestore.stores.s3.store import S3Store

PART = 5 << 20


@pytest.fixture(autouse=True)
def _usual_places(monkeypatch, tmp_path):
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def use_all(store, size=0):
    """Each request that either client makes, with what it has to answer."""
    with store:
        store.put("k", b"data", attrs={"x": 1})
        store.put("large", iter([bytes(size)]), attrs={})
        assert (store.get("k"), store.get("k", 1, 3), store.size("large")) == (b"data", b"at", size)
        assert (store.stat("k").attrs, store.list().keys) == ({"x": 1}, ["k", "large"])
        assert [known.key for known in store.scan()] == ["k", "large"]
        store.copy("k", "l")
        assert store.delete_many(["k", "l", "large"]) == {"k", "l", "large"}


@pytest.fixture
def decoy(s3_server):
    """Another server, which nobody is to ask."""
    with FaultyProxy(s3_server.url) as proxy:
        yield proxy


CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
ELSEWHERE = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")


def test_the_url_says_where_whatever_the_environment_says(s3_server, s3_bucket, decoy, monkeypatch):
    for name in ELSEWHERE:
        monkeypatch.setenv(name, decoy.url)
    use_all(S3Store(f"s3://{s3_bucket}/p?endpoint_url={s3_server.url}", part_bytes=PART), PART + 1)
    assert not decoy.requests


@pytest.mark.parametrize("space", ["", " ", "\n", "\r\n"])
@pytest.mark.parametrize("name", ELSEWHERE[:2])
def test_both_clients_go_where_the_environment_says(s3_server, s3_bucket, monkeypatch, name, space):
    monkeypatch.setenv(name, s3_server.url + space)
    use_all(S3Store(f"s3://{s3_bucket}/p", part_bytes=PART))


def test_both_clients_go_where_the_profile_says(s3_server, s3_bucket, decoy, monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[profile own]\naws_access_key_id = test\naws_secret_access_key = test\n"
        "services = here\ns3 =\n  addressing_style = path\n"
        f"[services here]\ns3 =\n  endpoint_url = {s3_server.url}\n[default]\nendpoint_url = {decoy.url}\n"
    )
    use_all(S3Store(f"s3://{s3_bucket}/p", part_bytes=PART, profile="own"))
    assert not decoy.requests


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("AWS_S3_EXPRESS", value) for value in ("true", "nonsense")),
        ("AWS_SKIP_SIGNATURE", "true"),
        ("AWS_UNSIGNED_PAYLOAD", "nonsense"),
        ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "true"),
        ("AWS_REQUEST_PAYER", "true"),
        ("AWS_CONDITIONAL_PUT", "nonsense"),
        ("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms"),
        ("AWS_CHECKSUM_ALGORITHM", "nonsense"),
        ("AWS_PROXY_URL", "http://127.0.0.1:1"),
        ("AWS_TIMEOUT", "1 ns"),
        ("AWS_ALLOW_INVALID_CERTIFICATES", "nonsense"),
        ("AWS_HTTP2_ONLY", "true"),
        ("AWS_ACCESS_KEY_ID", " test\n"),
        ("AWS_SECRET_ACCESS_KEY", "test-secret\r\n"),
        ("AWS_DEFAULT_REGION", "us-east-1\n"),
        ("AWS_BUCKET", "another"),
    ],
)
def test_what_one_client_alone_reads_changes_nothing(signing_s3_server, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with (
        signing_s3_server.bucket() as bucket,
        S3Store(f"s3://{bucket}", endpoint_url=signing_s3_server.url, conditional=False) as store,
    ):
        store.put("k", b"data", attrs={"x": 1})
        assert (store.get("k"), store.stat("k").attrs, store.list().keys) == (b"data", {"x": 1}, ["k"])


@pytest.mark.parametrize(
    "url", ["127.0.0.1:9000", "http://", "http://h:port", "http://h ost", "http://a@h", "ftp://h"]
)
def test_an_endpoint_that_is_none_is_refused_with_its_setting(s3_bucket, monkeypatch, url):
    with pytest.raises(ConfigError, match="endpoint_url.*http://host:port"):
        S3Store("s3://bucket", endpoint_url=url)
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    for use in (lambda store: store.get("k"), lambda store: store.put("k", b""), lambda store: store.list()):
        with (
            S3Store("s3://bucket") as store,
            pytest.raises(BadReference, match="AWS_ENDPOINT_URL.*http://host"),
        ):
            use(store)


@pytest.mark.parametrize("name", [*CREDENTIALS, "AWS_DEFAULT_REGION"])
def test_a_line_end_within_a_setting_is_a_stores_error(s3_server, s3_bucket, monkeypatch, name):
    monkeypatch.setenv(name, "canary\nnonsense")
    with S3Store(f"s3://{s3_bucket}", endpoint_url=s3_server.url) as store:
        for use in (lambda: store.get("k"), lambda: store.put("k", b""), lambda: store.list()):
            with pytest.raises(StoreError) as caught:
                use()
            assert "canary" not in str(caught.value) or name == "AWS_DEFAULT_REGION"


@pytest.mark.parametrize(
    "name", ["endpoint_url", "region", "access_key_id", "secret_access_key", "session_token"]
)
def test_options_are_stripped_and_hold_no_line_ends(s3_server, s3_bucket, name):
    options = {"endpoint_url": s3_server.url, "access_key_id": "test", "secret_access_key": "test-secret"}
    options |= {"region": "us-east-1", "session_token": "canary"}
    use_all(S3Store(f"s3://{s3_bucket}/p", part_bytes=PART, **options | {name: f" {options[name]}\n"}))
    with pytest.raises(ConfigError, match=f"{name}.*control character") as caught:
        S3Store(f"s3://{s3_bucket}", **options | {name: f"{options[name]}\nx"})
    assert options[name] not in str(caught.value)


@pytest.mark.parametrize("url", ["s3://bu\ncket", "redis://ho\tst/0", "memory://a\x7f", "gs://bucket/a\0b"])
def test_no_url_holds_control_characters(url):
    with pytest.raises(BadReference, match="control character"):
        open_store(url)


def test_an_url_may_come_with_a_line_end():
    assert open_store(" memory://lines\n").url == "memory://lines"


def test_a_put_to_a_wrong_path_of_the_server_is_never_not_found(s3_server, s3_bucket):
    with S3Store(f"s3://{s3_bucket}", endpoint_url=f"{s3_server.url}/some/path") as store:
        for use in (
            lambda: store.put("k", b""),
            lambda: store.put("k", iter([bytes(9 << 20)])),
            lambda: store.put("k\n", b"", attrs={}),
            lambda: store.list(),
            lambda: store.delete_many(["k"]),
        ):
            with pytest.raises(StoreError) as caught:
                use()
            assert not isinstance(caught.value, NotFound)


# --- servers that lack a feature ---------------------------------------------------------------------


@pytest.fixture
def without(s3_server, s3_bucket):
    """A store whose server ignores a header."""
    with FaultyProxy(s3_server.url) as proxy:

        def open_without(header):
            proxy.ignored = header
            return S3Store(f"s3://{s3_bucket}/p", endpoint_url=proxy.url, part_bytes=PART)

        yield open_without


@pytest.mark.filterwarnings("ignore::valuestore.errors.ValuestoreWarning")
@pytest.mark.parametrize("header", ["If-None-Match", "If-Match", "x-amz-copy-source-if-match", "Range"])
def test_a_server_that_ignores_a_header_costs_requests_and_no_value(without, header):
    with without(header) as store:
        store.put("t", b"1", attrs={"a": 1})
        assert store.put("t", b"0123456789").attrs == store.stat("t").attrs == {"a": 1}
        with pytest.raises(AlreadyExists):
            store.put("t", b"3", overwrite=False)
        for start, end in ((2, 5), (-3, None), (2, -2), (20, None), (20, 30), (-30, 4)):
            assert store.get("t", start, end) == b"0123456789"[start:end]
        assert store.copy("t", "u").attrs == {"a": 1}
        large = bytes(range(256)) * 20_000
        store.put("large", large)
        with store.open("large") as stream:
            assert (stream.seek(-9, 2), stream.read()) == (len(large) - 9, large[-9:])
            assert (stream.seek(7), stream.read()) == (7, large[7:])


def test_a_copy_of_what_changed_meanwhile_is_one_of_the_new(without, monkeypatch):
    with without("x-amz-copy-source-if-match") as store:
        store.put("k", b"old", attrs={"x": 1})
        copy = store._client.copy

        def late(*args):
            monkeypatch.undo()
            store.put("k", b"new!", attrs={"x": 2})
            copy(*args)

        monkeypatch.setattr(store._client, "copy", late)
        known = store.copy("k", "l")
        assert (store.get("l"), known.size, known.attrs) == (b"new!", 4, {"x": 2})
        assert known.etag == store.stat("l").etag == store.stat("k").etag


def test_a_stream_does_not_go_back_into_another_value(without):
    with without("If-Match") as store:
        store.put("k", b"old" * PART)
        with store.open("k") as stream:
            store.put("k", b"new" * PART)
            stream.read(1)
            stream.seek(2 * PART)
            with pytest.raises(StoreError, match="change 'k'"):
                stream.read()


def test_a_server_that_drops_metadata_is_told_of_at_the_first_attributes(without):
    with without("x-amz-meta-valuestore") as store:
        store.put("k", b"data", attrs={})
        with pytest.raises(NotSupported, match="drops metadata"):
            store.put("k", b"data", attrs={"x": 1})


def test_no_bucket_and_no_leave_to_make_one_is_not_found(s3_server):
    with pytest.raises(NotFound, match="nope"):
        S3Store("s3://nope-there-is-none", endpoint_url=s3_server.url, create=False)
