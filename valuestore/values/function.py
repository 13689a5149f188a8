"""Functions by their code: what a function does, as plain data that comments and formatting do not change.

The code of a function is its normalised syntax tree together with that of the helpers, classes, constants
and closures it refers to in the user's own modules. Libraries count by name alone: installing a new
version is the user's decision, not an edit. Not covered, and said so in the guide: names looked up from
strings (``getattr(module, name)``, ``eval``).

The syntax tree is used only if it compiles to the code that is running; a file edited since it was
imported, or a function without a file, is identified by its byte code (one Python minor version long).
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import linecache
import sys
import sysconfig
import types
from collections.abc import Iterator
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import Digest
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, module_name_of

_IGNORED_FIELDS = frozenset({"ctx", "type_comment", "kind", "decorator_list"})
_Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


def code_identity(function: Any, registry: TypeRegistry) -> dict[str, Digest]:
    """What a function's behaviour depends on: dependency name -> digest, the function's own first.

    Raises: NotHashableError for a closure over, or a global of, one of the user's own classes that has no
    identity; naming a ``version`` for the task avoids the question.
    """
    walk = _Walk(registry)
    walk.visit(function, "")
    return walk.parts


class _Walk:
    """One traversal of everything a function refers to."""

    def __init__(self, registry: TypeRegistry) -> None:
        self.registry = registry
        self.parts: dict[str, Digest] = {}
        self.seen: set[int] = set()

    def visit(self, obj: Any, name: str) -> None:
        """Add ``obj``, known as ``name`` to whoever refers to it, and all that it refers to."""
        obj = _unwrap(obj)
        if id(obj) in self.seen:
            return
        if isinstance(obj, types.FunctionType):
            self.seen.add(id(obj))
            self.function(obj, name)
        elif isinstance(obj, type):
            self.seen.add(id(obj))
            self.klass(obj)
        elif isinstance(obj, functools.partial):
            self.visit(obj.func, f"{name}.func")
            self.constant((obj.args, obj.keywords), name)
        elif isinstance(obj, types.MethodType):
            self.visit(obj.__func__, name)
            self.constant(obj.__self__, f"{name}.self")
        elif isinstance(task_name := getattr(obj, "__valuestore_task__", None), str):
            self.add(name, ["task", task_name])  # its own code decides when it is called
        elif not isinstance(obj, types.ModuleType | types.BuiltinFunctionType):
            self.constant(obj, name)

    def add(self, name: str, form: Plain) -> str:
        """Record one dependency under its name, or the next free one: a factory's products share theirs."""
        digest = self.registry.hash(form)
        free, count = name, 1
        while free in self.parts:
            count += 1
            free = f"{name}#{count}"
        self.parts[free] = digest
        return free

    def function(self, function: types.FunctionType, name: str) -> None:
        if name and not is_own(function.__module__):
            return
        definition = _definition_of_function(function)
        code = function.__code__
        key = f"{module_name_of(function.__globals__.get('__name__', ''))}.{code.co_qualname}"
        key = self.add(key, _form(definition) if definition else _byte_code(code))
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            self.visit(content, f"{key}.{variable}")
        roots = _global_names(code)
        self.references(
            _chains(definition) if definition else ((root,) for root in roots), roots, function, key
        )

    def klass(self, cls: type) -> None:
        if not is_own(cls.__module__):
            return
        key = f"{module_name_of(cls.__module__)}.{cls.__qualname__}"
        definition = _definition_of_class(cls)
        methods = [
            member for member in map(_unwrap, vars(cls).values()) if isinstance(member, types.FunctionType)
        ]
        if definition is not None:
            key = self.add(key, _form(definition))
            chains = list(_chains(definition))
            self.references(chains, {chain[0] for chain in chains}, sys.modules[cls.__module__], key)
        else:
            key = self.add(key, sorted(vars(cls).keys()))
            for method in methods:
                self.visit(method, f"{key}.{method.__name__}")
        for base in cls.__bases__:
            self.visit(base, f"{key}.base")

    def references(self, chains: Any, roots: set[str], owner: Any, key: str) -> None:
        """Visit what names and attribute chains such as ``helpers.scale`` stand for."""
        namespace = owner.__globals__ if isinstance(owner, types.FunctionType) else vars(owner)
        for chain in chains:
            if chain[0] is None:  # an import inside the function
                self.imported(chain[1], chain[2])
            elif chain[0] in roots and chain[0] in namespace:
                self.resolve(namespace[chain[0]], chain[1:], f"{key}:{chain[0]}")

    def resolve(self, obj: Any, attributes: tuple[str, ...], name: str) -> None:
        """Follow modules of the user's own down to the first thing that is none."""
        for attribute in attributes:
            if not isinstance(obj, types.ModuleType):
                break
            if not is_own(obj.__name__) or not hasattr(obj, attribute):
                return
            obj = getattr(obj, attribute)
            name = f"{name}.{attribute}"
        self.visit(obj, name)

    def imported(self, module_name: str, attribute: str | None) -> None:
        """An import statement inside a function: what it will import belongs to the code."""
        module = sys.modules.get(module_name)
        if module is None:
            try:
                spec = importlib.util.find_spec(module_name)
                if spec is None or not _is_own_file(spec.origin):
                    return
                module = importlib.import_module(module_name)
            except Exception:  # noqa: BLE001  # the import statement itself will say so when it runs
                return
        if attribute and is_own(module_name) and hasattr(module, attribute):
            self.visit(getattr(module, attribute), f"{module_name}.{attribute}")

    def constant(self, obj: Any, name: str) -> None:
        try:
            self.add(name, obj)
        except NotHashableError as error:
            if is_own(type(obj).__module__):
                raise NotHashableError(
                    name, f"the code refers to it, and {error}; or give the task a version=..."
                ) from error
            self.add(name, ["of", f"{type(obj).__module__}.{type(obj).__qualname__}"])


# --- whose module it is -------------------------------------------------------------------------

_LIBRARIES = tuple(
    {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")} - {None, ""}
)
_THIS_PACKAGE = __name__.partition(".")[0]


def is_own(module_name: str | None) -> bool:
    """Whether a module is the user's: not the standard library, not installed, not this package."""
    if not module_name or module_name.partition(".")[0] == _THIS_PACKAGE:
        return False
    module = sys.modules.get(module_name)
    if module is None or module_name == "__main__":
        return True
    return _is_own_file(getattr(module, "__file__", None))


@functools.lru_cache(maxsize=4096)
def _is_own_file(file: str | None) -> bool:
    if file is None or file in ("built-in", "frozen"):
        return False
    return "site-packages" not in file and "dist-packages" not in file and not file.startswith(_LIBRARIES)


# --- source -------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=256)
def _definitions(
    text: str,
) -> tuple[dict[tuple[str, int], _Definition], dict[tuple[str, int], types.CodeType]]:
    """Syntax and compiled code of every definition in a file, by qualified name and first line."""
    tree = ast.parse(text)
    nodes: dict[tuple[str, int], _Definition] = {}
    lambdas: set[tuple[str, int]] = set()
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, scope = pending.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _Definition):
                pending.append((child, scope))
                continue
            is_lambda = isinstance(child, ast.Lambda)
            qualname = scope + ("<lambda>" if is_lambda else child.name)  # type: ignore[union-attr]
            decorators = [] if is_lambda else child.decorator_list  # type: ignore[union-attr]
            key = (qualname, min([child.lineno, *(item.lineno for item in decorators)]))
            if is_lambda and key in nodes:
                lambdas.add(key)  # two on one line cannot be told apart by line
            nodes[key] = child
            inner = qualname + ("." if isinstance(child, ast.ClassDef) else ".<locals>.")
            pending.append((child, inner))
    for key in lambdas:
        del nodes[key]
    codes = {
        (code.co_qualname, code.co_firstlineno): code
        for code in _nested(compile(tree, "<source>", "exec", dont_inherit=True))
    }
    return nodes, codes


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield constant
            yield from _nested(constant)


def _text_of(filename: str) -> str:
    linecache.checkcache(filename)
    return "".join(linecache.getlines(filename))


def _definition_of_function(function: types.FunctionType) -> _Definition | None:
    """The function's syntax, if the file still holds what is running."""
    code = function.__code__
    try:
        nodes, codes = _definitions(_text_of(code.co_filename))
    except (SyntaxError, ValueError, RecursionError):
        return None
    key = (code.co_qualname, code.co_firstlineno)
    compiled = codes.get(key)
    return nodes.get(key) if compiled is not None and _same_code(compiled, code) else None


def _definition_of_class(cls: type) -> _Definition | None:
    """The class statement, if the methods it compiles to are the ones that the class has."""
    file = getattr(sys.modules.get(cls.__module__), "__file__", None)
    if not file:
        return None
    try:
        nodes, codes = _definitions(_text_of(file))
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = [
        node for key, node in nodes.items() if key[0] == cls.__qualname__ and isinstance(node, ast.ClassDef)
    ]
    for member in map(_unwrap, vars(cls).values()):
        if isinstance(member, types.FunctionType) and member.__code__.co_filename == file:
            compiled = codes.get((member.__code__.co_qualname, member.__code__.co_firstlineno))
            if compiled is None or not _same_code(compiled, member.__code__):
                return None
    return found[0] if len(found) == 1 else None


def _same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same; where in the file they stand does not count."""
    return (
        one.co_code == other.co_code
        and one.co_names == other.co_names
        and one.co_varnames == other.co_varnames
        and one.co_freevars == other.co_freevars
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_same_constant, one.co_consts, other.co_consts))
    )


def _same_constant(one: object, other: object) -> bool:
    if isinstance(one, types.CodeType) and isinstance(other, types.CodeType):
        return _same_code(one, other)
    if isinstance(one, frozenset):
        return one == other  # its repr has no fixed order
    return type(one) is type(other) and repr(one) == repr(other)


def source_of(function: Any) -> str:
    """Source text of a function for people to read; empty if there is none."""
    function = _unwrap(function)
    definition = _definition_of_function(function) if isinstance(function, types.FunctionType) else None
    if definition is None:
        return ""
    return ast.get_source_segment(_text_of(function.__code__.co_filename), definition) or ""


# --- normal forms -------------------------------------------------------------------------------


def _form(node: Any) -> Plain:
    """A syntax tree as plain data, the same in every Python version: no positions, nothing that is empty."""
    if isinstance(node, ast.AST):
        ignored = _IGNORED_FIELDS - {"decorator_list"} if isinstance(node, ast.ClassDef) else _IGNORED_FIELDS
        fields = [
            [name, _form(value)]
            for name, value in ast.iter_fields(node)
            if name not in ignored and value is not None and value != []
        ]
        if isinstance(node, ast.Constant):
            return ["Constant", node.value]  # None is a value here
        return [type(node).__name__, fields]
    if isinstance(node, list):
        return [_form(item) for item in node]
    return node


def _byte_code(code: types.CodeType) -> Plain:
    constants = [
        _byte_code(constant) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    ]
    return ["bytecode", list(sys.version_info[:2]), code.co_code, constants, code.co_names, code.co_varnames]


def _global_names(code: types.CodeType) -> set[str]:
    """Names that the code, or a function inside it, may load from its module."""
    return set(code.co_names).union(*(nested.co_names for nested in _nested(code)))


def _chains(definition: ast.AST) -> Iterator[tuple[Any, ...]]:
    """Names with the attributes read from them, and imports as ``(None, module, attribute)``."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Name):
            yield (node.id,)
        elif isinstance(node, ast.Attribute):
            chain = [node.attr]
            inner = node.value
            while isinstance(inner, ast.Attribute):
                chain.append(inner.attr)
                inner = inner.value
            if isinstance(inner, ast.Name):
                yield (inner.id, *reversed(chain))
        elif isinstance(node, ast.Import):
            yield from ((None, alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((None, node.module, alias.name) for alias in node.names)


def _unwrap(obj: Any) -> Any:
    """Through classmethod, staticmethod, property and caching wrappers to what they wrap."""
    while True:
        if isinstance(obj, staticmethod | classmethod):
            obj = obj.__func__
        elif isinstance(obj, property | functools.cached_property):
            obj = obj.fget if isinstance(obj, property) else obj.func
        elif not isinstance(obj, types.FunctionType | type) and isinstance(
            wrapped := getattr(obj, "__wrapped__", None), types.FunctionType
        ):
            obj = wrapped
        else:
            return obj
