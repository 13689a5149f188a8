"""Functions by their code: what a function does, as plain data that comments and formatting do not change.

The code of a function is its normalised syntax tree together with that of the helpers, classes, constants
and closures it refers to in the user's own modules. Libraries count by name alone: installing a new
version is the user's decision, not an edit. Not covered, and said so in the guide: names looked up from
strings (``getattr(module, name)``, ``eval``).

The syntax tree is used only if it compiles to the code that is running; a file edited since it was
imported, or a function without a file, is identified by its byte code (one Python minor version long).
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from valuestore.errors import NotHashableError
from valuestore.hashing import Digest
from valuestore.values.code.forms import byte_code, form
from valuestore.values.code.source import (
    attributes_of,
    definition_of_function,
    nested_codes,
    source_of,
    unwrap,
)
from valuestore.values.code.walk import Walk
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, type_name_of


def code_identity(function: Any, registry: TypeRegistry, *, defaults: bool = False) -> dict[str, Digest]:
    """What a function's behaviour depends on: dependency name -> digest, the function's own first.

    Its own defaults count only with ``defaults``: where it is called as a task, they are arguments.

    Raises: NotHashableError for a closure over, or a global of, one of the user's own classes that has no
    identity; naming a ``version`` for the task avoids the question.
    """
    return code_and_classes(function, registry, defaults=defaults)[0]


def code_and_classes(
    function: Any, registry: TypeRegistry, *, defaults: bool = False
) -> tuple[dict[str, Digest], frozenset[type]]:
    """``code_identity``, and the classes whose code is in it. Raises: as that."""
    walk = Walk(registry, defaults)
    walk.roots(function)
    return walk.parts, frozenset(obj for obj, _ in walk.seen.values() if isinstance(obj, type))


def names_in(function: Any, registry: TypeRegistry) -> list[tuple[Mapping[str, Any], str, Any]]:
    """The names in its code and in that of its helpers, as namespace, name and what that leads to."""
    walk = Walk(registry)
    with suppress(NotHashableError):
        walk.roots(function)
    return walk.led


def own_form(function: Any) -> Plain:
    """What a function itself does, without what it refers to: that its text is another tells another task."""
    function = unwrap(function)
    if not isinstance(function, types.FunctionType):
        return [type_name_of(type(function))]
    definition = definition_of_function(function)
    return form(definition) if definition else byte_code(function.__code__)


NOT_FOLLOWED = "# not followed: "
"""How the source text of a part begins that counts without its content: a lock, a connection."""


class Dependency(NamedTuple):
    """One part of a function's code: its name, its digest and its source text, None where there is none."""

    name: str
    digest: Digest
    source: str | None


def code_dependencies(*roots: Any, registry: TypeRegistry) -> list[Dependency]:
    """The parts of ``code_identity`` of all these, with their source texts, for people. Raises: as that."""
    walk = Walk(registry)
    walk.roots(*roots)
    texts = {
        part: source_of(obj) for obj, part in walk.seen.values() if isinstance(obj, types.FunctionType | type)
    }
    for part, kind in walk.unread.items():
        texts[part] = f"{NOT_FOLLOWED}a {kind} does not tell what it holds; the code that makes it counts"
    return [Dependency(name, digest, texts.get(name) or None) for name, digest in walk.parts.items()]


class Walked(NamedTuple):
    """What ``code_identity`` says, None if it refuses, and the code objects of all that it visits, by ``id``.

    By ``id``, since equal code objects of two files are equal to Python. Nested ones are included.
    """

    parts: dict[str, Digest] | None
    codes: dict[int, types.CodeType]


def walked(function: Any, registry: TypeRegistry, *, defaults: bool = False) -> Walked:
    """One walk, as ``code_identity`` takes it."""
    walk, parts = Walk(registry, defaults), None
    with suppress(NotHashableError):
        walk.roots(function)
        parts = walk.parts
    codes: dict[int, types.CodeType] = {}
    for obj, _ in walk.seen.values():
        if isinstance(obj, type):  # what a library generated is not visited: the class says it all
            found = [unwrap(part) for _, part in attributes_of(obj, generated=True)]
        else:
            found = [obj]
        for part in found:
            if isinstance(part, types.FunctionType):
                codes.update((id(code), code) for code in nested_codes(part.__code__))
    return Walked(parts, codes)
