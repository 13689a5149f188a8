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
import importlib.util
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from valuestore.errors import NotHashableError
from valuestore.hashing import ATOMS, Digest
from valuestore.values.code.constants import Reducing, contents
from valuestore.values.code.ownership import is_own, is_own_class, own_module
from valuestore.values.code.source import (
    annotation_chains,
    assignment_of,
    attributes_of,
    byte_code,
    chains,
    definition_of_class,
    definition_of_function,
    form,
    global_names,
    imports,
    source_of,
    tree_of,
    unwrap,
)
from valuestore.values.identity.canonical import lower
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, module_name_of, type_name_of


def code_identity(function: Any, registry: TypeRegistry, *, defaults: bool = False) -> dict[str, Digest]:
    """What a function's behaviour depends on: dependency name -> digest, the function's own first.

    Its own defaults count only with ``defaults``: where it is called as a task, they are arguments.

    Raises: NotHashableError for a closure over, or a global of, one of the user's own classes that has no
    identity; naming a ``version`` for the task avoids the question.
    """
    return code_and_classes(function, registry, defaults=defaults)[0]


def code_and_classes(
    function: Any, registry: TypeRegistry, *, defaults: bool = False
) -> tuple[dict[str, Digest], frozenset[type]]:
    """``code_identity``, and the classes whose code is in it. Raises: as that."""
    walk = _Walk(registry, defaults)
    walk.visit(function, "")
    return walk.parts, frozenset(obj for obj, _ in walk.seen.values() if isinstance(obj, type))


def own_form(function: Any) -> Plain:
    """What a function itself does, without what it refers to: that its text is another tells another task."""
    function = unwrap(function)
    if not isinstance(function, types.FunctionType):
        return [type_name_of(type(function))]
    definition = definition_of_function(function)
    return form(definition) if definition else byte_code(function.__code__)


class Dependency(NamedTuple):
    """One part of a function's code: its name, its digest and its source text, None where there is none."""

    name: str
    digest: Digest
    source: str | None


def code_dependencies(*roots: Any, registry: TypeRegistry) -> list[Dependency]:
    """The parts of ``code_identity`` of all these, with their source texts, for people. Raises: as that."""
    walk = _Walk(registry)
    for root in roots:
        walk.visit(root, "")
    texts = {
        part: source_of(obj) for obj, part in walk.seen.values() if isinstance(obj, types.FunctionType | type)
    }
    return [Dependency(name, digest, texts.get(name) or None) for name, digest in walk.parts.items()]


_SETTINGS = (*ATOMS, tuple)


class _Walk:
    """One traversal of everything a function refers to."""

    def __init__(self, registry: TypeRegistry, defaults: bool = False) -> None:
        self.registry = registry
        self.root_defaults = defaults
        self.parts: dict[str, Digest] = {}
        self.seen: dict[int, tuple[Any, str]] = {}  # by id: the object, kept alive, and its part
        self.named: set[str] = set()

    def visit(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """Add ``obj``, known as ``name`` to whoever refers to it, and all that it refers to.

        ``assigned`` gives the source of the value, for an object that says nothing of itself.
        """
        if isinstance(task_name := getattr(obj, "__valuestore_task__", None), str):
            self.add(name, ["task", task_name])  # its own code decides when it is called
            return
        if not is_own_class(obj):
            obj = unwrap(obj)
        if id(obj) in self.seen:
            key = self.seen[id(obj)][1]
            if "<" in key or "#" in key:  # not the only one of that name
                self.add(f"{name} is", [key])
        elif isinstance(obj, types.FunctionType):
            self.function(obj, name)
        elif isinstance(obj, type):
            self.klass(obj)
        else:
            self.instance(obj, name, assigned)

    def instance(self, obj: Any, name: str, assigned: Callable[[], Plain]) -> None:
        if isinstance(obj, functools.partial | functools.partialmethod):
            self.visit(obj.func, f"{name}.func")
            self.constant((obj.args, obj.keywords), name)
        elif isinstance(obj, functools.singledispatchmethod):
            self.visit(obj.dispatcher, name)
        elif isinstance(obj, types.MethodType):
            self.visit(obj.__func__, name)
            self.visit(obj.__self__, f"{name}.self")
        elif isinstance(obj, types.ModuleType):
            self.module(obj)
        elif not isinstance(obj, types.BuiltinFunctionType):
            self.constant(obj, name or type_name_of(type(obj)), assigned)

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
        if not is_own(function.__globals__.get("__name__")):
            wraps = hasattr(function, "__wrapped__") or hasattr(function, "registry")
            if wraps:
                self.wrapper(function, name)
            if wraps or name:
                return
        definition = definition_of_function(function)
        code = function.__code__
        key = f"{module_name_of(function.__globals__.get('__name__', ''))}.{code.co_qualname}"
        key = self.add(key, form(definition) if definition else byte_code(code))
        self.seen[id(function)] = function, key
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            self.visit(content, f"{key}.{variable}")
        if name or definition is None or self.root_defaults:
            self.defaults(function, key)
        if definition is not None:
            self.named_by(definition, function, key)
            return
        for name in sorted(global_names(code)):
            self.references([(name,)], function.__globals__, key)
            if name not in function.__globals__ and name in sys.modules:  # perhaps imported by the code
                self.visit(sys.modules[name], name)
        self.classes(function.__annotations__.values(), key)

    def named_by(self, definition: ast.AST, function: types.FunctionType, key: str) -> None:
        """Visit what the names in a function's syntax stand for."""
        roots = global_names(function.__code__)
        referred = list(dict.fromkeys(chains(definition)))
        self.references((c for c in referred if c[0] in roots), function.__globals__, key)
        self.references(referred, _imported(definition, function.__globals__), key)
        annotated = (follow(function.__globals__, chain) for chain in annotation_chains(definition))
        self.classes((found.obj for found in annotated if found), key)

    def classes(self, objects: Iterable[Any], key: str) -> None:
        """Visit annotations that are classes: the code may call methods of the arguments."""
        for obj in objects:
            if isinstance(obj, type):
                self.visit(obj, f"{key}.annotation")

    def module(self, module: types.ModuleType) -> None:
        """A module that the code holds in a variable: all of its source, and what is defined there."""
        if not is_own(module.__name__):
            return
        key = self.add(module_name_of(module.__name__), form(tree_of(vars(module))))
        self.seen[id(module)] = module, key
        for name, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType | type | types.ModuleType):
                self.visit(value, f"{key}.{name}")

    def defaults(self, function: types.FunctionType, key: str) -> None:
        for position, value in enumerate(function.__defaults__ or ()):
            self.visit(value, f"{key}.default[{position}]")
        for parameter, value in (function.__kwdefaults__ or {}).items():
            self.visit(value, f"{key}.default.{parameter}")

    def wrapper(self, function: types.FunctionType, name: str) -> None:
        """A library's function around the user's: what it wraps, and with which settings."""
        self.seen[id(function)] = function, name
        if isinstance(implementations := getattr(function, "registry", None), Mapping):
            for cls, implementation in implementations.items():  # functools.singledispatch
                self.visit(cls, f"{name}[{cls.__qualname__}]")
                self.visit(implementation, f"{name}[{cls.__qualname__}]")
            return
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            content = getattr(cell, "cell_contents", None)
            if callable(content) or isinstance(content, _SETTINGS):
                self.visit(content, f"{name}.{variable}" if name else "")
        self.visit(getattr(function, "__wrapped__", None), name)

    def klass(self, cls: type) -> None:
        if not is_own(cls.__module__):
            return
        key = f"{module_name_of(cls.__module__)}.{cls.__qualname__}"
        definition = definition_of_class(cls)
        attributes = list(attributes_of(cls, generated=definition is None))
        names = sorted(name for name, _ in attributes)
        key = self.add(key, form(definition) if definition else names)
        self.seen[id(cls)] = cls, key
        if definition is not None:
            self.references(chains(definition), vars(sys.modules[cls.__module__]), key)
        for name, value in attributes:
            self.visit(value, f"{key}.{name}")
        for base in (*cls.__bases__, type(cls)):
            self.visit(base, f"{key}.base")

    def references(self, referred: Iterable[tuple[str, ...]], names: Mapping[str, Any], key: str) -> None:
        """Visit what names and attribute chains such as ``helpers.scale`` stand for."""
        for chain in dict.fromkeys(referred):
            found = follow(names, chain)
            if found is None:
                continue
            obj, name = found.obj, f"{key}:{'.'.join(chain[: found.length])}"
            if hasattr(obj, "__valuestore_task__") and chain[found.length : found.length + 1] == ("func",):
                obj, name = obj.func, f"{name}.func"  # called at once, so its code counts here
            if name not in self.named:
                self.named.add(name)
                if library := _library_name(obj):
                    self.add(name, library)
                self.visit(
                    obj, name, functools.partial(assignment_of, found.namespace, chain[found.length - 1])
                )

    def constant(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """An object by its content; one of a library that has none (a lock) by the code that made it.

        Functions and classes in it count by their code, objects of one's own by that of their class too.
        """
        readable = True
        try:
            form = lower(obj, Reducing(self.registry), stored=False).hashed
        except NotHashableError as error:
            if is_own_class(obj):
                raise NotHashableError(
                    name, f"the code refers to it, and {error}; or give the task a version=..."
                ) from error
            form = ["made by", type_name_of(type(obj)), assigned()]
            readable = False
        self.add(name, form)
        for item in contents(obj):
            if isinstance(item, type) or not is_own_class(item):
                self.visit(item, f"{name} item")
                continue
            self.visit(type(item), f"{name} item")
            if not readable:
                self.constant(item, f"{name} item")


# --- names --------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a chain of names leads to, how many of them lead there, and the namespace it is in."""

    obj: Any
    length: int
    namespace: Mapping[str, Any]


def follow(namespace: Mapping[str, Any], chain: tuple[str, ...]) -> Found | None:
    """Through modules of the user's own to the first thing that is none, or to the last one."""
    for position, attribute in enumerate(chain):
        if attribute in namespace:
            obj = namespace[attribute]
        elif position and "__getattr__" in namespace:  # of a module
            try:
                obj = namespace["__getattr__"](attribute)
            except Exception:  # noqa: BLE001  # the code will meet it when it runs
                return None
        else:
            return None
        last = position + 1 == len(chain)
        if last or not isinstance(obj, types.ModuleType):
            return Found(obj, position + 1, namespace)
        if not is_own(obj.__name__):
            return Found(obj, position + 1, namespace)
        namespace = vars(obj)
    return None


def _library_name(obj: Any) -> Plain:
    """What an installed module, function or class is called, in any Python version; None for the rest."""
    if isinstance(obj, types.ModuleType):
        return None if is_own(obj.__name__) else ["library", obj.__name__]
    if not isinstance(obj, type | types.FunctionType | types.BuiltinFunctionType) or is_own(obj.__module__):
        return None
    package = (obj.__module__ or "").partition(".")[0].lstrip("_")  # pathlib._local.Path, _operator.add
    return ["library", package, obj.__qualname__]


def _imported(definition: ast.AST, namespace: Mapping[str, Any]) -> dict[str, Any]:
    """What the import statements inside a function bind, as far as it is the user's."""
    names: dict[str, Any] = {}
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    for name, relative, attribute in imports(definition):
        try:
            module_name = importlib.util.resolve_name(relative, package)
        except ImportError:
            continue
        module = own_module(module_name)
        if module is None:
            continue
        if attribute is None:
            names[name] = module
        elif found := follow({"": module}, ("", attribute)):
            names[name] = found.obj
        elif submodule := own_module(f"{module_name}.{attribute}"):
            names[name] = submodule
    return names


# --- code objects -------------------------------------------------------------------------------


class Walked(NamedTuple):
    """What ``code_identity`` says, None if it refuses, and the code objects of all that it visits, by ``id``.

    By ``id``, since equal code objects of two files are equal to Python. Nested ones are included.
    """

    parts: dict[str, Digest] | None
    codes: dict[int, types.CodeType]


def walked(function: Any, registry: TypeRegistry, *, defaults: bool = False) -> Walked:
    """One walk, as ``code_identity`` takes it."""
    walk, parts = _Walk(registry, defaults), None
    with suppress(NotHashableError):
        walk.visit(function, "")
        parts = walk.parts
    codes: dict[int, types.CodeType] = {}
    for obj, _ in walk.seen.values():
        if isinstance(obj, type):  # what a library generated is not visited: the class says it all
            found = [unwrap(part) for _, part in attributes_of(obj, generated=True)]
        else:
            found = [obj]
        for part in found:
            if isinstance(part, types.FunctionType):
                codes.update((id(code), code) for code in nested_codes(part.__code__))
    return Walked(parts, codes)


def nested_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A code object and all that are in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from nested_codes(constant)
