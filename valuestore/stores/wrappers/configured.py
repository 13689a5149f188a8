"""A store from a configuration: one mapping, as a file or a deployment has it, becomes stores in stores.

::

    {"type": "s3", "container": "results", "endpoint_url": "https://...", "secret_key_path": "/run/key",
     "limits": {"max_get_bytes": 2 ** 30}, "cache": {"max_bytes": 2 ** 28},
     "schemes": {"redis": {"type": "redis", "addr": "cache:6379"}, "memory": "memory://{container}"}}

With ``schemes`` the result is a ``Routed`` whose default is the store that ``type`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from valuestore.errors import ConfigError
from valuestore.stores.base import Store
from valuestore.stores.open import open_store
from valuestore.stores.wrappers.caching import cached
from valuestore.stores.wrappers.limited import Limited
from valuestore.stores.wrappers.routed import Opener, Routed

_OURS = frozenset({"type", "limits", "cache", "schemes", "containers", "dynamic"})


def store_from_config(config: Mapping[str, Any]) -> Store:
    """The store that the configuration describes, opened. Every word in it is checked, and none left over.

    ``type`` is ``memory``, ``file``, ``redis`` or ``s3``. What a type does not know goes to its store as a
    setting. Limits and cache are those of the store itself; each of ``schemes`` may have its own. Raises:
    ConfigError, naming what is wrong.
    """
    store = _open(config)
    limits, cache = _section(config, "limits"), _section(config, "cache")
    _check_names("limits", limits, {"max_get_bytes", "max_put_bytes"})
    _check_names("cache", cache, {"max_bytes"})
    if any(limits.values()):
        store = Limited(store, **limits)
    store = cached(store, cache.get("max_bytes", 0))
    schemes = _section(config, "schemes")
    if schemes or "containers" in config or "dynamic" in config:
        openers = {scheme: _opener(entry) for scheme, entry in schemes.items()}
        options = {name: config[name] for name in ("containers", "dynamic") if name in config}
        store = Routed(openers, default=store, base=_base(store.url), **options)
    return store


@dataclass(frozen=True)
class _Configured:
    """Opens a container with its configuration. One that names its own container or address is shared."""

    config: Mapping[str, Any] = field(repr=False)
    shared: bool

    def __call__(self, container: str, *, create: bool) -> Store:
        given = self.config if self.shared else {**self.config, self._place(): container}
        return store_from_config({**given, **({"create": True} if create else {})})

    def _place(self) -> str:
        return _PLACES[self.config["type"]][0]


def _opener(entry: object) -> Opener | str:
    if isinstance(entry, str):
        return entry
    if not isinstance(entry, Mapping):
        raise ConfigError("schemes", "each is a URL or a configuration of its own")
    kind = _kind(entry)
    return _Configured(entry, any(place in entry for place in _PLACES[kind]))


def _open(config: Mapping[str, Any]) -> Store:
    kind = _kind(config)
    settings = {name: value for name, value in config.items() if name not in _OURS}
    url = _URLS[kind](settings)
    try:
        return open_store(url, **settings)
    except TypeError as error:  # a setting that the store does not have
        raise ConfigError("store", f"type {kind!r}: {str(error).rpartition('() ')[2]}") from None


def _kind(config: Mapping[str, Any]) -> str:
    kind = config.get("type")
    if kind not in _URLS:
        raise ConfigError("type", f"type is of an invalid value [{kind}]; there are {', '.join(_URLS)}")
    return str(kind)


def _memory_url(settings: dict[str, Any]) -> str:
    return f"memory://{settings.pop('container', '')}"


def _file_url(settings: dict[str, Any]) -> str:
    return f"file://{_taken(settings, 'file', 'path')}"


def _redis_url(settings: dict[str, Any]) -> str:
    address = _taken(settings, "redis", "addr")
    scheme = "rediss" if settings.pop("tls", False) else "redis"
    _read_secret(settings, "password", "password_path")
    return f"{scheme}://{address}/{settings.pop('db', 0)}"


def _s3_url(settings: dict[str, Any]) -> str:
    container = _taken(settings, "s3", "container")
    _read_secret(settings, "secret_key", "secret_key_path")
    if "secret_key" in settings:
        settings["secret_access_key"] = settings.pop("secret_key")
    prefix = str(settings.pop("prefix", "")).strip("/")
    return f"s3://{container}/{prefix}" if prefix else f"s3://{container}"


_URLS: dict[str, Callable[[dict[str, Any]], str]] = {
    "memory": _memory_url,
    "file": _file_url,
    "redis": _redis_url,
    "s3": _s3_url,
}
_PLACES = {"memory": ("container",), "file": ("path",), "redis": ("addr",), "s3": ("container",)}


def _taken(settings: dict[str, Any], kind: str, name: str) -> str:
    if not (value := settings.pop(name, None)):
        raise ConfigError(name, f"a store of type {kind!r} needs it")
    return str(value)


def _read_secret(settings: dict[str, Any], name: str, path_name: str) -> None:
    """The secret in the file, if one is named, stands for the one written in the configuration."""
    if not (path := settings.pop(path_name, None)):
        return
    try:
        with open(path, encoding="utf-8") as file:
            settings[name] = file.read().strip()
    except (OSError, ValueError) as error:
        raise ConfigError(path_name, f"{path!r} cannot be read: {error}") from error
    if not settings[name]:
        raise ConfigError(path_name, f"{path!r} is empty")


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = config.get(name) or {}
    if not isinstance(section, Mapping):
        raise ConfigError(name, f"it is a table, not {type(section).__name__}")
    return section


def _check_names(name: str, section: Mapping[str, Any], known: set[str]) -> None:
    for setting in section:
        if setting not in known:
            raise ConfigError(f"{name}.{setting}", f"no such setting; there are {', '.join(sorted(known))}")


def _base(url: str) -> str:
    """What references to the default start with; stores in memory have none."""
    return "" if url.startswith("memory://") else url
