"""The one key rule, the same for every store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import islice
from threading import Lock

from valuestore.errors import BadKey
from valuestore.lazy import renew_after_fork
from valuestore.stores.data import Page

KEY_MAX_BYTES = 1024

_KEY = re.compile(r"(?!\.\.?(?:/|\Z))[^/\0]+(?:/(?!\.\.?(?:/|\Z))[^/\0]+)*")


def check_key(key: object) -> str:
    """The key, if it keeps the one key rule; the same for every store.

    Non-empty ``/``-separated UTF-8 of at most 1024 bytes; no empty, ``.`` or ``..`` segment, no NUL, no
    slash at either end. Raises: BadKey, naming the broken rule.
    """
    if isinstance(key, str) and _KEY.fullmatch(key) is not None:
        if len(key) <= KEY_MAX_BYTES // 4:
            if key.isascii() or _is_utf8(key):
                return key
        elif _is_utf8(key) and len(key.encode()) <= KEY_MAX_BYTES:
            return key
    raise BadKey(key, _broken_rule(key))


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _broken_rule(key: object) -> str:
    if not isinstance(key, str):
        return f"a key is a str, not {type(key).__name__}"
    if not key:
        return "a key is not empty"
    if "\0" in key:
        return "a key holds no NUL"
    if not _is_utf8(key):
        return "a key is UTF-8, which has no lone surrogates"
    if len(key.encode()) > KEY_MAX_BYTES:
        return f"a key has at most {KEY_MAX_BYTES} bytes, this one {len(key.encode())}"
    if key.startswith("/") or key.endswith("/"):
        return "a key neither starts nor ends with a slash"
    return "a key has no empty, '.' or '..' segment"


def check_prefix(prefix: object) -> str:
    """The prefix, if some text could start with it. Raises: BadKey for what is not UTF-8 text."""
    if not isinstance(prefix, str) or not _is_utf8(prefix):
        raise BadKey(prefix, "a prefix is UTF-8 text")
    return prefix


# --- Pages: how a listing is asked for, and how one is taken from keys in order.


def check_page(limit: int | None, cursor: str | None) -> None:
    """Raises: ValueError for a limit below 1, and (as BadKey) for a cursor that is no key."""
    if limit is not None and limit < 1:
        raise ValueError(f"limit is at least 1, not {limit}; leave it out to list all keys")
    if cursor is not None:
        check_key(cursor)


def take_page(keys: Iterable[str], limit: int | None) -> Page:
    """The first ``limit`` of ``keys``, which are in byte order and begin after the cursor."""
    if limit is None:
        return Page(list(keys), None)
    taken = list(islice(keys, limit + 1))
    if len(taken) <= limit:
        return Page(taken, None)
    return Page(taken[:limit], taken[limit - 1])


# --- Locks by path, held around a commit: so threads that replace one value see each other's attributes.


_locks = [Lock() for _ in range(64)]


def lock_for(path: bytes) -> Lock:
    """The lock of that path, which some others share."""
    return _locks[hash(path) % 64]


@renew_after_fork
def _renew_locks() -> None:
    _locks[:] = [Lock() for _ in range(64)]
