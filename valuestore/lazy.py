"""Lazy: names of a package that load their module on first use, and things made anew in each process.

Importing a package thus costs nothing, and a fork leaves no lock held and no connection shared.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MethodType
from typing import Any, Generic, TypeVar
from weakref import WeakMethod

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
        found = getattr(import_module(f"{package}.{home_of[name]}"), name)
        setattr(sys.modules[package], name, found)
        return found

    public = sorted(home_of)
    return load, lambda: public, public


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
    if isinstance(renew, MethodType):
        _renewals[number] = WeakMethod(renew, lambda _: _renewals.pop(number, None))
    else:
        _renewals[number] = lambda: renew


def _renew_all() -> None:
    for found in list(_renewals.values()):
        renew = found()
        if renew is not None:
            renew()


os.register_at_fork(after_in_child=_renew_all)
