"""Repair: what a verification found is restored from where it is whole, or dropped, to be computed again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from enum import Enum
from functools import partial
from typing import Any, NamedTuple

from sqlalchemy import Column, Connection, delete, literal, select, text, update

from valuestore.db.engine.database import Database
from valuestore.db.record.lookup import Lookup
from valuestore.db.schema import tables as schema
from valuestore.db.upkeep.verify import Finding, Verdict, Verifier
from valuestore.errors import PayloadError
from valuestore.hashing import Digest
from valuestore.stores.content.store import ContentStore
from valuestore.values.archive import Archive
from valuestore.values.codecs.plain import DROPPED


class Outcome(Enum):
    """What became of a finding."""

    RESTORED = "restored"
    DROPPED = "dropped"
    LEFT = "left as it is"


class Repaired(NamedTuple):
    """A finding, and what became of it."""

    finding: Finding
    outcome: Outcome


class Repairer:
    """Repairs one repository, given its parts. ``sources`` are payload stores that may have what is lost."""

    def __init__(
        self, database: Database, lookup: Lookup, archive: Archive, sources: Sequence[ContentStore] = ()
    ) -> None:
        self._database = database
        self._lookup = lookup
        self._payloads = archive.payloads
        self._look_at = Verifier(database, lookup, archive).look_at
        self._sources = sources

    def repair(self, findings: Iterable[Finding]) -> Iterator[Repaired]:
        """Yield what became of each. Left are orphans, what is not trusted, what this program cannot read,
        and names of the catalog whose bytes no source has: to be put again, reverted or deleted by people.

        What is dropped is a miss from then on, and healed by the next run that wants it. Raises:
        DatabaseError; StoreError, if a source does not answer: nothing is dropped that it may have.
        """
        for finding in findings:
            yield Repaired(finding, self._outcome(finding))

    def _outcome(self, finding: Finding) -> Outcome:
        if finding.verdict not in (Verdict.DAMAGED, Verdict.MISSING):
            return Outcome.LEFT
        if finding.kind == "entry":
            return Outcome.RESTORED if self._is_put_back(Digest(finding.name)) else Outcome.LEFT
        if finding.kind == "value" and self._is_restored(Digest(finding.name)):
            return Outcome.RESTORED
        mend = _ADDS if finding.verdict is Verdict.MISSING and finding.kind in _ADDS else _DROPS
        is_mended = self._database.transact(partial(self._mend, mend[finding.kind], finding))
        return Outcome.DROPPED if is_mended else Outcome.RESTORED

    def _is_restored(self, value_hash: Digest) -> bool:
        ref = self._lookup.values([value_hash]).get(value_hash)
        if ref is None or ref.inline is not None or ref.payload_digest is None:
            return False
        return self._is_put_back(ref.payload_digest)

    def _is_put_back(self, digest: Digest) -> bool:
        """Whether a source has the payload, which is verified as it is read and as it is written.

        Raises: StoreError: of a source that does not answer nobody knows what it has.
        """
        for source in self._sources:
            with suppress(PayloadError), closing(source.open(digest)) as stream:
                return self._payloads.put(stream).digest == digest
        return False

    def _mend(self, mend: Mend, finding: Finding, connection: Connection) -> bool:
        """Mend a row, and have writers look again at what they knew to be there: see record/guard.py.

        Unless it is a value that somebody has put again meanwhile: whether it is mended.
        """
        if connection.dialect.name != "sqlite":
            connection.execute(text("LOCK TABLE repository IN EXCLUSIVE MODE"))
        if finding.kind == "value" and self._look_at(Digest(finding.name)) is None:
            return False
        table = schema.repository
        found = connection.scalar(select(table.c.value).where(table.c.name == "collection"))
        if found is None:
            connection.execute(table.insert().values(name="collection", value="2"))
        else:
            counted = update(table).where(table.c.name == "collection")
            connection.execute(counted.values(value=str(int(found) + 2)))
        mend(connection, finding.name)
        return True


def _drop_value(connection: Connection, value_hash: str) -> None:
    """Its bytes, and what a cache would find it by. Calls and arguments still tell what it was."""
    for table in (schema.evaluation, schema.signature):
        connection.execute(delete(table).where(table.c.value_hash == value_hash))
    gone = {"codec": DROPPED, "payload_digest": None, "inline": None}
    connection.execute(update(schema.value).where(schema.value.c.value_hash == value_hash).values(gone))


def _drop_call(connection: Connection, call_hash: str) -> None:
    """It, and those that made it, since their hashes rest on it. The jobs stay."""
    call, edge, source = schema.call_node, schema.call_edge, schema.argument_source
    above = select(call.c.call_no).where(call.c.call_hash == call_hash).cte(recursive=True)
    above = above.union(select(edge.c.parent_no).join(above, edge.c.child_no == above.c.call_no))
    numbers = list(connection.scalars(select(above.c.call_no)))
    edges, sources = (edge.c.parent_no, edge.c.child_no), (source.c.call_no, source.c.source_no)
    for some in (numbers[at : at + 500] for at in range(0, len(numbers), 500)):
        for column in (*edges, *sources, call.c.call_no):
            connection.execute(delete(column.table).where(column.in_(some)))


def _add_values(key: Column[Any], connection: Connection, digest: str) -> None:
    """Rows for values that calls name and nobody recorded: known is only that they are gone."""
    value = schema.value
    names = select(key.table.c.value_hash).where(key == digest).distinct().subquery()
    unknown = ~select(value.c.value_hash).where(value.c.value_hash == names.c.value_hash).exists()
    told = literal("unknown"), literal(DROPPED), literal(0), literal("null")
    rows = select(names.c.value_hash, *told).where(unknown)
    columns = ["value_hash", "type_name", "codec", "size", "preview"]
    connection.execute(value.insert().from_select(columns, rows))


def _drop_rows(key: Column[Any], connection: Connection, digest: str) -> None:
    connection.execute(delete(key.table).where(key == digest))


Mend = Callable[[Connection, str], None]
_DROPS: Mapping[str, Mend] = {
    "value": _drop_value,
    "evaluation": partial(_drop_rows, schema.evaluation.c.eval_hash),
    "call": _drop_call,
    "arguments": partial(_drop_rows, schema.argument.c.args_hash),
    "set": partial(_drop_rows, schema.set_member.c.set_hash),
}
_ADDS: Mapping[str, Mend] = {
    "call": partial(_add_values, schema.call_node.c.call_hash),
    "arguments": partial(_add_values, schema.argument.c.args_hash),
}
