"""Settings: defaults < file < environment < arguments. The only reader of ``os.environ``.

The file is ``valuestore.toml`` in the repository's folder; environment variables are ``VALUESTORE_`` and
the setting's name in capitals. What a setting may be is checked here, as it is read; what may stand in the
table of ``payloads``, by ``stores.wrappers.store_from_config``, with the same ``Kind``.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from valuestore.errors import ConfigError
from valuestore.permissions import file_mode_in, make_file

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
    ``database_password_file``  file with the password of the database; or set VALUESTORE_DATABASE_PASSWORD
    ``tags``                  labels of every execution, as the table ``[tags]``
    ``observe``               which observers of ``observe`` hear of it, as the table ``[observe]``
    ``trust``                 whose unsigned values are loaded, as the table ``[trust]``: see docs/trust.md
    ``trace``                 whether code that bodies reach when they run counts: see docs/identity.md
    ``durability``            ``fast``: safe against killed processes; ``full``: also against power loss

    ``folder`` is no setting: what relative paths in a table of ``payloads`` are relative to.
    """

    database: str = field(default="", repr=False)
    payloads: object = field(default="", repr=False)
    digest: str = ""
    shared: bool | None = None
    inline_max_bytes: int = 8192
    busy_timeout_seconds: float = 60.0
    statement_timeout_seconds: float = 60.0
    database_password_file: str = ""
    durability: str = "fast"
    trace: bool = True
    tags: Mapping[str, Any] = field(default_factory=dict)
    observe: Mapping[str, bool] = field(default_factory=dict)
    trust: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None


# --- Kind: what a setting may be


@dataclass(frozen=True)
class Kind:
    """What a setting takes: values of ``types`` that ``fits`` says yes to; ``words`` say it to people."""

    words: str
    types: tuple[type, ...]
    fits: Callable[[Any], bool] = lambda _: True
    is_path: bool = False
    is_secret: bool = False

    def check(self, setting: str, value: Any) -> Any:
        """The value; numbers that may be fractions as float. Raises: ConfigError, without a secret in it."""
        is_flag = isinstance(value, bool) and bool not in self.types  # which Python counts as an int
        fits = not is_flag and isinstance(value, self.types) and self.fits(value)
        if not fits:
            shown = type(value).__name__ if self.is_secret else _shortened(repr(value))
            raise ConfigError(setting, f"{shown} is not {self.words}")
        return float(value) if float in self.types else str(os.fspath(value)) if self.is_path else value


TEXT = Kind("text", (str,))
SECRET = Kind("text", (str,), is_secret=True)
PATH = Kind("a path", (str, os.PathLike), is_path=True)
FLAG = Kind("true or false", (bool,))
COUNT = Kind("a whole number, 0 or more", (int,), lambda value: value >= 0)
POSITIVE = Kind("a whole number above 0", (int,), lambda value: value > 0)
SECONDS = Kind("a number above 0", (int, float), lambda value: 0 < value < float("inf"))
LIST = Kind("a list", (list, tuple))
TABLE = Kind("a table", (Mapping,))

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


def one_of(*words: str) -> Kind:
    """Text that is one of these."""
    return Kind(f"one of {', '.join(words)}", (str,), words.__contains__)


_KINDS: Mapping[str, Kind] = {
    "database": SECRET,
    "payloads": Kind("a URL, a path or a table", (str, Mapping)),
    "digest": TEXT,
    "shared": FLAG,
    "inline_max_bytes": COUNT,
    "busy_timeout_seconds": Kind(
        "a number, 0 or more", (int, float), lambda value: 0 <= value < float("inf")
    ),
    "statement_timeout_seconds": SECONDS,
    "database_password_file": PATH,
    "durability": one_of("fast", "full"),
    "trace": FLAG,
    "tags": TABLE,
    "observe": TABLE,
    "trust": TABLE,
}
_OTHERS = ("cache", "contact_hosts", "database_password", "debug", "key_file", "repository", "safe_folders")
"""What else of the environment is ours, beside the settings."""


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
    near = _nearest(str(name), known)
    hint = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(known))}"
    return ConfigError(setting, f"{problem}; {hint}")


def _nearest(name: str, known: Iterable[str], likeness: float = 0.6) -> str | None:
    from difflib import get_close_matches  # late: only a mistake needs it

    return next(iter(get_close_matches(name, list(known), 1, likeness)), None)


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


# --- reading and writing


def load_settings(folder: Path, arguments: Mapping[str, Any]) -> Settings:
    """The settings in force for the repository in ``folder``. Raises: ConfigError naming the setting.

    Relative paths in the file are relative to ``folder``; ``~`` is this user's home folder everywhere.
    """
    file = folder / FILE_NAME
    merged: dict[str, Any] = {}
    for source, given, base in (
        (str(file), _read(file), Path(os.path.abspath(folder))),
        ("the environment", _from_environment(), None),
        ("the arguments", {name: value for name, value in arguments.items() if value is not None}, None),
    ):
        for name, value in given.items():
            if name not in _KINDS:
                problem = f"there is no such setting; {source} must not set it"
                raise unknown(name, name, _KINDS, problem)
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
    if name == "observe":
        return check_table("observe", value, OBSERVERS)
    if name == "trust":
        return check_table("trust", value, TRUST)
    if name == "database" and (found := _SQLITE_FILE.fullmatch(value)):
        return found[1] + placed(name, found[2], base) + found[3]
    is_path = "://" not in value if name == "payloads" and isinstance(value, str) else _KINDS[name].is_path
    return placed(name, value, base) if is_path else value


def write_setting(folder: Path, name: str, value: str) -> None:
    """Set one setting in the file of the repository in ``folder``; its other lines stay as they are.

    Raises: ConfigError, as ``check_writable`` does.
    """
    file = folder / FILE_NAME
    text = check_writable(folder, name, value)
    temporary = file.with_name(f".{FILE_NAME}.{os.getpid()}")
    mode = file.stat().st_mode & 0o777 if file.exists() else file_mode_in(folder)
    make_file(temporary, mode)
    temporary.write_bytes(text.encode())
    temporary.replace(file)


def check_writable(folder: Path, name: str, value: str) -> str:
    """The text of the file with the setting in it, if that can be had by changing one line.

    Raises: ConfigError if there is a table, or the line is not found.
    """
    file = folder / FILE_NAME
    before = _read(file)
    if isinstance(before.get(name), Mapping):
        raise ConfigError(name, f"it is a table in {file}, which is yours to change: it was left as it is")
    line = f"{name} = {json.dumps(value, ensure_ascii=False)}"  # a JSON string is a TOML basic string
    text = file.read_bytes().decode("utf-8-sig") if file.exists() else ""
    lines = re.finditer(rf"^{name}[ \t]*=[^\r\n]*", text, re.MULTILINE)
    changed = [text[: found.start()] + line + text[found.end() :] for found in lines]
    for candidate in (
        f"{line}\n{text}",
        *changed,
    ):  # the same line may stand in a table, or in a text of several lines
        with suppress(tomllib.TOMLDecodeError):
            if tomllib.loads(candidate) == {**before, name: value}:
                return candidate
    raise ConfigError(name, f"its line is not found in {file}: write {line} there yourself")


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
    given = environment("database_password")
    if given is not None or not settings.database_password_file:
        return given
    path = Path(placed("database_password_file", settings.database_password_file, None))
    try:
        return path.read_text("utf-8").partition("\n")[0].rstrip("\r")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("database_password_file", f"{path} cannot be read: {error}") from error


def payloads_setting(url: str) -> str:
    """The URL, or the whole path, as the settings file keeps it. Raises: ConfigError if it has a password."""
    if "://" not in url:
        return str(Path(placed("payloads", url, None)).resolve())
    if urlsplit(url).password:
        raise ConfigError("payloads", "a password is not written down; set VALUESTORE_PAYLOADS instead")
    return url


def environment(name: str) -> str | None:
    """The value of ``VALUESTORE_<NAME>``, or None."""
    return os.environ.get(_PREFIX + name.upper())


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
        elif name not in _OTHERS and (near := _nearest(name, (*_KINDS, *_OTHERS), 0.85)):
            raise ConfigError(variable, f"no such variable; did you mean {_PREFIX}{near.upper()}?")
    return given


def _value_of(name: str, text: str) -> Any:
    """What the text means in a TOML file."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError as error:
        problem = f"{_shortened(repr(text))} is not {_KINDS[name].words}, written as in TOML"
        raise ConfigError(name, problem) from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))  # editors on Windows begin with a BOM
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise ConfigError(str(file), f"cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(str(file), f"is not TOML: {error}") from error
