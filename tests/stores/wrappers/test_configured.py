"""A configuration becomes stores in stores, or an error that names what is wrong with it."""

from __future__ import annotations

import uuid

import pytest

from valuestore.errors import BadReference, ConfigError, NotFound, StoreUnavailable, TooLarge
from valuestore.stores import MemoryStore
from valuestore.stores.wrappers import Routed, configured, store_from_config


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
