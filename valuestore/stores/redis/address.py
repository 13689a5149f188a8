"""RedisAddress: which server, database and prefix a URL means, and how to connect there.

::

    redis://[user[:password]@]host[:port][/db][/prefix][?options]      with TLS: rediss://
    unix://[user[:password]@]/path/of/socket[?db=0&prefix=p&options]   or redis+unix://

Without ``db``, it is database 0; so a prefix that begins with a number as its first segment needs the ``db``.
User, password, prefix and options are percent-decoded. Options: ``db``, ``prefix``, ``username``,
``password``, ``timeout_seconds``, ``max_value_bytes``; for TLS also ``ssl_ca_certs``, ``ssl_certfile``,
``ssl_keyfile``, ``ssl_cert_reqs`` and ``ssl_check_hostname``, which redis-py explains.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

import redis
from redis.connection import parse_url

from valuestore.errors import BadKey, BadReference
from valuestore.stores.base import check_key, check_prefix

_PORT = 6379
_NETWORK = ("redis", "rediss")
_SOCKET = ("unix", "redis+unix")
_TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_OPTIONS = {"db", "prefix", "username", "password", "timeout_seconds", "max_value_bytes", *_TLS_OPTIONS}


@dataclass(frozen=True)
class RedisAddress:
    """Where a RedisStore keeps its keys. Of this, only ``url`` and ``prefix`` are fit to be shown."""

    url: str
    prefix: str
    connection_class: type[Any]
    connection: Mapping[str, Any] = field(repr=False)
    """The arguments of the connection class, the password among them."""
    options: Mapping[str, Any] = field(repr=False)
    """All options, those of the store as well."""

    @classmethod
    def read(cls, url: str, given: Mapping[str, Any]) -> RedisAddress:
        """What the URL means; what is ``given`` beside it, and not None, comes first.

        Raises: BadReference, never with the password in it.
        """
        try:
            parts = urlsplit(url)
            _ = parts.port  # which is read first, since it may prove to be half of a password
            return cls._read(parts, _read_options(parts, given))
        except _Problem as problem:
            raise BadReference(_shown(url), str(problem)) from None
        except ValueError:
            reason = "host and port do not parse; is the password percent-encoded?"
            raise BadReference(_shown(url), reason) from None

    def number(self, option: str, default: float) -> float:
        """Raises: BadReference if the option is no positive number."""
        try:
            number = float(self.options.get(option, default))
        except (TypeError, ValueError):
            number = 0
        if not 0 < number < float("inf"):
            raise BadReference(self.url, f"{option} is a positive number, not {self.options[option]!r}")
        return number

    @classmethod
    def _read(cls, parts: SplitResult, options: dict[str, Any]) -> RedisAddress:
        prefix = _read_prefix(options.get("prefix", ""))
        connection = _parsed(parts)
        if not (db := str(options.get("db", "0"))).isdecimal():
            raise _Problem("the database is a number: redis://host:port/0/prefix")
        connection["db"] = int(db)
        connection |= {name: options[name] for name in ("username", "password") if options.get(name)}
        if parts.scheme in _SOCKET:
            url = f"unix://{quote(connection['path'])}?db={connection['db']}"
            url += f"&prefix={quote(prefix)}" if prefix else ""
            return cls(url, prefix, redis.UnixDomainSocketConnection, connection, options)
        host, port = connection["host"], connection["port"]
        if parts.scheme == "rediss":
            connection |= {name: options[name] for name in _TLS_OPTIONS if name in options}
            check = options.get("ssl_check_hostname", options.get("ssl_cert_reqs") != "none")
            connection["ssl_check_hostname"] = str(check).lower() in ("true", "yes", "1")
        url = f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}/{connection['db']}"
        url += f"/{quote(prefix)}" if prefix else ""
        kind = redis.SSLConnection if parts.scheme == "rediss" else redis.Connection
        return cls(url, prefix, kind, connection, options)


class _Problem(Exception):
    """What is wrong with a URL, without the URL."""


def _parsed(parts: SplitResult) -> dict[str, Any]:
    """What redis-py takes from the URL: user, password, host and port or path."""
    scheme, path = ("unix", parts.path) if parts.scheme in _SOCKET else (parts.scheme, "")
    known: dict[str, Any] = dict(parse_url(f"{scheme}://{parts.netloc}{path}"))  # type: ignore[no-untyped-call]  # redis-py has no types here
    known.pop("connection_class", None)
    return known if scheme == "unix" else {"host": "localhost", "port": _PORT, **known}


def _read_options(parts: SplitResult, given: Mapping[str, Any]) -> dict[str, Any]:
    if parts.fragment:
        raise _Problem("write '#' as %23")
    if "@" in parts.path + parts.query:
        raise _Problem("write '@' as %40, and percent-encode the password")
    options: dict[str, Any] = {}
    if parts.scheme in _NETWORK:
        path = unquote(parts.path).removeprefix("/")
        first, _, rest = path.partition("/")  # either of the two may be left out
        options["db"], options["prefix"] = (first, rest) if first.isdecimal() else ("0", path)
    elif parts.scheme not in _SOCKET or parts.hostname or len(parts.path) < 2:
        raise _Problem("it is neither redis://host:port/db/prefix nor unix:///path/of/socket")
    options |= dict(parse_qsl(parts.query, keep_blank_values=True))
    options |= {name: value for name, value in given.items() if value is not None}
    if unknown := options.keys() - _OPTIONS:
        raise _Problem(f"no option {min(unknown)!r}; there are {', '.join(sorted(_OPTIONS))}")
    return options


def _read_prefix(text: str) -> str:
    prefix = text.removesuffix("/")
    try:
        return check_key(prefix) if prefix else ""
    except BadKey as error:
        raise _Problem(f"its prefix is no key: {error.args[1]}") from None


def _shown(url: str) -> str:
    """The URL without what may hold a password, even where it does not parse."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2].partition('?')[0]}"


# --- RedisNames: what things are called on a Redis server.
#
# A value is one string, verbatim, at ``<prefix>/<key>``. Beside the values are three names that no key can
# have, since a key has no empty segment::
#
#     <prefix>//index      sorted set of the keys, all with score 0, so that a listing costs what it returns
#     <prefix>//about      hash: key -> what ``write_about`` says
#     <prefix>//tmp/<id>   a large value on its way in or out; it expires
#
# Without a prefix the name of a value is its key, and the three begin with one slash.


_PATTERN_CHARACTERS = re.compile(r"[*?\[\]\\]")


class RedisNames:
    """The names below a prefix, which is a key or empty."""

    def __init__(self, prefix: str) -> None:
        self.base = f"{prefix}/" if prefix else ""
        """What stands before a key."""
        self.index = f"{self.base}/index"
        self.about = f"{self.base}/about"

    def name(self, key: str) -> str:
        """Where the key's value is. Raises: BadKey."""
        return self.base + check_key(key)

    def key(self, name: bytes) -> str | None:
        """The key that has this name; None if none has."""
        with suppress(UnicodeDecodeError, BadKey):
            return check_key(name.decode().removeprefix(self.base))
        return None

    def pattern(self, prefix: str) -> str:
        """What SCAN takes to find the names of all keys that start with ``prefix``. Raises: BadKey."""
        return _PATTERN_CHARACTERS.sub(r"\\\g<0>", self.base + check_prefix(prefix)) + "*"

    def new_temp(self) -> str:
        return f"{self.base}/tmp/{uuid.uuid4().hex}"  # noqa: S108 - no path
