"""Rows of tasks, executions, jobs, calls and evaluations, and text as any database takes it.

Each row is a tuple in the order of its table's columns (schema/tables.py), so it is written as it is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple

from xxhash import xxh3_64_hexdigest

from valuestore.db.ids import now
from valuestore.db.record.subtree import EMPTY, SubtreeSet
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, hash_struct
from valuestore.redaction import redact
from valuestore.values.archive import ValueRef
from valuestore.values.trust.gate import Signature

_LONGEST_SECRET = 8192
"""Characters of a block with a key; tokens have far fewer."""


def clean_text(text: str, longest: int = 20_000) -> str:
    """Text that any database takes: lone surrogates and NUL escaped, what is too long cut in the middle."""
    if len(text) <= longest and text.isascii() and "\0" not in text:
        return text
    if len(text) > longest:
        text = f"{text[: longest // 2]} ... {text[-longest // 3 :]}"
    return text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")


def hidden_text(text: str, longest: int = 20_000) -> str:
    """The same, its secrets hidden. What is very long is cut before it is searched for them.

    Beside each cut is dropped as much as the longest secret has, or half of one might stay.
    """
    if len(text) > longest + 2 * _LONGEST_SECRET:
        begin = redact(text[: longest // 2 + _LONGEST_SECRET])[:-_LONGEST_SECRET]
        end = redact(text[-longest // 3 - _LONGEST_SECRET :])[_LONGEST_SECRET:]
        return clean_text(f"{begin} ... {end}", longest)
    return clean_text(redact(text), longest)


class TaskRow(NamedTuple):
    """A row of ``task``."""

    task_hash: Digest
    task_name: str
    version: str | None
    source: str
    code_hash: Digest | None = None


class ExecutionRow(NamedTuple):
    """A row of ``execution``; ``ended`` is None while it runs."""

    execution_id: str
    label: str
    status: str
    started: int
    ended: int | None
    updated: int | None = None
    command: str | None = None
    replayed: int | None = None


class JobRow(NamedTuple):
    """A row of ``job``."""

    job_id: str
    execution_id: str
    parent_id: str | None
    task_hash: Digest
    call_hash: Digest | None
    args_hash: Digest | None
    status: str
    started: int
    ended: int
    error: str | None
    traceback: str | None
    classes_hash: Digest | None = None
    trace_hash: Digest | None = None
    calls: int | None = None


LANES = 16
"""Writers wait at a count for whoever adds to it to commit: so there are several of each."""


def count_rows(jobs: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """What these rows of ``job``, with numbers, add to ``task_count``."""
    counts: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    for _, execution_no, _, task_no, _, _, status, started, ended, *_ in jobs:
        count = counts[task_no, status, execution_no % LANES]
        count[0] += 1
        count[1] += ended - started
    return [(*key, *count) for key, count in counts.items()]


class DependencyRow(NamedTuple):
    """A row of ``dependency``: of a version of a task, or of a set of other code (``code_set_hash``)."""

    task_hash: Digest
    name: str
    digest: Digest
    source: str | None


class TagRow(NamedTuple):
    """A row of ``tag``."""

    tag_id: str
    entity: str
    entity_id: str
    key: str
    value: str
    value_digest: str
    author: str | None
    created: int
    ended: int | None
    ended_by: str | None


class Source(NamedTuple):
    """Where an argument came from: its position in the signature, and a call whose result is in it."""

    position: int
    call_hash: Digest


class CallRow(NamedTuple):
    """A finished call with its children (call hashes, in the order they were called).

    ``tasks`` and ``externals``: what its subtree of ``calls`` calls depends on; all of it if ``replayable``.
    ``is_apart``: nor is it one that others give way to.
    """

    call_hash: Digest
    task_hash: Digest
    args_hash: Digest
    value_hash: Digest
    children: tuple[Digest, ...]
    sources: tuple[Source, ...] = ()
    tasks: SubtreeSet = EMPTY
    externals: SubtreeSet = EMPTY
    replayable: bool = False
    calls: int = 1
    is_apart: bool = False

    def row(self, task_no: int) -> tuple[Any, ...]:
        """The row of ``call_node``."""
        tasks = None if self.tasks.set_hash == self.task_hash else self.tasks.set_hash
        externals, calls = self.externals.set_hash, self.calls if self.calls > 1 else None
        told = self.task_hash, self.args_hash, self.call_hash, tasks, externals, calls, self.value_hash
        vouched = replay_checksum(*told) if calls and self.replayable else None
        named = self.call_hash, task_no, self.args_hash, self.value_hash, tasks, externals
        return *named, self.replayable, calls, now() if calls and not self.is_apart else None, vouched


class Evaluation(NamedTuple):
    """What one step of a call gave, as long as the code of this trace is what it was; empty: none."""

    eval_hash: Digest
    trace_hash: str
    ref: ValueRef

    def row(self) -> tuple[Any, ...]:
        """The row of ``evaluation``."""
        key = self.eval_hash, self.trace_hash, self.ref.value_hash
        return *key, checksum("".join(key).encode())


class FinishedJob(NamedTuple):
    """What one finished job leaves: its row, and its call, result and cache entry unless they are known."""

    row: JobRow
    call: CallRow | None = None
    result: ValueRef | None = None
    evaluation: Evaluation | None = None


def eval_hash(
    task_hash: Digest, args_hash: Digest, algorithm: str = DEFAULT_ALGORITHM, classes_hash: str | None = None
) -> Digest:
    """The key of the cache: which task, with which arguments, and whatever own classes these brought."""
    parts = [task_hash, args_hash, classes_hash] if classes_hash else [task_hash, args_hash]
    return hash_struct(parts, "evaluation", algorithm=algorithm)


def code_set_hash(parts: Iterable[tuple[str, Digest]], algorithm: str = DEFAULT_ALGORITHM) -> Digest:
    """The address of a set of code: its names with their digests."""
    return hash_struct(sorted(parts), "code set", algorithm=algorithm)


checksum = xxh3_64_hexdigest
"""Of the hashes in a row of ``evaluation``, one after the other: damage must not make another value of it."""


def replay_checksum(*told: object) -> str:
    """Of all that a replay goes by, in the order of ``lookup.Finished``."""
    return checksum(repr(told).encode())


def call_hash(
    task_hash: Digest,
    args_hash: Digest,
    value_hash: Digest,
    children: tuple[Digest, ...],
    algorithm: str = DEFAULT_ALGORITHM,
) -> Digest:
    """The address of a finished call: a Merkle node over its children, in the order they were called."""
    return hash_struct([task_hash, args_hash, value_hash, children], "call", algorithm=algorithm)


# --- Rows of values: a ref as the rows that record it, and a row of ``value`` as a ref again.
#
# Most small payloads are the very bytes that the value hash was made from. Their rows have no payload
# digest: the hash itself vouches for them, and it is checked when they are read.


FILE_KINDS = {
    "valuestore.File": "File",
    "valuestore.FileSet": "FileSet",
    "valuestore.Dir": "Dir",
    "valuestore.EntryRef": "Entry",
}
"""Type names of values that stand for files, with their kind in the table ``file``."""

LONGEST_PATH = 2000
"""Characters of a path that are kept: Postgres indexes no more than 2,704 bytes, and no system has longer."""


def value_row(ref: ValueRef) -> tuple[Any, ...]:
    """The row of ``value``."""
    preview = clean_text(ref.preview)
    type_name = clean_text(ref.type_name)
    return ref.value_hash, type_name, ref.codec, ref.payload_digest, ref.size, ref.inline, preview


def signature_row(ref: ValueRef) -> tuple[Any, ...]:
    """The row of ``signature``; the bytes are in the value's own row, or in the payload store."""
    assert ref.signature is not None
    return *ref.signature, ref.payload_digest, ref.size, None


def signed_ref(ref: ValueRef, row: Any) -> ValueRef:
    """The ref with what a key vouches for: the bytes that it signed, if the value's row holds others."""
    value_hash, key_id, mac, payload_digest, size, inline = row
    signature = Signature(value_hash, key_id, mac)
    if payload_digest == ref.payload_digest:
        return replace(ref, signature=signature)
    return _readable(
        replace(ref, signature=signature, payload_digest=payload_digest, size=size, inline=inline)
    )


_INLINE = (bytes, type(None))


def _readable(ref: ValueRef) -> ValueRef:
    """The ref with bytes, if a damaged row has something else there: SQLite keeps any type in any column."""
    return ref if type(ref.inline) in _INLINE else replace(ref, inline=b"")


def ref_of(row: Any) -> ValueRef:
    """The ref behind the columns of a row of ``value``, in their order. Nothing of it is verified here."""
    ref = ValueRef(*row)
    return ref if type(ref.inline) in _INLINE else _readable(ref)


def file_row(ref: ValueRef) -> tuple[str, str, str] | None:
    """The row of ``file``, for a value that stands for one."""
    kind = FILE_KINDS.get(ref.type_name)
    if kind is None or ref.external is None:
        return None
    return ref.value_hash, clean_text(ref.external)[:LONGEST_PATH], kind
