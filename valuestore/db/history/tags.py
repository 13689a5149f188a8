"""Tags: key/value labels on executions, jobs, calls, tasks and values; values are JSON.

A record may have several current values of one key. Nothing is deleted: a tag that is removed or replaced
keeps its row, with the time and the author of its end.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from valuestore.db.engine.database import Database
from valuestore.db.history.names import Name, Names
from valuestore.db.history.records import TagRecord, records_of
from valuestore.db.ids import now
from valuestore.db.record.guard import claim
from valuestore.db.record.tag import Given, current_author, tag_key, tag_pairs, tag_rows, tag_value
from valuestore.db.record.writer import Writer
from valuestore.db.schema.kept import kept
from valuestore.errors import RecordNotFound, TagError

ENTITIES = ("execution", "job", "call", "task", "value", "entry")


class Tags:
    """Reads and changes the tags of one database. A record is given as itself, or as any name it has.

    Each change is one transaction. When two processes update one key at once, the later one's value is
    current, and the history has both.
    """

    def __init__(self, database: Database, before: Callable[[], object] = lambda: None) -> None:
        self.database = database
        self._names = Names(database)
        self._before = before

    def add(
        self,
        record: Name,
        tags: Given | None = None,
        *,
        author: str | None = None,
        **more: Any,
    ) -> list[TagRecord]:
        """Add tags beside those there are; one that is there already is left as it is.

        Returns all current ones. Raises: TagError, also if none is named; RecordNotFound; AmbiguousId.
        """
        return self._put(record, tags, more, author, replaces=False)

    def update(
        self,
        record: Name,
        tags: Given | None = None,
        *,
        author: str | None = None,
        **more: Any,
    ) -> list[TagRecord]:
        """Set tags: each replaces all current values of its key. Returns all current ones. As ``add``."""
        return self._put(record, tags, more, author, replaces=True)

    def _put(
        self, record: Name, tags: Given | None, more: Mapping[str, Any], author: str | None, *, replaces: bool
    ) -> list[TagRecord]:
        entity, entity_id = self._entity(record)
        which = {"id": entity_id, "entity": entity}
        author = author or current_author()
        given = [*tag_pairs(tags or {}), *more.items()]
        if not given:
            raise TagError("", "none was given")
        rows = tag_rows(entity, entity_id, given, author)
        digests: dict[str, list[str]] = defaultdict(list)
        for row in rows if replaces else ():
            digests[row.key].append(row.value_digest)

        def work(writer: Writer) -> list[TagRecord]:
            self._hold(writer, entity, entity_id)
            ending = {"at": now(), "author": author, **which}
            for key, stay in digests.items():
                writer.change("end tags but", of_key=key, keys=json.dumps(stay), **ending)
            writer.insert("tag", rows)  # a run may record the same tag at this moment
            return records_of(TagRecord, writer.table("current tags of", **which))

        return Writer.transact(self.database, work)

    def remove(
        self,
        record: Name,
        *keys: str,
        tags: Given | None = None,
        author: str | None = None,
    ) -> int:
        """Remove tags: all current values of these ``keys``, and in ``tags`` single values. Returns how many.

        Raises: TagError if nothing is named; RecordNotFound; AmbiguousId.
        """
        entity, entity_id = self._entity(record)
        ended = [("end tags", {"of_key": tag_key(key)}) for key in keys]
        for key, value in tag_pairs(tags or {}):
            digest = tag_value(key, value)[1]
            ended.append(("end tag", {"of_key": tag_key(key), "value_digest": digest}))
        if not ended:
            raise TagError("", "name the keys to remove: nothing named does not mean all")

        def work(writer: Writer) -> int:
            self._lock(writer, entity_id)
            which = {"id": entity_id, "entity": entity, "at": now(), "author": author or current_author()}
            return sum(writer.change(name, **which, **those) for name, those in ended)

        return Writer.transact(self.database, work)

    def get(self, record: Name) -> dict[str, Any]:
        """The current tags; of a key with several values, the newest. ``all`` has them."""
        return {tag.key: tag.value for tag in self.all(record)}

    def all(self, record: Name) -> list[TagRecord]:
        """The current tags, oldest first."""
        return self._read("current tags of", record)

    def history(self, record: Name) -> list[TagRecord]:
        """Every tag it ever had, oldest first, each with the author and time of its start and its end."""
        return self._read("tags of", record)

    def _read(self, statement: str, record: Name) -> list[TagRecord]:
        entity, entity_id = self._entity(record)
        sql = kept(self.database.dialect_name)[statement]
        return records_of(TagRecord, self.database.table(sql, {"id": entity_id, "entity": entity}))

    def _entity(self, record: Name) -> tuple[str, str]:
        self._before()
        found = self._names.find_one(record)
        if found.kind not in ENTITIES:
            raise RecordNotFound(str(record), "record that can have tags")
        return found.kind, found.record_id

    def _hold(self, writer: Writer, entity: str, entity_id: str) -> None:
        """Lock the record, and have a collection that is on keep it. Raises: RecordNotFound if it is gone."""
        self._lock(writer, entity_id)
        _, is_on = writer.collection()
        if not writer.rows(f"there {entity}", [entity_id]):
            raise RecordNotFound(entity_id, entity)
        if is_on:
            claim(writer, [entity_id])

    def _lock(self, writer: Writer, entity_id: str) -> None:
        """One writer of a record's tags at a time. SQLite has one writer anyway."""
        if not self.database.is_sqlite:
            writer.table("lock record", id=entity_id)
