"""A store from a configuration: one mapping, as a file or a deployment has it, becomes stores in stores.

::

    {"type": "s3", "container": "results", "endpoint_url": "https://...", "secret_key_path": "/run/key",
     "compress": True, "limits": {"max_get_bytes": 2 ** 30}, "retry": {"attempts": 5},
     "cache": {"path": "cache", "max_bytes": 2 ** 33}}

From the place outwards, whatever the order in the mapping: ``prefix``, ``observe``, ``compress``, ``sized``,
``layers``, ``limits``, ``retry``, ``tiers``, ``cache``, ``readonly``; then ``schemes``, with which the result
is a ``Routed`` whose default is all of that. So observers hear what reaches the place, limits count the data
itself, a retry repeats the whole of a put, and a hit in a cache asks none of those below it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from valuestore.errors import ConfigError
from valuestore.lazy import package_missing
from valuestore.observe import Observer, open_observers
from valuestore.stores.base import Store
from valuestore.stores.memory import MemoryStore
from valuestore.stores.open import open_store
from valuestore.stores.wrappers.caching import ADMIT_MAX_BYTES, Cached
from valuestore.stores.wrappers.configuration import OPTIONS, PLACES, TLS, Given, type_of
from valuestore.stores.wrappers.evicting import Evicting
from valuestore.stores.wrappers.layering import Layered
from valuestore.stores.wrappers.limited import Limited
from valuestore.stores.wrappers.observed import Observed
from valuestore.stores.wrappers.readonly import ReadOnly
from valuestore.stores.wrappers.renaming import Prefixed
from valuestore.stores.wrappers.retrying import Retrying
from valuestore.stores.wrappers.routed import Routed
from valuestore.stores.wrappers.sized import Sized

if TYPE_CHECKING:
    from valuestore.stores.wrappers.compressed import Compressed

_CACHE = "valuestore-cache"
"""The folder of a cache, below its path: whatever else is there is not deleted to make room."""


def store_from_config(
    config: Mapping[str, Any],
    *,
    folder: str | None = None,
    observers: Iterable[Observer] = (),
    others_write: bool = True,
    name: str = "",
) -> Store:
    """The store that the configuration describes, opened. Every word in it is checked before one is opened.

    ``type`` is ``memory``, ``file``, ``redis`` or ``s3``; other places have a ``url``, and with a scheme that
    is not one of these a table of ``options``. Relative paths are below ``folder``. ``observers`` are told as
    by ``observe``. ``others_write`` is the default of each cache's, and ``name`` what errors call the
    configuration. Raises: ConfigError, naming what is wrong; BadReference.
    """
    given = Given(folder, tuple(observers), others_write, name)
    checked = given.check(config)
    with ExitStack() as opened:
        store = _Building(given, opened).build(checked)
        opened.pop_all()
    return store


def check_config(config: Mapping[str, Any], *, name: str = "") -> None:
    """Check it and open nothing. Raises: as ``store_from_config``."""
    Given(None, (), True, name).check(config)


class _Building:
    """Opens what was checked, layer by layer. ``opened`` closes all of it again if one cannot be."""

    def __init__(self, given: Given, opened: ExitStack) -> None:
        self._given = given
        self._opened = opened
        self._observers = given.observers

    def build(self, checked: Mapping[str, Any]) -> Store:
        layer = checked.get
        try:
            store = _open(checked)
        except ConfigError as error:
            setting, problem = error.args
            given = _GIVEN.get(setting, setting)
            raise ConfigError(self._given.named(given if given in checked else setting), problem) from error
        self._opened.callback(store.close)
        own = () if "url" in checked else OPTIONS[checked["type"]]  # of a store that its own words place
        if (prefix := layer("prefix", "").strip("/")) and "prefix" not in own:
            store = Prefixed(store, prefix)
        told = (*self._observers, *open_observers(layer("observe", {})))
        if told:
            store = Observed(store, *told)
        if (compress := layer("compress", False)) is not False:
            store = _compressed()(store, **_settings(compress))
        if sized := layer("sized"):
            store = Sized(self.build(sized["small"]), store, sized["threshold_bytes"])
        if below := layer("layers", ()):
            store = Layered(store, *[self.build(one) for one in below])
        if any((limits := layer("limits", {})).values()):
            store = Limited(store, **limits)
        if (retry := layer("retry", False)) is not False:
            store = Retrying(store, **_settings(retry))
        for tier in reversed(layer("tiers", ())):
            store = self._cached(self.build(tier), store, {}, told)
        if (cache := layer("cache", {})) and cache["max_bytes"]:
            place = os.path.abspath(os.path.join(cache.get("path", ""), _CACHE))
            copies = open_store(place) if cache.get("path") else MemoryStore()
            self._opened.callback(copies.close)
            store = self._cached(Evicting(copies, cache["max_bytes"]), store, cache, told)
        if layer("readonly"):
            store = ReadOnly(store)
        return self._routed(checked, store)

    def _cached(
        self, copies: Store, store: Store, cache: Mapping[str, Any], told: tuple[Observer, ...]
    ) -> Store:
        most = min(ADMIT_MAX_BYTES, cache.get("max_bytes", ADMIT_MAX_BYTES))
        return Cached(
            copies,
            store,
            fill=cache.get("fill", True),
            admit_max_bytes=cache.get("admit_max_bytes", most),
            others_write=cache.get("others_write", self._given.others_write),
            observers=told,
        )

    def _routed(self, checked: Mapping[str, Any], store: Store) -> Store:
        options = {name: checked[name] for name in ("containers", "dynamic") if name in checked}
        schemes = checked.get("schemes", {})
        if not schemes and not options:
            return store
        openers = {
            scheme: entry if isinstance(entry, str) else _Configured(entry, self._given.within(scheme))
            for scheme, entry in schemes.items()
        }
        base = "" if store.url.startswith("memory://") else store.url  # stores in memory have none
        return Routed(openers, default=store, base=base, **options)


@dataclass(frozen=True)
class _Configured:
    """Opens a container with its configuration. One that names its own container or address is shared."""

    config: Mapping[str, Any] = field(repr=False)
    given: Given

    @property
    def shared(self) -> bool:
        return "url" in self.config or next(iter(PLACES[self.config["type"]])) in self.config

    def __call__(self, container: str, *, create: bool | None) -> Store:
        kind = type_of(self.config)
        place = {} if self.shared else {next(iter(PLACES[kind])): container}
        creating = {"create": create} if create is not None and "create" in OPTIONS.get(kind, ()) else {}
        return store_from_config(
            {**self.config, **place, **creating},
            folder=self.given.folder,
            observers=self.given.observers,
            others_write=self.given.others_write,
            name=self.given.name,
        )


_GIVEN = {"secret_access_key": "secret_key"}
"""What a configuration calls what a store calls otherwise."""


def _open(checked: Mapping[str, Any]) -> Store:
    kind = type_of(checked)
    known = {**OPTIONS.get(kind, {}), **PLACES.get(kind, {})}
    settings = {name: value for name, value in checked.items() if name in known}
    settings |= checked.get("options", {})
    _read_secret(settings, "password", "password_path")
    _read_secret(settings, "secret_key", "secret_key_path")
    if "secret_key" in settings:
        settings["secret_access_key"] = settings.pop("secret_key")
    if "url" in checked:
        settings.pop("prefix", None)
        url = checked["url"]
    else:
        url = _URLS[kind](settings)
    if tls := {name: settings.pop(name) for name in TLS if name in settings}:  # which a URL alone can say
        url += f"{'&' if '?' in url else '?'}{urlencode(tls)}"
    try:
        return open_store(url, **settings)
    except TypeError as error:  # a setting that the store does not have
        raise ConfigError("options", f"type {kind!r}: {str(error).rpartition('() ')[2]}") from None


def _redis_url(settings: dict[str, Any]) -> str:
    scheme = "rediss" if settings.pop("tls", False) else "redis"
    return f"{scheme}://{settings.pop('addr')}/{settings.pop('db', 0)}"


def _s3_url(settings: dict[str, Any]) -> str:
    prefix = quote(settings.pop("prefix", "").strip("/"))
    return f"s3://{settings.pop('container')}/{prefix}".rstrip("/")


_URLS: dict[str, Callable[[dict[str, Any]], str]] = {
    "memory": lambda settings: f"memory://{settings.pop('container', '')}",
    "file": lambda settings: os.path.abspath(settings.pop("path")),  # and no URL
    "redis": _redis_url,
    "s3": _s3_url,
}


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


def _compressed() -> type[Compressed]:
    try:
        from valuestore.stores.wrappers.compressed import Compressed
    except ModuleNotFoundError as error:
        raise ConfigError("compress", package_missing(error)) from error
    return Compressed


def _settings(switch: Any) -> Mapping[str, Any]:
    return switch if isinstance(switch, Mapping) else {}
