"""Source: the syntax tree behind a running function or class.

The tree is used only if it compiles to the code that is running: a file edited since its import does not
lend its new text. Called by function.py, which decides what belongs to a task's code.
"""

from __future__ import annotations

import ast
import collections
import enum
import functools
import inspect
import linecache
import sys
import types
from collections.abc import Iterator, Mapping
from threading import RLock
from typing import Any

from valuestore.lazy import renew_after_fork
from valuestore.values.value import Plain, asked, members

DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef


_parsing = RLock()
"""Python 3.11 counts how deep a tree is for all threads together, and fails where two make or read one."""


@renew_after_fork
def _renew() -> None:
    """In a child process, where nobody parses."""
    global _parsing
    _parsing = RLock()


def parse(text: str) -> ast.Module:
    with _parsing:
        return ast.parse(text)


parsed = functools.lru_cache(maxsize=256)(parse)
"""Of the modules whose code is looked at again and again; trees are large."""


@functools.lru_cache(maxsize=256)
def definitions(
    text: str,
) -> tuple[dict[tuple[str, int], DEFINITIONS], dict[tuple[str, int], types.CodeType]]:
    """Syntax and compiled code of every definition in a file, by qualified name and first line."""
    tree = parsed(text)
    nodes: dict[tuple[str, int], DEFINITIONS] = {}
    lambdas: set[tuple[str, int]] = set()
    pending: list[tuple[ast.AST, str]] = [(tree, "")]
    while pending:
        node, scope = pending.pop()
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, DEFINITIONS):
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
    with _parsing:
        whole = compile(tree, "<source>", "exec", dont_inherit=True)
    codes = {(code.co_qualname, code.co_firstlineno): code for code in nested_codes(whole)}
    return nodes, codes


def nested_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all that are in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested_codes(constant)


_texts: dict[str, tuple[list[str], str]] = {}


def text_of(filename: str) -> str:
    """The text of a file; the same object as before where its lines are, which is looked up faster."""
    linecache.checkcache(filename)
    lines = linecache.getlines(filename)
    known = _texts.get(filename)
    if known is None or known[0] is not lines:
        known = _texts[filename] = lines, "".join(lines)
    return known[1]


_loaded: dict[str, tuple[Any, str]] = {}


def text_loaded(module: Mapping[str, Any]) -> str:
    """The text of a module as it was first looked at since it was loaded: a later edit does not run."""
    file, spec = module.get("__file__"), module.get("__spec__")
    if not isinstance(file, str):
        return ""
    if spec is None or file not in _loaded or _loaded[file][0] is not spec:
        _loaded[file] = spec, text_of(file)
    return _loaded[file][1]


def definition_of_function(function: types.FunctionType) -> DEFINITIONS | None:
    """The function's syntax, if the file still holds what is running."""
    code = function.__code__
    try:
        nodes, codes = definitions(text_of(code.co_filename))
    except (SyntaxError, ValueError, RecursionError):
        return None
    key = (code.co_qualname, code.co_firstlineno)
    compiled = codes.get(key)
    return nodes.get(key) if compiled is not None and same_code(compiled, code) else None


def definition_of_class(cls: type) -> DEFINITIONS | None:
    """The class statement, if the methods it compiles to are the ones that the class has."""
    module = members(sys.modules.get(cls.__module__))
    file = module.get("__file__")
    try:
        nodes, codes = definitions(text_loaded(module))
    except (SyntaxError, ValueError, RecursionError):
        return None
    found = [
        node for key, node in nodes.items() if key[0] == cls.__qualname__ and isinstance(node, ast.ClassDef)
    ]
    for member in map(unwrap, list(vars(cls).values())):
        if isinstance(member, types.FunctionType) and member.__code__.co_filename == file:
            compiled = codes.get((member.__code__.co_qualname, member.__code__.co_firstlineno))
            if compiled is None or not same_code(compiled, member.__code__):
                return None
    return found[0] if len(found) == 1 else None


def same_code(one: types.CodeType, other: types.CodeType) -> bool:
    """Whether two code objects do the same; where in the file they stand does not count."""
    return (
        behaviour(one) == behaviour(other)
        and len(one.co_consts) == len(other.co_consts)
        and all(map(_same_constant, one.co_consts, other.co_consts))
    )


def _same_constant(one: object, other: object) -> bool:
    if isinstance(one, types.CodeType) and isinstance(other, types.CodeType):
        return same_code(one, other)
    if isinstance(one, frozenset):
        return one == other  # its repr has no fixed order
    return type(one) is type(other) and repr(one) == repr(other)


_DESCRIPTORS = (
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    type(inspect.getattr_static(collections.namedtuple("_", "field"), "field")),
)


def attributes_of(cls: type, generated: bool) -> Iterator[tuple[str, Any]]:
    """What a class holds as it is now, by name, without the bookkeeping of Python and its library.

    ``generated`` includes the methods that a library wrote, such as a dataclass's ``__init__``.
    """
    if generated or "<locals>" in cls.__qualname__:  # else the statement says which fields there are
        yield from _fields_of(cls)
    members = getattr(cls, "_member_map_", {}) if isinstance(cls, enum.EnumMeta) else {}
    for name, member in members.items():
        yield name, member._value_
        yield from ((f"{name}.{key}", value) for key, value in vars(member).items() if key[0] != "_")
    for name, value in list(vars(cls).items()):  # another thread may add to it
        is_its_own = isinstance(value, _DESCRIPTORS) and getattr(value, "__objclass__", cls) is cls
        if name in members or name == "_abc_impl" or is_its_own:
            continue
        hidden = name.startswith("__") or (members and name.startswith("_"))
        for part in accessors(value):
            if isinstance(function := unwrap(part), types.FunctionType):
                if generated or not _is_generated(function):
                    yield name, part
            elif not (hidden and name.endswith("_")) or isinstance(part, functools.partialmethod):
                yield name, part


def _fields_of(cls: type) -> Iterator[tuple[str, Any]]:
    """What a library keeps of the fields of its class, where none of their defaults are attributes."""
    for field in vars(cls).get("__attrs_attrs__", ()):
        yield f"{field.name}.field", (field.default, field.converter, field.validator)
    for name, field in vars(cls).get("__pydantic_fields__", {}).items():
        yield f"{name}.field", (field.annotation, field.default, field.default_factory, field.metadata)
    yield from (("field", default) for default in vars(cls).get("__struct_defaults__", ()))


def accessors(value: Any) -> list[Any]:
    if not isinstance(value, property):
        return [value]
    return [part for part in (value.fget, value.fset, value.fdel) if part is not None]


def _is_generated(function: types.FunctionType) -> bool:
    """Whether a library wrote the text: then it is named for its place only after it was compiled."""
    code = getattr(inspect.unwrap(function), "__code__", None)
    return code is not None and code.co_filename.startswith("<") and code.co_qualname != function.__qualname__


def source_of(function: Any) -> str:
    """Source text of a function or class for people to read; empty if there is none."""
    function = unwrap(function)
    if isinstance(function, type):
        found = definition_of_class(function)
        text = text_loaded(members(sys.modules.get(function.__module__)))
        return (found is not None and ast.get_source_segment(text, found)) or ""
    definition = definition_of_function(function) if isinstance(function, types.FunctionType) else None
    if definition is None:
        return ""
    return ast.get_source_segment(text_of(function.__code__.co_filename), definition) or ""


def tree_of(namespace: Mapping[str, Any]) -> ast.Module:
    """The syntax of the file behind a module's namespace; empty if there is none."""
    try:
        return parsed(text_loaded(namespace))
    except (SyntaxError, ValueError, RecursionError):
        return ast.Module([], [])


def blocks_of(statement: ast.stmt) -> Iterator[list[ast.stmt]]:
    """The blocks of a compound statement: of ``if``, ``with``, ``for``, ``try`` and its handlers."""
    for field in ("body", "orelse", "finalbody"):
        yield getattr(statement, field, [])
    for handler in getattr(statement, "handlers", ()):
        yield handler.body


def root_name(node: ast.expr, *through: type[ast.expr]) -> str:
    """The name that a chain begins with, through nodes of these kinds; empty if it begins with none."""
    while isinstance(node, through):
        node = node.func if isinstance(node, ast.Call) else node.value  # type: ignore[attr-defined]
    return node.id if isinstance(node, ast.Name) else ""


# --- code objects and syntax ---------------------------------------------------------------------


def behaviour(code: types.CodeType) -> tuple[Plain, ...]:
    """What tells what a code object does, but for its constants."""
    return (
        code.co_code,
        code.co_flags,
        code.co_argcount,
        code.co_posonlyargcount,
        code.co_kwonlyargcount,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_exceptiontable,
    )


def global_names(code: types.CodeType) -> set[str]:
    """Names that the code, or a function inside it, may load from its module."""
    return set().union(*(each.co_names for each in nested_codes(code)))


def chains(definition: ast.AST) -> Iterator[tuple[str, ...]]:
    """Names with the attributes read from them: ``helpers.scale`` is one chain, not ``helpers`` as well."""
    inside: set[int] = set()
    for node in ast.walk(definition):
        if id(node) in inside or not isinstance(node, ast.Name | ast.Attribute):
            continue
        chain: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            chain.append(inner.attr)
            inner = inner.value
            inside.add(id(inner))
        if isinstance(inner, ast.Name):
            yield (inner.id, *reversed(chain))
        else:
            inside.discard(id(inner))


def annotation_chains(definition: ast.AST) -> Iterator[tuple[str, ...]]:
    """The chains in annotations, also in those written as strings."""
    for node in ast.walk(definition):
        annotations = [getattr(node, "annotation", None), getattr(node, "bound", None)]  # of a type parameter
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            annotations.append(node.returns)
        for annotation in filter(None, annotations):
            yield from chains(annotation)
            for part in ast.walk(annotation):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield from chains_in_text(part.value)


def chains_in_text(text: str) -> list[tuple[str, ...]]:
    try:
        with _parsing:
            tree = ast.parse(text.strip(), mode="eval")
        return list(chains(tree))
    except (SyntaxError, ValueError, RecursionError):
        return []


def imports(definition: ast.AST) -> Iterator[tuple[str, str, str | None]]:
    """Import statements as local name, module (with leading dots if relative) and attribute, if any."""
    for node in ast.walk(definition):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                yield alias.asname or "", alias.name, None
                if not alias.asname:
                    yield top, top, None
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from ((alias.asname or alias.name, module, alias.name) for alias in node.names)


def seen_by_checkers(namespace: Mapping[str, Any]) -> ast.Module:
    """What a module has under ``if TYPE_CHECKING``, which does not run."""
    tests = ("TYPE_CHECKING", "typing.TYPE_CHECKING")
    found = (
        node for node in tree_of(namespace).body if isinstance(node, ast.If) and _dotted(node.test) in tests
    )
    return ast.Module([statement for node in found for statement in node.body], [])


def _dotted(node: ast.expr) -> str:
    return ".".join(next(chains(node), ()))


def unwrap(obj: Any) -> Any:
    """Through classmethod, staticmethod, property and caching wrappers to what they wrap."""
    while True:
        if isinstance(obj, staticmethod | classmethod):
            obj = obj.__func__
        elif isinstance(obj, property | functools.cached_property):
            obj = obj.fget if isinstance(obj, property) else obj.func
        elif not isinstance(obj, types.FunctionType | type | functools.partial) and isinstance(
            wrapped := asked(obj, "__wrapped__"), types.FunctionType
        ):
            obj = wrapped
        else:
            return obj
