"""Servers: a real Redis, Postgres or S3 for tests, on a free loopback port, gone when its block ends.

    with RedisServer() as server:
        store = open_store(server.url)

Where it comes from, in this order: the URL in ``VALUESTORE_TEST_REDIS_URL`` (``_PG_URL``, ``_S3_URL``,
``_SIGNING_S3_URL``); a container, if an engine answers and testcontainers is installed
(``VALUESTORE_TEST_CONTAINERS=0`` leaves it out); a program from a PyPI wheel or on the PATH. If there is
none, ServerMissing says what to install: a test that needs a server fails without one, it is never skipped.

A server made with ``own=True`` passes over the URL, so that a test may kill, pause and restart it; and it
is a program rather than a container, which starts in milliseconds and shares files and ports with the test.
"""

from __future__ import annotations

from tests.servers.pgbouncer import PgBouncer
from tests.servers.postgres import PostgresServer
from tests.servers.redis import RedisServer
from tests.servers.s3 import S3Server, SigningS3Server
from tests.servers.server import Server, ServerMissing

__all__ = [
    "PgBouncer",
    "PostgresServer",
    "RedisServer",
    "S3Server",
    "Server",
    "ServerMissing",
    "SigningS3Server",
]
