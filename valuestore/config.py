"""Settings: defaults < file < environment < arguments. The only reader of ``os.environ``.

The file is ``valuestore.toml`` in the repository's folder; environment variables are ``VALUESTORE_`` and
the setting's name in capitals. What a setting may be is checked here, as it is read; what may stand in the
table of ``payloads``, by ``stores.wrappers.store_from_config``, with the same ``Kind``.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from valuestore.errors import ConfigError, StoreUnavailable
from valuestore.kinds import (
    COUNT,
    FLAG,
    PATH,
    POSITIVE,
    SECONDS,
    SECRET,
    TABLE,
    TEXT,
    WAIT,
    Kind,
    all_of,
    check_table,
    kinds_of,
    nearest,
    one_of,
    setting,
    shortened,
    unknown,
)

FILE_NAME = "valuestore.toml"
_PREFIX = "VALUESTORE_"
_SQLITE_FILE = re.compile(r"(sqlite(?:\+\w+)?:///)(?!:memory:|file:)([^?]+)(.*)", re.S)


@dataclass(frozen=True)
class Settings:
    """How a repository is opened.

    ``database``              URL of the metadata database; empty: a SQLite file in the folder
    ``payloads``              the payload store: a URL, a path, a table for ``store_from_config``, or a
                              ``Store``; empty: files in the folder
    ``digest``                algorithm of a new repository; an existing one keeps its own. Empty:
                              ``blake3-256`` where others can write (see docs/trust.md), else ``xxh3-128``
    ``shared``                whether this user's group may read and write what is made; None: as it was
    ``inline_max_bytes``      payloads up to this size are kept in the database
    ``busy_timeout_seconds``  how long to wait for a locked database
    ``statement_timeout_seconds``  how long one statement may take on Postgres, its answer included
    ``payload_retry_seconds``  how long payloads on a server are asked for again when it does not answer
    ``database_password_file``  file with the password of the database; or set VALUESTORE_DATABASE_PASSWORD
    ``tags``                  labels of every execution, as the table ``[tags]``
    ``observe``               which observers of ``observe`` hear of it, as the table ``[observe]``
    ``trust``                 whose unsigned values are loaded, as the table ``[trust]``: see docs/trust.md
    ``keep``                  what a collection leaves, as the table ``[keep]``: see docs/lifecycle.md
    ``tasks``                 options of tasks by their names, as tables ``[tasks."etl.*"]``
    ``executor``, ``workers``  where bodies run, and how many of them at once: see docs/executors.md
    ``executors``             what tasks ask for by name, as tables ``[executors.big]``
    ``limits``                how much there is of what tasks take while they run, as the table ``[limits]``
    ``context``               what ``get_context`` gives, as the table ``[context]``
    ``trace``                 whether code that bodies reach when they run counts: see docs/identity.md
    ``once``                  whether a run waits for calls that other runs are running: see docs/once.md
    ``progress``              whether people are shown how runs go; None: runs that take longer than a second
    ``durability``            ``fast``: safe against killed processes; ``full``: also against power loss

    ``folder`` is no setting: what relative paths in a table of ``payloads`` are relative to.
    """

    database: str = setting(SECRET, "", is_shown=False)
    payloads: object = setting(Kind("a URL, a path or a table", (str, Mapping)), "", is_shown=False)
    digest: str = setting(TEXT, "")
    shared: bool | None = setting(FLAG, None)
    inline_max_bytes: int = setting(COUNT, 8192)
    busy_timeout_seconds: float = setting(WAIT, 60.0)
    statement_timeout_seconds: float = setting(SECONDS, 60.0)
    payload_retry_seconds: float = setting(WAIT, 10.0)
    database_password_file: str = setting(PATH, "")
    durability: str = setting(one_of("fast", "full"), "fast")
    trace: bool = setting(FLAG, True)
    once: bool = setting(FLAG, True)
    progress: bool | None = setting(FLAG, None)
    tags: Mapping[str, Any] = setting(TABLE)
    observe: Mapping[str, bool] = setting(TABLE)
    trust: Mapping[str, Any] = setting(TABLE)
    keep: Mapping[str, Any] = setting(TABLE)
    executor: str = setting(TEXT, "threads")
    workers: int | None = setting(POSITIVE, None)
    executors: Mapping[str, Mapping[str, Any]] = setting(
        Kind("tables by the names of executors", (Mapping,), all_of(TABLE))
    )
    tasks: Mapping[str, Any] = setting(Kind("tables by the names of tasks", (Mapping,), all_of(TABLE)))
    limits: Mapping[str, int] = setting(Kind("whole numbers above 0 by names", (Mapping,), all_of(POSITIVE)))
    context: Mapping[str, Any] = setting(TABLE)
    folder: Path | None = None


OBSERVERS: Mapping[str, Kind] = dict.fromkeys(("log", "opentelemetry", "progress", "prometheus"), FLAG)
"""What ``[observe]`` can switch on, see ``observe.open_observers``."""

TRUST: Mapping[str, Kind] = {
    "classes": Kind(
        "a list of names such as package.module.Class",
        (list, tuple),
        lambda value: all(isinstance(name, str) and "." in name for name in value),
    )
}
"""What ``[trust]`` can say."""

_KINDS = kinds_of(Settings)
_OTHERS = ("cache", "contact_hosts", "database_password", "debug", "key_file", "repository", "safe_folders")
"""What else of the environment is ours, beside the settings."""


# --- reading and writing


def load_settings(folder: Path, arguments: Mapping[str, Any]) -> Settings:
    """The settings in force for the repository in ``folder``. Raises: ConfigError naming the setting.

    Relative paths in the file are relative to ``folder``; ``~`` is this user's home folder everywhere.
    """
    file = folder / FILE_NAME
    merged: dict[str, Any] = {}
    for source, given, base in (
        (str(file), read_file(file), Path(os.path.abspath(folder))),
        ("the environment", _from_environment(), None),
        ("the arguments", {name: value for name, value in arguments.items() if value is not None}, None),
    ):
        for name, value in given.items():
            if name not in _KINDS:
                raise unknown(name, name, _KINDS, f"there is no such setting; {source} must not set it")
            if base is not None and name == "database" and isinstance(value, str) and _has_password(value):
                raise ConfigError(
                    "database",
                    f"a password is not kept in {file}; set VALUESTORE_DATABASE_PASSWORD, "
                    "or database_password_file",
                )
            merged[name] = _checked(name, value, base, is_argument=source == "the arguments")
            if name == "payloads":
                merged["folder"] = base
    return Settings(**merged)


def _checked(name: str, value: Any, base: Path | None, *, is_argument: bool) -> Any:
    if name == "payloads" and is_argument:
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        if not isinstance(value, str | Mapping):
            return value  # a Store perhaps, which nobody here knows: the repository looks at it
    value = _KINDS[name].check(name, value)
    tables = {"observe": OBSERVERS, "trust": TRUST}
    if name in tables:
        return check_table(name, value, tables[name])
    if name == "database" and (found := _SQLITE_FILE.fullmatch(value)):
        return found[1] + placed(name, found[2], base) + found[3]
    is_path = "://" not in value if name == "payloads" and isinstance(value, str) else _KINDS[name].is_path
    return placed(name, value, base) if is_path else value


def placed(setting: str, path: str, folder: str | os.PathLike[str] | None) -> str:
    """The path with ``~`` expanded and, if it is relative, below ``folder``. Raises: ConfigError."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise ConfigError(setting, f"{path!r}: there is no such home folder; ./~ begins a name that has a ~")
    return os.path.join(folder, expanded) if folder is not None and expanded else expanded


def database_password(settings: Settings) -> str | None:
    """The password of the database: ``VALUESTORE_DATABASE_PASSWORD``, else the first line of its file.

    Raises: ConfigError if there is to be a file, and it cannot be read.
    """
    if (given := environment("database_password")) is not None or not settings.database_password_file:
        return given
    path = Path(placed("database_password_file", settings.database_password_file, None))
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("database_password_file", f"{path} cannot be read: {error}") from error


def environment(name: str) -> str | None:
    """The value of ``VALUESTORE_<NAME>``, or None."""
    return os.environ.get(_PREFIX + name.upper())


def clients_are_told(names: re.Pattern[str]) -> bool:
    """Whether the environment has a variable of such a name, which foreign code reads by itself."""
    return any(map(names.fullmatch, os.environ))


def may_draw() -> bool:
    """Whether a terminal is one whose cursor can be moved."""
    return os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def may_colour() -> bool:
    """Whether this user has not switched colours off, see https://no-color.org."""
    return not os.environ.get("NO_COLOR")


def keys_folder() -> Path:
    """Where this user's signing keys are: ``valuestore/keys`` in the configuration folder (XDG, everywhere).

    Raises: ConfigError without a home folder.
    """
    folder = _own_folder()
    if not folder.is_absolute():
        raise ConfigError("keys", "this user has no home folder; set VALUESTORE_KEY_FILE")
    return folder / "keys"


def _own_folder() -> Path:
    from platformdirs.unix import Unix

    return Unix("valuestore").user_config_path


def is_safe(folder: Path) -> bool:
    """Whether this user said that a repository in this folder may be opened, whoever it belongs to.

    By ``VALUESTORE_SAFE_FOLDERS``, separated as in ``PATH``, or a line of ``safe_folders`` in the user's
    configuration folder: the folder, or ``*`` for all. No setting: a repository cannot vouch for itself.
    """
    named = (environment("safe_folders") or "").split(os.pathsep)
    with suppress(OSError, RuntimeError, UnicodeDecodeError):
        named += (_own_folder() / "safe_folders").read_text("utf-8").splitlines()
    wanted = {os.path.realpath(folder), os.path.realpath(folder.parent)}
    names = [os.path.expanduser(name.strip()) for name in named]
    return "*" in names or any(os.path.isabs(name) and os.path.realpath(name) in wanted for name in names)


def key_file() -> Path | None:
    """What ``VALUESTORE_KEY_FILE`` names. No setting of a repository, whose folder others may write to."""
    text = environment("key_file")
    return Path(placed("key_file", text, None)).absolute() if text else None


def contact_hosts() -> frozenset[str]:
    """Servers (``host`` or ``host:port``; ``*``: any) that values from a store may have us call.

    From ``VALUESTORE_CONTACT_HOSTS``, separated by commas. See ``values/files/location.py``.
    """
    names = (environment("contact_hosts") or "").split(",")
    return frozenset(name.strip().lower() for name in names if name.strip())


def cache_folder() -> str | None:
    """This user's folder for what can be made again; None if there is no home, or it is switched off.

    ``VALUESTORE_CACHE`` (``off``: none), else where this system keeps such things (XDG on Linux).
    """
    if (own := environment("cache")) is not None:
        own = os.path.expanduser(own)
        return own if os.path.isabs(own) else None
    from platformdirs import user_cache_dir

    folder = user_cache_dir("valuestore", appauthor=False)
    return folder if os.path.isabs(folder) else None


def _has_password(url: str) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.password) or "password" in parse_qs(parts.query)


def _from_environment() -> dict[str, Any]:
    """The settings there, with the types that the file would give them.

    A variable that is none of ours is let be, unless it is all but one of ours. Raises: ConfigError.
    """
    given: dict[str, Any] = {}
    for variable, text in os.environ.items():
        if not variable.startswith(_PREFIX):
            continue
        name = variable.removeprefix(_PREFIX).lower()
        if name in _KINDS:
            given[name] = text if str in _KINDS[name].types else _value_of(name, text)
        elif name not in _OTHERS and (near := nearest(name, (*_KINDS, *_OTHERS), 0.85)):
            raise ConfigError(variable, f"no such variable; did you mean {_PREFIX}{near.upper()}?")
    return given


def _value_of(name: str, text: str) -> Any:
    """What the text means in a TOML file."""
    import tomllib  # late: most repositories have no file of settings

    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        problem = f"{shortened(repr(text))} is not {_KINDS[name].words}, written as in TOML"
        raise ConfigError(name, problem) from error


def read_file(file: Path) -> dict[str, Any]:
    """What a file of settings says. Raises: ConfigError if it cannot be read; StoreUnavailable."""
    try:
        data = file.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO):  # not a matter of this file
            raise StoreUnavailable(str(file), str(error.strerror)) from error
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from error
    import tomllib

    try:
        return tomllib.loads(data.decode("utf-8-sig"))  # editors on Windows begin with a BOM
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from error
