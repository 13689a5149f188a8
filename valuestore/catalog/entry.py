"""Entry: what is known of a name of the catalog, and how it is asked for and answered."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from valuestore.db.history.records import microseconds, moment
from valuestore.db.record.entries import State, Which, entry_id, probe_of
from valuestore.hashing import Digest
from valuestore.stores.data import Json, copy_attrs
from valuestore.stores.keys import check_key, check_prefix


@dataclass(frozen=True, slots=True)
class Entry:
    """A name as it was at a version. ``attrs`` is the caller's own copy."""

    name: str
    version: int
    """From 1; counts on after a delete."""
    size: int
    """Of the stored bytes."""
    digest: Digest
    """Of the stored bytes: the address of bare bytes in the payload store."""
    value_hash: Digest | None
    """The value that the name was bound to; None for bare bytes."""
    created: datetime
    """When the name was first put; aware, UTC."""
    modified: datetime
    """When this version was made, by new content or new attributes."""
    author: str
    attrs: dict[str, Json] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """What records are called by (see ``Named``): so tags, pins and lineage take an entry as it is."""
        return "entry"

    @property
    def record_id(self) -> str:
        """What tags call the name."""
        return entry_id(self.name)


class Found(NamedTuple):
    """What ``find`` gives: ``for name, attrs in catalog.find(stage="final")``."""

    name: str
    attrs: dict[str, Json]


def entry_of(state: State) -> Entry:
    """Of a name that is there."""
    digest, size, value_hash = state.stored
    told = moment(state.created), moment(state.modified), state.author, attrs_of(state, None)
    return Entry(state.name, state.version, size, digest, value_hash, *told)


def attrs_of(state: State, select: Iterable[str] | None) -> dict[str, Json]:
    """Its attributes, or those of these names that it has."""
    attrs: dict[str, Json] = json.loads(state.attrs)
    return attrs if select is None else {name: attrs[name] for name in select if name in attrs}


def as_json(attrs: Mapping[str, Json]) -> str:
    """Attributes as they are kept. Raises: TypeError, naming the place, for what is not JSON."""
    return json.dumps(copy_attrs(attrs))


def check_select(select: Iterable[str] | None) -> list[str] | None:
    """The names, as often as they are wanted; None means all. Raises: TypeError."""
    return None if select is None else listed("select", select)


def check_names(names: Iterable[str]) -> list[str]:
    """The same of names of the catalog. Raises: BadKey; TypeError."""
    return [check_key(name) for name in listed("names", names)]


def listed(what: str, names: Iterable[str]) -> list[str]:
    """The names. Raises: TypeError for a text, whose letters nobody means."""
    if isinstance(names, str):
        raise TypeError(f"{what} is a list of names, such as [{names!r}], not a text")
    return list(names)


def which_of(
    where: Iterable[tuple[str, Json]], prefix: str, after: str | None, changed_since: datetime | None
) -> Which:
    """What is asked for. Raises: BadKey; TypeError for what is not JSON; ValueError for a naive time."""
    probes = [probe_of(key, copy_attrs({key: value})[key]) for key, value in where]
    since = 0
    if changed_since is not None:
        if changed_since.tzinfo is None:
            problem = "has no time zone; say which, as datetime.now(UTC)"
            raise ValueError(f"changed_since={changed_since} {problem}")
        since = microseconds(changed_since)
    return Which(check_prefix(prefix), "" if after is None else check_key(after), since, probes)
