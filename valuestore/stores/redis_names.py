"""RedisNames: what things are called on a Redis server.

A value is one string, verbatim, at ``<prefix>/<key>``. Beside the values are three names that no key can
have, since a key has no empty segment::

    <prefix>//index      sorted set of the keys, all with score 0, so that a listing costs what it returns
    <prefix>//about      hash: key -> what ``redis_about`` says
    <prefix>//tmp/<id>   a large value on its way in or out; it expires

Without a prefix the name of a value is its key, and the three begin with one slash.
"""

from __future__ import annotations

import re
import uuid
from contextlib import suppress

from valuestore.errors import BadKey
from valuestore.stores.base import check_key, check_prefix

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
