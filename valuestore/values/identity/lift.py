"""Lifting: the way back from a canonical form, which was looked at (trust/kinds.py) or signed, to its object.

An expression is a graph: rows, each of which names those before it that are in it (canonical.py). Whatever
rows say, lifting them takes time and memory in proportion to their bytes. Called by the codecs.
"""

from __future__ import annotations

from typing import Any, Protocol

from valuestore.errors import DecodeError, PayloadError
from valuestore.hashing import ATOMS
from valuestore.values.identity.canonical import CALLS, DICT, EXPRESSION, NODE, TUPLE, TypeRule
from valuestore.values.identity.refusal import MANY_PARTS, MANY_TIMES
from valuestore.values.value import Plain


class Openers(Protocol):
    """Where lifting looks things up: the registry."""

    def rule_named(self, type_name: str, /) -> TypeRule:
        """The rule behind a stored type name. Raises: DecodeError."""

    def open_part(self, codec: str, type_name: str, data: bytes, /) -> Any:
        """The object of such bytes inside data that was looked at or signed. Raises: DecodeError."""


class _Rows:
    """The objects of the rows so far, and how many parts each is if what it names is written out."""

    def __init__(self) -> None:
        self.objects: list[Any] = []
        self.sizes: list[int] = []
        self.size = 0
        self.named = 0

    def add(self, row: Plain, rules: Openers) -> None:
        self.size = 1
        self.objects.append(lift(row, rules, self))
        is_call = type(row) is tuple and row[:1] == (NODE,) and row[1] in CALLS  # told by who it is
        self.sizes.append(1 if is_call else self.size)

    def at(self, number: Any) -> Any:
        if type(number) is not int or not 0 <= number < len(self.objects):
            raise DecodeError(EXPRESSION, f"it refers to part {number!r}, which is none before it")
        self.size += self.sizes[number]
        self.named += 1
        if self.size > MANY_PARTS and self.size > MANY_TIMES * self.named:
            raise DecodeError(EXPRESSION, "its parts are shared so often that they would fill the memory")
        return self.objects[number]


def lift(lowered: Plain, rules: Openers, rows: _Rows | None = None) -> Any:
    """The object of this form, which may name ``rows``. Raises: DecodeError if a type or row is not here."""
    kind = type(lowered)
    if kind is list:  # most items are atoms, which are what they are
        return [item if type(item) in ATOMS else lift(item, rules, rows) for item in lowered]
    if kind is dict:
        return {
            key: value if type(value) in ATOMS else lift(value, rules, rows) for key, value in lowered.items()
        }
    if kind is not tuple:
        return lowered
    if not lowered or lowered[0] != NODE:
        return tuple([item if type(item) in ATOMS else lift(item, rules, rows) for item in lowered])
    if len(lowered) == 4:
        _, type_name, codec, data = lowered
        return rules.open_part(codec, type_name, data)
    if len(lowered) != 3:
        raise DecodeError("tagged", "a node without type name and state")
    _, type_name, state = lowered
    if type_name == TUPLE:
        return tuple([lift(item, rules, rows) for item in state])
    if type_name == DICT:
        return {lift(key, rules, rows): lift(value, rules, rows) for key, value in state}
    if type_name == EXPRESSION:
        if type(state) is not list:
            return (rows or _Rows()).at(state)
        rows = _Rows()
        for form in state:
            rows.add(form, rules)
        return rows.at(len(state) - 1)
    rule = rules.rule_named(type_name)
    try:
        return rule.from_state(lift(state, rules, rows))
    except PayloadError:
        raise
    except Exception as error:
        raise DecodeError(type_name, f"its stored state no longer fits ({error!r})") from error
