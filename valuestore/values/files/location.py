"""Location: where a File, FileSet or Dir is, as text that may be shown, hashed and stored.

The text is a local path or a URL without credentials. What this module remembers besides, in memory alone:
the working URL of each one that the program itself wrote with credentials in it, and which servers the
program named, since what comes out of a store must not make us call servers that it chose (``may_contact``).
Called by external.py and remote_files.py.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections import OrderedDict
from urllib.parse import unquote_plus

from valuestore.config import contact_hosts
from valuestore.errors import BadReference
from valuestore.redaction import suggests_secret

_LOCAL = frozenset({"file", "local"})
_CONTAINER_IN_USER = frozenset({"abfs", "abfss", "az", "adl", "wasb", "wasbs"})
"""Here the part before ``@`` is a container, not a user."""
_ANSWERED_BY_ONE_PROVIDER = frozenset({"s3", "s3a", "gs", "gcs", "az", "adl", "abfs", "abfss", "memory"})
"""Who is called is settled by the program's configuration, not by the URL."""
_WITHOUT_QUERY = frozenset({"s3", "s3a", "gs", "gcs", "memory"})
"""Here ``?`` is a letter like any other, unless what follows is a signature."""

_CHAINED = re.compile(r"::[A-Za-z][A-Za-z0-9+.-]*://")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*\Z")
_HOST = re.compile(r"(arn:.*|\[[^\]]*\](:\d+)?|[^:]*(:\d+)?)\Z", re.S)
_SIGNED = re.compile(
    r"x-(amz|goog)-|(sig|signature|awsaccesskeyid|googleaccessid|policy|key-pair-id)\Z", re.I
)
_WITH_SIGNATURE = "algorithm expires sdd se si sip ske skoid sks skt sktid skv sp spr sr srt ss st sv"
_SIGNATURE_PARTS = frozenset(_WITH_SIGNATURE.split())
"""Parameters that come with a signature and change with every signing."""

_working_urls: dict[str, str] = {}
_users: dict[tuple[str, str], str] = {}
_named: set[tuple[str, str]] = set()
_local: OrderedDict[str, None] = OrderedDict()
_REMEMBERED = 100_000


def written(given: object, what: str) -> str:
    """The location that the program wrote; its server may be contacted from now on. Raises: BadReference."""
    text: object = os.fspath(given) if isinstance(given, os.PathLike) else given
    if not isinstance(text, str) or not text or "\0" in text:
        raise BadReference(_shown(text), f"a {what} needs a non-empty path without NUL")
    path = stored(_at_home(text))
    if not (scheme := scheme_of(path)):
        _local[path] = None
        if len(_local) > _REMEMBERED:
            _local.popitem(last=False)
    else:
        _check_protocol(path, scheme)
        _named.add((scheme, _host_of(path)))
        if path != text and len(_working_urls) < _REMEMBERED:
            _working_urls[path] = text
            if user := _user_of(text):
                _users[scheme, _host_of(path)] = user
    return path


def _at_home(text: str) -> str:
    """With ``~`` for the user's own folder, as in a shell, unless something here has that very name."""
    if text.startswith("~") and not os.path.lexists(text.partition("/")[0]):
        return os.path.expanduser(text)
    return text


def stored(text: str) -> str:
    """The location of stored text, cleaned again: nothing in a store is trusted. Raises: BadReference."""
    if not isinstance(text, str) or not text or "\0" in text:  # type: ignore[redundant-expr]  # data, too
        raise BadReference(_shown(text), "a path is text, not empty, without NUL")
    scheme, separator, rest = text.partition("://")
    if _CHAINED.search(text):
        raise BadReference(_shown(text), "a URL inside another is not supported")
    if not separator or not _SCHEME.match(scheme):
        return lexical(text)
    scheme = scheme.lower()
    if scheme in _LOCAL:
        return lexical(rest)
    if (scheme in ("s3", "s3a") and "?versionId=" in rest) or (scheme == "memory" and "::" in rest):
        # s3fs would give the newest version instead, and fsspec's memory lose the file
        raise BadReference(f"{scheme}://...", "fsspec cannot tell this name from another")
    return _without_secrets(scheme, rest.lstrip("/") if scheme == "memory" else rest)


def scheme_of(path: str) -> str:
    """The scheme of a clean location; empty for a local path."""
    scheme, separator, _ = path.partition("://")
    return scheme if separator and _SCHEME.match(scheme) else ""


def working_url(path: str) -> str:
    """The URL to open: with the credentials that the program wrote, if it did. Never show or keep it."""
    if (url := _working_urls.get(path)) is not None:
        return url
    scheme = scheme_of(path)
    user = _users.get((scheme, _host_of(path))) if scheme and _users else None
    return path if user is None or _user_of(path) else f"{scheme}://{user}@{path[len(scheme) + 3 :]}"


def may_contact(path: str) -> bool:
    """Whether looking at this location calls nobody but whom the program or its settings chose."""
    scheme = scheme_of(path)
    if not scheme or scheme in _ANSWERED_BY_ONE_PROVIDER or (scheme, _host_of(path)) in _named:
        return True
    allowed = contact_hosts()
    return "*" in allowed or _host_of(path) in allowed


def is_named(path: str) -> bool:
    """Whether the program itself wrote this local path lately, or for a URL, named its server."""
    scheme = scheme_of(path)
    return (scheme, _host_of(path)) in _named if scheme else path in _local


def lexical(path: str) -> str:
    """Without ``.`` segments and doubled slashes. ``..`` stays: after a link it is not the parent."""
    root = "/" if path.startswith("/") else ""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return root + posixpath.join(*parts) if parts else root or "."


def joined(folder: str, relative: str) -> str:
    if folder == "." or folder.endswith("://"):
        return relative if folder == "." else folder + relative
    return f"{folder.rstrip('/')}/{relative}"


def _without_secrets(scheme: str, rest: str) -> str:
    address, mark, query = rest.partition("?")
    netloc, slash, tail = address.partition("/")
    user, at, host = netloc.rpartition("@")
    if not _HOST.match(host):
        raise BadReference(f"{scheme}://...", "what stands before the path is no host; encode / and ? in it")
    if scheme in ("http", "https"):
        host, (tail, fragment, _) = host.lower(), tail.partition("#")
        query, mark = ("", "") if fragment else (query.partition("#")[0], mark)
    container = user.partition(":")[0] + at if scheme in _CONTAINER_IN_USER and at else ""
    kept = _kept_query(scheme, query) if mark else None
    end = "" if kept is None or (not kept and query) else f"?{kept}"
    return f"{scheme}://{container}{host}{slash}{tail}{end}"


def _kept_query(scheme: str, query: str) -> str:
    query, hash_sign, fragment = query.partition("#")
    pairs = query.split("&")
    names = [unquote_plus(pair.partition("=")[0]) for pair in pairs]
    signed = any(_SIGNED.match(name) for name in names)
    if scheme in _WITHOUT_QUERY and not signed:
        return query + hash_sign + fragment
    public = []
    for pair, name in zip(pairs, names, strict=True):
        is_part = signed and name.lower() in _SIGNATURE_PARTS
        if not (_SIGNED.match(name) or suggests_secret(name) or is_part):
            public.append(pair)
    return "&".join(public) + hash_sign + fragment


def _host_of(path: str) -> str:
    return path.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[2].lower()


def _user_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0].partition("?")[0].rpartition("@")[0]


def _check_protocol(path: str, scheme: str) -> None:
    try:
        import fsspec  # optional: local paths need none
    except ImportError:
        raise BadReference(path, "URLs need fsspec; pip install 'valuestore[fsspec]'") from None
    if scheme not in fsspec.available_protocols():
        raise BadReference(path, f"fsspec knows no {scheme}://")


def _shown(text: object) -> str:
    if isinstance(text, str) and "://" in text:
        return text.partition("://")[0] + "://..."
    return repr(text)
