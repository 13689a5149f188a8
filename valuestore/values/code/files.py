"""Files of the user's own code: where the source of a module is, and what it says with all that it imports.

Nothing is imported to find out. For members (members.py) that are modules or files.
"""

from __future__ import annotations

import ast
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.machinery import PathFinder
from importlib.util import resolve_name
from typing import Any

from valuestore.values.code.forms import form
from valuestore.values.code.ownership import is_own, is_own_file
from valuestore.values.code.source import imports, parsed, text_of
from valuestore.values.value import Plain

_LONGEST_FILE = 2**24
_ITSELF = {"globals": 0, "eval": 1, "exec": 1}
"""What looks into the module of the code that calls it, and with how many arguments."""
_BY_NAME = ("importlib.import_module", "import_module", "__import__", "sys.modules", "sys.modules.get")
BY_TEXT = frozenset({*_ITSELF, "import_module", "__import__", "modules"})
"""Names of which code that finds things by text has one."""
_PACKAGE = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "")


def written_path(path: str) -> str:
    """As members name it: relative where it is below the working folder."""
    full, folder = os.path.abspath(path), os.getcwd()
    return os.path.relpath(full, folder) if full.startswith(folder + os.sep) else full


def file_of_member(name: str) -> str | None:
    """The user's own file that a member stands for, if there is one that can be read."""
    kind, _, rest = name.partition(" ")
    file = os.path.abspath(rest) if kind == "file" else _source_file(rest)
    try:
        status = os.stat(file) if file else None
    except (OSError, ValueError):
        return None
    is_text = status is not None and stat.S_ISREG(status.st_mode) and status.st_size <= _LONGEST_FILE
    is_own_text = file and is_text and is_own_file(file) and not file.startswith(_PACKAGE)
    return file if is_own_text else None


def _source_file(module_name: str) -> str | None:
    """Where a module's source is; found without importing it, or the packages it is in."""
    loaded = sys.modules.get(module_name)
    if loaded is not None or not all(part.isidentifier() for part in module_name.split(".")):
        file = getattr(loaded, "__file__", None) if is_own(module_name) else None
        return os.path.abspath(file) if file and file.endswith(".py") else None
    folders, spec = None, None
    for count in range(1, module_name.count(".") + 2):
        spec = PathFinder.find_spec(".".join(module_name.split(".")[:count]), folders)
        if spec is None:
            return None
        folders = spec.submodule_search_locations
    origin = (spec and spec.has_location and spec.origin) or ""
    return os.path.abspath(origin) if origin.endswith(".py") else None


def source_form(file: str, seen: set[str]) -> Plain:
    """The normalised source of a file and of the user's own modules that it imports; else its bytes."""
    seen.add(file)
    try:
        tree = parsed(text_of(file))
    except (SyntaxError, ValueError, RecursionError):
        with open(file, "rb") as stream:
            return [stream.read()]
    others = [one for one in sorted(set(_imported_files(tree, file))) if is_own_file(one)]
    return [form(tree), *(source_form(one, seen) for one in others if one not in seen)]


def _imported_files(tree: ast.Module, file: str) -> Iterator[str]:
    for _, module, attribute in imports(tree):
        names = [module, f"{module}.{attribute}" if module.strip(".") else f"{module}{attribute}"]
        for name in names[: 2 if attribute else 1]:
            path = name.lstrip(".")
            if path == name:
                yield from filter(None, [_source_file(name)])
                continue
            folder = file
            for _level in range(len(name) - len(path)):
                folder = os.path.dirname(folder)
            place = os.path.join(folder, *path.split("."))
            yield from filter(os.path.isfile, (f"{place}.py", os.path.join(place, "__init__.py")))


def looked_into(definition: ast.AST, names: Mapping[str, Any]) -> Iterator[str]:
    """Files of the modules that code finds things in by text: ``globals()[name]``, ``import_module("m")``."""
    for node in ast.walk(definition):
        if not isinstance(node, ast.Call | ast.Subscript):
            continue
        where, given = (node.func, node.args) if isinstance(node, ast.Call) else (node.value, [node.slice])
        place, text = ast.unparse(where), given[0] if given else where
        module_name, package = "", str(names.get("__package__"))
        if place in _BY_NAME and isinstance(text, ast.Constant):
            module_name = str(text.value)
        elif _ITSELF.get(place) == len(given) or (place in _BY_NAME and ast.unparse(text) == "__name__"):
            module_name = str(names.get("__name__"))
        with suppress(ImportError):
            module_name = resolve_name(module_name, package) if module_name else ""
            yield from filter(None, [file_of_member(f"module {module_name}")])
