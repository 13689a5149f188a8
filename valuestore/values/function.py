"""Functions by their code: what a function does, as plain data that comments and formatting do not change.

The code of a function is its normalised syntax tree together with that of the helpers, classes, constants
and closures it refers to in the user's own modules. Libraries count by name alone: installing a new
version is the user's decision, not an edit. Not covered, and said so in the guide: names looked up from
strings (``getattr(module, name)``, ``eval``).

The syntax tree is used only if it compiles to the code that is running; a file edited since it was
imported, or a function without a file, is identified by its byte code (one Python minor version long).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import Digest
from valuestore.values.canonical import lower
from valuestore.values.reduced import Reducing
from valuestore.values.registry import TypeRegistry
from valuestore.values.source import (
    assignment_of,
    byte_code,
    chains,
    definition_of_class,
    definition_of_function,
    form,
    global_names,
    unwrap,
)
from valuestore.values.value import Plain, module_name_of, type_name_of


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
        self.named: set[str] = set()

    def visit(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """Add ``obj``, known as ``name`` to whoever refers to it, and all that it refers to.

        ``assigned`` gives the source of the value, for an object that says nothing of itself.
        """
        if isinstance(task_name := getattr(obj, "__valuestore_task__", None), str):
            self.add(name, ["task", task_name])  # its own code decides when it is called
            return
        obj = unwrap(obj)
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
        elif not isinstance(obj, types.ModuleType | types.BuiltinFunctionType):
            self.constant(obj, name, assigned)

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
        definition = definition_of_function(function)
        code = function.__code__
        key = f"{module_name_of(function.__globals__.get('__name__', ''))}.{code.co_qualname}"
        key = self.add(key, form(definition) if definition else byte_code(code))
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            self.visit(content, f"{key}.{variable}")
        if name or definition is None:  # the root's defaults are bound as arguments
            self.defaults(function, key)
        roots = global_names(code)
        self.references(
            chains(definition) if definition else ((root,) for root in sorted(roots)), roots, function, key
        )

    def defaults(self, function: types.FunctionType, key: str) -> None:
        for position, value in enumerate(function.__defaults__ or ()):
            self.visit(value, f"{key}.default[{position}]")
        for parameter, value in (function.__kwdefaults__ or {}).items():
            self.visit(value, f"{key}.default.{parameter}")

    def klass(self, cls: type) -> None:
        if not is_own(cls.__module__):
            return
        key = f"{module_name_of(cls.__module__)}.{cls.__qualname__}"
        definition = definition_of_class(cls)
        methods = [
            member for member in map(unwrap, vars(cls).values()) if isinstance(member, types.FunctionType)
        ]
        if definition is not None:
            key = self.add(key, form(definition))
            referred = list(chains(definition))
            roots = {chain[0] for chain in referred}
            self.references(referred, roots, sys.modules[cls.__module__], key)
        else:
            key = self.add(key, sorted(vars(cls).keys()))
            for method in methods:
                self.visit(method, f"{key}.{method.__name__}")
        for base in cls.__bases__:
            self.visit(base, f"{key}.base")

    def references(self, referred: Iterable[tuple[Any, ...]], roots: set[str], owner: Any, key: str) -> None:
        """Visit what names and attribute chains such as ``helpers.scale`` stand for."""
        namespace = owner.__globals__ if isinstance(owner, types.FunctionType) else vars(owner)
        for chain in dict.fromkeys(referred):
            if chain[0] is None:  # an import inside the function
                self.imported(chain[1], chain[2])
            elif chain[0] in roots and chain[0] in namespace:
                self.resolve(namespace, chain, key)

    def resolve(self, namespace: Mapping[str, Any], chain: tuple[str, ...], key: str) -> None:
        """Follow modules of the user's own down to the first thing that is none."""
        for position, attribute in enumerate(chain):
            if attribute not in namespace:
                return
            obj = namespace[attribute]
            if isinstance(obj, types.ModuleType):
                if not is_own(obj.__name__):
                    return
                namespace = vars(obj)
                continue
            name = f"{key}:{'.'.join(chain[: position + 1])}"
            if hasattr(obj, "__valuestore_task__") and chain[position + 1 : position + 2] == ("func",):
                obj, name = obj.func, f"{name}.func"  # called at once, so its code counts here
            if name not in self.named:
                self.named.add(name)
                self.visit(obj, name, functools.partial(assignment_of, namespace, attribute))
            return

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

    def constant(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """An object by its content; one of a library that has none (a lock) by the code that made it."""
        try:
            form, _ = lower(obj, Reducing(self.registry))
        except NotHashableError as error:
            if is_own(type(obj).__module__):
                raise NotHashableError(
                    name, f"the code refers to it, and {error}; or give the task a version=..."
                ) from error
            form = ["made by", type_name_of(type(obj)), assigned()]
        self.add(name, form)


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
