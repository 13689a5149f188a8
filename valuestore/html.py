"""HTML: records as tables for notebooks. Everything that is shown is text and escaped; rows are bounded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields

MOST_ROWS = 20
_LONGEST = 200


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], caption: str = "") -> str:
    """A table of these rows; None is an empty cell, long text is cut."""
    head = "".join(f"<th>{_text(name)}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{_text(caption)}</caption><tr>{head}</tr>{body}</table>"


def columns_of(record_type: type) -> list[str]:
    """The fields of a record that a list of records shows: hashes only if one is its id."""
    names = [each.name for each in fields(record_type) if each.repr]
    return [name for name in names if name == names[0] or not name.endswith(("_hash", "_digest", "source"))]


class Shown:
    """Makes a notebook show a dataclass as a table of its fields: those that its ``repr`` has."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        named = [each.name for each in fields(self) if each.repr]  # type: ignore[arg-type]  # a dataclass
        rows = [(name, value) for name in named if (value := getattr(self, name)) not in (None, ())]
        return table(("field", "value"), rows, type(self).__name__)


def _text(cell: object) -> str:
    text = "" if cell is None else str(cell)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text):,} characters)"
    from html import escape  # no run shows anything

    return escape("".join(char if char.isprintable() or char in "\n\t" else "\ufffd" for char in text))
