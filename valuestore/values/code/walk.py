"""The walk from a function to all that its behaviour depends on, part by part.

Names in its code are followed through the user's own modules; libraries count by name. What the objects that
it meets hold is looked up in constants.py, whose they are in ownership.py, their source in source.py.
"""

from __future__ import annotations

import ast
import builtins
import functools
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from valuestore.errors import NotHashableError
from valuestore.hashing import ATOMS, Digest
from valuestore.values.code.constants import (
    TRANSPARENT,
    Reducing,
    attribute_of_wrapper,
    classes_of_defaults,
    contents,
    held,
    in_annotation,
    in_annotations,
    in_pieces,
    own_code_in,
    reached,
)
from valuestore.values.code.files import BY_TEXT, looked_into, source_form
from valuestore.values.code.forms import assignment_of, byte_code, form, form_of_class, form_of_wrapper
from valuestore.values.code.making import imported_data, making
from valuestore.values.code.ownership import (
    follow,
    imported_by,
    is_of_caller,
    is_of_module,
    is_own,
    is_own_class,
    is_own_code,
    library_chain,
    library_name,
    own_subclasses,
    virtual_subclasses,
)
from valuestore.values.code.source import (
    annotation_chains,
    attributes_of,
    chains,
    definition_of_class,
    definition_of_function,
    global_names,
    tree_of,
    unwrap,
)
from valuestore.values.identity.canonical import lower
from valuestore.values.registry import TypeRegistry
from valuestore.values.value import Plain, is_task, module_name_of, type_name_of

_SETTINGS = (*ATOMS, tuple)
_ATTEMPTS = 20
_FUNCTION_OF_TASK = {"func", "__wrapped__"}
_OF_NO_MODULE = "made as the program runs"


class Walk:
    def __init__(self, registry: TypeRegistry, defaults: bool = False) -> None:
        self.registry = registry
        self.root_defaults = defaults
        self._begin()

    def _begin(self) -> None:
        self.parts: dict[str, Digest] = {}
        self.unread: dict[str, str] = {}  # parts that count without their content: their types
        self.seen: dict[int, tuple[Any, str]] = {}  # by id: the object, kept alive, and its part
        self.named: set[str] = set()
        self.led: list[tuple[Mapping[str, Any], str, Any]] = []  # where names led: namespace, name, object
        self.touched: set[int] = set()
        self.scanned: dict[int, Any] = {}  # modules and classes of libraries
        self.on_path: set[int] = set()  # constants that are being looked at
        self.tasks: list[Any] = []
        self.calls_functions = False
        self.looks_for_subclasses = False
        self.place: tuple[Mapping[str, Any], str] | None = None  # the name that leads to what is visited

    def roots(self, *functions: Any) -> None:
        """Add all of these; anew if another thread changed what was looked into. Raises: NotHashableError."""
        for _ in range(_ATTEMPTS):
            try:
                for function in functions:
                    self.root(function)
                return
            except RuntimeError as error:
                if "during iteration" not in str(error):
                    raise
                self._begin()
        raise NotHashableError("code", "other threads change what it refers to; give the task a version=...")

    def root(self, function: Any) -> None:
        """Add one, and what can be told only when the rest is known."""
        self.visit(function, "")
        if isinstance(function, types.FunctionType) and not self.root_defaults:
            for cls in classes_of_defaults(function):
                if id(cls) not in self.seen:
                    self.visit(cls, "default")
        self.subclasses()
        for one in self.tasks if self.calls_functions else ():  # grows: their code may be called at once
            self.visit(one.func, f"{one.__valuestore_task__}.func")
            self.subclasses()

    def visit(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """Add ``obj``, known as ``name`` to whoever refers to it, and all that it refers to.

        ``assigned`` gives the source of the value, for an object that says nothing of itself.
        """
        if is_task(obj):
            parts = getattr(obj, "nout", None)  # its own code decides when it is called, but for these
            self.add(name, ["task", obj.__valuestore_task__, *([] if parts is None else [parts])])
            if all(obj is not one for one in self.tasks):
                self.tasks.append(obj)
            return
        self.touched.add(id(obj))
        outer = obj
        if not is_own_class(obj):
            obj = unwrap(obj)
            self.touched.add(id(obj))
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
        if isinstance(obj, types.FunctionType) and type(outer) not in TRANSPARENT:  # a library's wrapper
            inner = getattr(obj, "__wrapped__", None) if outer is obj else obj
            self.seen.setdefault(id(inner), (inner, name))
            self.add(f"{name} around", form_of_wrapper(outer))
            if library := library_name(obj):
                self.add(f"{name} of", library)
            self.inside(held(outer), name)

    def held_by(self, obj: Any, name: str) -> None:
        """As ``visit``, of what may be there under no name of the code: a library's counts by its own."""
        if library := library_name(obj.__func__ if isinstance(obj, staticmethod | classmethod) else obj):
            self.add(name, library)
        self.visit(obj, name)

    def inside(self, items: Iterable[Any], name: str) -> None:
        """Visit own code that an object holds, but for what has been met on the way."""
        for item in items:
            if id(item) not in self.touched:
                self.visit(item, f"{name} item")

    def instance(self, obj: Any, name: str, assigned: Callable[[], Plain]) -> None:
        if isinstance(obj, functools.partial | functools.partialmethod):
            self.held_by(obj.func, f"{name}.func")
            self.constant((obj.args, obj.keywords), name)
        elif isinstance(obj, functools.singledispatchmethod):
            self.visit(obj.dispatcher, name)
        elif isinstance(obj, types.ModuleType):
            self.module(obj)
        elif isinstance(obj, types.MethodType | types.BuiltinFunctionType):
            if isinstance(obj, types.MethodType):
                self.held_by(obj.__func__, name)
            if not is_of_module(obj):
                self.visit(obj.__self__, f"{name}.self")
        else:
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
        if not is_own(function.__globals__.get("__name__", _OF_NO_MODULE)):
            wraps = hasattr(function, "__wrapped__") or hasattr(function, "registry")
            if wraps:
                self.wrapper(function, name)
            if wraps or name:
                self.inside(held(function) if function.__closure__ else (), name)
                return
        definition = definition_of_function(function)
        code = function.__code__
        key = f"{module_name_of(function.__globals__.get('__name__', ''))}.{code.co_qualname}"
        key = self.add(key, form(definition) if definition else byte_code(code))
        self.seen[id(function)] = function, key
        names = global_names(code)
        self.looks_for_subclasses |= "__subclasses__" in names
        self.calls_functions |= not _FUNCTION_OF_TASK.isdisjoint(names)
        for variable, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if cell != types.CellType():  # bound by now
                self.held_by(cell.cell_contents, f"{key}.{variable}")
        for attribute, value in sorted(vars(function).items()):
            if not attribute.startswith("__"):
                self.held_by(value, f"{key}.{attribute}")
        if name or definition is None or self.root_defaults:
            self.defaults(function, key)
        if definition is not None:
            self.named_by(definition, function, key)
        else:
            self.compiled(function, key)

    def compiled(self, function: types.FunctionType, key: str) -> None:
        """Visit what the names in a function's byte code stand for."""
        for name in sorted(global_names(function.__code__)):
            self.references([(name,)], function.__globals__, key)
            if name not in function.__globals__ and name in sys.modules:  # perhaps imported by the code
                self.visit(sys.modules[name], name)
        self.annotated(in_annotation(function.__annotations__.values(), function.__globals__), key)

    def named_by(self, definition: ast.AST, function: types.FunctionType, key: str) -> None:
        """Visit what the names in a function's syntax stand for."""
        roots = global_names(function.__code__)
        referred = list(dict.fromkeys(chains(definition)))
        self.references((c for c in referred if c[0] in roots), function.__globals__, key)
        for position, imported in enumerate(imported_by(definition, function.__globals__)):
            self.references(referred, imported, f"{key} or" if position else key)
        for file in [] if BY_TEXT.isdisjoint(roots) else looked_into(definition, function.__globals__):
            self.add(f"{key} by text", source_form(file, set()))
        self.annotated(in_annotations(annotation_chains(definition), function.__globals__), key)

    def annotated(self, found: Iterable[tuple[Any, bool]], key: str) -> None:
        """Visit the classes in annotations: the code may call methods of the arguments."""
        for obj, by_name in found:
            if by_name or id(obj) not in self.seen:
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
        for name, value in imported_data(vars(module)):
            with suppress(NotHashableError):
                self.add(f"{key}:{name}", lower(value, Reducing(self.registry), stored=False).hashed)
                self.inside(held(value), f"{key}.{name}")

    def defaults(self, function: types.FunctionType, key: str) -> None:
        for position, value in enumerate(function.__defaults__ or ()):
            self.held_by(value, f"{key}.default[{position}]")
        for parameter, value in (function.__kwdefaults__ or {}).items():
            self.held_by(value, f"{key}.default.{parameter}")

    def wrapper(self, function: types.FunctionType, name: str) -> None:
        """A library's function around the user's: what it wraps, and with which settings."""
        self.seen[id(function)] = function, name
        self.add(f"{name} around", form_of_wrapper(function))
        if isinstance(implementations := getattr(function, "registry", None), Mapping):
            for cls, implementation in implementations.items():  # functools.singledispatch
                self.visit(cls, f"{name}[{cls.__qualname__}]")
                self.held_by(implementation, f"{name}[{cls.__qualname__}]")
            return
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            content = getattr(cell, "cell_contents", None)
            if callable(content) or isinstance(content, _SETTINGS):
                self.visit(content, f"{name}.{variable}" if name else "")
        self.visit(getattr(function, "__wrapped__", None), name)

    def klass(self, cls: type) -> None:
        if not is_own(cls.__module__) and not is_of_caller(cls):
            return
        key = f"{module_name_of(cls.__module__)}.{cls.__qualname__}"
        definition = definition_of_class(cls)
        attributes = list(attributes_of(cls, generated=definition is None))
        key = self.add(key, form(definition) if definition else form_of_class(cls))
        self.seen[id(cls)] = cls, key
        if definition is not None:
            names = vars(sys.modules[cls.__module__])
            self.references(chains(definition), names, key)
        for name, value in attributes:
            (self.visit if name.startswith("_") else self.held_by)(value, f"{key}.{name}")
        for base in (*cls.__bases__, type(cls)):
            self.visit(base, f"{key}.base")
        self.registered(cls, key)
        if isinstance(definition, ast.ClassDef):
            fields = [node for node in definition.body if isinstance(node, ast.AnnAssign)]
            self.annotated(in_annotations(annotation_chains(ast.Module(list(fields), [])), names), key)

    def registered(self, cls: type, key: str) -> None:
        """Virtual subclasses of an abstract class; of a library's, one's own."""
        if known := virtual_subclasses(cls):
            self.add(f"{key} registered", [type_name_of(subclass) for subclass in known])
        for subclass in known:
            self.visit(subclass, f"{key} registered")

    def subclasses(self) -> None:
        """Subclasses of all classes that were met, if the code looks for them."""
        while self.looks_for_subclasses:
            known = [obj for obj, _ in self.seen.values() if isinstance(obj, type)]
            new = [cls for base in known for cls in own_subclasses(base) if id(cls) not in self.seen]
            for cls in dict.fromkeys(new):
                self.visit(cls, "subclass")
            if not new:
                break

    def references(self, referred: Iterable[tuple[str, ...]], names: Mapping[str, Any], key: str) -> None:
        """Visit what names and attribute chains such as ``helpers.scale`` stand for."""
        for chain in dict.fromkeys(referred):
            found = follow(names, chain)
            if found is None:
                if is_own_code(builtin := vars(builtins).get(chain[0])):
                    self.visit(builtin, f"builtins.{chain[0]}")
                continue
            obj, name = found.obj, f"{key}:{'.'.join(chain[: found.length])}"
            self.led.append((found.namespace, chain[found.length - 1], obj))
            if name not in self.named:
                self.named.add(name)
                if library := library_name(obj):
                    self.add(name, library)
                outer, self.place = self.place, (found.namespace, chain[found.length - 1])
                self.visit(obj, name, functools.partial(assignment_of, *self.place))
                self.place = outer
                self.patched(obj, chain[found.length :])
            for attribute, value in attribute_of_wrapper(obj, chain[found.length :]):
                if f"{name}.{attribute}" not in self.named:
                    self.named.add(f"{name}.{attribute}")
                    self.visit(value, f"{name}.{attribute}")

    def patched(self, obj: Any, chain: tuple[str, ...]) -> None:
        """Visit what of one's own somebody put into a library's modules and classes, along a chain."""
        for owner in library_chain(obj, chain):
            if isinstance(owner, type) and "__subclasses__" in chain:
                self.seen.setdefault(id(owner), (owner, owner.__qualname__))
            if id(owner) not in self.scanned:
                self.scanned[id(owner)] = owner
                self.inside(own_code_in(owner), owner.__name__)
                if isinstance(owner, type):
                    self.registered(owner, owner.__qualname__)

    def constant(self, obj: Any, name: str, assigned: Callable[[], Plain] = list) -> None:
        """An object by its content; one of a library that has none (a lock) by the code that made it.

        Functions and classes in it count by their code, objects of one's own by that of their class too.
        """
        if id(obj) in self.on_path:
            return
        self.on_path.add(id(obj))
        readable = True
        rules = Reducing(self.registry)
        before, self.touched = self.touched, set()
        try:
            self.add(name, lower(obj, rules, stored=False).hashed)
        except NotHashableError as error:
            lines, readable = in_pieces(obj, rules)
            if is_own_class(obj) and not readable:
                raise NotHashableError(
                    name, f"the code refers to it, and {error}; or give the task a version=..."
                ) from error
            if not is_own_class(obj):
                made = self.add(name, ["made by", type_name_of(type(obj)), assigned()])
                self.unread[made] = type_name_of(type(obj))
            if len(lines) > 1 or readable:
                self.add(f"{name} parts", lines)
        for item in contents(obj):
            if isinstance(item, type) or not is_own_class(item):
                self.visit(item, f"{name} item")
                continue
            self.visit(type(item), f"{name} item")
            if not readable:
                self.constant(item, f"{name} item")
        if not readable:
            self.inside(held(obj), name)
        elif items := [item for item in rules.code() if id(item) not in self.touched]:
            found, is_all = reached(obj)  # what only a module's namespace leads to is no part of the object
            self.inside([item for item in items if not is_all or item in found], name)
        self.touched |= before
        self.on_path.discard(id(obj))
        if not readable:
            self.made()

    def made(self) -> None:
        """For what does not tell what it is: the statements that made it so, and what these name."""
        if self.place and (made := making(*self.place)).name not in self.named:
            self.named.add(made.name)
            if made.forms and made.forms != assignment_of(*self.place):
                self.add(made.name, made.forms)
            self.references(made.referred, made.namespace, made.name)
