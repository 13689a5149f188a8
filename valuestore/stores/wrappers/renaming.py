"""Renaming: stores that find each key under another name in another store. Prefixed and Routed are such.

They say where a key is and what a name is called from outside; this says the rest, errors included.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from valuestore.errors import AlreadyExists, BadKey, NotFound, SizeMismatch, StoreError, TooLarge
from valuestore.stores.base import Page, Stat, Store, check_key, check_prefix
from valuestore.stores.wrappers.base import Answer, Ask, Through, Verb, Wrapper

_OF_A_KEY = (AlreadyExists, BadKey, NotFound, SizeMismatch, TooLarge)


class Renaming(Through):
    """Keys by other names. ``list`` is left to the subclass."""

    @abstractmethod
    def _locate(self, keys: Sequence[str]) -> tuple[Store, Sequence[str]]:
        """The one store that has the keys, and their names there. Raises: BadKey, StoreClosed."""

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        """As everywhere, for keys that lie in one store; what is answered speaks of them as they are here."""
        store, names = self._locate(keys)
        outside = dict(zip(names, keys, strict=True))
        try:
            answer: Any = ask(store, names)
        except _OF_A_KEY as error:
            if (said := self._said_outside(error, outside, store)) is None:
                raise
            raise said from error
        if isinstance(answer, Stat):  # of the key, or of the target
            answer = replace(answer, key=keys[-1])
        elif isinstance(answer, set):
            answer = {outside[name] for name in answer}
        elif verb == "put_many":
            answer = [replace(known, key=key) for known, key in zip(answer, keys, strict=True)]
        return answer  # type: ignore[no-any-return]  # of the kind that it was

    def _said_outside(self, error: StoreError, outside: Mapping[str, str], store: Store) -> StoreError | None:
        """The error with the keys as they are known here; None if it says the same, or is of no such key."""
        name, *facts = error.args
        key = outside.get(name) if isinstance(name, str) else None
        if key is None or (key == name and facts[0] != store.url):
            return None
        where: Sequence[Any] = [self.url if fact == store.url else fact for fact in facts]
        return None if (key, where) == (name, facts) else type(error)(key, *where)


# --- Prefixed: the part of a store below a prefix, as a store of its own.


class Prefixed(Renaming, Wrapper):
    """Keys are those of the store below that start with ``prefix/``, without that.

    No key reaches anything beside them. The prefix counts towards the length of a key, so the longest here
    is shorter by it. Raises: BadKey for a prefix that is no key; an outer slash at its end is taken off.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        super().__init__(store)
        self._prefix = check_key(prefix.removesuffix("/")) + "/"

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        after = None if cursor is None else self._prefix + cursor
        page = self._store.list(self._prefix + prefix, limit=limit, cursor=after)
        skip = len(self._prefix)
        return Page([key[skip:] for key in page.keys], page.cursor and page.cursor[skip:])

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        below = self._store.scan(self._prefix + check_prefix(prefix))
        return (replace(known, key=known.key[len(self._prefix) :]) for known in below)

    def folders(self, prefix: str = "") -> Iterator[str]:
        below = self._store.folders(self._prefix + check_prefix(prefix))
        return (folder[len(self._prefix) :] for folder in below)

    @property
    def url(self) -> str:
        return f"{self._store.url.rstrip('/')}/{self._prefix.removesuffix('/')}"

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "prefix": self._prefix}

    def _locate(self, keys: Sequence[str]) -> tuple[Store, Sequence[str]]:
        if keys:
            self._check_open()
        return self._store, [self._prefix + check_key(key) for key in keys]
