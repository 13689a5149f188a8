"""Reads: files, folders and programs that a body uses though nobody declared them, as it runs.

An audit hook hears of them in threads that run a body, and in threads that those start. It sees what
Python opens, not what compiled code opens by itself. Nothing is refused: what was heard is for a warning,
since a rerun cannot know of it. What the code says of its surroundings is in surroundings.py.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import sysconfig
import threading
import time
import warnings
from _thread import get_ident
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.machinery import all_suffixes
from pathlib import Path
from typing import Any

from valuestore.config import cache_folder
from valuestore.errors import UndeclaredRead
from valuestore.values.code.ownership import is_own
from valuestore.values.entry import EntryRef
from valuestore.values.files.external import External

Read = tuple[str, str]
"""What kind of thing it is (see ``_SENTENCES``), and its name."""

_SLACK_NS = 10_000_000
"""How far a file system's clock may be behind ours."""
_NOBODYS = frozenset({"site-packages", "dist-packages", "__pycache__", ".valuestore", ".git"})
_SYSTEM = frozenset({"/dev", "/etc", "/proc", "/sys", "/usr"})
_READ_AS_TEXT = frozenset({"linecache", "tokenize", "traceback", "inspect"})
"""Modules of Python that open source to show it."""

_ASKING = frozenset({"environ", "getenv", "expandvars"})
_PASSING_ON = frozenset({"os", "collections.abc", "_collections_abc", "posixpath", "ntpath"})
"""Modules of Python between ``os.environ`` and who asks it."""

_SENTENCES = {
    "file": ("read {name}, which is not among its arguments", "that file changes", "pass File({name!r})"),
    "folder": (
        "listed {name}, which is not among its arguments",
        "that folder changes",
        "pass Dir({name!r})",
    ),
    "program": ("started {name}", "that program or what it reads changes", "pass its files as File"),
    "variable": ("reads the environment variable {name}", "that changes", "pass its value as an argument"),
    "setting": (
        "may depend on {name}, which is set where its code is imported",
        "that changes",
        "set it inside the task, or pass it as an argument",
    ),
    "import": (
        "imports modules by name, with {name}",
        "their code changes",
        "import them by statement, or use Python 3.12, which can tell what ran",
    ),
    "entry": (
        "asked the catalog for {name}, which is not among its arguments",
        "that changes",
        "pass catalog.ref({name!r})",
    ),
    "names": ("asked the catalog for its names {name}", "there are others", "pass what is found"),
    "code": ("ran {name}, which cannot be known again", "the program does", "define it in a module"),
}
"""By kind: what a task did, what is not noticed, what to do about it."""


_SAYING = [True]


def leave_unsaid() -> None:
    """In a worker of another process: what bodies read is said there."""
    _SAYING[0] = False


def warn_of(task: str, reads: Iterable[Read]) -> None:
    """Say each of them. Where warnings are errors they are shown nevertheless: a result is none the worse."""
    for kind, name in reads if _SAYING[0] else ():
        did, changes, advice = (part.format(name=name) for part in _SENTENCES[kind])
        will = "will not run again when" if kind != "code" else "runs again whenever"
        try:
            warnings.warn(f"{task} {did}: it {will} {changes}; {advice}", UndeclaredRead, stacklevel=2)
        except UndeclaredRead as refused:
            warnings.showwarning(refused, UndeclaredRead, __file__, 0)


def leave_out(folder: str | os.PathLike[str]) -> None:
    """Have nothing below ``folder``, such as a repository's, count as a read."""
    _left_out.add(os.path.abspath(folder))
    _outside.cache_clear()


class Reads:
    """What one body reads, from ``begin`` to ``end`` in the thread that runs it."""

    __slots__ = ("_known", "_since", "found")

    def __init__(self) -> None:
        self.found: list[Read] = []
        self._known: set[str] = set()
        self._since = time.time_ns() - _SLACK_NS

    def begin(self) -> Reads | None:
        """Hear what this thread reads. The reads of the body that this one is called in, if it is."""
        ident = get_ident()
        outer = _bodies.get(ident)
        _bodies[ident] = self
        return outer

    def end(self, outer: Reads | None) -> None:
        if outer is None:
            del _bodies[get_ident()]
        else:
            _bodies[get_ident()] = outer

    def undeclared(self, arguments: Iterable[Any]) -> list[Read]:
        """What was read without being one of the arguments, or in a folder that is."""
        declared = set(_paths_in(arguments))
        return [(kind, name) for kind, name in dict.fromkeys(self.found) if not _is_below(name, declared)]

    # --- what is heard ------------------------------------------------------------------------

    def opened(self, path: Any, _mode: Any, flags: Any) -> None:
        full = _inside(path)
        if full is None:
            return
        if flags & (os.O_WRONLY | os.O_TRUNC | os.O_CREAT):
            self._known.add(full)  # what it writes it may read
        self._read("file", full, stat.S_ISREG)

    def listed(self, path: Any) -> None:
        if (full := _inside("." if path is None else path)) is not None:
            self._read("folder", full, stat.S_ISDIR)

    def connected(self, database: Any) -> None:
        name = os.fsdecode(database).removeprefix("file:").partition("?")[0]
        if name and name != ":memory:" and (full := _inside(name)) is not None:
            self._read("file", full, stat.S_ISREG)

    def _read(self, kind: str, full: str, is_kind: Callable[[int], bool]) -> None:
        if full in self._known:
            return
        status = os.stat(full)
        changed = max(status.st_mtime_ns, status.st_ctime_ns)
        if is_kind(status.st_mode) and changed < self._since and not _is_pythons(full):
            self._known.add(full)
            self.found.append((kind, os.path.relpath(full)))

    def ran(self, words: Any) -> None:
        import shlex

        if isinstance(words, str | bytes | os.PathLike):
            words = shlex.split(os.fsdecode(words))
        words = [os.fsdecode(word) for word in words]
        if words[1:2] == ["-c"] and os.path.basename(words[0]).endswith("sh"):
            words = shlex.split(words[2])
        scripts = [word for word in words[1:] if _inside(word) and os.path.isfile(word)]
        starts = next((module for module in _callers() if module not in ("subprocess", "os")), "")
        if words and starts.partition(".")[0] != "valuestore":  # as a task's declared command
            self.found.append(("program", " ".join([os.path.basename(words[0]), *scripts])))

    def thread_started(self, function: Any) -> None:
        thread = getattr(function, "__self__", None)
        if isinstance(thread, threading.Thread):
            vars(thread)["_valuestore_reads"] = self


_bodies: dict[int, Reads] = {}
_hooks: list[object] = []
_left_out = {str(Path(__file__).parents[2])}  # this package, whose bodies may run schedulers

_HEARD: dict[str, Callable[..., None]] = {
    "open": Reads.opened,
    "os.listdir": Reads.listed,
    "os.scandir": Reads.listed,
    "sqlite3.connect": Reads.connected,
    "subprocess.Popen": lambda reads, _executable, words, *_: reads.ran(words),
    "os.system": Reads.ran,
    "os.exec": lambda reads, _path, words, *_: reads.ran(words),
    "os.posix_spawn": lambda reads, _path, words, *_: reads.ran(words),
    "os.spawn": lambda reads, _mode, _path, words, *_: reads.ran(words),
    "_thread.start_new_thread": lambda reads, function, *_: reads.thread_started(function),
    "_thread.start_joinable_thread": lambda reads, function, *_: reads.thread_started(function),
}


def listen() -> None:
    """Have Python tell this process what it opens and which variables it asks for, once and for all."""
    if not _hooks:
        _hooks.append(_heard)
        sys.addaudithook(_heard)
        environment: Any = os.environ
        environment.encodekey = functools.partial(_variable_asked, environment.encodekey)


def note(kind: str, name: str) -> None:
    """Hear that the body that runs here, if one does, has used something."""
    if _bodies and (reads := _bodies.get(get_ident()) or _inherited()):
        reads.found.append((kind, name))


def _variable_asked(encode: Callable[[Any], Any], key: Any) -> Any:
    """In place of what ``os.environ`` passes each name through: of one that own code in a body asks for."""
    if _bodies:
        try:
            frame: Any = sys._getframe(1)
            asks = frame.f_code.co_name == "__getitem__"
            while asks and frame.f_globals.get("__name__") in _PASSING_ON:
                asks = frame.f_code.co_name not in ("__iter__", "copy", "items", "update")
                frame = frame.f_back
            reads = _bodies.get(get_ident()) or _inherited()
            asks = asks and not _ASKING.isdisjoint(frame.f_code.co_names)  # not C code that it calls
            if asks and reads and is_own(frame.f_globals.get("__name__")):
                reads.found.append(("variable", os.fsdecode(key)))
        except Exception:  # noqa: BLE001, S110  # what cannot be looked at is not reported
            pass
    return encode(key)


def _heard(
    event: str,
    args: tuple[Any, ...],
    heard: Mapping[str, Callable[..., None]] = _HEARD,  # bound here: at the end of Python globals go
    bodies: Mapping[int, Reads] = _bodies,
) -> None:
    """The audit hook. An exception here would be one in what the body does."""
    hear = heard.get(event)
    if hear is None or not bodies:
        return
    ident = get_ident()
    if ident in _hearing:  # what looking at it opens is not the body's
        return
    _hearing.add(ident)
    try:
        reads = bodies.get(ident) or _inherited()
        if reads is not None:
            hear(reads, *args)
    except Exception:  # noqa: BLE001, S110  # what cannot be looked at is not reported
        pass
    finally:
        _hearing.discard(ident)


_hearing: set[int] = set()
"""Threads that are in the hook."""


def _inherited() -> Reads | None:
    """What the body reads that this thread was started by, if it still runs."""
    thread = threading._active.get(get_ident())  # type: ignore[attr-defined]  # current_thread() makes one
    reads = getattr(thread, "_valuestore_reads", None)
    return reads if reads in list(_bodies.values()) else None


# --- what counts --------------------------------------------------------------------------------


def _inside(path: Any) -> str | None:
    """The full path of what lies below the working folder and is the user's; None for all else."""
    if isinstance(path, int):
        return None
    folder = os.getcwd()
    full = os.path.abspath(os.fsdecode(path))
    if not _is_below(full, {folder}):
        full = os.path.realpath(full)
    if not _is_below(full, {folder}) or full.startswith(_outside(folder)):
        return None
    return full if _NOBODYS.isdisjoint(full[len(folder) :].split(os.sep)) else None


@functools.lru_cache(maxsize=16)
def _outside(folder: str) -> tuple[str, ...]:
    """Folders in the working folder that are Python's, the system's, temporary, caches or the repository."""
    from tempfile import gettempdir

    from platformdirs import user_cache_dir

    pythons = {sys.prefix, sys.base_prefix, *sysconfig.get_paths().values()}
    others = {gettempdir(), user_cache_dir(), cache_folder() or "/usr", *_SYSTEM, *_left_out}
    prefixes = {os.path.join(os.path.realpath(place), "") for place in pythons | others}
    working = os.path.join(folder, "")
    return tuple(prefix for prefix in prefixes if prefix.startswith(working) and prefix != working)


def _is_below(path: str, folders: set[str]) -> bool:
    full = os.path.abspath(path)
    return any(full == folder or full.startswith(os.path.join(folder, "")) for folder in folders)


def _paths_in(arguments: Iterable[Any]) -> Iterator[str]:
    """The full path of everything among the arguments that is, or may be, one."""
    pending = list(arguments)
    while pending:
        item = pending.pop()
        if isinstance(item, External):
            yield os.path.abspath(_fixed_part(item.path))
        elif isinstance(item, EntryRef):
            yield os.path.abspath(item.name)
        elif isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list | tuple | set | frozenset):
            pending += item


def _fixed_part(pattern: str) -> str:
    """Of a pattern of files, the folder that all of them are in."""
    parts = pattern.split("/")
    fixed = next((count for count, part in enumerate(parts) if set(part) & set("*?[{")), len(parts))
    return "/".join(parts[:fixed]) or "."


def _is_pythons(full: str) -> bool:
    """Whether Python reads it to import it, or to show its source."""
    modules = _callers()
    first = next(modules, "")
    if first.startswith("importlib._bootstrap"):
        return not os.path.isfile(full) or full.endswith(tuple(all_suffixes()))
    return full.endswith(".py") and not _READ_AS_TEXT.isdisjoint({first, *modules})


def _callers(most: int = 6) -> Iterator[str]:
    """The modules of what called the hook, from the innermost on."""
    frame: Any = sys._getframe(1)
    while frame is not None and most:
        module = str(frame.f_globals.get("__name__"))
        if module != __name__:
            yield module
            most -= 1
        frame = frame.f_back
