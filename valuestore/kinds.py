"""Kinds: what a setting may be, and how a mistake is told: its name, its value, what would be right."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from valuestore.errors import ConfigError


@dataclass(frozen=True)
class Kind:
    """What a setting takes: values of ``types`` that ``fits`` says yes to; ``words`` say it to people."""

    words: str
    types: tuple[type, ...]
    fits: Callable[[Any], bool] = lambda _: True
    is_path: bool = False
    is_secret: bool = False

    def takes(self, value: Any) -> bool:
        is_flag = isinstance(value, bool) and bool not in self.types  # which Python counts as an int
        return not is_flag and isinstance(value, self.types) and self.fits(value)

    def check(self, setting: str, value: Any) -> Any:
        """The value; numbers that may be fractions as float. Raises: ConfigError, without a secret in it."""
        if not self.takes(value):
            shown = type(value).__name__ if self.is_secret else shortened(repr(value))
            raise ConfigError(setting, f"{shown} is not {self.words}")
        return float(value) if float in self.types else str(os.fspath(value)) if self.is_path else value


TEXT = Kind("text", (str,))
SECRET = Kind("text", (str,), is_secret=True)
PATH = Kind("a path", (str, os.PathLike), is_path=True)
FLAG = Kind("true or false", (bool,))
COUNT = Kind("a whole number, 0 or more", (int,), lambda value: value >= 0)
POSITIVE = Kind("a whole number above 0", (int,), lambda value: value > 0)
SECONDS = Kind("a number above 0", (int, float), lambda value: 0 < value < float("inf"))
WAIT = Kind("a number, 0 or more", (int, float), lambda value: 0 <= value < float("inf"))
LIST = Kind("a list", (list, tuple))
TABLE = Kind("a table", (Mapping,))


def one_of(*words: str) -> Kind:
    return Kind(f"one of {', '.join(words)}", (str,), words.__contains__)


def all_of(kind: Kind) -> Callable[[Any], bool]:
    return lambda table: all(map(kind.takes, table.values()))


def setting(kind: Kind, *default: Any, is_shown: bool = True) -> Any:
    """A field of a dataclass of settings: of this kind, and what it is unless it is given; else a dict."""
    if default:
        return field(default=default[0], repr=is_shown, metadata={"kind": kind})
    return field(default_factory=dict, metadata={"kind": kind})


def kinds_of(settings: type) -> dict[str, Kind]:
    """The kinds of such a dataclass, by the names of its fields."""
    return {each.name: each.metadata["kind"] for each in fields(settings) if each.metadata}


def check_table(name: str, given: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
    """What is given in the table, each of its kind; None counts as not given. Raises: ConfigError."""
    checked = {}
    for key, value in given.items():
        if key not in kinds:
            raise unknown(f"{name}.{key}" if name else key, key, kinds)
        if value is not None:
            checked[key] = kinds[key].check(f"{name}.{key}" if name else key, value)
    return checked


def unknown(
    setting: str, name: object, known: Iterable[str], problem: str = "no such setting"
) -> ConfigError:
    """The error for a name that is not one of ``known``; it tells the nearest, or all."""
    return ConfigError(setting, f"{problem}; {hint(str(name), sorted(known))}")


def hint(name: str, known: Iterable[str]) -> str:
    """What to say of a name that is not one of these: which is the nearest, or all of them."""
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"


def nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    """Which of the known names is most like this one, if any is."""
    from difflib import get_close_matches  # late: only a mistake needs it

    return next(iter(get_close_matches(name, list(known), 1, likeness)), None)


def shortened(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."
