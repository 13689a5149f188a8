"""Configuration: what may stand in the mapping that ``store_from_config`` makes stores of.

One table says the words of each type of store and of each layer, with the kind of each. All of it is checked,
with what is inside, before a store is opened. Called by ``configured``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from valuestore.config import OBSERVERS, placed
from valuestore.errors import ConfigError
from valuestore.kinds import (
    COUNT,
    FLAG,
    LIST,
    PATH,
    POSITIVE,
    SECONDS,
    SECRET,
    TABLE,
    TEXT,
    Kind,
    check_table,
    one_of,
)
from valuestore.observe import Observer
from valuestore.stores.s3.address import OPTIONS as S3_OPTIONS

_STORE = Kind("a URL, a path or a table", (str, Mapping), is_secret=True)
_SWITCH = Kind("true, false or a table", (bool, Mapping))

_LAYERS: Mapping[str, Kind] = {
    "prefix": TEXT,
    "observe": TABLE,
    "compress": _SWITCH,
    "sized": TABLE,
    "layers": LIST,
    "limits": TABLE,
    "retry": _SWITCH,
    "tiers": LIST,
    "cache": TABLE,
    "readonly": FLAG,
    "schemes": TABLE,
    "containers": LIST,
    "dynamic": FLAG,
}
_TABLES: Mapping[str, Mapping[str, Kind]] = {
    "observe": OBSERVERS,
    "compress": {
        "level": Kind("a whole number from 1 to 22", (int,), lambda level: 1 <= level <= 22),
        "min_bytes": COUNT,
    },
    "sized": {"threshold_bytes": COUNT, "small": _STORE},
    "limits": {"max_get_bytes": COUNT, "max_put_bytes": COUNT},
    "retry": {"attempts": POSITIVE, "seconds": SECONDS},
    "cache": {
        "max_bytes": COUNT,
        "path": PATH,
        "admit_max_bytes": COUNT,
        "fill": FLAG,
        "others_write": FLAG,
    },
}
_NEEDED = {"sized": ("threshold_bytes", "small"), "cache": ("max_bytes",)}
TLS: Mapping[str, Kind] = {
    "ssl_ca_certs": PATH,
    "ssl_certfile": PATH,
    "ssl_keyfile": PATH,
    "ssl_cert_reqs": one_of("none", "optional", "required"),
    "ssl_check_hostname": FLAG,
}
OPTIONS: Mapping[str, Mapping[str, Kind]] = {
    "memory": {},
    "file": {"durability": one_of("fast", "full"), "create": FLAG},
    "redis": {
        "prefix": TEXT,
        "username": TEXT,
        "password": SECRET,
        "password_path": PATH,
        "timeout_seconds": SECONDS,
        "max_value_bytes": POSITIVE,
        **TLS,
    },
    "s3": {"prefix": TEXT, "secret_key": SECRET, **S3_OPTIONS},
}
PLACES: Mapping[str, Mapping[str, Kind]] = {
    "memory": {"container": TEXT},
    "file": {"path": PATH},
    "redis": {"addr": TEXT, "db": COUNT, "tls": FLAG},
    "s3": {"container": TEXT},
}
"""By type: what says where it is, beside its options; the first is needed, by all but memory."""

_TYPE_OF = {"rediss": "redis", "unix": "redis", "redis+unix": "redis"}


@dataclass(frozen=True)
class Given:
    """What is the same for a configuration and for all configurations in it."""

    folder: str | None
    observers: tuple[Observer, ...] = field(repr=False)
    others_write: bool
    name: str

    def check(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration with paths placed, and with tables for layers and for what is inside."""
        kind = type_of(config)
        kinds = {**_LAYERS, **_words_of_place(kind, has_url=config.get("url") is not None)}
        checked = self._table(self.name, config, kinds)
        if "url" not in checked and kind != "memory" and not checked.get(needed := next(iter(PLACES[kind]))):
            raise ConfigError(self.named(needed), f"a store of type {kind!r} needs it")
        if "://" not in checked.get("url", "://"):
            checked["url"] = placed(self.named("url"), checked["url"], self.folder)
        for layer in _TABLES:
            if isinstance(found := checked.get(layer), Mapping) and (found or kinds[layer] is _SWITCH):
                checked[layer] = self._layer(layer, found)
        for layer in ("layers", "tiers"):
            if layer in checked:
                checked[layer] = [self._inside(layer, each) for each in checked[layer]]
        for scheme, entry in checked.get("schemes", {}).items():
            if not isinstance(entry, str):
                self._check_scheme(f"schemes.{scheme}", entry)
        return checked

    def _layer(self, layer: str, found: Mapping[str, Any]) -> dict[str, Any]:
        checked = self._table(self.named(layer), found, _TABLES[layer])
        for word in _NEEDED.get(layer, ()):
            if word not in checked:
                raise ConfigError(f"{self.named(layer)}.{word}", f"{layer} needs it")
        if layer == "sized":
            checked["small"] = self._inside("sized.small", checked["small"])
        return checked

    def _inside(self, name: str, config: Any) -> dict[str, Any]:
        config = _STORE.check(self.named(name), config)
        return self.within(name).check({"url": config} if isinstance(config, str) else config)

    def _check_scheme(self, name: str, entry: object) -> None:
        if not isinstance(entry, Mapping):
            raise ConfigError("schemes", "each is a URL or a configuration of its own")
        kind = type_of(entry)
        by_reference = "url" not in entry and kind != "file"  # each container is a place of its own
        place = next(iter(PLACES[kind])) if by_reference else "url"
        self.within(name).check({place: "container", **entry} if by_reference else entry)

    def within(self, name: str) -> Given:
        """The same for a configuration that is in this one."""
        return replace(self, name=self.named(name))

    def named(self, word: str) -> str:
        return f"{self.name}.{word}".lstrip(".")

    def _table(self, name: str, given: Mapping[str, Any], kinds: Mapping[str, Kind]) -> dict[str, Any]:
        return {
            word: placed(f"{name}.{word}".lstrip("."), value, self.folder) if kinds[word].is_path else value
            for word, value in check_table(name, given, kinds).items()
        }


def _words_of_place(kind: str, *, has_url: bool) -> Mapping[str, Kind]:
    if not has_url:
        return {"type": TEXT, **OPTIONS[kind], **PLACES[kind]}
    return {"url": SECRET, **OPTIONS.get(kind, {"options": TABLE})}


def type_of(config: Mapping[str, Any]) -> str:
    """The type; of a URL, the type of its scheme, or the scheme. Raises: ConfigError."""
    kind, url = config.get("type"), config.get("url")
    if url is not None:
        if kind is not None:
            raise ConfigError("type", "there is a url, which says it: leave one of the two out")
        scheme = url.partition("://")[0].lower() if isinstance(url, str) and "://" in url else "file"
        return _TYPE_OF.get(scheme, scheme)
    if not isinstance(kind, str) or kind not in PLACES:
        known = f"there are {', '.join(PLACES)}, and url for other places"
        raise ConfigError("type", f"type is of an invalid value [{kind}]; {known}")
    return kind
