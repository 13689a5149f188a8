"""Forms: what code is told by, as plain data: syntax, byte code, classes and wrappers without a statement."""

from __future__ import annotations

import ast
import functools
import sys
import types
from collections.abc import Collection, Mapping
from typing import Any

from valuestore.values.code.source import attributes_of, behaviour, root_name, tree_of
from valuestore.values.value import Plain, type_name_of

_IGNORED_FIELDS = frozenset({"ctx", "type_comment", "kind"})


def form(node: ast.AST) -> Plain:
    """A syntax tree as a flat list of tokens, the same in every Python version: no positions, nothing empty.

    A node is its class name, then each field's name and value, then ``)``; a list stands between brackets.
    Anything else is wrapped in a list of its own, so that no name or constant can pass for a token. Flat
    because 300 ``elif`` branches are a tree 300 levels deep. Decorators of the function itself are left out:
    what they made of it is looked at where it stands.
    """
    left_out = _IGNORED_FIELDS | (set() if isinstance(node, ast.ClassDef) else {"decorator_list"})
    tokens: list[Plain] = []
    pending: list[tuple[str, Any]] = [("value", node)]
    while pending:
        kind, item = pending.pop()
        if kind == "token":
            tokens.append(item)
        elif isinstance(item, ast.Constant):
            tokens.append(["Constant", item.value])  # None is a value here
        elif isinstance(item, ast.AST):
            tokens.append(type(item).__name__)
            pending.append(("token", ")"))
            for name, value in reversed(_fields(item, left_out if item is node else _IGNORED_FIELDS)):
                pending += [("value", value), ("token", name)]
        elif isinstance(item, list):
            tokens.append("[")
            pending.append(("token", "]"))
            pending += [("value", child) for child in reversed(item)]
        else:
            tokens.append([item])
    return tokens


def _fields(node: ast.AST, left_out: Collection[str]) -> list[tuple[str, Any]]:
    fields = [(name, value) for name, value in ast.iter_fields(node) if name not in left_out]
    if isinstance(node, ast.FunctionDef):  # results of before rest on it that a bare classmethod is left out
        counted = [each for each in node.decorator_list if root_name(each) != "classmethod"]
        fields = [(name, counted if name == "decorator_list" else value) for name, value in fields]
    if isinstance(node, ast.JoinedStr):  # Python 3.12.1 adds empty strings after a nested format
        fields = [("values", [part for part in node.values if getattr(part, "value", None) != ""])]
    return [(name, value) for name, value in fields if value is not None and value != []]


def byte_code(code: types.CodeType) -> Plain:
    """What runs and how it is called, as plain data; good for one Python minor version."""
    constants = [
        byte_code(constant) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    ]
    return ["bytecode", list(sys.version_info[:2]), constants, list(behaviour(code))]


def assignment_of(namespace: Mapping[str, Any], name: str) -> Plain:
    """What a module's source assigns to one of its names, as plain data; empty if it cannot be found."""
    return [form(node) for node in _assignments(tree_of(namespace)).get(name, ())]


@functools.lru_cache(maxsize=64)
def _assignments(tree: ast.Module) -> dict[str, list[ast.Assign | ast.AnnAssign]]:
    found: dict[str, list[ast.Assign | ast.AnnAssign]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for name in dict.fromkeys(target.id for target in targets if isinstance(target, ast.Name)):
                found.setdefault(name, []).append(node)
    return found


def form_of_class(cls: type) -> Plain:
    """Of a class that no statement defines: what it holds, of which kind that is, its bases and metaclass."""
    names = dict.fromkeys(name for name, _ in attributes_of(cls, generated=True))
    kinds = sorted([name, type_name_of(type(vars(cls).get(name)))] for name in names)
    fields = [*getattr(cls, "__dataclass_fields__", ())]
    return [kinds, fields, [*map(type_name_of, (*cls.__bases__, type(cls)))]]


def form_of_wrapper(wrapper: Any) -> Plain:
    """A library's wrapper around a function: what made it, and how a cache is set up."""
    if isinstance(wrapper, types.FunctionType):
        module = str(wrapper.__globals__.get("__name__", ""))
        return [module.partition(".")[0], wrapper.__code__.co_qualname.partition(".")[0]]
    is_cache = isinstance(wrapper, functools._lru_cache_wrapper)
    return [type_name_of(type(wrapper)), *(wrapper.cache_parameters().items() if is_cache else ())]
