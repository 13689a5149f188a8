"""Trace: which of the user's own code the bodies of a task reach as they run, whether named in it or not.

Two tools of ``sys.monitoring``. "discover" hears once of each code object of the process, and never again
of a library's; "trace" hears of each start of the user's own code, until it is hot. What starts in a thread
that runs a body goes to that body; what starts in any other may have been asked for by any body, and goes
to all that run. Armed when the first body runs. What is made of it is members.py's affair.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from _thread import get_ident
from collections.abc import Mapping
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from valuestore.lazy import renew_after_fork
from valuestore.values.code.ownership import is_own, is_own_file

HOT = 1000
"""Reports of a code object after which it is not listened to, but in bodies that have not met it yet."""
_TOOLS = (3, 4, 5)  # lower ones are for debuggers, coverage and profilers, who may come later
_monitoring: Any = getattr(sys, "monitoring", None)
_EVENTS = (_monitoring.events.PY_START, _monitoring.events.PY_RESUME) if _monitoring else ()


def trace_refused() -> str:
    """Why nothing is traced here; empty where it is, or would be as soon as a body runs."""
    if _monitoring is None:
        return f"Python {sys.version_info[0]}.{sys.version_info[1]} cannot tell what runs; 3.12 can"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "this Python runs without its lock"
    if _tracer.tools or len(free := _free_tools()) >= len(_EVENTS):
        return ""
    held = {_monitoring.get_tool(tool) for tool in _TOOLS if tool not in free}
    return f"the tools of sys.monitoring are taken, by {', '.join(sorted(map(str, held)))}"


@dataclass(slots=True, eq=False)
class Place:
    """Where a code object was met: the name of its module, and what it was called on, if it has no file."""

    code: weakref.ref[CodeType]
    module: str | None
    owner: type | None
    reports: int = 0


class Reach:
    """What the bodies of one task version reach in this process. ``static`` is what its identity has.

    Code objects are by their ``id``: those of two files may be equal.
    """

    __slots__ = ("codes", "round", "static")

    def __init__(self, static: Mapping[int, CodeType]) -> None:
        self.static = static
        self.codes: dict[int, CodeType] = {}
        self.round = -1

    def __enter__(self) -> None:
        """A body begins in this thread.

        Who cools code changes the round before he tells all that run: one or the other is seen here.
        """
        _tracer.running.setdefault(get_ident(), []).append(self)
        if self.round != _tracer.round:
            _tracer.begin(self)

    def __exit__(self, *_: object) -> None:
        _tracer.end()


class _Tracer:
    """The tools of this process, and who runs."""

    def __init__(self) -> None:
        self.tools: tuple[int, ...] = ()
        self.places: dict[int, Place] = {}
        self.running: dict[int, list[Reach | None]] = {}
        """By thread: the bodies in it, the innermost last; None where what runs is nobody's."""
        self.hot: dict[int, CodeType] = {}
        self.round = 0
        self.renew()

    def renew(self) -> None:
        """Of the threads of a process that forked, the child has one."""
        self.lock = threading.RLock()  # a finalizer that runs while it is held may be own code
        ident = get_ident()
        self.running = {ident: self.running[ident]} if ident in self.running else {}

    def begin(self, reach: Reach) -> None:
        """Listen again to what is hot and new to it; for the first one, begin to listen at all."""
        with self.lock:
            reach.round = self.round
            if not self.tools and not self.arm():
                return
            for key in self.hot.keys() - reach.codes.keys() - reach.static.keys():
                self.listen(self.hot.pop(key))

    def end(self) -> None:
        bodies = self.running[get_ident()]
        bodies.pop()
        if not bodies:
            del self.running[get_ident()]

    # --- what Python tells --------------------------------------------------------------------

    def arm(self) -> bool:
        if trace_refused():
            return False
        self.tools = tuple(_free_tools()[: len(_EVENTS)])
        for tool, heard in zip(self.tools, (self.discovered, self.started), strict=True):
            _monitoring.use_tool_id(tool, "valuestore")
            for event in _EVENTS:
                _monitoring.register_callback(tool, event, heard)
        _monitoring.set_events(self.tools[0], sum(_EVENTS))
        atexit.register(self.disarm)
        return True

    def disarm(self) -> None:
        with self.lock:
            for tool in self.tools:
                _monitoring.set_events(tool, 0)
                for event in _EVENTS:  # those of single code objects last longer than the tool
                    _monitoring.register_callback(tool, event, None)
                _monitoring.free_tool_id(tool)
            self.tools = ()

    def discovered(self, code: CodeType, _offset: int) -> object:
        """Code starts that never did before."""
        try:
            if id(code) not in self.places:
                frame = sys._getframe(1)
                name = frame.f_globals.get("__name__")
                if _is_own_code(code, name):
                    owner = _owner(code, frame.f_locals) if code.co_filename.startswith("<") else None
                    self.met(code, name, owner)
            if id(code) in self.places:
                self.report(code)
        except Exception:  # noqa: BLE001, S110  # nobody can do anything about it where this is called
            pass
        return _monitoring.DISABLE

    def met(self, code: CodeType, module: str | None, owner: type | None) -> None:
        key = id(code)
        forget = self.places.pop
        self.places[key] = Place(weakref.ref(code, lambda _: forget(key, None)), module, owner)
        self.listen(code)

    def started(self, code: CodeType, _offset: int) -> object:
        """The user's own code starts, or goes on after a ``yield``."""
        try:
            self.report(code)
            place = self.places[id(code)]
            place.reports += 1
            if place.reports >= HOT:
                self.cool(code, place)
        except Exception:  # noqa: BLE001, S110  # as above
            pass
        return None

    def report(self, code: CodeType) -> None:
        if bodies := self.running.get(get_ident()):
            if (reach := bodies[-1]) is not None:
                reach.codes[id(code)] = code
        else:
            self.report_to_all(code)

    def report_to_all(self, code: CodeType) -> None:
        for bodies in list(self.running.values()):
            for reach in bodies:
                if reach is not None:
                    reach.codes[id(code)] = code

    def listen(self, code: CodeType) -> None:
        _monitoring.set_local_events(self.tools[1], code, sum(_EVENTS))

    def cool(self, code: CodeType, place: Place) -> None:
        """Hear no more of it, since whoever runs is taken to have reached it.

        Under the lock, so that a body begins before, and is among them, or after, and listens again.
        """
        with self.lock:
            _monitoring.set_local_events(self.tools[1], code, 0)
            place.reports = 0
            self.hot[id(code)] = code
            self.round += 1
            self.report_to_all(code)


_tracer = _Tracer()
renew_after_fork(lambda: _tracer.renew())


class nobodys:  # noqa: N801  # read as a statement: with nobodys():
    """What runs in this thread meanwhile is nobody's: own code that valuestore itself calls."""

    __slots__ = ()

    def __enter__(self) -> None:
        _tracer.running.setdefault(get_ident(), []).append(None)

    def __exit__(self, *_: object) -> None:
        _tracer.end()


def reached_too(codes: Mapping[int, CodeType]) -> None:
    """Have the body that runs in this thread, if one does, reach this code as well."""
    bodies = _tracer.running.get(get_ident())
    if bodies and (reach := bodies[-1]) is not None:
        reach.codes.update(codes)


def reached_function(function: FunctionType) -> None:
    """The same of a function that is known without being called."""
    if _tracer.tools:  # else no body is traced yet
        code = function.__code__
        if place_of(code) is None:
            _tracer.met(code, function.__module__, None)
        reached_too({id(code): code})


def place_of(code: CodeType) -> Place | None:
    return _tracer.places.get(id(code))


def _free_tools() -> list[int]:
    return [tool for tool in _TOOLS if _monitoring.get_tool(tool) is None]


def _is_own_code(code: CodeType, module: Any) -> bool:
    """By its module; code of no module by its file, and what has none either if nothing says otherwise."""
    if isinstance(module, str) and module in sys.modules:
        return is_own(module)
    if code.co_filename.startswith("<"):
        return code.co_filename == "<string>" and not str(module).startswith("namedtuple_")
    return is_own_file(code.co_filename)


def _owner(code: CodeType, local: Mapping[str, Any]) -> type | None:
    """The class that has generated code, such as a dataclass's ``__init__``, as a method."""
    if not code.co_argcount:
        return None
    first = local.get(code.co_varnames[0])
    for cls in getattr(first if isinstance(first, type) else type(first), "__mro__", ()):
        for value in list(vars(cls).values()):
            made = getattr(value, "__func__", value)
            while made is not None and getattr(made, "__code__", None) is not code:
                made = getattr(made, "__wrapped__", None)  # by what else was generated, as for __repr__
            if made is not None:
                return cls  # type: ignore[no-any-return]
    return None
