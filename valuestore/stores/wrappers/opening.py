"""Opening: the payload store that the settings of a repository name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from valuestore.config import Settings
from valuestore.errors import ConfigError
from valuestore.permissions import file_mode_in
from valuestore.stores import wrappers
from valuestore.stores.base import Store
from valuestore.stores.files.store import FileStore
from valuestore.stores.open import open_store

if TYPE_CHECKING:
    from valuestore.observe import Observer

PAYLOADS = "payloads"
"""The folder beside the database, where no other place is named."""


def check_payloads(given: object) -> None:
    """Raises: ConfigError for what is no place of payloads. Opens nothing."""
    if isinstance(given, Mapping):
        wrappers.check_config(given, name="payloads")
    elif not isinstance(given, str | Store):
        raise ConfigError("payloads", f"{type(given).__name__} is not a URL, a path, a table or a Store")


def open_payloads_of(folder: Path, settings: Settings, observers: tuple[Observer, ...]) -> Store:
    """The payload store of the repository in ``folder``. Raises: ConfigError; StoreError."""
    given = settings.payloads
    if isinstance(given, Mapping):  # payloads never change under their key, so a cache need not ask
        base = None if settings.folder is None else str(settings.folder)
        store = wrappers.store_from_config(
            given, folder=base, observers=observers, others_write=False, name="payloads"
        )
        observers = ()  # they hear of it by now
    elif isinstance(given, Store):
        store = given
    elif given:
        store = open_payloads(str(given), settings.shared)
    else:
        mode = file_mode_in(folder, shared=settings.shared)
        store = FileStore((folder / PAYLOADS).resolve(), durability=settings.durability, file_mode=mode)
    store = wrappers.Observed(store, *observers) if observers else store
    seconds = settings.payload_retry_seconds if _is_on_server(given) else 0
    return wrappers.Retrying(store, attempts=None, seconds=seconds) if seconds else store


def is_within_reach(settings: Settings) -> bool:
    """Whether others than this user may write to the database or the payloads."""
    has_server = settings.database != "" and not settings.database.startswith("sqlite")
    return bool(settings.shared) or has_server or _is_on_server(settings.payloads)


def _is_on_server(payloads: object) -> bool:
    if isinstance(payloads, Mapping):
        on_server = payloads.get("type", "file") not in ("file", "memory")
        return on_server or any(map(_is_on_server, payloads.values()))
    if isinstance(payloads, list | tuple):
        return any(map(_is_on_server, payloads))
    url = payloads.url if isinstance(payloads, Store) else payloads
    return isinstance(url, str) and "://" in url and not url.startswith(("file://", "memory://"))


def open_payloads(url: str, shared: bool | None) -> Store:
    """The store of a URL or path; a folder gets the modes of a repository's."""
    if _is_on_server(url) or url.startswith("memory:"):
        return open_store(url)
    return open_store(url, file_mode=file_mode_in(folder_of(url), shared=shared))


def folder_of(url: str) -> str:
    """The folder that a path, or the URL of a local store, names; it need not be UTF-8."""
    return unquote(url.removeprefix("file://localhost").removeprefix("file://"), errors="surrogateescape")
