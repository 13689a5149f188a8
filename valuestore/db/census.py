"""Census: which kinds of values a database holds, and all of a codec. Loads no payload."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import func, select

from valuestore.db.engine import Database
from valuestore.db.schema import value
from valuestore.hashing import Digest

_PAGE = 500


@dataclass(frozen=True)
class Kind:
    """Values of one type that are stored in one way, and how many there are."""

    type_name: str
    codec: str
    count: int


def find_kinds(database: Database) -> list[Kind]:
    """Every kind there is, in order. One statement, over all values."""
    columns = value.c.type_name, value.c.codec
    statement = select(*columns, func.count()).group_by(*columns).order_by(*columns)
    return database.fetch(lambda connection: [Kind(*row) for row in connection.execute(statement)])


def find_by_codec(database: Database, codec: str) -> Iterator[list[Digest]]:
    """The values of that codec, by hash, in pages; those that are added meanwhile may be among them."""
    after = ""
    while True:
        statement = (
            select(value.c.value_hash)
            .where(value.c.codec == codec, value.c.value_hash > after)
            .order_by(value.c.value_hash)
            .limit(_PAGE)
        )
        with database.read() as connection:
            page = [Digest(value_hash) for value_hash in connection.scalars(statement)]
        if page:
            yield page
        if len(page) < _PAGE:
            return
        after = page[-1]
