"""Ownership: whose a module is, and what a name leads to. What is installed does not count for identity.

An installed pipeline is the user's own all the same: the package that makes a task of its own function is
``adopt``ed by task.py. Called by function.py, constants.py and whoever asks whose a class is.
"""

from __future__ import annotations

import abc
import ast
import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
import types
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from valuestore.values.code.source import imports
from valuestore.values.value import Plain, find_class, type_name_of

_THIS_PACKAGE = __name__.partition(".")[0]
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def _segments(path: str) -> tuple[str, ...]:
    return tuple(os.path.normcase(path).replace(os.sep, "/").split("/"))


_LIBRARIES = tuple(
    _segments(path)
    for path in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    if path
)
_PYTHON = tuple(_segments(path) for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")})

_adopted: set[str] = set()
"""Installed packages that are the user's: each by the name of its outermost package that has a file."""


def adopt(function: Any) -> None:
    """Count the installed package that makes a task of a function of its own as the user's, in all of it.

    ``task(library.function)``, written somewhere else, adopts nothing, nor does anything of Python's own.
    """
    module_name = getattr(function, "__module__", None)
    if not isinstance(module_name, str) or is_own(module_name) or _top(module_name) == _THIS_PACKAGE:
        return
    package, frame = _outermost(module_name), sys._getframe(1)
    while _top(frame.f_globals.get("__name__", "")) == _THIS_PACKAGE and frame.f_back is not None:
        frame = frame.f_back
    if _outermost(frame.f_globals.get("__name__", "")) == package and not _is_pythons(package):
        _adopted.add(package)


def library_chain(obj: Any, chain: tuple[str, ...]) -> Iterator[Any]:
    """The modules and classes of libraries that an object and a chain of its attributes lead through."""
    while isinstance(obj, types.ModuleType | type):
        if is_own(obj.__name__ if isinstance(obj, types.ModuleType) else obj.__module__):
            return
        yield obj
        if not chain:
            return
        obj, chain = vars(obj).get(chain[0]), chain[1:]


def _top(module_name: str) -> str:
    return module_name.partition(".")[0]


def _outermost(module_name: str) -> str:
    """The outermost package or module that has a file: several distributions may share those without."""
    names = module_name.split(".")
    packages = (".".join(names[:count]) for count in range(1, len(names)))
    has_file = (name for name in packages if getattr(sys.modules.get(name), "__file__", None))
    return next(has_file, module_name)


def _is_pythons(package: str) -> bool:
    file = getattr(sys.modules.get(package), "__file__", None)
    segments = _segments(file) if file else ()
    installed = not _INSTALLED.isdisjoint(segments)
    return not file or (not installed and any(segments[: len(path)] == path for path in _PYTHON))


def _is_adopted(module_name: str) -> bool:
    return any(module_name == package or module_name.startswith(f"{package}.") for package in _adopted)


def is_own(module_name: Any) -> bool:
    """Whether a module is the user's: not the standard library, not installed, not this package."""
    if not isinstance(module_name, str) or not module_name:
        return False
    if module_name.partition(".")[0] == _THIS_PACKAGE:
        return False
    if _adopted and _is_adopted(module_name):
        return True
    module = sys.modules.get(module_name)
    if module is None or module_name == "__main__":
        return module_name not in sys.builtin_module_names
    if file := getattr(module, "__file__", None):
        return is_own_file(file)
    return _is_own_without_file(module)


def is_own_code(obj: Any) -> bool:
    """Whether it is a function or class of the user's own, or a function that belongs to no module."""
    kind = type(obj)
    if kind is types.FunctionType:
        module_name = obj.__globals__.get("__name__")
        return module_name is None or is_own(module_name)
    if not issubclass(kind, type) or not is_own(obj.__module__):
        return False
    # C code makes classes and names them for a module that there is not
    return obj.__module__ in sys.modules or any(type(v) is types.FunctionType for v in [*vars(obj).values()])


def is_namespace(obj: dict[Any, Any]) -> bool:
    name = obj.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return getattr(module, "__dict__", None) is obj


def is_own_class(obj: object) -> bool:
    return is_own_code(type(obj))


def own_modules() -> list[str]:
    """Names of one's own modules, the script last: what it imported is at home elsewhere."""
    return _own_modules(len(sys.modules), next(reversed(sys.modules)), len(_adopted))


@functools.lru_cache(maxsize=1)
def _own_modules(*_state: object) -> list[str]:
    return sorted(filter(is_own, list(sys.modules)), key=lambda name: (name == "__main__", name))


def own_module(module_name: str) -> types.ModuleType | None:
    """A module of the user's, imported if it is not yet; None for any other, or one that cannot be."""
    if (module := sys.modules.get(module_name)) is None:
        try:
            top = importlib.util.find_spec(module_name.partition(".")[0])
            is_installed = top is None or (top.origin and not is_own_file(top.origin))
            if is_installed and not _is_adopted(module_name):
                return None
            module = importlib.import_module(module_name)
        except Exception:  # noqa: BLE001  # the import statement itself will say so when it runs
            return None
    return module if is_own(module_name) else None


def _is_own_without_file(module: types.ModuleType) -> bool:
    """A namespace package by its folders, a module made as the program runs by the package it is in."""
    if folders := list(getattr(module, "__path__", ())):
        return any(map(is_own_file, folders))
    if getattr(getattr(module, "__spec__", None), "origin", None) in ("built-in", "frozen"):
        return False
    package = module.__name__.rpartition(".")[0]
    return module.__name__ not in sys.builtin_module_names and (package not in sys.modules or is_own(package))


@functools.lru_cache(maxsize=4096)
def is_own_file(file: str) -> bool:
    if file in ("built-in", "frozen"):
        return False
    segments = _segments(file)
    return _INSTALLED.isdisjoint(segments) and not any(
        segments[: len(library)] == library for library in _LIBRARIES
    )


# --- names --------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What a chain of names leads to, how many of them lead there, and the namespace it is in."""

    obj: Any
    length: int
    namespace: Mapping[str, Any]


def follow(namespace: Mapping[str, Any], chain: tuple[str, ...]) -> Found | None:
    """Through modules of the user's own to the first thing that is none, or to the last one."""
    outer = namespace
    for position, attribute in enumerate(chain):
        if attribute in namespace:
            obj = namespace[attribute]
        elif position and "__getattr__" in namespace:  # of a module
            try:
                obj = namespace["__getattr__"](attribute)
            except Exception:  # noqa: BLE001  # the code will meet it when it runs
                return None
        elif position and attribute == "__dict__":
            return Found(outer[chain[position - 1]], position, outer)
        else:
            return None
        last = position + 1 == len(chain)
        if last or not isinstance(obj, types.ModuleType) or not is_own(obj.__name__):
            return Found(obj, position + 1, namespace)
        outer, namespace = namespace, vars(obj)
    return None


def library_name(obj: Any) -> Plain:
    """What an installed module, function or class is called, in any Python version; None for the rest."""
    if isinstance(obj, types.ModuleType):
        return None if is_own(obj.__name__) else ["library", obj.__name__]
    if not isinstance(obj, type | types.FunctionType | types.BuiltinFunctionType) or is_own(obj.__module__):
        return None
    package = (obj.__module__ or "").partition(".")[0].lstrip("_")  # pathlib._local.Path, _operator.add
    return ["library", package, obj.__qualname__]


def is_of_module(function: Any) -> bool:
    """Whether a bound function is no more than that: a library hides its object (``random.random``)."""
    owner = function.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        return True
    if is_own_class(owner):
        return False
    packages = type(owner).__module__.split(".")
    modules = (sys.modules.get(".".join(packages[: n + 1])) for n in range(len(packages)))
    return any(vars(module).get(function.__name__) is function for module in modules if module)


def is_of_caller(cls: type) -> bool:
    """Whether Python made it and names itself: make_dataclass below 3.12, types.new_class, ABCMeta(...)."""
    return cls.__module__ in ("types", "abc") and find_class(type_name_of(cls)) is None


def virtual_subclasses(cls: type) -> list[type]:
    """What was registered with an abstract class, one's own alone if the class is not; in fixed order."""
    dump = getattr(abc, "_get_dump", None)
    if dump is None or "_abc_impl" not in vars(cls):
        return []
    everybody = is_own(cls.__module__)
    heirs: list[type] = [cls]
    known: list[type] = []
    for heir in heirs:  # who is one of an heir's is one of its base's
        if "_abc_impl" in vars(heir):
            known += [sub for sub in (reference() for reference in dump(heir)[0]) if sub is not None]
            subclasses: list[type] = type.__subclasses__(heir)
            heirs += [sub for sub in subclasses if sub not in heirs]
    known = list(dict.fromkeys(known))
    return sorted((sub for sub in known if _is_current(sub, everybody)), key=type_name_of)


def own_subclasses(cls: type) -> list[type]:
    """Those of one's own, in fixed order."""
    known: list[type] = type.__subclasses__(cls)
    return sorted(filter(_is_current, known), key=type_name_of)


def _is_current(cls: type, everybody: bool = False) -> bool:
    """Whether a class is one's own and was not defined anew since, which left its name to another."""
    return find_class(type_name_of(cls)) in (None, cls) if is_own(cls.__module__) else everybody


def absolute_imports(tree: ast.AST, namespace: Mapping[str, Any]) -> Iterator[tuple[str, str, str | None]]:
    package = namespace.get("__package__") or str(namespace.get("__name__", "")).rpartition(".")[0]
    for name, relative, attribute in imports(tree):
        try:
            yield name, importlib.util.resolve_name(relative, package), attribute
        except ImportError:
            continue


def imported_by(definition: ast.AST, namespace: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the import statements inside a function bind, as far as it is the user's.

    The last of each name; then what the name may stand for as well, as in ``except ImportError``.
    """
    names: dict[str, Any] = {}
    others: list[dict[str, Any]] = []
    for name, module_name, attribute in absolute_imports(definition, namespace):
        module = own_module(module_name)
        if module is None:
            continue
        if attribute is None:
            found: Any = module
        elif step := follow({"": module}, ("", attribute)):
            found = step.obj
        else:
            found = own_module(f"{module_name}.{attribute}")
        if found is None:
            continue
        if name and names.get(name, found) is not found:
            others.append({name: names[name]})
        names[name] = found
    return [names, *others]
