"""Lazy: names of a package that load their module on first use, and things made anew in each process.

Importing a package thus costs nothing, and a fork leaves no lock held and no connection shared.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from types import MethodType
from typing import Any, Generic, TypeVar
from weakref import ref

from valuestore.errors import ConfigError

T = TypeVar("T")


def lazy_names(
    package: str, homes: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a package: ``homes`` is module -> its public names.

    Modules are relative to ``package``. Type checkers are told by an import of the same names beside it;
    a test compares the two.
    """
    home_of = {name: module for module, names in homes.items() for name in names.split()}

    def load(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            found = getattr(import_module(f"{package}.{home_of[name]}"), name)
        except ModuleNotFoundError as error:
            raise ConfigError(name, package_missing(error)) from error
        setattr(sys.modules[package], name, found)
        return found

    public = sorted(home_of)
    return load, lambda: public, public


_EXTRAS = {"backports": "zstd", "botocore": "s3", "fsspec": "fsspec", "obstore": "s3", "redis": "redis"}


def package_missing(error: ImportError) -> str:
    """What to say to somebody who lacks a package, and which extra has it."""
    package = str(error.name).partition(".")[0]
    extra = f": install valuestore[{_EXTRAS[package]}]" if package in _EXTRAS else ""
    return f"needs the package {package!r}, which is not installed{extra}"


def this_process() -> str:
    """Which process of all that share a repository this is: host, namespace of process ids, process id."""
    return f"{_where()} {os.getpid()}"


@cache
def _where() -> str:
    try:
        space = os.stat("/proc/self/ns/pid").st_ino  # processes of two containers may have one id
    except OSError:
        space = 0
    return f"{os.uname().nodename} {space}"


def is_known_dead(process: str) -> bool:
    """Whether that was a process of this host, and is no more. Of other hosts nobody knows."""
    where, _, number = process.rpartition(" ")
    if where != _where() or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except OSError as error:  # else it may be somebody else's
        return isinstance(error, ProcessLookupError)
    return False


class PerProcess(Generic[T]):
    """A thing that ``make`` makes when it is first asked for, and again in each child after a fork.

    The child keeps what its parent made as it is: to close it would end it for both. Thread-safe.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}
        self._locks: dict[int, threading.Lock] = {}

    def get(self) -> T:
        """This process's own. Raises: what ``make`` raises."""
        process = os.getpid()
        if process not in self._made:
            with self._locks.setdefault(process, threading.Lock()):
                if process not in self._made:
                    self._made[process] = self._make()
        return self._made[process]

    def take(self) -> T | None:
        """This process's own, if it was made, which is forgotten: for closing it."""
        return self._made.pop(os.getpid(), None)


_renewals: dict[int, Callable[[], Callable[[], object] | None]] = {}
_numbers = itertools.count()


def renew_after_fork(renew: Callable[[], object]) -> None:
    """Have every child of this process call ``renew`` first; a method, for as long as its object lives.

    A thread that held a lock at the fork does not exist in the child, where it would never be released.
    """
    number = next(_numbers)
    if isinstance(renew, MethodType):  # no WeakMethod: what it calls is gone when Python ends
        function = renew.__func__
        owner = ref(renew.__self__, partial(_renewals.pop, number))  # in C: a Ctrl-C would be lost in Python
        _renewals[number] = lambda: None if (found := owner()) is None else MethodType(function, found)
    else:
        _renewals[number] = lambda: renew


def _renew_all() -> None:
    for found in list(_renewals.values()):
        renew = found()
        if renew is not None:
            renew()


os.register_at_fork(after_in_child=_renew_all)
