"""Hypothesis profiles, and servers: one of a kind per test process, started by the first test that asks."""

from __future__ import annotations

import gc
import os
import sys
import uuid
import warnings

import pytest
import redis
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.scripts import Scripts
from tests.servers import PostgresServer, RedisServer, S3Server, SigningS3Server
from valuestore import Repository
from valuestore.errors import ValuestoreWarning
from valuestore.stores import open_store

settings.register_profile("quick", deadline=None, max_examples=30)
settings.register_profile("thorough", deadline=None, max_examples=1000)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "quick")
settings.load_profile(PROFILE)
_WRITES_NOTHING = pytest.StashKey[bool]()


def pytest_configure(config):
    """Have pytest keep the test modules as it compiled them: elsewhere PYTHONDONTWRITEBYTECODE counts."""
    config.stash[_WRITES_NOTHING] = sys.dont_write_bytecode
    sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Have the garbage collector leave alone what collection made: to go over it takes half a second.

    Hypothesis begins before that. It asks the collector who holds its random numbers, and the collector does
    not look at what it leaves alone: where ``CI`` is set, and choices repeatable, its first test failed.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        settings(max_examples=1, database=None)(given(st.none())(lambda _: None))()
        gc.freeze()
        gc.enable()


def pytest_collection_finish(session):
    sys.dont_write_bytecode = session.config.stash[_WRITES_NOTHING]


def pytest_collection_modifyitems(config, items):
    """Leave out what is marked as thorough, unless the profile is."""
    if PROFILE == "thorough":
        items.sort(key=lambda item: "ten_minutes" not in item.name)  # the others run meanwhile
        return
    left_out = [item for item in items if item.get_closest_marker("thorough")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session", autouse=True)
def folders_of_the_tests(tmp_path_factory):
    """Tests have keys and a memory of file digests of their own, here and in the processes they start."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        patch.setenv("VALUESTORE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def scripts():
    with Scripts() as scripts:
        yield scripts


@pytest.fixture(scope="session")
def redis_server():
    with RedisServer() as server:
        with warnings.catch_warnings(), open_store(server.url) as store:
            warnings.simplefilter("ignore", ValuestoreWarning)  # one from the environment may lose values
            store.exists("k")
        yield server


@pytest.fixture
def redis_url(redis_server):
    """Where no other test has keys, and nobody has any afterwards."""
    prefix = f"test-{uuid.uuid4().hex[:12]}"
    yield f"{redis_server.url}/{prefix}"
    with redis.Redis.from_url(redis_server.url) as client:
        for name in client.scan_iter(match=f"{prefix}*", count=1000):
            client.unlink(name)


@pytest.fixture(scope="session")
def postgres_server():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server):
    """An empty database, for SQLAlchemy."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture(scope="session")
def repository_on_postgres(postgres_server, tmp_path_factory):
    """The URL of a database with the schema and nothing else: to copy it takes a fifth of making it."""
    with postgres_server.database() as url:
        Repository.open(tmp_path_factory.mktemp("repository"), database=url).close()
        yield url


@pytest.fixture(scope="session")
def s3_server():
    with S3Server() as server:
        yield server


@pytest.fixture
def s3_bucket(s3_server):
    """The name of an empty bucket on ``s3_server``."""
    with s3_server.bucket() as name:
        yield name


@pytest.fixture
def s3_url(s3_server, s3_bucket, monkeypatch):
    """Where no other test has keys."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", s3_server.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3_server.secret_key)
    return f"s3://{s3_bucket}/payloads?endpoint_url={s3_server.url}&region=us-east-1"


@pytest.fixture(scope="session")
def signing_s3_server():
    with SigningS3Server() as server:
        yield server
