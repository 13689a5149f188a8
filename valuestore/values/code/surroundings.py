"""Surroundings: what code says that it depends on beside its arguments: variables, settings of libraries.

Read from the syntax of code that a body may reach and of the modules it is in; nothing is run. It is for a
warning, so what it cannot tell it leaves out.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from types import CodeType

from valuestore.values.code.ownership import is_own
from valuestore.values.code.reads import Read
from valuestore.values.code.source import _definitions, _parsed, _text_of, imports
from valuestore.values.code.trace import trace_refused

_ENVIRONMENT = {"environ", "environb", "getenv", "getenvb"}
_SETS = re.compile(r"set([_a-z].*)?|seed|manual_seed|use|update")
_NO_LIBRARY = {"sys", "os", "warnings", "logging", "signal", "threading", "faulthandler", "multiprocessing"}
"""Modules of Python that are set up at import for reasons of the program, not of its results."""


def surroundings(codes: Mapping[int, CodeType]) -> list[Read]:
    """Environment variables that the code names, and what its modules set of libraries that it uses."""
    found: list[Read] = []
    used: set[str] = set()
    for code in list(codes.values()):
        used.update(code.co_names)
        if not _ENVIRONMENT.isdisjoint(code.co_names):
            found += [("variable", name) for name in _variables(_definition(code))]
        if "import_module" in code.co_names and trace_refused():
            found.append(("import", "importlib.import_module"))
    for file in {code.co_filename for code in list(codes.values())}:
        found += [("setting", name) for name, roots in _settings(_text_of(file)) if roots & used]
    return sorted(set(found))


def _definition(code: CodeType) -> ast.AST:
    try:
        nodes, _ = _definitions(_text_of(code.co_filename))
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])
    return nodes.get((code.co_qualname, code.co_firstlineno)) or ast.Module([], [])


def _variables(definition: ast.AST) -> Iterator[str]:
    for node in ast.walk(definition):
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
        if name is not None:
            yield str(name.value) if isinstance(name, ast.Constant) else ast.unparse(name)


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@functools.lru_cache(maxsize=256)
def _settings(text: str) -> list[tuple[str, set[str]]]:
    """Statements of a module that set something of a library, with the names that the library goes by."""
    try:
        tree = _parsed(text)
    except (SyntaxError, ValueError, RecursionError):
        return []
    libraries: dict[str, str] = {}
    for name, module, _ in imports(ast.Module(list(_statements(tree.body)), [])):
        top = module.partition(".")[0]
        if name and top and top not in _NO_LIBRARY and not is_own(top):
            libraries[name] = top
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    found = []
    for node in _statements(tree.body):
        for part in _set_by(node, functions):
            if root := libraries.get(_root(part)):
                names = {name for name, library in libraries.items() if library == root}
                found.append((ast.unparse(part), names))
    return found


def _statements(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """Those that run at import, also under ``if``, ``try`` and the like."""
    for node in body:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            for block in ("body", "orelse", "finalbody"):
                yield from _statements(getattr(node, block, ()))
            for handler in getattr(node, "handlers", ()):
                yield from _statements(handler.body)


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


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""
