"""Settings: defaults < file < environment < arguments. The only reader of ``os.environ``.

The file is ``valuestore.toml`` in the repository's folder; environment variables are ``VALUESTORE_`` and
the setting's name in capitals.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from valuestore.errors import ConfigError

FILE_NAME = "valuestore.toml"
_PREFIX = "VALUESTORE_"


@dataclass(frozen=True)
class Settings:
    """How a repository is opened.

    ``database``              URL of the metadata database; empty: a SQLite file in the folder
    ``payloads``              URL of the payload store; empty: files in the folder
    ``digest``                algorithm of a new repository; an existing one keeps its own
    ``inline_max_bytes``      payloads up to this size are kept in the database
    ``busy_timeout_seconds``  how long to wait for a locked database
    ``durability``            ``fast``: safe against killed processes; ``full``: also against power loss
    """

    database: str = ""
    payloads: str = ""
    digest: str = "xxh3-128"
    inline_max_bytes: int = 8192
    busy_timeout_seconds: float = 60.0
    durability: str = "fast"

    def __post_init__(self) -> None:
        if self.durability not in ("fast", "full"):
            raise ConfigError("durability", f"{self.durability!r} is neither 'fast' nor 'full'")
        if self.inline_max_bytes < 0:
            raise ConfigError("inline_max_bytes", "is negative")


def load_settings(folder: Path, arguments: Mapping[str, Any]) -> Settings:
    """The settings in force for the repository in ``folder``. Raises: ConfigError naming the setting."""
    merged: dict[str, Any] = {}
    known = {field.name: type(field.default) for field in fields(Settings)}
    file = folder / FILE_NAME
    for source, given in (
        (str(file), _read(file)),
        ("the environment", _from_environment(known)),
        ("the arguments", {name: value for name, value in arguments.items() if value is not None}),
    ):
        for name, value in given.items():
            if name not in known:
                raise ConfigError(name, f"{source} sets it, but there is no such setting")
            merged[name] = _converted(name, value, known[name])
    return Settings(**merged)


def environment(name: str) -> str | None:
    """The value of ``VALUESTORE_<NAME>``, or None."""
    return os.environ.get(_PREFIX + name.upper())


def _from_environment(known: Mapping[str, type]) -> dict[str, str]:
    return {name: text for name in known if (text := environment(name)) is not None}


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from error


def _converted(name: str, value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except (TypeError, ValueError) as error:
        raise ConfigError(name, f"{value!r} is no {kind.__name__}") from error
