"""Systems: valuestore and its peers behind one protocol, one file each.

Each is used with the settings that it has when nobody sets any. Loaded in the measured process alone.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

NAMES = ("valuestore", "redun", "joblib", "diskcache")
"""valuestore first: the others are compared with it. A name is both the module here and the package."""


class System(Protocol):
    """One system, open in a folder of its own; a new object in every process."""

    def __init__(self, folder: str) -> None:
        """Open, making what is not there."""

    def fan_out(self, xs: list[int]) -> int:
        """The total of the leaves of ``xs``, each computed at most once ever."""

    def put(self, values: list[bytes]) -> list[str]:
        """Keep the values, one call each; return the keys that ``get`` takes."""

    def get(self, keys: list[str]) -> list[bytes]:
        """The values again, one call each."""

    def close(self) -> None:
        """When it returns, everything is kept."""


def is_installed(name: str) -> bool:
    """Whether the package is there. Does not import it."""
    return find_spec(name) is not None


def system_class(name: str) -> type[System]:
    """The class for that name; imports the package."""
    return cast(type[System], import_module(f"benchmarks.systems.{name}").SYSTEM)
