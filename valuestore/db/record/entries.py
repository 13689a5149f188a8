"""Entries: the rows of the catalog: names, their versions, and the attributes that they are found by.

A name's row tells its newest version; attributes are one JSON text in the version, and of a name that is
there one row each by the digest of the attribute with its value, so that finding one is one probe. What is
written is worked out by catalog/draft.py. It knows no payload.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from valuestore.db.engine.database import Database
from valuestore.db.ids import now
from valuestore.db.record.rows import clean_text
from valuestore.db.record.writer import Writer
from valuestore.db.schema.kept import kept, key_lists
from valuestore.hashing import Digest, hash_bytes
from valuestore.stores.keys import KEY_MAX_BYTES

_PAGE = 1000
_ID_ALGORITHM = "blake3-256"
"""The same in every repository; and nobody finds two names with one id."""
_LAST = "\U0010ffff" * (KEY_MAX_BYTES // 4)
"""Sorts after whatever a name can go on with."""


class Content(NamedTuple):
    """Stored bytes, and the value that they are of, if a name was bound to one."""

    digest: Digest
    size: int
    value_hash: Digest | None = None


class State(NamedTuple):
    """A name as it is, or was at a version. Without content there is nothing; times are microseconds.

    ``depth``: how many catalogs behind this one it comes from.
    """

    name: str
    version: int
    created: int
    content: Content | None = None
    attrs: str = "{}"
    author: str = ""
    modified: int = 0
    execution_id: str | None = None
    depth: int = 0

    @property
    def stored(self) -> Content:
        """The content, of a name that is there."""
        assert self.content is not None
        return self.content

    @property
    def probes(self) -> dict[str, str]:
        """By what its attributes are found, each with the attribute's name."""
        return {probe_of(key, value): key for key, value in json.loads(self.attrs).items()}


def entry_id(name: str) -> Digest:
    """What tags call the name."""
    return hash_bytes(name.encode(), algorithm=_ID_ALGORITHM)


def probe_of(key: str, value: Any) -> str:
    """The digest of an attribute: the same for values that are equal as JSON, 1 and 1.0, never True and 1."""
    return hash_bytes(json.dumps([key, _number(value)], sort_keys=True).encode())


def _number(value: Any) -> Any:
    """The same, with the numbers that are whole as such."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _number(part) for key, part in value.items()}
    return [_number(part) for part in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class Which:
    """Names that begin so, come after one, were changed since, and have all of these attributes."""

    prefix: str = ""
    after: str = ""
    since: int = 0
    probes: Collection[str] = ()

    def takes(self, state: State) -> bool:
        """Whether the name is one of them."""
        return (
            state.content is not None
            and state.name.startswith(self.prefix)
            and state.name > self.after
            and state.modified >= self.since
            and (not self.probes or state.probes.keys() >= set(self.probes))
        )


class Entries:
    """Reads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._statements = kept(database.dialect_name)

    def states(self, names: Iterable[str]) -> dict[str, State]:
        """All that was ever put of these names, deleted ones without content; 500 with one query."""
        rows, sql = self._database.rows, self._statements["entries"]
        return {row[0]: _state(row) for some in key_lists(set(names)) for row in rows(sql, {"keys": some})}

    def walk(self, which: Which, most: int | None = None) -> Iterator[State]:
        """Those names, in order, as they are; page by page, of ``most`` at first."""
        given: dict[str, Any] = {"since": which.since}
        probes = {*which.probes}
        if not probes:
            return map(_state, self._pages("entries from", which, most, given))
        keys = json.dumps(sorted(probes))
        if len(probes) > 1:  # what few have leads to them, whatever else they are to have
            ((rarest,),) = self._database.rows(self._statements["rarest"], {"keys": keys})
            probes = {rarest}
        given |= {"probe": probes.pop(), "keys": keys, "number": len(json.loads(keys))}
        return map(_state, self._pages("entries with", which, most, given))

    def names(self, which: Which, most: int | None = None) -> Iterator[str]:
        """The same names alone, by prefix: nothing else is read."""
        return (name for (name,) in self._pages("entry names", which, most, {}))

    def _pages(self, title: str, which: Which, most: int | None, given: dict[str, Any]) -> Iterator[Any]:
        sql, size = self._statements[title], min(most or _PAGE, _PAGE)
        given["high"], after = which.prefix + _LAST, which.after
        while "\0" not in which.prefix:  # which no name has, and no Postgres takes
            given |= {"low": max(which.prefix, f"{after}\1" if after else ""), "most": size}
            page = self._database.rows(sql, given)
            yield from page
            if len(page) < size:
                return
            size, after = _PAGE, page[-1][0]

    def versions(self, name: str) -> list[State]:
        """Those that are kept, oldest first, whether or not the name is there."""
        return [_state(row) for row in self._database.rows(self._statements["versions of"], {"name": name})]


def _state(row: Any) -> State:
    name, version, created, deleted, digest, size, value_hash, attrs, *about = row
    if deleted is not None or digest is None:
        return State(name, version, created)
    return State(name, version, created, Content(digest, size, value_hash), attrs, *about)


class Written:
    """What a transaction makes of names."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._before: dict[str, State] = {}

    def states(self, names: Iterable[str]) -> dict[str, State]:
        """As ``Entries.states``, in the transaction, where nobody else changes them."""
        found = {row[0]: _state(row) for row in self._writer.rows("entries", set(names))}
        self._before.update(found)
        return found

    def write(self, changed: Mapping[str, State], versions: Iterable[State]) -> None:
        """Write names as they are, with the versions in between; of those that were read before."""
        at, rows, new = now(), [], []
        for name, state in changed.items():
            old, there = _probes(self._before.get(name)), _probes(state)
            gone = at if state.content is None else None
            rows.append((entry_id(name), name, state.version, state.created, gone))
            self._forget(name, old.keys() - there.keys())
            new += [(probe, name, clean_text(there[probe], 1000)) for probe in there.keys() - old.keys()]
        self._writer.insert("entry", rows)
        self._writer.insert("entry_version", map(_version_row, versions))
        self._writer.insert("entry_attribute", new)

    def forget(self, name: str) -> None:
        """Have there be nothing of the name, not even that it was there."""
        self._forget(name, _probes(self.states((name,)).get(name)).keys())
        for statement in ("forget versions", "forget entry"):
            self._writer.change(statement, id=entry_id(name))

    def _forget(self, name: str, probes: Collection[str]) -> None:
        if probes:
            self._writer.change("forget attributes", of_name=name, keys=json.dumps(sorted(probes)))


def _probes(state: State | None) -> Mapping[str, str]:
    return {} if state is None or state.content is None else state.probes


def _version_row(state: State) -> tuple[Any, ...]:
    key = entry_id(state.name), state.version
    return *key, *state.stored, state.attrs, state.author, state.modified, state.execution_id
