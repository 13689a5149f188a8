"""Refusal: why an object has no identity, and where in it the part is that has none.

Called by canonical.py and by whoever says what an object of some class is.
"""

from __future__ import annotations

from typing import Any

from valuestore.errors import NotHashableError

_LONGEST_PATH = 200


class Refused(Exception):
    """Why an object has no identity, and the path to it, innermost first; ``error``: what it becomes."""

    error: type[NotHashableError] = NotHashableError

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.parts: list[str] = []


def path_text(parts: list[str]) -> str:
    """The path for people, its middle left out if it is long. ``parts``: innermost first."""
    path = "value" + "".join(reversed(parts))
    return path if len(path) <= _LONGEST_PATH else path[:100] + "..." + path[-80:]


def short_text(key: object) -> str:
    """A key as it is shown in a path."""
    if type(key) is str:
        return repr(key if len(key) <= 40 else key[:40] + "...")
    return repr(key) if type(key) in (int, bool, bytes, float) else f"<{type(key).__name__}>"


def explain_depth(obj: Any) -> tuple[str, str]:
    """Path and reason of endless or too deep nesting. Iterative; called on the error path alone."""
    on_path: set[int] = set()
    done: set[int] = set()
    stack: list[tuple[Any, str, bool]] = [(obj, "", False)]
    trail: list[str] = []
    while stack:
        current, part, leaving = stack.pop()
        if leaving:
            on_path.discard(id(current))
            done.add(id(current))
            trail.pop()
            continue
        if id(current) in on_path:
            return path_text([part, *reversed(trail)]), "it contains itself"
        if id(current) in done:
            continue
        children = _children(current)
        if children:
            on_path.add(id(current))
            trail.append(part)
            stack.append((current, part, True))
            stack.extend((child, name, False) for name, child in reversed(children))
    return "value", "it is nested too deeply"


def _children(obj: Any) -> list[tuple[str, Any]]:
    """What is in a container. Objects may lead back to themselves (cycles.py), so these are not followed."""
    if isinstance(obj, dict):
        return [(f"[{short_text(key)}]", value) for key, value in obj.items()]
    if isinstance(obj, list | tuple):
        return [(f"[{index}]", item) for index, item in enumerate(obj)]
    return []
