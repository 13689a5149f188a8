"""Sizes: how much a repository keeps, and of what. It reads rows alone; no payload is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from valuestore.db.engine.database import Database
from valuestore.db.schema.views import NOW
from valuestore.stores.wrappers.opening import folder_of

_DAY = 86_400_000_000
_AGES = (("today", _DAY), ("this week", 7 * _DAY), ("this month", 30 * _DAY), ("this year", 365 * _DAY))
_MOST = 10
_TYPES = (
    "SELECT type_name, count(*), SUM(size) FROM value GROUP BY type_name ORDER BY SUM(size) DESC, type_name "
    f"LIMIT {_MOST}"
)
_TASKS = (
    "SELECT x.task_name, count(*), SUM(v.size) FROM (SELECT DISTINCT t.task_name, c.value_hash "
    "FROM call_node c JOIN task t ON t.task_no = c.task_no) x JOIN value v ON v.value_hash = x.value_hash "
    f"GROUP BY x.task_name ORDER BY SUM(v.size) DESC, x.task_name LIMIT {_MOST}"
)
_ASKED = (
    "SELECT SUM(v.size) FROM job j JOIN call_node c ON c.call_hash = j.call_hash "
    "JOIN value v ON v.value_hash = c.value_hash"
)
_ONCE = "SELECT SUM(v.size) FROM value v WHERE v.value_hash IN (SELECT c.value_hash FROM call_node c)"
_USED = (
    "SELECT c.value_hash, MAX(j.started) AS used FROM job j "
    "JOIN call_node c ON c.call_hash = j.call_hash GROUP BY c.value_hash"
)
_AGED = (
    f"SELECT CASE {{cases}} ELSE 'older' END AS age, count(*), SUM(v.size) FROM ({_USED}) x "
    "JOIN value v ON v.value_hash = x.value_hash GROUP BY 1 ORDER BY MAX(x.used) DESC"
)


@dataclass(frozen=True)
class Share:
    """A part of what is kept: how many values, and their payload bytes."""

    count: int
    bytes: int


@dataclass(frozen=True)
class Stats:
    """Sizes of a repository: rows by table, and payload bytes in the database and in the store.

    ``types``, ``tasks`` and ``ages`` are the largest shares: by the type of values, by the task that gave
    them, and by when a run last used a result. ``deduplication``: how many times over the results of all
    jobs would be stored if each were; ``compression``: bytes of payloads to a byte of their files, where they
    are files. None: not known.
    """

    rows: dict[str, int]
    inline_bytes: int
    stored_bytes: int
    types: Mapping[str, Share] = field(default_factory=dict)
    tasks: Mapping[str, Share] = field(default_factory=dict)
    ages: Mapping[str, Share] = field(default_factory=dict)
    deduplication: float | None = None
    compression: float | None = None


def stats_of(database: Database, sizes: tuple[dict[str, int], int, int], payloads_url: str) -> Stats:
    """All of it; ``sizes`` are rows and bytes. Raises: DatabaseError."""

    def shares(sql: str) -> dict[str, Share]:
        return {name: Share(int(count), int(size or 0)) for name, count, size in database.rows(sql)}

    now = NOW[database.dialect_name]
    cases = " ".join(f"WHEN x.used >= {now} - {age} THEN '{name}'" for name, age in _AGES)
    asked, once = (int(database.rows(sql)[0][0] or 0) for sql in (_ASKED, _ONCE))
    on_disk = sum(_file_sizes(payloads_url))
    return Stats(
        *sizes,
        types=shares(_TYPES),
        tasks=shares(_TASKS),
        ages=shares(_AGED.format(cases=cases)),
        deduplication=round(asked / once, 2) if once else None,
        compression=round(sizes[2] / on_disk, 2) if on_disk and sizes[2] else None,
    )


def _file_sizes(url: str) -> Iterator[int]:
    """Of the payloads in a local folder; else none."""
    root = folder_of(url) if url.startswith("file:///") else ""
    for folder in os.scandir(root) if os.path.isdir(root) else ():
        if len(folder.name) == 2 and folder.is_dir(follow_symlinks=False):
            yield from (file.stat(follow_symlinks=False).st_size for file in os.scandir(folder))
