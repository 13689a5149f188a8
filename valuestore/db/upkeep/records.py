"""Records: the rows of a repository as they travel to another one, and what is looked at when they arrive.

Short numbers hold in one database alone, so a record names tasks, calls and executions by their hashes and
ids. Rows that one hash vouches for travel together: the members of a set, the arguments of a call, the calls
that it made. Whatever can be checked against a hash is checked, by who sends and by who receives. Pointers
are not followed here: what a record points to has been sent before (``ORDER``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from valuestore.db.history.tags import ENTITIES
from valuestore.db.record.entries import entry_id
from valuestore.db.record.rows import (
    FILE_KINDS,
    LONGEST_PATH,
    call_hash,
    checksum,
    clean_text,
    ref_of,
    replay_checksum,
)
from valuestore.db.record.subtree import set_hash
from valuestore.db.record.tag import tag_key
from valuestore.errors import BadKey, PayloadCorrupt, TagError
from valuestore.hashing import hash_bytes, hash_struct, is_digest
from valuestore.stores.keys import check_key
from valuestore.values.archive import Archive
from valuestore.values.codecs.plain import DROPPED

Row = tuple[Any, ...]

_LONGEST_TEXT = 2_000_000
_YEAR_10000 = 253_402_300_800_000_000
"""In microseconds; no calendar here goes further."""


class Damaged(Exception):
    """A record is not what it says, or not what a database takes. Internal: callers say whose it is."""


class Kind(NamedTuple):
    """One kind of record: where its rows are, their columns with their types, and which of these identify it.

    ``owner`` is the column that rows are asked by. What is there with the same ``key`` is not sent.
    """

    tables: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[int, ...]
    owner: int

    def key_of(self, row: Row) -> Row:
        """What identifies the row."""
        return tuple([row[place] for place in self.key])


def _kind(tables: str, columns: str, key: tuple[int, ...] = (0,), owner: int = 0) -> Kind:
    names, types = zip(*[each.rsplit(" ", 1) for each in columns.split(", ")], strict=True)
    return Kind(tables, names, types, key, owner)


KINDS: Mapping[str, Kind] = {
    "task": _kind("task", "task_hash hash, task_name text, version text?, source text, code_hash hash?"),
    "code": _kind("dependency", "task_hash hash, name text, digest hash, source text?", (0, 1)),
    "payload": _kind("payload", "payload_digest hash, size count"),
    "value": _kind(
        "value",
        "value_hash hash, type_name text, codec word, payload_digest hash?, size count, inline bytes?, "
        "preview text",
    ),
    "signature": _kind(
        "signature s LEFT JOIN value v "
        "ON v.value_hash = s.value_hash AND v.payload_digest = s.payload_digest",
        "s.value_hash hash, s.key_id name, s.mac bytes, s.payload_digest hash, s.size count, "
        "COALESCE(s.inline,v.inline) bytes?",
        (0, 1),
    ),
    "held": _kind("held", "value_hash hash, since time"),
    "subvalue": _kind("subvalue", "parent_hash hash, child_hash hash", (0, 1)),
    "file": _kind("file", "value_hash hash, path path, kind file"),
    "handle": _kind(
        "handle",
        "value_hash hash, name text, class_name text, key text, is_valid flag, created time",
        (0, 4),
    ),
    "handle_edge": _kind("handle_edge", "parent_hash hash, child_hash hash", (0, 1), owner=1),
    "set": _kind("set_member", "set_hash hash, member_hash hash, is_set flag", (0, 1)),
    "args": _kind("argument", "args_hash hash, position place, name text, value_hash hash", (0, 1)),
    "call": _kind(
        "call_node c JOIN task t ON t.task_no = c.task_no",
        "c.call_hash hash, t.task_hash hash, c.args_hash hash, c.value_hash hash, c.task_set_hash hash?, "
        "c.external_set_hash hash?, c.replayable flag, c.calls count?, c.finished time?, c.checksum name?",
    ),
    "edge": _kind(
        "call_edge e JOIN call_node p ON p.call_no = e.parent_no JOIN call_node c ON c.call_no = e.child_no",
        "p.call_hash hash, e.position place, c.call_hash hash",
        (0, 1),
    ),
    "source": _kind(
        "argument_source e JOIN call_node p ON p.call_no = e.call_no "
        "JOIN call_node c ON c.call_no = e.source_no",
        "p.call_hash hash, e.position place, c.call_hash hash",
        (0, 1, 2),
    ),
    "evaluation": _kind(
        "evaluation", "eval_hash hash, trace_hash hash0, value_hash hash, checksum name?", (0, 1)
    ),
    "execution": _kind(
        "execution",
        "execution_id id, label text, status how, started time, ended time?, updated time?, "
        "command text?, replayed count?",
        (0, 2),
    ),
    "job": _kind(
        "job j JOIN execution e ON e.execution_no = j.execution_no JOIN task t ON t.task_no = j.task_no",
        "j.job_id id, e.execution_id id, j.parent_id id?, t.task_hash hash, j.call_hash hash?, "
        "j.args_hash hash?, j.status ended, j.started time, j.ended time, j.error text?, "
        "j.traceback text?, j.classes_hash hash?, j.trace_hash hash?, j.calls count?",
    ),
    "entry": _kind(
        "entry e JOIN entry_version v ON v.entry_id = e.entry_id",
        "e.entry_id hash, v.version place, e.name text, e.created time, e.version place, e.deleted time?, "
        "v.payload_digest hash, v.size count, v.value_hash hash?, v.attrs text, v.author text, "
        "v.modified time, v.execution_id id?",
        (0, 1),
    ),
    "tag": _kind(
        "tag",
        "tag_id id, entity entity, entity_id hash, key text, value text, value_digest id, author text?, "
        "created time, ended time?, ended_by text?",
        (0, 8),
        owner=2,
    ),
}
"""In the order of tables.py. Rows of calls travel with those of ``edge`` and ``source``: see ``MADE_OF``."""

MADE_OF = {"set": "hash flag", "args": "text hash", "code": "text hash text?"}
"""Records of a hash and the list of the rows that it stands for, and what is in each of these."""

ORDER = (
    *("task", "code", "payload", "value", "signature", "held", "subvalue", "file", "handle", "handle_edge"),
    *("set", "args", "call", "link", "evaluation", "execution", "job", "entry", "tag"),
)
"""What is pointed to before what points to it. A link is what a call made and where its arguments came from:
the calls themselves come first."""

_CALL = KINDS["call"].types
_MAKES = {name: kind.types for name, kind in KINDS.items() if name not in ("edge", "source", *MADE_OF)} | {
    "call": (*_CALL, "list"),
    "link": (*_CALL[:4], "list", "list"),
    **dict.fromkeys(MADE_OF, ("hash", "list")),
}
"""The types of each kind of record as it travels."""

BYTES = {name: [at for at, each in enumerate(types) if each[:5] == "bytes"] for name, types in _MAKES.items()}
"""Which of its fields are bytes."""


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and clean_text(value, _LONGEST_TEXT) == value


def _is_word(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 32 and value.isascii() and value.isprintable()


_FITS: Mapping[str, Callable[[Any], bool]] = {
    "hash": is_digest,
    "hash0": lambda value: value == "" or is_digest(value),
    "id": lambda value: is_digest(value) and len(value) == 32,
    "text": _is_text,
    "word": _is_word,
    "name": lambda value: _is_word(value) and len(value) <= 16,
    "time": lambda value: type(value) is int and 0 <= value < _YEAR_10000,
    "place": lambda value: type(value) is int and 0 <= value < 1 << 31,
    "count": lambda value: type(value) is int and 0 <= value < 1 << 63,
    "ended": frozenset({"done", "cached", "failed"}).__contains__,
    "how": frozenset({"running", "done", "failed", "interrupted"}).__contains__,
    "entity": ENTITIES.__contains__,
    "file": frozenset(FILE_KINDS.values()).__contains__,
    "path": lambda value: _is_text(value) and len(value) <= LONGEST_PATH,
    "flag": lambda value: value in (0, 1) and isinstance(value, int),
    "bytes": lambda value: isinstance(value, bytes),
    "list": lambda value: isinstance(value, list),
}


def statements() -> Iterator[tuple[str, str]]:
    """What is asked of either side, by name; KEYS are a list of keys, as in ``schema/asked.sql``."""
    for name, (tables, columns, _, key, owner) in KINDS.items():
        telling = ", ".join([columns[at] for at in key])
        for title, what in (("share", ", ".join(columns)), ("there", telling)):
            which = f"{columns[owner]} IN (KEYS){_HEALED if title == 'there' and name == 'value' else ''}"
            yield f"{title} {name}", f"SELECT {what} FROM {tables} WHERE {which}"
        if name in PAGED:
            after = f"WHERE {columns[owner]} > :after ORDER BY 1 LIMIT 500"
            yield f"page {name}", f"SELECT DISTINCT {columns[owner]} FROM {tables} {after}"


_HEALED = f" AND codec <> '{DROPPED}'"
"""Of what is there: a value that was given up is sent, so that it is there again."""

PAGED = ("task", "code", "value", "set", "args", "call", "evaluation", "execution", "job", "entry", "tag")
"""What all of a repository is gone through by."""


# --- What is looked at


class Checks:
    """Checks records against what they say of themselves, by the digest of one repository."""

    def __init__(self, archive: Archive) -> None:
        self._archive = archive
        self._algorithm = archive.registry.algorithm.name

    def checked(self, kind: str, row: Any) -> Row:
        """The record, if it is whole. Raises: Damaged."""
        types = _MAKES.get(kind)
        if types is None:
            raise Damaged(f"there is no kind {kind!r} of records")
        _check_types(kind, row, types)
        if look := getattr(self, f"_{kind}", None):
            look(*row)
        return tuple(row)

    def _value(self, *row: Any) -> None:
        ref = ref_of(row)
        if ref.codec == DROPPED:
            _require((ref.inline, ref.payload_digest) == (None, None), "a value that was given up has bytes")
            return
        if ref.inline is None:
            _require(ref.payload_digest is not None, "a value without bytes")
            return
        _require(ref.size == len(ref.inline), "the size of a value is not that of its bytes")
        try:
            self._archive.verify(ref)
        except PayloadCorrupt as error:
            raise Damaged(f"the bytes of value {ref.value_hash} have another hash") from error

    def _signature(self, value_hash: str, _key: str, mac: bytes, digest: str, size: int, inline: Any) -> None:
        _require(len(mac) in (0, 32), "a signature has 32 bytes")
        if inline is not None:
            found = hash_bytes(inline, algorithm=self._algorithm)
            _require((found, len(inline)) == (digest, size), f"the signed bytes of {value_hash} are others")

    def _set(self, whole: str, members: list[Any]) -> None:
        listed = sorted((member, bool(is_set)) for member, is_set in members)
        _require(set_hash(listed, self._algorithm) == whole, f"the members of set {whole} are not all of it")

    def _args(self, whole: str, arguments: list[Any]) -> None:
        pairs = [(name, value) for name, value in arguments]
        found = hash_struct(pairs, "arguments", algorithm=self._algorithm)
        _require(found == whole, f"the arguments {whole} have another hash")

    def _call(self, *row: Any) -> None:
        called, task_hash, args_hash, value_hash, tasks, externals, replayable, calls, _, vouched, made = row
        self._link(called, task_hash, args_hash, value_hash, made, [])
        if vouched is not None:
            told = task_hash, args_hash, called, tasks, externals, calls, value_hash
            _require(bool(replayable) and replay_checksum(*told) == vouched, f"call {called} is damaged")

    def _link(self, called: str, task: Any, args: Any, value: Any, made: list[Any], given: list[Any]) -> None:
        _require(all(map(is_digest, made)), "a call that was made has no hash")
        for source in given:
            _check_types("link", source, ("place", "hash"))
        found = call_hash(task, args, value, tuple(made), self._algorithm)
        _require(found == called, f"call {called} has another hash than its parts")

    def _evaluation(self, eval_hash: str, trace: str, value_hash: str, vouched: str | None) -> None:
        whole = vouched is None or vouched == checksum((eval_hash + trace + value_hash).encode())
        _require(whole, f"evaluation {eval_hash} is damaged")

    def _job(self, *row: Any) -> None:
        _require(row[2] != row[0], f"job {row[0]} is its own parent")

    def _tag(self, *row: Any) -> None:
        _, _, _, key, value, digest, *_ = row
        try:
            tag_key(key)
            json.loads(value)
        except (TagError, ValueError, RecursionError) as error:
            raise Damaged(f"tag {row[0]}: {error}") from error
        _require(hash_bytes(value.encode()) == digest, f"tag {row[0]} has another value than its digest says")

    def _entry(self, *row: Any) -> None:
        name, attrs = row[2], row[9]
        try:
            _require(entry_id(check_key(name)) == row[0], f"the name {name!r} has another id")
            _require(isinstance(json.loads(attrs), dict), f"the attributes of {name!r} are none")
        except (BadKey, ValueError, RecursionError) as error:
            raise Damaged(f"entry {row[0]}: {error}") from error

    def _subvalue(self, parent: str, child: str) -> None:
        _require(parent != child, f"{parent} is inside itself")

    _handle_edge = _subvalue


def _check_types(kind: str, row: Any, types: tuple[str, ...]) -> None:
    _require(isinstance(row, list | tuple) and len(row) == len(types), f"this is no {kind}")
    for value, name in zip(row, types, strict=True):
        is_absent = value is None and name[-1] == "?"
        if not is_absent and not _FITS[name.rstrip("?")](value):
            raise Damaged(f"in a {kind}, {repr(value)[:80]} is no {name.rstrip('?')}")
    if kind in MADE_OF and types == _MAKES[kind]:
        for part in row[1]:
            _check_types(kind, part, tuple(MADE_OF[kind].split()))


def _require(is_so: bool, problem: str) -> None:
    if not is_so:
        raise Damaged(problem)
