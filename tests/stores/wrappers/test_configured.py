"""A configuration becomes stores in stores, or an error that names what is wrong with it."""

from __future__ import annotations

import pickle
import uuid

import pytest

from tests.stores.wrappers.failing import FailingStore
from valuestore.errors import (
    BadReference,
    ConfigError,
    NotFound,
    StoreReadOnly,
    StoreUnavailable,
    TooLarge,
)
from valuestore.stores import MemoryStore, open_store
from valuestore.stores.wrappers import Retrying, Routed, check_config, configured, store_from_config


@pytest.fixture
def opened(monkeypatch):
    """What would be opened: URL and settings."""
    asked = []

    def open_store(url, **settings):
        asked.append((url, settings))
        return MemoryStore()

    monkeypatch.setattr(configured, "open_store", open_store)
    return asked


def test_a_type_is_one_of_those_there_are():
    for config in ({"type": "invalid"}, {}, {"type": None}):
        with pytest.raises(ConfigError, match="there are memory, file, redis, s3"):
            store_from_config(config)
    with pytest.raises(ConfigError, match=r"type is of an invalid value \[invalid\]"):
        store_from_config({"type": "invalid"})


@pytest.mark.parametrize(("kind", "missing"), [("s3", "container"), ("redis", "addr"), ("file", "path")])
def test_a_place_without_its_name_is_refused(kind, missing):
    with pytest.raises(ConfigError, match=missing):
        store_from_config({"type": kind, missing: ""})


def test_the_file_with_the_secret_stands_for_the_one_written_out(opened, tmp_path):
    (tmp_path / "key").write_text("from the file\n")
    base = {"type": "s3", "container": "b", "prefix": "p/", "secret_key": "written out"}
    store_from_config(base)
    store_from_config({**base, "secret_key_path": str(tmp_path / "key")})
    assert opened == [
        ("s3://b/p", {"secret_access_key": "written out"}),
        ("s3://b/p", {"secret_access_key": "from the file"}),
    ]


def test_a_secret_that_cannot_be_read_is_an_error_that_tells_no_secret(tmp_path):
    (tmp_path / "empty").write_text("")
    for path in ("missing", "empty"):
        with pytest.raises(ConfigError, match="secret_key_path") as caught:
            store_from_config(
                {
                    "type": "s3",
                    "container": "b",
                    "secret_key": "hush",
                    "secret_key_path": str(tmp_path / path),
                }
            )
        assert "hush" not in str(caught.value)


def test_a_redis_is_opened_at_its_address(opened, tmp_path):
    (tmp_path / "key").write_text("pw")
    store_from_config(
        {"type": "redis", "addr": "h:1", "db": 2, "tls": True, "password_path": tmp_path / "key"}
    )
    assert opened == [("rediss://h:1/2", {"password": "pw"})]


def test_settings_that_nobody_knows_are_refused(tmp_path):
    config = {"type": "file", "path": str(tmp_path)}
    for extra in ({"colour": "red"}, {"limits": {"max_bytes": 5}}, {"cache": {"size": 5}}, {"limits": 5}):
        with pytest.raises(ConfigError):
            store_from_config({**config, **extra})


def test_limits_and_a_cache_are_put_around_it(tmp_path):
    store = store_from_config(
        {
            "type": "file",
            "path": str(tmp_path),
            "limits": {"max_get_bytes": 0, "max_put_bytes": 5},
            "cache": {"max_bytes": 1000},
        }
    )
    store.put("k", b"12345")
    (tmp_path / "k").unlink()
    assert store.get("k") == b"12345"
    with pytest.raises(TooLarge, match="max_put_bytes"):
        store.put("k", b"123456")


def test_schemes_have_configurations_of_their_own(tmp_path):
    store = store_from_config(
        {
            "type": "file",
            "path": str(tmp_path / "default"),
            "schemes": {
                "each": {"type": "memory"},
                "one": {"type": "file", "path": str(tmp_path / "one")},
            },
        }
    )
    assert isinstance(store, Routed)
    taken, free = uuid.uuid4().hex, uuid.uuid4().hex  # memory is that of the process, other tests included
    for key in ("k", f"each://{taken}/k", "one://a/k", "one://b/k"):
        store.put(key, key.encode())
    assert (tmp_path / "default" / "k").read_bytes() == b"k"
    assert store.get("one://a/k") == (tmp_path / "one" / "k").read_bytes() == b"one://b/k"
    assert store.base == f"file://{tmp_path}/default"
    assert store.get(f"{store.base}/k") == b"k"
    assert store.exists(f"each://{taken}/k")
    assert not store.exists(f"each://{free}/k")


def test_containers_are_loaded_dynamically_unless_told_otherwise():
    store = store_from_config(
        {
            "type": "memory",
            "schemes": {"m": {"type": "memory"}},
            "containers": ["m://configured-a"],
            "dynamic": False,
        }
    )
    store.put("m://configured-a/k", b"")
    with pytest.raises(NotFound):
        store.get("m://configured-b/k")


def test_bases_are_references_and_a_store_in_memory_has_none(tmp_path):
    schemes = {"schemes": {"m": "memory://{container}"}}
    assert store_from_config({"type": "memory", **schemes}).base == ""
    assert store_from_config({"type": "file", "path": str(tmp_path), **schemes}).base == f"file://{tmp_path}"


def test_secrets_do_not_show(opened):
    store = store_from_config(
        {
            "type": "s3",
            "container": "b",
            "secret_key": "hush",
            "schemes": {"x": {"type": "s3", "container": "c", "secret_key": "hush"}},
        }
    )
    store.put("x://c/k", b"")
    assert "hush" not in repr(store) + repr(store._openers) + store.url


@pytest.mark.parametrize("entry", [5, None, {"type": "nothing"}])
def test_a_scheme_is_a_url_or_a_configuration(entry):
    with pytest.raises((ConfigError, BadReference, StoreUnavailable)):
        store_from_config({"type": "memory", "schemes": {"x": entry}})


def test_cache_stands_before_each_store_and_routes_in_front_of_all():
    entry = {"type": "memory", "cache": {"max_bytes": 1000}}
    with store_from_config({**entry, "schemes": {"mem": entry}}) as store:
        for key in ("k", "mem://container/k"):
            store.put(key, key.encode())
            assert store.get(key) == store.get(key) == key.encode()


# --- words and kinds


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"compres": True}, "'compres': no such setting; did you mean 'compress'"),
        ({"cache": {"max_byte": 5}}, "'cache.max_byte': no such setting; did you mean 'max_bytes'"),
        ({"cache": {"max_bytes": True}}, "'cache.max_bytes': True is not a whole number, 0 or more"),
        ({"cache": {"path": "x"}}, "'cache.max_bytes': cache needs it"),
        ({"cache": 5}, "'cache': 5 is not a table"),
        ({"compress": "no"}, "'compress': 'no' is not true, false or a table"),
        ({"compress": {"level": 99}}, "99 is not a whole number from 1 to 22"),
        ({"retry": {"attempts": 0}}, "'retry.attempts': 0 is not a whole number above 0"),
        ({"retry": {"seconds": "30"}}, "'30' is not a number above 0"),
        ({"limits": {"max_get_bytes": -1}}, "-1 is not a whole number, 0 or more"),
        ({"readonly": "no"}, "'no' is not true or false"),
        ({"create": 1}, "1 is not true or false"),
        ({"durability": "eternal"}, "is not one of fast, full"),
        ({"tiers": "memory://x"}, "is not a list"),
        ({"tiers": [5]}, "'tiers': int is not a URL, a path or a table"),
        ({"tiers": [{"type": "file"}]}, "'tiers.path': a store of type 'file' needs it"),
        ({"sized": {"threshold_bytes": 5}}, "'sized.small': sized needs it"),
        ({"observe": {"logs": True}}, "did you mean 'log'"),
        ({"schemes": {"x": {"type": "s3", "regoin": "x"}}}, "'schemes.x.regoin': no such setting"),
        ({"url": "s3://b"}, "leave one of the two out"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_would_be_right(tmp_path, more, said):
    with pytest.raises(ConfigError) as caught:
        check_config({"type": "file", "path": str(tmp_path / "x"), **more})
    assert said in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_the_name_of_the_configuration_stands_before_its_words():
    with pytest.raises(ConfigError, match="'payloads.retry.attempt': .* 'attempts'"):
        check_config({"type": "memory", "retry": {"attempt": 3}}, name="payloads")


@pytest.mark.parametrize(
    "config",
    [
        {"type": "redis", "addr": "h", "password": 424242},
        {"type": "s3", "container": "b", "secret_key": 424242},
        {"type": "s3", "container": "b", "session_token": ["424242"]},
        {"url": ["redis://:424242@h"]},
        {"type": "memory", "tiers": [["redis://:424242@h"]]},
    ],
)
def test_a_secret_of_the_wrong_kind_is_not_shown(config):
    with pytest.raises(ConfigError) as caught:
        check_config(config)
    assert "424242" not in str(caught.value)


# --- places


def test_any_place_has_a_url(opened):
    store_from_config({"url": "s3://b/p", "region": "r", "conditional": False})
    store_from_config({"url": "gs://b/p", "options": {"project": "x"}})
    store_from_config({"url": "redis://h/1", "timeout_seconds": 2})
    assert opened == [
        ("s3://b/p", {"region": "r", "conditional": False}),
        ("gs://b/p", {"project": "x"}),
        ("redis://h/1", {"timeout_seconds": 2.0}),
    ]


@pytest.mark.parametrize("word", [{"regoin": "x"}, {"options": {}}, {"container": "b"}])
def test_the_options_of_a_url_are_checked_where_they_are_known(word):
    with pytest.raises(ConfigError, match="no such setting"):
        check_config({"url": "s3://b", **word})
    with pytest.raises(ConfigError, match="no such setting"):
        check_config({"url": "gs://b", "project": "x"})


def test_a_path_is_no_url(here_is):
    store_from_config({"type": "file", "path": "memory://x"}).put("k", b"data")
    assert (here_is / "memory:" / "x" / "k").read_bytes() == b"data"


@pytest.fixture
def here_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_each_host_is_a_store_of_its_own_where_no_address_is_configured(opened):
    store = store_from_config({"type": "memory", "schemes": {"redis": {"type": "redis", "db": 2}}})
    for host in "ab":
        store.exists(f"redis://{host}/k")
    assert [url for url, _ in opened[1:]] == ["redis://a/2", "redis://b/2"]


def test_relative_paths_are_below_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config = {
        "type": "file",
        "path": "a",
        "cache": {"path": "~/c", "max_bytes": 100},
        "tiers": ["b", {"url": "d"}],
    }
    with store_from_config(config, folder=str(tmp_path)) as store:
        store.put("k", b"data")
    for place in ("a/k", "home/c/valuestore-cache/k", "b/k", "d/k"):
        assert (tmp_path / place).read_bytes() == b"data"


def test_an_address_with_a_private_authority_is_asked_with_its_certificate(opened):
    config = {"type": "redis", "addr": "h:1", "tls": True, "ssl_check_hostname": False}
    store_from_config({**config, "ssl_ca_certs": "/ca.pem"})
    assert opened == [("rediss://h:1/0?ssl_ca_certs=%2Fca.pem&ssl_check_hostname=False", {})]


# --- layers, from the place outwards


def open_memory(**layers):
    """A store in memory with these layers, and the place below them."""
    name = uuid.uuid4().hex
    return store_from_config({"type": "memory", "container": name, **layers}), open_store(f"memory://{name}")


def test_a_prefix_is_below_everything():
    store, place = open_memory(prefix="mine")
    store.put("k", b"x")
    assert place.list().keys == ["mine/k"]


def test_limits_count_the_data_and_not_what_compression_makes_of_it():
    store, place = open_memory(compress={"level": 5}, limits={"max_put_bytes": 10_000})
    store.put("k", b"x" * 10_000)
    assert place.size("k") < 100
    with pytest.raises(TooLarge, match="max_put_bytes"):
        store.put("k", b"x" * 10_001)


def test_a_switch_may_be_off():
    store, place = open_memory(compress=False, retry=False, readonly=False)
    assert type(store) is type(place)


def test_a_retry_repeats_the_whole_of_a_put(monkeypatch):
    failing = FailingStore(MemoryStore())
    failing.fail("put", times=2)
    monkeypatch.setattr(configured, "open_store", lambda url: failing)
    config = {"url": "memory://x", "compress": True, "limits": {"max_put_bytes": 99_999}}
    with store_from_config({**config, "retry": {"attempts": 3, "seconds": 9}}) as store:
        assert isinstance(store, Retrying)
        store.put("k", b"data" * 9999)
        assert store.get("k") == b"data" * 9999


def test_small_values_are_in_the_other_store_and_not_compressed():
    small = uuid.uuid4().hex
    store, place = open_memory(compress=True, sized={"threshold_bytes": 1000, "small": f"memory://{small}"})
    store.put("a", b"x" * 1000)
    store.put("b", b"x" * 1001)
    assert open_store(f"memory://{small}").get("a") == b"x" * 1000
    assert place.list().keys == ["b"]
    assert place.size("b") < 100


def test_layers_are_read_where_the_store_has_nothing_and_not_written():
    below = [uuid.uuid4().hex for _ in range(2)]
    for number, name in enumerate(below):
        open_store(f"memory://{name}").put(f"k{number}", b"below")
    layers = [{"type": "memory", "container": name, "readonly": True} for name in below]
    store, place = open_memory(layers=layers)
    assert [store.get("k0"), store.get("k1")] == [b"below", b"below"]
    store.put("k0", b"above")
    assert store.get("k0") == place.get("k0") == b"above"
    assert open_store(f"memory://{below[0]}").get("k0") == b"below"


def test_tiers_are_filled_by_reading_the_first_one_last():
    names = [uuid.uuid4().hex for _ in range(2)]
    store, place = open_memory(tiers=[f"memory://{name}" for name in names])
    place.put("k", b"data")
    assert store.get("k") == b"data"
    assert [open_store(f"memory://{name}").get("k") for name in names] == [b"data", b"data"]


def test_a_cache_leaves_alone_what_else_is_in_its_folder(tmp_path):
    (tmp_path / "mine").write_bytes(b"x" * 1000)
    store, _ = open_memory(cache={"path": str(tmp_path), "max_bytes": 10})
    for key in "abc":
        store.put(key, b"1234")
    assert (tmp_path / "mine").exists()
    assert sorted(path.name for path in (tmp_path / "valuestore-cache").glob("?")) == ["b", "c"]


def test_what_is_read_only_has_a_cache_all_the_same():
    store, place = open_memory(cache={"max_bytes": 100}, readonly=True)
    place.put("k", b"data")
    assert store.get("k") == b"data"
    place.delete("k")
    assert store.get("k") == b"data"
    with pytest.raises(StoreReadOnly):
        store.put("k", b"")


def test_observers_hear_what_reaches_the_place_and_what_a_cache_answers(caplog):
    events = []
    config = {"type": "memory", "cache": {"max_bytes": 100, "others_write": False}}
    with store_from_config({**config, "observe": {"log": True}}, observers=[events.append]) as store:
        caplog.set_level("DEBUG", "valuestore.stores")
        store.put("k", b"data")
        store.get("k")
    assert [each.operation for each in events if each.phase == "end"] == ["put", "cache_hit"]
    assert "put k" in caplog.text


def test_what_was_opened_is_closed_if_the_rest_cannot_be(monkeypatch):
    closed = []
    monkeypatch.setattr(MemoryStore, "close", lambda store: closed.append(store))
    with pytest.raises(BadReference):
        store_from_config({"type": "memory", "tiers": ["nothing://x"]})
    assert len(closed) == 1


def test_a_configured_store_goes_to_workers_by_its_pickle(tmp_path):
    entry = {"type": "file", "path": str(tmp_path)}
    config = {**entry, "compress": True, "cache": {"max_bytes": 100}, "retry": True, "schemes": {"f": entry}}
    with store_from_config(config) as store:
        store.put("k", b"data")
        with pickle.loads(pickle.dumps(store)) as other:
            assert other.get("k") == other.get("f://x/k") == b"data"


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"type": "file", "path": "x", "durability": "some"}, "'payloads.durability'"),
        ({"type": "s3", "container": "b", "endpoint_url": "nowhere"}, "'payloads.endpoint_url'"),
        (
            {"type": "s3", "container": "b", "access_key_id": "k", "secret_key": "a\nb"},
            "'payloads.secret_key'",
        ),
        ({"type": "s3", "container": "b", "secret_key": "x"}, "'payloads.access_key_id'"),
    ],
)
def test_what_a_store_refuses_is_called_as_it_was_given(config, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        store_from_config(config, folder=str(tmp_path), name="payloads")
