"""FsspecPaths: which path of a filesystem a key has, and which key a path.

What a filesystem might take for something else is percent-encoded. Where directories are real, a key may lie
beside keys below it and have long segments, so there a directory's name ends with ``=``, or with ``+`` if the
segment goes on in the next name: ``ab/ab3f`` is ``ab=/ab3f``. On an object store it is ``ab/ab3f``.
Names beginning with ``+`` are no keys: ``+tmp/`` holds what is being written.
"""

from __future__ import annotations

import uuid
from urllib.parse import quote, unquote

from valuestore.errors import BadKey
from valuestore.stores.base import check_key

_NAME_MAX = 200
_SAFE = "!',;@"


class FsspecPaths:
    """Paths below a root, with or without real directories."""

    def __init__(self, root: str, *, directories: bool) -> None:
        self.root = root.rstrip("/")
        self._mark = "=" if directories else ""

    def path(self, key: str) -> str:
        """Where the key's object is."""
        names = [quote(segment, safe=_SAFE) for segment in key.split("/")]
        if self._mark:
            names = ["+/".join(_cut(name)) for name in names]
        return f"{self.root}/{(self._mark + '/').join(names)}"

    def key(self, path: str) -> str | None:
        """The key that has this path; None if none has."""
        if not path.startswith(self.root + "/"):
            return None
        rest = path[len(self.root) + 1 :]
        if rest.startswith("+"):
            return None
        joined = rest.replace("+/", "").replace("=/", "/") if self._mark else rest
        try:
            key = check_key(unquote(joined, errors="strict"))
        except (BadKey, UnicodeDecodeError):
            return None
        return key if self.path(key) == path else None

    def folder(self, prefix: str) -> str:
        """A directory that all keys with that prefix are below."""
        above, slash, _ = prefix.rpartition("/")
        return self.path(f"{above}/x").rpartition("/")[0] if slash and above else self.root

    def temp(self) -> str:
        """A new path that is no key's."""
        return f"{self.root}/+tmp/{uuid.uuid4().hex}"


def _cut(name: str) -> list[str]:
    return [name[at : at + _NAME_MAX] for at in range(0, len(name), _NAME_MAX)]
