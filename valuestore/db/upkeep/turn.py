"""Turn: who may delete by the marks of a database: one collector at a time, which heeds what writers claim.

Writers see that somebody collects by the number in ``repository``, and leave their claims as leases
(record/guard.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from valuestore.db.upkeep.marks import Marks
from valuestore.db.upkeep.session import Session
from valuestore.errors import CollectionRefused
from valuestore.lazy import is_known_dead, this_process

LEASE_SECONDS = 300.0
"""After so long without a step, another collector may take over, and this one ends when it wakes up."""


class Turn:
    """The marks of one database, and who may delete by them: one collector at a time."""

    def __init__(self, session: Session, algorithm: str) -> None:
        self.session = session
        self.marks = Marks(session, algorithm)
        self._began: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """From now on writers claim what they refer to. Raises: CollectionRefused."""
        session = self.session
        with session.transaction():
            self._began = self._take()
            session.change("DELETE FROM lease WHERE purpose = 'write'")
            self._turn_to(is_on=True)
        try:
            yield
        finally:
            with suppress(Exception), self.step():  # else its lease has run out
                self._turn_to(is_on=False)
                session.change("DELETE FROM lease WHERE lease_id = 'collect'")

    @contextmanager
    def step(self) -> Iterator[None]:
        """A transaction in which what is marked is all that is referred to. Raises: CollectionRefused."""
        session = self.session
        with session.transaction():
            changed = session.change(
                f"UPDATE lease SET expires = {session.now} + :micros WHERE lease_id = 'collect' "
                f"AND started = :began AND expires > {session.now}",
                micros=int(1e6 * LEASE_SECONDS),
                began=self._began,
            )
            if not changed:
                raise CollectionRefused(session.database.name, "it was paused for too long; run it again")
            self._heed_claims()
            yield

    def _take(self) -> int:
        session = self.session
        now = int(session.one(f"SELECT {session.now}"))
        for owner, expires in session.rows("SELECT owner, expires FROM lease WHERE lease_id = 'collect'"):
            is_on = now < expires <= now + 1e6 * LEASE_SECONDS
            if is_on and not is_known_dead(owner):
                raise CollectionRefused(session.database.name, f"another collection is at work ({owner})")
            session.change("DELETE FROM lease WHERE lease_id = 'collect'")
        session.change(
            "INSERT INTO lease (lease_id, purpose, owner, started, expires) "
            "VALUES ('collect', 'collect', :owner, :now, :expires)",
            owner=this_process(),
            now=now,
            expires=now + int(1e6 * LEASE_SECONDS),
        )
        return now

    def _turn_to(self, *, is_on: bool) -> None:
        """Count on: the number is odd while somebody collects, and another one afterwards."""
        session = self.session
        found = str(session.one("SELECT value FROM repository WHERE name = 'collection'"))
        number = int(found) if found.isdecimal() else 0
        given = {"number": str(number + 1 + (number % 2 == is_on))}
        if not session.change("UPDATE repository SET value = :number WHERE name = 'collection'", **given):
            session.change("INSERT INTO repository (name, value) VALUES ('collection', :number)", **given)

    def _heed_claims(self) -> None:
        """Keep what writers have referred to since the last step, with all that it leads to."""
        session, marks = self.session, self.marks
        session.change("DELETE FROM part_claim")
        if not marks.put("part_claim", "SELECT lease_id FROM lease WHERE purpose = 'write'"):
            return
        session.change("DELETE FROM lease WHERE purpose = 'write'")
        for kind, table, key, name in _CLAIMED:
            begins = f"x.{name} >= f.k AND x.{name} < f.k || 'g'"
            marks.add(kind, f"SELECT DISTINCT x.{key} FROM part_claim f JOIN {table} x ON {begins}")
        marks.spread()


_CLAIMED = (
    ("call", "call_node", "call_no", "call_hash"),
    ("args", "argument", "args_hash", "args_hash"),
    ("eval", "evaluation", "eval_hash", "eval_hash"),
    ("sets", "set_member", "set_hash", "set_hash"),
    ("value", "value", "value_hash", "value_hash"),
    ("code", "task", "task_hash", "task_hash"),
    ("code", "dependency", "task_hash", "task_hash"),
    ("entry", "entry", "entry_id", "entry_id"),
    ("payload", "payload", "payload_digest", "payload_digest"),
)
"""What a claim may be of: its kind, table and key, and the hash that begins with the claim's id."""
