"""Settings: defaults < file < environment < arguments. The only reader of ``os.environ``.

The file is ``valuestore.toml`` in the repository's folder; environment variables are ``VALUESTORE_`` and
the setting's name in capitals.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

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
    ``statement_timeout_seconds``  how long one statement may take on Postgres, its answer included
    ``database_password_file``  file with the password of the database; or set VALUESTORE_DATABASE_PASSWORD
    ``tags``                  labels of every execution, as the table ``[tags]``
    ``durability``            ``fast``: safe against killed processes; ``full``: also against power loss
    """

    database: str = ""
    payloads: str = ""
    digest: str = "xxh3-128"
    inline_max_bytes: int = 8192
    busy_timeout_seconds: float = 60.0
    statement_timeout_seconds: float = 60.0
    database_password_file: str = ""
    durability: str = "fast"
    tags: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.durability not in ("fast", "full"):
            raise ConfigError("durability", f"{self.durability!r} is neither 'fast' nor 'full'")
        if self.inline_max_bytes < 0:
            raise ConfigError("inline_max_bytes", "is negative")


def load_settings(folder: Path, arguments: Mapping[str, Any]) -> Settings:
    """The settings in force for the repository in ``folder``. Raises: ConfigError naming the setting."""
    merged: dict[str, Any] = {}
    known: dict[str, Any] = {
        each.name: dict if each.default is MISSING else type(each.default) for each in fields(Settings)
    }
    file = folder / FILE_NAME
    for source, given in (
        (str(file), _read(file)),
        ("the environment", _from_environment(known)),
        ("the arguments", {name: value for name, value in arguments.items() if value is not None}),
    ):
        for name, value in given.items():
            if name not in known:
                raise ConfigError(name, f"there is no such setting; {source} must not set it")
            merged[name] = _converted(name, value, known[name])
            if name == "database" and source == str(file) and _has_password(merged[name]):
                raise ConfigError(
                    "database",
                    f"a password is not kept in {file}; set VALUESTORE_DATABASE_PASSWORD, "
                    "or database_password_file",
                )
    return Settings(**merged)


def write_setting(folder: Path, name: str, value: str) -> None:
    """Set one setting in the file of the repository in ``folder``; its other lines stay as they are."""
    file = folder / FILE_NAME
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # a JSON string is a TOML basic string
    text = file.read_text("utf-8") if file.exists() else ""
    setting = re.compile(rf"^{name}\s*=.*$", re.MULTILINE)
    text = setting.sub(lambda _: line, text) if setting.search(text) else f"{line}\n{text}"
    tomllib.loads(text)
    temporary = file.with_name(f".{FILE_NAME}.{os.getpid()}")
    temporary.write_text(text, "utf-8")
    temporary.replace(file)


def database_password(settings: Settings) -> str | None:
    """The password of the database: ``VALUESTORE_DATABASE_PASSWORD``, else the first line of its file.

    Raises: ConfigError if there is to be a file, and it cannot be read.
    """
    given = environment("database_password")
    if given is not None or not settings.database_password_file:
        return given
    path = Path(settings.database_password_file).expanduser()
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("database_password_file", f"{path} cannot be read: {error}") from error


def payloads_setting(url: str) -> str:
    """The URL, or the whole path, as the settings file keeps it. Raises: ConfigError if it has a password."""
    if "://" not in url:
        return str(Path(url).resolve())
    if urlsplit(url).password:
        raise ConfigError("payloads", "a password is not written down; set VALUESTORE_PAYLOADS instead")
    return url


def environment(name: str) -> str | None:
    """The value of ``VALUESTORE_<NAME>``, or None."""
    return os.environ.get(_PREFIX + name.upper())


def keys_folder() -> Path:
    """Where this user's signing keys are: ``valuestore/keys`` in the configuration folder (XDG).

    Raises: ConfigError without a home folder.
    """
    base = os.environ.get("XDG_CONFIG_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "valuestore" / "keys"
    except RuntimeError as error:
        raise ConfigError("keys", "this user has no home folder; set VALUESTORE_KEY_FILE") from error


def key_file() -> Path | None:
    """What ``VALUESTORE_KEY_FILE`` names. No setting of a repository, whose folder others may write to."""
    text = environment("key_file")
    return Path(text).absolute() if text else None


def contact_hosts() -> frozenset[str]:
    """Servers (``host`` or ``host:port``; ``*``: any) that values from a store may have us call.

    From ``VALUESTORE_CONTACT_HOSTS``, separated by commas. See ``values/files/location.py``.
    """
    names = (environment("contact_hosts") or "").split(",")
    return frozenset(name.strip().lower() for name in names if name.strip())


def cache_folder() -> str | None:
    """This user's folder for what can be made again; None if there is no home, or it is switched off.

    ``VALUESTORE_CACHE`` (``off``: none), else as the XDG base directory specification has it.
    """
    if (own := environment("cache")) is not None:
        return own if os.path.isabs(own) else None
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        base = os.path.join(home, "Library/Caches" if sys.platform == "darwin" else ".cache")
    return os.path.join(base, "valuestore")


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.password) or "password" in parse_qs(parts.query)


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
