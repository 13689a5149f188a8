"""Surroundings: what code says that it depends on beside its arguments: variables, settings of libraries.

Told from its syntax, and that of the user's own modules; nothing is run.
"""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import CodeType

from valuestore.values.code.ownership import is_own, own_modules
from valuestore.values.code.source import (
    blocks_of,
    definitions,
    global_names,
    imports,
    parse,
    root_name,
    text_of,
)

_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
_SETS = re.compile(
    r"(set|config|enable|disable|install|add)([_a-z].*)?|(un)?register(_.*)?|use(_.*)?|seed|manual_seed|update"
)
_NO_LIBRARY = {
    "sys",
    "os",
    "warnings",
    "logging",
    "signal",
    "threading",
    "faulthandler",
    "multiprocessing",
    "valuestore",
}
"""Modules of Python that are set up at import for reasons of the program, not of its results."""


def surroundings(codes: Mapping[int, CodeType], *, traced: bool) -> list[tuple[str, str]]:
    """Environment variables that the code names, and what its modules set of libraries that it uses.

    Where it is not ``traced``, also that it imports modules by name.
    """
    found: list[tuple[str, str]] = []
    used: set[str] = set()
    for code in list(codes.values()):
        names = global_names(code)
        used |= names
        if not _ENVIRONMENT.isdisjoint(names):
            found += [("variable", name) for name in _variables(code)]
        if "import_module" in names and not traced:
            found.append(("import", "importlib.import_module"))
    files = {code.co_filename for code in list(codes.values())}
    modules = [module for name in own_modules() if (module := sys.modules.get(name)) is not None]
    own = {str(getattr(module, "__file__", None)): vars(module) for module in modules}
    libraries = {
        _library_of(own[file].get(name)) for file in files if file in own for name in used & own[file].keys()
    }
    for file in files | own.keys():
        if file.endswith(".py"):
            found += [("setting", name) for name, top in _settings(text_of(file)) if top in libraries]
    return sorted(set(found))


def _library_of(obj: object) -> str:
    """The top-level module of a module, class or function, or of the class of anything else."""
    name = getattr(obj, "__module__", None) or getattr(obj, "__name__", None)
    return str(name).partition(".")[0].lstrip("_")


def _variables(code: CodeType) -> Iterator[str]:
    definition: ast.AST | None = None
    with suppress(SyntaxError, ValueError, RecursionError):
        nodes, _ = definitions(text_of(code.co_filename))
        definition = nodes.get((code.co_qualname, code.co_firstlineno))
    for node in ast.walk(definition) if definition else ():
        name: ast.expr | None = None
        if (
            isinstance(node, ast.Subscript)
            and isinstance(node.ctx, ast.Load)
            and _last(node.value) in _ENVIRONMENT
        ):
            name = node.slice
        elif isinstance(node, ast.Call) and node.args:
            inner = node.func.value if isinstance(node.func, ast.Attribute) else node.func
            if _last(node.func) in _ENVIRONMENT or (
                _last(node.func) == "get" and _last(inner) in _ENVIRONMENT
            ):
                name = node.args[0]
        if isinstance(name, ast.Constant):  # of others the name is heard when they are asked for
            yield str(name.value)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@functools.lru_cache(maxsize=8192)  # all modules of a project are asked for, each time
def _settings(text: str) -> list[tuple[str, str]]:
    """Statements of a module that set something of a library as it is imported, with the library."""
    try:
        tree = parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    statements = list(_statements(tree.body))
    imported = [node for node in statements if isinstance(node, ast.Import | ast.ImportFrom)]
    libraries = {
        name: top
        for name, module, _ in imports(ast.Module(imported, []))  # type: ignore[arg-type]  # a list of some
        if name and (top := module.partition(".")[0]) and top not in _NO_LIBRARY and not is_own(top)
    }
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    called = {
        node.value.func.id
        for node in statements
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Name)
    }
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in called:
            statements += _statements(node.body)
    return [
        (ast.unparse(part), library)
        for node in statements
        for part in _set_by(node, functions)
        if (library := libraries.get(root_name(part, ast.Attribute, ast.Subscript, ast.Call)))
    ]


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run at import, also under ``if``, ``try`` and the like."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for block in blocks_of(node):
                yield from _statements(block)


def _set_by(node: ast.stmt, functions: set[str]) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
        if isinstance(node.value, ast.Lambda) or (
            isinstance(node.value, ast.Name) and node.value.id in functions
        ):
            return  # code, which counts by itself
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (target for target in targets if isinstance(target, ast.Attribute | ast.Subscript))
    elif (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and _SETS.fullmatch(_last(node.value.func))
    ):
        yield node.value
