"""One setting in the file of a repository, set by a command: the other lines of the file stay as they are."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from valuestore.config import FILE_NAME, placed, read_file
from valuestore.errors import ConfigError
from valuestore.permissions import file_mode_in, make_file


def write_setting(folder: Path, name: str, value: str) -> None:
    """Set one setting in the file of the repository in ``folder``; its other lines stay as they are.

    Raises: ConfigError, as ``check_writable`` does.
    """
    replace_text(folder / FILE_NAME, check_writable(folder, name, value))


def replace_text(file: Path, text: str) -> None:
    """Have the file hold this text, at once; its mode stays, a new one gets that of its folder."""
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    mode = file.stat().st_mode & 0o777 if file.exists() else file_mode_in(file.parent)
    make_file(temporary, mode)
    temporary.write_bytes(text.encode())
    temporary.replace(file)


def check_writable(folder: Path, name: str, value: str) -> str:
    """The text of the file with the setting in it, if that can be had by changing one line.

    Raises: ConfigError if there is a table, or the line is not found.
    """
    import tomllib

    file = folder / FILE_NAME
    before = read_file(file)
    if isinstance(before.get(name), Mapping):
        raise ConfigError(name, f"it is a table in {file}, which is yours to change: it was left as it is")
    line = f"{name} = {as_toml(name, value)}"
    text = file.read_bytes().decode("utf-8-sig") if file.exists() else ""
    lines = re.finditer(rf"^{name}[ \t]*=[^\r\n]*", text, re.MULTILINE)
    changed = [text[: found.start()] + line + text[found.end() :] for found in lines]
    # the same line may stand in a table, or in a text of several lines
    for candidate in (f"{line}\n{text}", *changed):
        with suppress(tomllib.TOMLDecodeError):
            if tomllib.loads(candidate) == {**before, name: value}:
                return candidate
    raise ConfigError(name, f"its line is not found in {file}: write {line} there yourself")


def as_toml(name: str, value: str) -> str:
    """The text as TOML has it: a JSON string is a basic string. Raises: ConfigError for what is not UTF-8."""
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise ConfigError(name, f"{value!r} is not UTF-8, and cannot be written into a file of settings")
    return json.dumps(value, ensure_ascii=False)


def payloads_setting(url: str) -> str:
    """The URL, or the whole path, as the settings file keeps it. Raises: ConfigError if it has a password."""
    if "://" not in url:
        return str(Path(placed("payloads", url, None)).resolve())
    if urlsplit(url).password:
        raise ConfigError("payloads", "a password is not written down; set VALUESTORE_PAYLOADS instead")
    return url
