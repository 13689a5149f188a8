"""Reduction: what an object of any class would be rebuilt from: the tree of ``__reduce_ex__``.

For classes that have no rule. It is what pickle would write, without the bytes, which depend on more than
the content. Callables that the tree starts from and classes in it count by name; all else is lowered.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, urlsplit

from valuestore.hashing import ATOMS
from valuestore.values.code.ownership import is_own
from valuestore.values.identity.attributes import instance_dictionary, registered_reduce, slot_names
from valuestore.values.identity.canonical import Refused
from valuestore.values.identity.libraries import keeps_global, with_global
from valuestore.values.moved import first_name
from valuestore.values.value import Plain, find_object, is_task, module_name_of, type_name_of

_PROTOCOL = 4
_GONE = object()
_MOST_COMPARED = 100_000
_STANDS_FOR_FILES = {
    "_io": "BufferedRandom BufferedReader BufferedWriter FileIO TextIOWrapper",
    "_sqlite3": "Connection",
    "_dbm": "dbm",
    "_gdbm": "gdbm",
    "dbm": "_Database",
    "fsspec": "OpenFile OpenFiles",
    "h5py": "Dataset File Group",
    "jinja2": "FileSystemLoader",
    "mmap": "mmap",
    "netCDF4": "Dataset Variable",
    "pandas": "ExcelFile HDFStore",
    "pyarrow": "Dataset Fragment MemoryMappedFile ParquetDataset ParquetFile Scanner",
    "sqlite3": "Connection",
    "tarfile": "TarFile",
    "tempfile": "TemporaryDirectory _TemporaryFileWrapper",
    "zarr": "FsspecStore LocalStore ObjectStore ZipStore",
    "zipfile": "Path ZipFile",
}
"""Classes of libraries whose objects say where their content is, and not what it is."""
_INSTEAD = "pass a File or Dir, or what is read from it"
_NO_CONTENT = frozenset({"generator", "async_generator", "lock", "RLock", "coroutine", "frame", "memoryview"})


def why_not_reducible(cls: type) -> str | None:
    """Why objects of this class cannot have an identity, or None if they may."""
    if cls.__name__ in _NO_CONTENT and cls.__module__ in ("builtins", "_thread"):
        return f"a {cls.__name__} has no content to identify it by"
    if any(base.__module__ in ("weakref", "_weakref", "_weakrefset") for base in cls.__mro__):
        return f"a {cls.__name__} does not keep what it refers to; hold the object itself"
    if "<locals>" in cls.__qualname__:
        return f"{cls.__qualname__} is defined inside a function; move it to the top of its module"
    return None


def check_no_file(cls: type) -> None:
    """Raises: Refused for a class whose objects stand for files: nobody would see these change."""
    for base in cls.__mro__:
        if base.__module__ is None:
            raise Refused(f"its class {base.__name__} is in no module, so no name leads to it")
        root = base.__module__.partition(".")[0]
        if base.__name__ in _STANDS_FOR_FILES.get(root, "").split():
            raise Refused(f"a {root.lstrip('_')} {base.__name__} stands for files; {_INSTEAD}")


def reduction_of_value(obj: Any) -> Plain:
    """As ``reduction``. Raises: Refused for what holds the path of a file, but for paths themselves."""
    tree = reduction(obj)
    stack = [] if isinstance(obj, os.PathLike) else [tree]
    while stack:
        part = stack.pop()
        if type(part) in (list, tuple):
            stack.extend(part)
        elif type(part) is dict:
            stack.extend(part.values())
        elif type(part) is str and part.startswith(("/", "file://")) and _is_file(part):
            raise Refused(
                f"a {type(obj).__qualname__} that holds the path {part} stands for a file; {_INSTEAD}"
            )
    return tree


def _is_file(text: str) -> bool:
    try:
        return os.path.isfile(unquote(urlsplit(text).path) if text.startswith("file://") else text)
    except ValueError:  # no path at all
        return False


def reduction(obj: Any) -> Plain:
    """Callable, arguments, state, items. Raises: Refused, saying how to add a rule."""
    if is_task(obj):
        return ["task", obj.__valuestore_task__]
    cls = type(obj)
    reduce = registered_reduce(cls)
    try:
        reduced = reduce(obj) if reduce else obj.__reduce_ex__(_PROTOCOL)
    except Exception as error:
        raise Refused(
            f"no rule says what identifies a {cls.__module__}.{cls.__qualname__}, and it cannot be taken "
            f"apart ({error}); make it a dataclass or a valuestore.Value, or register a TypeRule for it"
        ) from error
    if isinstance(reduced, str):
        return ["global", *_place(obj, reduced)]
    if not (isinstance(reduced, tuple) and len(reduced) >= 2 and isinstance(reduced[1], tuple)):
        raise Refused(
            f"the __reduce__ of {cls.__module__}.{cls.__qualname__} gives no callable and arguments"
        )
    function, arguments, *rest = reduced
    state, list_items, dict_items = [*rest, None, None, None][:3]
    if state is None and (forgotten := _forgotten(obj, function, arguments)):
        raise Refused(
            f"taking a {cls.__module__}.{cls.__qualname__} apart leaves out its attribute {forgotten}; "
            "register a TypeRule for it"
        )
    return [
        "reduced",
        name_of(function),
        [["class", name_of(part)] if isinstance(part, type) else part for part in arguments],
        with_global(state, ["global", "random"]) if keeps_global(cls) else state,  # type: ignore[arg-type]  # a class is hashable
        None if list_items is None else list(list_items),
        None if dict_items is None else [list(item) for item in dict_items],
    ]


def alike(one: object, other: object, *, equal: bool = True) -> bool:
    """Whether two objects hold the same, those that are compared by ``is``, arrays and NaN among them.

    Without ``equal``, what an object of a class says of itself by ``==`` does not count.
    """
    pending: list[tuple[Any, Any]] = [(one, other)]
    seen: dict[tuple[int, int], object] = {}  # what has been compared, kept alive
    while pending:
        one, other = pair = pending.pop()
        kind = type(one)
        if one is other or (id(one), id(other)) in seen:
            continue
        seen[id(one), id(other)] = pair
        if kind is not type(other) or len(seen) > _MOST_COMPARED:
            return False
        if isinstance(one, list | tuple | dict) and kind in (list, tuple, dict):
            if len(one) != len(other):  # type: ignore[arg-type]  # they are of one kind
                return False
            pending += zip(*(part.items() if kind is dict else part for part in pair), strict=True)
        elif not (_is_equal(one, other) and (equal or kind in ATOMS or _same_members(one, other))):
            if kind in ATOMS:
                return False
            try:
                pending.append((reduction(one), reduction(other)))
            except Refused:
                return False
    return True


def _is_equal(one: Any, other: Any) -> bool:
    try:
        return bool(one == other) or (one != one and other != other and type(one) in ATOMS)
    except Exception:  # noqa: BLE001  # that of an array, or whatever a class may want
        return False


def _same_members(one: Any, other: Any) -> bool:
    """Of sets that are equal: whether their members are of the same classes."""
    kinds = [
        sorted(str(type(part)) for part in each) for each in (one, other) if type(each) in (set, frozenset)
    ]
    return len(kinds) == 2 and kinds[0] == kinds[1]


def _forgotten(obj: Any, function: Any, arguments: tuple[Any, ...]) -> str | None:
    """An attribute that the ``__reduce__`` of a base does not know of, and that what it gives has not got."""
    names = list(_left_out(obj))
    if not names:
        return None
    made = function(*arguments)
    if made is obj:  # kept by its library; in one's own, that does not tell what was added to it
        return names[0] if is_own(type(obj).__module__) else None
    pairs = ((name, getattr(obj, name), getattr(made, name, _GONE)) for name in names)
    return next((name for name, one, other in pairs if not alike(one, other, equal=False)), None)


def _left_out(obj: Any) -> Iterator[str]:
    """The attributes that subclasses added to the base which takes objects apart."""
    methods = [type(obj).__reduce__, type(obj).__reduce_ex__]
    is_default = methods == [object.__reduce__, object.__reduce_ex__]  # which knows all attributes
    for base in type(obj).__mro__[:-1]:
        if "__reduce__" in vars(base) or "__reduce_ex__" in vars(base):
            if not base.__dictoffset__:
                yield from instance_dictionary(obj)
            return
        for name in slot_names(base):
            if not name.startswith("__") and hasattr(obj, name) and not is_default:
                yield name


def takes_itself_apart(cls: type, base: type) -> bool:
    """Whether a subclass of ``base`` has a ``__reduce__`` by which its library says what it adds to that."""
    library = cls.__module__.partition(".")[0]
    between = cls.__mro__[: cls.__mro__.index(base)]
    own = next((each for each in between if "__reduce__" in vars(each)), None)
    if own is None or own.__module__.partition(".")[0] != library:
        return False
    return own is cls or not is_own(cls.__module__)


def _place(obj: Any, name: str) -> list[str]:
    """Module and name of an object that is known by its name alone. Raises: Refused if it is not there.

    One that does not say its module is looked for in the library of its class, then in the others.
    """
    module_name = getattr(obj, "__module__", None)
    if isinstance(module_name, str):
        if find_object(f"{module_name_of(module_name)}.{name}") is obj:
            return [module_name_of(module_name), name]
    else:
        library = type(obj).__module__.partition(".")[0]
        places = [place for place in list(sys.modules) if find_object(f"{place}.{name}") is obj]
        places.sort(key=lambda place: (place.partition(".")[0] != library, place.count("."), place))
        for place in places:
            if not is_own(place):
                return [place, name]
    raise Refused(f"it says that it is known as {name}, and that leads to another object")


def name_of(obj: Any) -> Plain:
    """Module and qualified name of a class, function or module; of a method, also whose it is."""
    if isinstance(obj, type):
        return type_name_of(obj)
    owner = getattr(obj, "__self__", None)
    if isinstance(obj, types.MethodType | types.BuiltinFunctionType) and not (
        owner is None or isinstance(owner, types.ModuleType)
    ):
        owner = ["class", type_name_of(owner)] if isinstance(owner, type) else owner
        return [_module_of(obj), obj.__qualname__, owner]
    module_name, name = _module_of(obj), getattr(obj, "__qualname__", None) or module_name_of(obj.__name__)
    if module_name:
        module_name = first_name(f"{module_name}.{name}").removesuffix(f".{name}")
    return [module_name or None, name]


def _module_of(obj: Any) -> str | None:
    """The stable name of its module: a script's functions are named as when somebody imports it."""
    module_name = getattr(obj, "__module__", None)
    return module_name_of(module_name) if isinstance(module_name, str) else None
