"""Kept statements: the SQL of what runs and commands send most, in the words of each database, beside this.

``sqlite.sql`` and ``postgresql.sql`` are written by ``python -m valuestore.db.statements``, from the text in
``asked.sql`` or from a construct of SQLAlchemy; a test compares. So they are sent without SQLAlchemy, and
written by hand for neither.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Mapping
from functools import cache

_TITLE = "-- "
_KEYS_AT_ONCE = 500
_LISTED = {
    "sqlite": "SELECT value FROM json_each(:keys)",
    "postgresql": "SELECT json_array_elements_text(CAST(:keys AS json)) AS value",
}


@cache
def kept(dialect_name: str) -> Mapping[str, str]:
    """The statements by name. Those that insert take tuples, the others parameters by name."""
    with open(file_of(dialect_name), encoding="utf-8") as file:
        _, *parts = f"\n{file.read()}".split(f"\n{_TITLE}")
    return {name: sql.strip() for name, _, sql in (part.partition("\n") for part in parts)}


def file_of(dialect_name: str) -> str:
    """Where those of one database are."""
    return os.path.join(os.path.dirname(__file__), f"{dialect_name}.sql")


def as_text(statements: Mapping[str, str]) -> str:
    """What such a file holds."""
    return "\n\n".join(f"{_TITLE}{name}\n{sql}" for name, sql in statements.items()) + "\n"


def listed(dialect_name: str, name: str) -> str:
    """SQL for the texts in a parameter of that name, which is a JSON list."""
    return _LISTED[dialect_name].replace(":keys", f":{name}")


def key_lists(keys: Collection[str]) -> Iterator[str]:
    """Keys as the parameter ``keys`` takes them, 500 at once: one statement serves for any number of them."""
    wanted = sorted(keys)
    for start in range(0, len(wanted), _KEYS_AT_ONCE):
        yield json.dumps(wanted[start : start + _KEYS_AT_ONCE])
