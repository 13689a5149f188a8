"""Ownership: whose a module is. The user's own code counts for identity; what is installed does not.

Called by function.py and reduced.py.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
import types
from typing import Any

_THIS_PACKAGE = __name__.partition(".")[0]
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def _segments(path: str) -> tuple[str, ...]:
    return tuple(os.path.normcase(path).replace(os.sep, "/").split("/"))


_LIBRARIES = tuple(
    _segments(path)
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path
)


def is_own(module_name: Any) -> bool:
    """Whether a module is the user's: not the standard library, not installed, not this package."""
    if not isinstance(module_name, str) or not module_name:
        return False
    if module_name.partition(".")[0] == _THIS_PACKAGE:
        return False
    module = sys.modules.get(module_name)
    if module is None or module_name == "__main__":
        return module_name not in sys.builtin_module_names
    if file := getattr(module, "__file__", None):
        return _is_own_file(file)
    return _is_own_without_file(module)


def is_own_class(obj: object) -> bool:
    """Whether an object is of one of the user's own classes."""
    return is_own(getattr(type(obj), "__module__", None))


def own_module(module_name: str) -> types.ModuleType | None:
    """A module of the user's, imported if it is not yet; None for any other, or one that cannot be."""
    if (module := sys.modules.get(module_name)) is None:
        try:
            top = importlib.util.find_spec(module_name.partition(".")[0])
            if top is None or (top.origin and not _is_own_file(top.origin)):
                return None
            module = importlib.import_module(module_name)
        except Exception:  # noqa: BLE001  # the import statement itself will say so when it runs
            return None
    return module if is_own(module_name) else None


def _is_own_without_file(module: types.ModuleType) -> bool:
    """A namespace package by its folders, a module made as the program runs by the package it is in."""
    if folders := list(getattr(module, "__path__", ())):
        return any(map(_is_own_file, folders))
    if getattr(getattr(module, "__spec__", None), "origin", None) in ("built-in", "frozen"):
        return False
    package = module.__name__.rpartition(".")[0]
    return module.__name__ not in sys.builtin_module_names and (package not in sys.modules or is_own(package))


@functools.lru_cache(maxsize=4096)
def _is_own_file(file: str) -> bool:
    if file in ("built-in", "frozen"):
        return False
    segments = _segments(file)
    return _INSTALLED.isdisjoint(segments) and not any(
        segments[: len(library)] == library for library in _LIBRARIES
    )
