"""What keeps a shared repository in order: who is at work, so that nobody does it twice."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from valuestore.config import Settings
    from valuestore.db.engine.database import Database
    from valuestore.db.record.lookup import Lookup
    from valuestore.stores.content.store import ContentStore
    from valuestore.values.archive import Archive


class Whole(Protocol):
    """A repository, from below."""

    folder: Path
    repository_id: str
    algorithm: str
    database: Database
    payloads: ContentStore
    archive: Archive
    lookup: Lookup
    settings: Settings

    @property
    def history(self) -> Any: ...
    @classmethod
    def open(cls, location: Any, **settings: Any) -> Any: ...
    def flush(self) -> None: ...
    def check_open(self) -> None: ...
