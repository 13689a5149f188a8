"""Making: the statements of a module that bind its names or change what they stand for.

For what does not tell by itself what it is: the code that made it does. Nothing is run. Called by walk.py.
"""

from __future__ import annotations

import ast
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from valuestore.values.code.forms import form
from valuestore.values.code.ownership import absolute_imports, follow, library_name, own_module
from valuestore.values.code.source import DEFINITIONS, blocks_of, chains, root_name, tree_of
from valuestore.values.value import Plain, module_name_of

_LONGEST_IMPORT = 10


class Making(NamedTuple):
    """The statements that bind a name of a module or change what it stands for, and what they refer to."""

    name: str
    namespace: Mapping[str, Any]
    forms: list[Plain]
    referred: list[tuple[str, ...]]
    """Chains that lead to something of one's own."""


def making(names: Mapping[str, Any], variable: str) -> Making:
    """How a variable is made in its module, or in the one that it is imported from."""
    names, variable = _home(names, variable)
    statements = list(_making(tree_of(names).body, variable))
    bound = {variable}.union(*map(_stored_names, statements))
    referred = dict.fromkeys(c for node in statements for c in chains(node) if c[0] not in bound)
    own = [c for c in referred if (found := follow(names, c)) and not library_name(found.obj)]
    name = f"{module_name_of(str(names.get('__name__', '')))}.{variable} made"
    return Making(name, names, list(map(form, statements)), own)


def _making(body: list[ast.stmt], name: str) -> Iterator[ast.stmt | ast.expr]:
    for statement in body:
        if isinstance(statement, DEFINITIONS):
            continue
        if isinstance(statement, ast.If | ast.With | ast.Try | ast.TryStar):
            found = [part for block in blocks_of(statement) for part in _making(block, name)]
            items = getattr(statement, "items", ())
            if found or any(name in map(_root, _flat(item.optional_vars)) for item in items):
                yield from [item.context_expr for item in items]
                yield from [statement.test] if isinstance(statement, ast.If) else ()
            yield from found
        elif any(name in map(_root, changed) for changed in map(_changed, ast.walk(statement))):
            yield statement


def _changed(node: ast.AST) -> list[ast.expr]:
    """What a part of a statement binds, or changes as far as one can see: ``D[k] = v``, ``D.update()``."""
    if isinstance(node, ast.Assign | ast.Delete):
        return [part for target in node.targets for part in _flat(target)]
    if isinstance(node, ast.AugAssign | ast.AnnAssign | ast.For | ast.NamedExpr):
        return _flat(node.target)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        return [call.func, *call.args] if isinstance(call.func, ast.Attribute) else call.args
    return []


def _flat(target: ast.expr | None) -> list[ast.expr]:
    if isinstance(target, ast.Tuple | ast.List):
        return [part for element in target.elts for part in _flat(element)]
    return [] if target is None else [target]


def _root(node: ast.expr) -> str:
    return root_name(node, ast.Attribute, ast.Subscript, ast.Starred)


def _stored_names(node: ast.AST) -> set[str]:
    """The names that a statement binds."""
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store)}


def _home(names: Mapping[str, Any], variable: str) -> tuple[Mapping[str, Any], str]:
    """The module that a variable was imported from, if it was, and its name there."""
    for _ in range(_LONGEST_IMPORT):
        if any(_making(tree_of(names).body, variable)):
            break
        for name, module_name, attribute in absolute_imports(tree_of(names), names):
            module = own_module(module_name) if attribute in (variable, "*") or name == variable else None
            if (
                module
                and attribute
                and vars(module).get(variable if attribute == "*" else attribute) is names[variable]
            ):
                names, variable = vars(module), variable if attribute == "*" else attribute
                break
        else:
            break
    return names, variable


def imported_data(names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is in a module, by name, but made in others of the user's own, and no code."""
    for name, module_name, attribute in absolute_imports(tree_of(names), names):
        module = own_module(module_name) if attribute else None
        for variable in vars(module or types) if attribute == "*" else [name]:
            value = names.get(variable, types)
            if not isinstance(value, types.FunctionType | type | types.ModuleType):
                home, at_home = _home(names, variable)
                if module and home is not names and any(_making(tree_of(home).body, at_home)):
                    yield variable, value
