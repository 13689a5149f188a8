"""Leases: who is at work on the stored bytes, so that nobody collects them meanwhile (I3).

A lease ends by itself unless it is renewed, so a killed process holds up nobody for long. A holder whose
lease has run out must look again before it relies on what it protected: ``renew`` says so.
"""

from __future__ import annotations

import os
import socket
from typing import NamedTuple

from sqlalchemy import Connection, delete, select, text, update

from valuestore.db import batch, schema
from valuestore.db.engine import Database
from valuestore.db.heartbeat import NOW
from valuestore.db.jobs import clean_text, new_id

_lease = schema.lease


class LeaseRow(NamedTuple):
    """A row of ``lease``; times are microseconds since 1970-01-01 UTC by the database's clock."""

    lease_id: str
    purpose: str
    owner: str
    started: int
    expires: int


class Leases:
    """Takes, renews and ends leases. Each change is one transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database

    def take(self, purpose: str, seconds: float, owner: str | None = None) -> str:
        """A new lease for so many seconds; returns its id. ``owner`` is this host and process by default."""
        lease_id = new_id()
        named = clean_text(owner or f"{socket.gethostname()}:{os.getpid()}")

        def change(connection: Connection) -> None:
            now = self._now(connection)
            batch.insert(connection, _lease, [(lease_id, purpose, named, now, now + int(seconds * 1e6))])

        self.database.transact(change)
        return lease_id

    def renew(self, lease_id: str, seconds: float) -> bool:
        """Whether the lease still held; if so it holds for ``seconds`` from now on, else it is gone."""

        def change(connection: Connection) -> bool:
            now = self._now(connection)
            statement = (
                update(_lease)
                .where(_lease.c.lease_id == lease_id, _lease.c.expires > now)
                .values(expires=now + int(seconds * 1e6))
            )
            return connection.execute(statement).rowcount == 1

        return self.database.transact(change)

    def end(self, lease_id: str) -> None:
        """Give the lease back; ending it twice is fine."""
        self.database.transact(
            lambda connection: connection.execute(delete(_lease).where(_lease.c.lease_id == lease_id))
        )

    def held(self, purpose: str | None = None) -> list[LeaseRow]:
        """The leases that have not run out, oldest first; of all purposes if None."""

        def read(connection: Connection) -> list[LeaseRow]:
            statement = select(_lease).where(_lease.c.expires > self._now(connection))
            if purpose is not None:
                statement = statement.where(_lease.c.purpose == purpose)
            return [LeaseRow(*row) for row in connection.execute(statement.order_by(_lease.c.lease_id))]

        return self.database.fetch(read)

    def sweep(self) -> int:
        """Remove the rows of leases that have run out; returns how many."""

        def change(connection: Connection) -> int:
            return connection.execute(
                delete(_lease).where(_lease.c.expires <= self._now(connection))
            ).rowcount

        return self.database.transact(change)

    def _now(self, connection: Connection) -> int:
        query = f"SELECT {NOW[self.database.dialect.name]}"
        return int(connection.execute(text(query)).scalar_one())
