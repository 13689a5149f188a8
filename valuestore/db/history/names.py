"""Names: how people refer to records, and which records they mean.

The beginning of an id or hash; ``-`` for the execution that was recorded last, whatever its clock said, and
``~2`` for the second before it; the path of a file; the name of a task, whole or without its namespace, which
means its newest version.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from valuestore.db.engine.database import Database
from valuestore.db.record.rows import clean_text
from valuestore.db.schema.kept import kept
from valuestore.errors import AmbiguousId, RecordNotFound

KINDS: Final = ("execution", "job", "call", "task", "value", "tag", "entry")
"""Kinds of records that are found by an id, in the order they are shown."""

END_OF_PREFIX = "g"
"""Sorts after every hex digit: ids with a prefix lie in [prefix, prefix + "g")."""

_HEX = frozenset("0123456789abcdef")
_LONGEST_ID = 64


class Named(Protocol):
    """Anything that knows which record it is: records, and what ``find`` gives."""

    @property
    def kind(self) -> str:
        """execution, job, call, task, value, file or tag."""

    @property
    def record_id(self) -> str:
        """Its whole id."""


Name = str | os.PathLike[str] | Named
"""What a record may be given as: an id's beginning, ``-``, ``~2``, a path, a task's name, or itself."""


@dataclass(frozen=True)
class Found:
    """A record that a name stands for: its kind (execution, job, call, task, value, file, tag), whole id."""

    kind: str
    record_id: str


class Names:
    """Finds records by what people call them. Each question is one statement, or two for a path or task."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._statements = kept(database.dialect_name)

    def find(self, prefix: str, limit: int = 10, kinds: Sequence[str] = KINDS) -> list[Found]:
        """The records whose id starts with ``prefix``; at most ``limit`` of each kind. May be empty."""
        if not is_prefix(prefix) and prefix:
            return []
        parameters = {"low": prefix, "high": prefix + END_OF_PREFIX, "most": limit}
        rows = self.database.rows(self._statements["by prefix"], parameters)
        return [Found(kind, record_id) for kind, record_id in rows if kind in kinds]

    def find_one(self, name: Name, kinds: Sequence[str] = (*KINDS, "file")) -> Found:
        """The one record that is meant. Raises: RecordNotFound; AmbiguousId, listing the first matches."""
        if isinstance(name, os.PathLike):
            name = os.fspath(name)
        if not isinstance(name, str):
            return _given(name, kinds)
        wanted = " or ".join(kinds) if len(kinds) < len(KINDS) else "record"
        if name == "-" or name.startswith("~"):
            matches = self._newest(name) if "execution" in kinds else []
        else:
            matches = self._matches(name, kinds)
        if not matches:
            raise RecordNotFound(name, wanted)
        if len(matches) > 1:
            raise AmbiguousId(name, tuple(f"{each.kind} {each.record_id}" for each in matches))
        return matches[0]

    def _matches(self, name: str, kinds: Sequence[str]) -> list[Found]:
        """A whole id, else a path or task of this name, else tasks of this short name, else ids that begin.

        A task ``add`` stays what ``add`` means, whichever hashes turn up; of an id one can give more digits.
        """
        prefix = name.strip().lower()
        found = self.find(prefix, kinds=kinds) if is_prefix(prefix) else []
        whole = [each for each in found if each.record_id == prefix]
        if whole:
            return whole
        paths = spellings(clean_text(name))
        rows = self.database.rows(
            self._statements["by path or task"], {"name": paths[0], "normal": paths[-1]}
        )
        named = [Found(*row) for row in rows]
        exact = [each for each in named if each.kind in kinds][:1]
        called = [Found("task", each.record_id) for each in named if each.kind == "called"]
        return exact or (called if "task" in kinds else []) or found

    def _newest(self, name: str) -> list[Found]:
        if (steps := steps_back(name)) is None:
            return []
        rows = self.database.rows(self._statements["newest execution"], {"steps": steps})
        return [Found("execution", *row) for row in rows]


def steps_back(name: str) -> int | None:
    """How many executions before the newest ``-`` or ``~2`` means; None for what is no such number."""
    steps = "0" if name == "-" else name[1:] or "1"
    return int(steps) if steps.isascii() and steps.isdecimal() and len(steps) <= 9 else None


def spellings(path: str) -> list[str]:
    """The path as it is written, and without its ``./`` and ``..`` if these make a difference."""
    normal = path if "://" in path or not path else os.path.normpath(path)
    return [path] if normal == path else [path, normal]


def is_prefix(text: str) -> bool:
    """Whether ids can begin like this."""
    return 0 < len(text) <= _LONGEST_ID and _HEX.issuperset(text)


def _given(record: Named, kinds: Sequence[str]) -> Found:
    kind = getattr(record, "kind", None)
    if kind in (None, "file") and hasattr(record, "value_hash"):  # of a file, this content
        return Found("value", record.value_hash)
    if kind not in kinds:
        raise RecordNotFound(repr(record)[:100], " or ".join(kinds))
    return Found(record.kind, record.record_id)
