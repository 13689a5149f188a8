"""Sizes: how much a repository keeps, and of what. It reads rows alone; no payload is loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from valuestore.db.engine.database import Database
from valuestore.db.schema.kept import kept
from valuestore.stores.wrappers.opening import folder_of


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
    asked = kept(database.dialect_name)

    def shares(by: str) -> dict[str, Share]:
        rows = database.rows(asked[f"sizes by {by}"])
        return {name: Share(int(count), int(size or 0)) for name, count, size in rows}

    ((of_jobs, once),) = database.rows(asked["sizes of results"])
    on_disk = sum(_file_sizes(payloads_url))
    return Stats(
        *sizes,
        types=shares("type"),
        tasks=shares("task"),
        ages=shares("age"),
        deduplication=round(int(of_jobs or 0) / int(once), 2) if once else None,
        compression=round(sizes[2] / on_disk, 2) if on_disk and sizes[2] else None,
    )


def _file_sizes(url: str) -> Iterator[int]:
    """Of the payloads in a local folder; else none."""
    root = folder_of(url) if url.startswith("file:///") else ""
    for folder in os.scandir(root) if os.path.isdir(root) else ():
        if len(folder.name) == 2 and folder.is_dir(follow_symlinks=False):
            yield from (file.stat(follow_symlinks=False).st_size for file in os.scandir(folder))
