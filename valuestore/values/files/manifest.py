"""Manifest: all that is in a folder, as one piece of bytes: equal exactly when the folders are.

Two kinds of records follow one another, folders in byte order of their path and, after each, what is in it
in byte order of the name. NUL cannot be in a name, so nothing can be taken for something else::

    D <path of a folder below the root, empty for the root> NUL
    <kind> <name> NUL <mark> NUL

Kinds and marks: ``f`` file: digest of the content (or what the identity asked for instead); ``l`` symbolic
link: its target, as it is written, never followed; ``p s c b`` pipe, socket, character and block device: no
mark, never opened. A folder inside is a ``D`` of its own, so an empty one counts. Permissions, owners and
times do not count. Nor does the folder of a repository.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from valuestore.errors import DecodeError

Entry = tuple[str, bytes, bytes]
"""Kind, name, mark."""

REPOSITORY = ".valuestore"
"""The folder of a repository, which is left out wherever it lies below: it changes with every run."""

_KINDS = frozenset(b"flpscb")


@dataclass(frozen=True)
class Changes:
    """How a folder differs from what it was: paths below it, ``/`` between names, sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def folder_listing(entries: Iterable[Entry]) -> bytes:
    """The records of what is in one folder."""
    ordered = sorted([(name, kind, mark) for kind, name, mark in entries])
    return b"".join([b"%b%b\0%b\0" % (kind.encode(), name, mark) for name, kind, mark in ordered])


def join_listings(listings: Mapping[bytes, bytes]) -> bytes:
    """The manifest of these folders, by path below the root."""
    return b"".join([b"D%b\0%b" % (path, listings[path]) for path in sorted(listings)])


def entries_of(manifest: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Kind (``D`` for a folder), path below the root and mark of each. Raises: DecodeError."""
    fields = manifest.split(b"\0")
    if fields.pop() or not fields or fields[0] != b"D":
        raise DecodeError("valuestore.Dir", "its manifest is not one")
    folder, at = b"", 0
    while at < len(fields):
        field = fields[at]
        if field[:1] == b"D":
            folder = field[1:] + b"/" if len(field) > 1 else b""
            yield "D", field[1:], b""
            at += 1
            continue
        if len(field) < 2 or field[0] not in _KINDS or at + 1 >= len(fields):
            raise DecodeError("valuestore.Dir", "its manifest is not one")
        yield chr(field[0]), folder + field[1:], fields[at + 1]
        at += 2


def compare(old: bytes | None, new: bytes | None) -> Changes:
    """What changed between two manifests; None is a folder that is not there. Raises: DecodeError."""
    before, after = _by_path(old), _by_path(new)
    return Changes(
        added=_names(after.keys() - before.keys()),
        removed=_names(before.keys() - after.keys()),
        changed=_names(path for path in before.keys() & after.keys() if before[path] != after[path]),
    )


def _by_path(manifest: bytes | None) -> dict[bytes, tuple[str, bytes]]:
    if manifest is None:
        return {}
    return {path: (kind, mark) for kind, path, mark in entries_of(manifest) if path}


def _names(paths: Iterable[bytes]) -> tuple[str, ...]:
    return tuple(os.fsdecode(path) for path in sorted(paths))
