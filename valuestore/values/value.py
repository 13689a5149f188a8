"""Value: the base class of types that say for themselves what they are and how they are stored.

Not for foreign classes, which get a ``TypeRule`` (registry.py), nor for dataclasses, named tuples and
enums, which need neither. Subclassing registers the type under its ``type_name``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Self

from valuestore.errors import ConfigError
from valuestore.values.identity.attributes import set_attributes, sorted_attributes
from valuestore.values.moved import first_name, present_name

Plain = Any
"""None, bool, int, float, str, bytes, and list, tuple, dict of such; in ``identity`` and ``state`` also
anything that has an identity of its own, which is lowered in turn."""

_of_module = vars(ModuleType)["__dict__"].__get__
_of_class = vars(type)["__dict__"].__get__

value_types: dict[str, type[Value]] = {}
"""Type name -> class, filled by subclassing. Read by the registry alone."""

hooks_in_use: set[str] = set()
"""Which of ``preprocess`` and ``postprocess`` some class of this program overrides; ``opened in``, once there
is a ref of the catalog (values/entry.py)."""


class Value:
    """An object with its own identity. Subclasses set ``type_name`` (default: module and qualified name).

    By default identity and state are the instance's attributes; override ``identity`` and ``from_state``
    together. ``Value`` subclasses opt out of registration with ``class X(Value, register=False)``.
    """

    type_name: ClassVar[str] = ""
    aliases: ClassVar[tuple[str, ...]] = ()
    """Type names that values of this class were stored under before it was moved or renamed."""

    def __init_subclass__(cls, *, register: bool = True, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "type_name" not in cls.__dict__:
            cls.type_name = type_name_of(cls)
        enter(cls, register=register)

    def identity(self) -> Plain:
        """What is hashed, under the type name."""
        return sorted_attributes(self)

    def state(self) -> Plain:
        """What is stored. Override it only where more has to be kept than identifies the value."""
        return self.identity()

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """The value that ``state`` was taken from; must not execute anything that the state names."""
        value = object.__new__(cls)
        set_attributes(value, state)
        return value

    def is_valid(self) -> bool:
        """Whether it is still true of the outside world; a cached result that is not is computed again."""
        return True

    def external(self) -> str | None:
        """The path, URL (without credentials) or name of the outside state it stands for; None for none."""
        return None

    def preprocess(self, *, position: int) -> Self:
        """What a task is given in its place; ``position`` counts the calls of the job that makes the call."""
        return self

    def postprocess(self, *, eval_hash: str) -> Self:
        """What is kept in its place when a task has returned it; ``eval_hash`` names the call."""
        return self

    @classmethod
    def parse_arg(cls, text: str) -> Self:
        """The value that ``text`` on the command line stands for. Raises: ValueError."""
        return cls(text)  # type: ignore[call-arg]  # subclasses take what their text form needs

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles carry the state as well: a File in an unpickled object knows which content it had."""
        return restored, (type(self), self.state())

    def iter_subvalues(self) -> Iterator[Value]:
        """The values inside this one; each is checked for validity along with it."""
        return iter(())


def enter(cls: type[Value], *, register: bool = True) -> None:
    """Have its stored name lead to the class. One that comes from another process has it late."""
    for hook in ("preprocess", "postprocess"):
        if getattr(cls, hook) is not getattr(Value, hook):
            hooks_in_use.add(hook)
    if register:
        for name in (cls.type_name, *cls.__dict__.get("aliases", ())):
            _check_free(name, cls)
            value_types[name] = cls


def _check_free(type_name: str, cls: type[Value]) -> None:
    """Raises: ConfigError if another class goes by that name. A class may be defined once more."""
    known = value_types.get(type_name)
    if known is None or "<locals>" in cls.__qualname__:  # a local one stands in for another on purpose
        return
    if type_name_of(known) != type_name_of(cls):
        raise ConfigError(
            f"type name {type_name!r}", f"{type_name_of(known)} and {type_name_of(cls)} cannot both have it"
        )


def restored(cls: type[Value], state: Plain) -> Value:
    """The value of that state; pickles refer to this function by its name."""
    return cls.from_state(state)


def type_name_of(cls: type) -> str:
    """Module and qualified name; a script's classes are named for its file, however it was started.

    ``python census.py``, ``python -m census`` and ``valuestore run census.py`` thus agree on ``census.Row``.
    """
    return first_name(f"{module_name_of(cls.__module__)}.{cls.__qualname__}")


def is_task(obj: Any) -> bool:
    return isinstance(asked(obj, "__valuestore_task__"), str)


def asked(obj: object, name: str) -> Any:
    """An attribute, or None, whatever ``__getattr__`` raises, as that of a dict whose keys it leads to."""
    try:
        return getattr(obj, name, None)
    except Exception:  # noqa: BLE001  # anybody's code
        return None


def module_name_of(module_name: str) -> str:
    """The stable name of a module: for ``__main__``, the name that its file would be imported as.

    A process that multiprocessing spawned runs the script once more, as ``__mp_main__``.
    """
    if module_name not in ("__main__", "__mp_main__"):
        return module_name
    main = sys.modules.get(module_name)
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


def module_named(module_name: str) -> ModuleType | None:
    """The module of that stable name, if this program has imported it."""
    return sys.modules.get("__main__" if module_name == module_name_of("__main__") else module_name)


def members(owner: Any) -> Mapping[str, Any]:
    """What a module or class holds by itself; a lazy module, or a proxy, is not asked."""
    if issubclass(type(owner), ModuleType):
        return _of_module(owner)  # type: ignore[no-any-return]
    return _of_class(owner) if issubclass(type(owner), type) else {}


def find_class(type_name: str) -> type | None:
    """The class of that type name if this program has imported it already; nothing is imported here.

    One that goes by another name (``Point = namedtuple("Pt", "x y")``) is the only one of its module.
    """
    found = find_object(type_name)
    if isinstance(found, type):
        return found
    module_name = type_name.rpartition(".")[0]
    of_module = members(module_named(module_name))
    classes = {value for value in list(of_module.values()) if issubclass(type(value), type)}
    named_so = [cls for cls in classes if type_name_of(cls) == type_name]
    return named_so[0] if len(named_so) == 1 else None


def find_object(name: str) -> Any:
    """What is called so in a module that this program has imported, or None; no code is run to find it."""
    module_name, _, qualname = present_name(name).rpartition(".")
    while module_name:
        # as module_named does, without a call: it is asked at each hash
        found: Any = sys.modules.get("__main__" if module_name == module_name_of("__main__") else module_name)
        if found is not None:
            for part in qualname.split("."):
                found = members(found).get(part)
            return found
        module_name, _, head = module_name.rpartition(".")
        qualname = f"{head}.{qualname}"
    return None
