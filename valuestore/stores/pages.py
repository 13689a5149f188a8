"""Pages: how a listing is asked for, and how one is taken from keys in order."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from valuestore.stores.answers import Page
from valuestore.stores.keys import check_key


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
