"""Verify: whether everything that is recorded is what it says. It changes nothing, and goes on after errors.

Values are read, verified and, where their bytes alone do not vouch for them, decoded and hashed again; cache
entries, calls, arguments and sets are compared with the hashes that they are known by. What is found can be
dropped or restored (repair.py). Called by the command line.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntFlag
from functools import partial
from itertools import chain, islice
from typing import NamedTuple

from sqlalchemy import text

from valuestore.db.engine.database import Database
from valuestore.db.record.lookup import Lookup
from valuestore.db.schema.kept import kept
from valuestore.db.schema.views import NOW
from valuestore.db.upkeep.records import Checks, Damaged, Row
from valuestore.db.upkeep.roots import is_alive
from valuestore.db.upkeep.sending import lacking
from valuestore.errors import (
    DatabaseFull,
    KeyUnusable,
    PayloadCorrupt,
    PayloadMissing,
    StoreReadOnly,
    UntrustedPayload,
    ValuestoreError,
)
from valuestore.hashing import Digest, hash_pieces, hash_struct, value_tag
from valuestore.stores.content.marker import PROBE
from valuestore.values.archive import Archive, ValueRef, address_of
from valuestore.values.codecs.plain import DROPPED, NEVER_STALE, PLAIN_CODECS, SIGNED_CODECS
from valuestore.values.codecs.signed import opened

_PAGE = 500
_PATIENCE_SECONDS = 2.0
_PAUSE_SECONDS = 0.1
_AT_ONCE, _LARGE_BYTES, _LARGEST_BYTES = 4, 1 << 20, 64 << 20
"""So many values are looked at together if one is large, but none so large that memory counts: reading and
hashing let other threads go on."""
_CURSOR = "verified up to"
"""In the table ``repository``: where a verification ended whose time was over."""

_KEEP = (
    "INSERT INTO repository (name, value) VALUES (:name, :cursor) "
    "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
)


class Verdict(IntFlag):
    """What can be wrong, as the bits of the exit code of ``valuestore verify``."""

    DAMAGED = 1
    MISSING = 2
    UNTRUSTED = 4
    UNVERIFIABLE = 8
    ORPHAN = 16


class Finding(NamedTuple):
    """One thing that is not as it should be: a value, evaluation, call, arguments, set or payload; by its
    payload, a name of the catalog (``entry``).
    """

    verdict: Verdict
    kind: str
    name: str
    reason: str


_NAMES: Mapping[str, tuple[str, Callable[[Row], list[str]]]] = {
    "evaluation": ("evaluation", lambda row: [row[2]]),
    "call": ("call", lambda row: [row[3]]),
    "args": ("arguments", lambda row: [value for _, value in row[1]]),
    "set": ("set", lambda _: []),
}
"""What is compared with its hash, by the kind of record: how findings call it, and which values it names."""

Looked = Iterator[tuple[str, Finding | None]]
"""What was looked at, in the order of these keys, and what is wrong with it, if anything."""


@dataclass
class Verified:
    """How much was looked at, and what was found by verdict; while it goes on, and afterwards.

    ``total`` counts values, and so does ``values``; ``bytes`` are theirs. Not ``is_whole``: time was over.
    ``findings`` are what was found, ``counts`` how many of each verdict.
    """

    total: int = 0
    values: int = 0
    bytes: int = 0
    records: int = 0
    is_whole: bool = True
    counts: dict[Verdict, int] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """The bits of all that was found."""
        return int(sum(self.counts))


class Verifier:
    """Looks at one repository, given its parts. ``report`` is how far it is; ``on_page`` is told it often."""

    def __init__(self, database: Database, lookup: Lookup, archive: Archive) -> None:
        self._database = database
        self._lookup = lookup
        self._archive = archive
        self._algorithm = archive.registry.algorithm.name
        self.report, self._patience = Verified(), _PATIENCE_SECONDS
        self.on_page: Callable[[Verified], None] = lambda _: None
        self._checks = Checks(archive)
        self._statements = kept(database.dialect_name)
        self._parts: dict[str, Callable[[str], Looked]] = {
            **{kind: partial(self._records, kind) for kind in _NAMES},
            "value": self._values,
            "entry": self._entries,
            "payload": self._orphans,
        }

    def verify(self, *, max_seconds: float | None = None) -> Iterator[Finding]:
        """Yield what is wrong, of everything.

        With ``max_seconds`` it ends when they are over, and the next time goes on where it ended: what was
        looked at longest ago comes first. Raises: DatabaseError; StoreError if payloads cannot be listed.
        """
        self.report, self._patience = Verified(self._total()), _PATIENCE_SECONDS
        ends = None if max_seconds is None else time.monotonic() + max_seconds
        for name, begin, end in self._plan("" if ends is None else self._cursor()):
            for key, finding in self._parts[name](begin):
                if end and key > end:
                    break
                yield from self._counted(finding)
                if ends is not None and time.monotonic() > ends:
                    self.report.is_whole = False
                    self._keep_cursor(f"{name} {key}")
                    return
        if ends is not None:
            self._keep_cursor("")

    def _plan(self, cursor: str) -> list[tuple[str, str, str]]:
        """The parts in the order of their turn, each with the keys it begins after and ends with."""
        part, _, after = cursor.partition(" ")
        names = [*self._parts]
        first = names.index(part) if part in names else 0
        turned = names[first:] + names[:first]
        plan = [(name, "", "") for name in turned]
        return [(turned[0], after, ""), *plan[1:], (turned[0], "", after)] if after else plan

    def sample(self, count: int) -> Iterator[Finding]:
        """Yield what is wrong with so many values, at random places in the order of their hashes."""
        self.report = Verified(min(count, self._total()))
        few = max(1, min(50, count // 20))
        while self.report.values < self.report.total:
            place = hash_struct(os.urandom(16), "sample", algorithm=self._algorithm)
            left = min(few, self.report.total - self.report.values)
            for _, (_, finding) in zip(range(left), self._values(place), strict=False):
                yield from self._counted(finding)

    def _counted(self, finding: Finding | None) -> Iterator[Finding]:
        if finding is not None:
            self.report.counts[finding.verdict] = self.report.counts.get(finding.verdict, 0) + 1
            self.report.findings.append(finding)
            yield finding

    # --- values -------------------------------------------------------------------------------------

    def _values(self, after: str) -> Looked:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for page in self._pages("value", after):
                refs = self._lookup.values([Digest(key) for key in page])
                rest = (ref for _, ref in sorted(refs.items()))
                while some := list(islice(rest, _AT_ONCE)):
                    is_large = _LARGE_BYTES <= max(ref.size for ref in some) <= _LARGEST_BYTES
                    judged = (pool.map if is_large else map)(self._judged, some)
                    for ref, finding in zip(some, judged, strict=True):
                        self.report.values += 1
                        self.report.bytes += ref.size
                        yield ref.value_hash, finding

    def look_at(self, value_hash: Digest) -> Finding | None:
        """What is wrong with one value as it is now."""
        ref = self._lookup.values([value_hash]).get(value_hash)
        return None if ref is None else self._judged(ref)

    def _judged(self, ref: ValueRef) -> Finding | None:
        """Whether the value is there, whole, and that value, unless it was given up."""
        if ref.codec == DROPPED:
            return None
        try:
            self._check(ref)
        except PayloadMissing as error:
            verdict, reason = Verdict.MISSING, str(error)
        except PayloadCorrupt as error:
            verdict, reason = Verdict.DAMAGED, str(error)
        except (UntrustedPayload, KeyUnusable) as error:
            verdict, reason = Verdict.UNTRUSTED, str(error)
        except Exception as error:  # noqa: BLE001  # whatever a user's class does when it is made
            verdict, reason = Verdict.UNVERIFIABLE, str(error) or type(error).__name__
        else:
            return None
        return Finding(verdict, "value", ref.value_hash, f"{ref.type_name}: {reason}")

    def _check(self, ref: ValueRef) -> None:
        """Raises: PayloadError, StoreError; whatever making the object raises."""
        archive, registry = self._archive, self._archive.registry
        digest = address_of(ref)
        if ref.inline is not None:
            archive.verify(ref)
        if ref.codec in PLAIN_CODECS and self._is_preimage(ref):
            return
        data = ref.inline if ref.inline is not None else archive.payloads.map(digest)
        if data is None:
            for problem in archive.payloads.verify([digest]):
                raise problem
            data = archive.read(ref)  # it is whole since
        if ref.codec in SIGNED_CODECS:  # a signature is of this very value
            opened(ref.codec, ref.type_name, data, ref.value_hash, ref.signature, registry.signer)
            return
        if ref.codec in NEVER_STALE:
            raise PayloadCorrupt(digest, archive.payloads.url, "it is the payload of another value")
        found = registry.hash(archive.decoded(ref, data, copy=False))
        if found != ref.value_hash:
            raise PayloadCorrupt(digest, archive.payloads.url, f"it is the payload of the value {found}")

    def _is_preimage(self, ref: ValueRef) -> bool:
        """Whether the bytes are those that the value hash was made from; read once, never whole."""
        tag = value_tag(ref.type_name, ref.codec)
        if ref.inline is not None:
            return hash_pieces((tag, ref.inline), algorithm=self._algorithm)[0] == ref.value_hash
        with suppress(ValuestoreError), self._archive.payloads.stream(address_of(ref)) as stream:
            pieces = chain([tag], iter(lambda: stream.read(1 << 20), b""))
            return hash_pieces(pieces, algorithm=self._algorithm)[0] == ref.value_hash
        return False

    # --- rows ---------------------------------------------------------------------------------------

    def _records(self, kind: str, after: str) -> Looked:
        """Whether each is what was written, and the values that it names are recorded."""
        name, named = _NAMES[kind]
        for page in self._pages(kind, after):
            rows = lacking(kind, page, self._lookup.rows, lambda *_: [])
            known = self._known("recorded", {value for row in rows for value in named(row)})
            found: dict[str, Finding | None] = dict.fromkeys(page)
            for row in rows:
                is_known = known.issuperset(named(row))
                found[row[0]] = found[row[0]] or self._judged_row(kind, name, row, is_known)
            for item in found.items():
                self.report.records += 1
                yield item

    def _judged_row(self, kind: str, name: str, row: Row, is_known: bool) -> Finding | None:
        try:
            self._checks.checked(kind, row)
        except Damaged as problem:
            return Finding(Verdict.DAMAGED, name, row[0], f"its row is not what was written: {problem}")
        if not is_known:
            return Finding(Verdict.MISSING, name, row[0], "a value that it names is not recorded")
        return None

    def _entries(self, after: str) -> Looked:
        """Whether versions of names are what was written, and what they stand for is there, bytes whole."""
        for page in self._pages("entry", after):
            rows = sorted(self._lookup.rows("share entry", page), key=lambda row: row[:2])
            known = self._known("recorded", {row[8] for row in rows if row[8] is not None})
            sizes = dict(self._lookup.rows("payloads of entries", page))
            for row in rows:
                self.report.records += 1
                is_known, told = row[8] is None or row[8] in known, f"catalog:{row[2]}, version {row[1]}"
                problem = next(self._archive.payloads.verify([row[6]]), None) if row[8] is None else None
                found = self._judged_row("entry", "entry", row, is_known)
                if found is None and row[8] is None and sizes.get(row[6], row[7]) != row[7]:
                    found = Finding(Verdict.DAMAGED, "entry", row[0], f"{told}: its payload has another size")
                if found is None and problem is not None:
                    verdict = Verdict.MISSING if isinstance(problem, PayloadMissing) else Verdict.DAMAGED
                    found = Finding(verdict, "entry", row[6], f"{told}: {problem}")
                yield row[0], found

    def _orphans(self, after: str) -> Looked:
        """Payloads that no row names: of runs that were killed, or about to be named."""
        probe, _ = hash_pieces((PROBE,), algorithm=self._algorithm)
        digests = (each for each in self._archive.payloads.digests() if each > after and each != probe)
        while page := list(islice(digests, _PAGE)):
            named = self._named_by_now(page)
            for one in page:
                reason = "no value has it; `valuestore gc` collects it"
                yield one, None if one in named else Finding(Verdict.ORPHAN, "payload", one, reason)

    def _named_by_now(self, digests: list[Digest]) -> set[str]:
        """Those that rows name; waits a little, in all, for the rows of executions that run."""
        running = f"SELECT 1 FROM execution e WHERE {is_alive(NOW[self._database.dialect_name])} LIMIT 1"
        named = self._known("there payload", digests)
        while len(named) < len(digests) and self._patience > 0 and self._database.rows(running):
            self._patience -= _PAUSE_SECONDS
            time.sleep(_PAUSE_SECONDS)
            named = self._known("there payload", digests)
        return named

    # --- asking -------------------------------------------------------------------------------------

    def _pages(self, kind: str, after: str) -> Iterator[list[str]]:
        """The keys of a kind, in their order, some at a time."""
        sql = self._statements[f"page {kind}"]
        while rows := self._database.rows(sql, {"after": after}):
            self.on_page(self.report)
            yield [key for (key,) in rows]
            after = rows[-1][0]

    def _known(self, name: str, keys: Collection[str]) -> set[str]:
        """Those of the keys that a question gives back."""
        return {key for (key,) in self._lookup.rows(name, keys)}

    def _total(self) -> int:
        return int(self._database.rows("SELECT count(*) FROM value")[0][0])

    # --- where a verification ended -----------------------------------------------------------------

    def _cursor(self) -> str:
        return str(dict(self._database.rows(self._statements["settings"])).get(_CURSOR, ""))

    def _keep_cursor(self, cursor: str) -> None:
        with suppress(StoreReadOnly, DatabaseFull), self._database.write() as connection:
            connection.execute(text(_KEEP), {"name": _CURSOR, "cursor": cursor})
