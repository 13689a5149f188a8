"""Sending: what passes between the processes of one program, through the executor that both trust.

Unlike what is stored, it comes from nobody else: who can write there runs code in the workers anyway.
Functions and classes travel by name; those of a script or a notebook, lambdas and local ones as they are.
"""

from __future__ import annotations

import copyreg
import functools
import io
import linecache
import marshal
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

from valuestore.errors import NotSendable
from valuestore.lazy import this_process
from valuestore.values.identity.inside import Lazy
from valuestore.values.trust.pickling import PROTOCOL, reason_of


def load_sent(data: bytes) -> Any:
    """What ``dump_sent`` made in another process of this program."""
    return pickle.loads(data)  # noqa: S301  # see above


def call_sent(function: Callable[..., Any], *args: object) -> tuple[Callable[[bytes], Any], bytes]:
    """A call for another process as one that any Python can begin: of which function, with what."""
    return pickle.loads, pickle.dumps(_Call(function, args), PROTOCOL)


class _Call(NamedTuple):
    """Is made where it is unpickled."""

    function: Callable[..., Any]
    args: tuple[object, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.args


def dump_sent(obj: object, *, has_code: bool = False) -> bytes:
    """For another process of this program; what ``has_code`` may name what only this one's script defines.

    Raises: NotSendable.
    """
    problem = "it is defined in a script"
    try:
        data = pickle.dumps(obj, PROTOCOL)
        if not (has_code and b"__main__" in data):
            return data
    except Exception as error:  # noqa: BLE001  # whatever a class does
        problem = reason_of(error)
    try:
        buffer = io.BytesIO()
        pickler = _by_value()(buffer, PROTOCOL)
        pickler.globals_ref[id(vars(sys.modules["__main__"]))] = _GlobalsOfMain()
        pickler.dump(obj)
    except ImportError:
        raise NotSendable(f"{problem}; with cloudpickle it may be: install valuestore[processes]") from None
    except Exception as error:
        raise NotSendable(reason_of(error)) from error
    return buffer.getvalue()


@functools.cache
def _by_value() -> Any:
    """Of cloudpickle, which leaves out where code is from; that is told here, for tracebacks and traces.

    Calls travel, too, which no other pickle may hold: those that are defaults of a task, or in its globals.
    """
    from cloudpickle import Pickler  # late: most programs send nothing, or by name

    calls = {cls: _call for kind in Lazy.__subclasses__() for cls in kind.__subclasses__()}
    table = Pickler.dispatch_table.new_child({types.CodeType: _code, **_BY_PARTS, **calls})
    return type("ByValue", (Pickler,), {"dispatch_table": table})


class _GlobalsOfMain(dict[str, Any]):
    """Those of the functions of ``__main__``: elsewhere, what stands for it there."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _globals_of_main, (this_process(), dict(self))


def _globals_of_main(home: str, own: dict[str, Any]) -> dict[str, Any]:
    is_away = stands_for_main and home != this_process()
    return vars(sys.modules["__main__"]) if is_away else own


stands_for_main: list[bool] = []
"""Not empty in a worker whose ``__main__`` is that of the program that sends."""


def _code(code: types.CodeType) -> tuple[Any, ...]:
    return load_code, (marshal.dumps(code), code.co_filename, linecache.getlines(code.co_filename))


def _cached(function: Any) -> Any:
    """A function that remembers what it gave."""
    made = _caching, (function.__wrapped__, function.cache_parameters())
    return made if _is_nowhere(function) else function.__reduce__()


def _caching(function: Any, settings: dict[str, Any]) -> Any:
    return functools.lru_cache(**settings)(function)


def _property(function: Any, name: str) -> Any:
    made: Any = functools.cached_property(function)
    made.attrname = name
    return made


def _new_type(made: Any) -> Any:
    parts = made.__name__, made.__supertype__
    return (typing.NewType, parts) if _is_nowhere(made) else made.__reduce__()


def _is_nowhere(named: Any) -> bool:
    """Whether its name does not lead to it in another process."""
    return named.__module__ == "__main__" or "<" in named.__qualname__


_BY_PARTS = {
    functools._lru_cache_wrapper: _cached,
    functools.cached_property: lambda one: (_property, (one.func, one.attrname)),
    typing.NewType: _new_type,
    types.MappingProxyType: lambda one: (types.MappingProxyType, (dict(one),)),
    weakref.WeakKeyDictionary: lambda one: (weakref.WeakKeyDictionary, (dict(one),)),
}
"""What scripts hold, and pickles refuse or name: the last two are in what ``singledispatch`` makes."""


def _call(lazy: Lazy) -> tuple[Any, ...]:
    parts = {name: getattr(lazy, name) for name in vars(type(lazy))["__slots__"]}
    return copyreg.__newobj__, (type(lazy),), (None, parts)  # type: ignore[attr-defined]  # as of any object


def load_code(data: bytes, filename: str, lines: list[str]) -> types.CodeType:
    """Code, with the source that it has where it comes from: a cell of a notebook is in no file."""
    if lines:
        linecache.cache[filename] = len(lines), None, lines, filename
    return marshal.loads(data)  # type: ignore[no-any-return]  # noqa: S302  # see above
