"""Cached: a store with copies of what is read and written in faster ones, which may fail or forget.

The last store decides everything: what there is, how large it is, who wins. The caches answer reads alone,
so they hold bytes and no attributes. What keeps them from answering with old bytes, in this order: a copy is
dropped before its key changes; a copy made while the key changed is not kept; a copy that cannot be dropped
is not read; and if others write to the store, a copy is kept only if the key is the same before and after.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Literal, NoReturn, TypedDict, Unpack, overload

from valuestore.errors import ConfigError, NotFound, NotSupported, TooLarge
from valuestore.hashing import Bytes
from valuestore.observe import Event, Observer, notify
from valuestore.stores.base import Attrs, Data, Json, SignedUrl, Stat, Store, as_buffer, check_key, find_stat
from valuestore.stores.memory import MemoryStore
from valuestore.stores.wrappers.base import CHANGES, Answer, Ask, Verb, Wrapper, look_ahead, rebuild
from valuestore.stores.wrappers.evicting import Evicting
from valuestore.stores.wrappers.layering import Layered

ADMIT_MAX_BYTES = 16 << 20

_Asked = Callable[[Store], Answer]
_Form = Callable[[bytes], Answer] | None
_STRIPES = 64
_ETAG = "etag"


class Cached(Wrapper):
    """Two stores or more, the fastest first; all but the last are caches, and should hold nothing else.

    A read is answered by the first that has the key, and leaves copies in those before it, unless ``fill`` is
    false; a write goes to the last, and then into all. A cache never fails the caller. What has more than
    ``admit_max_bytes`` is not cached; None admits anything, and then anything has to fit into memory.
    ``others_write`` costs two more requests per copy; it is not needed if nobody else writes to the store,
    or if a key never gets other content. Observers hear of ``cache_hit``, ``cache_miss``, ``cache_error``.
    """

    hits = 0
    """How many reads a cache answered."""
    misses = 0
    """How many none did."""

    def __init__(
        self,
        *tiers: Store,
        fill: bool = True,
        admit_max_bytes: int | None = ADMIT_MAX_BYTES,
        others_write: bool = True,
        observers: Iterable[Observer] = (),
    ) -> None:
        if len(tiers) < 2:
            raise ConfigError("tiers", f"there have to be two or more, not {len(tiers)}")
        super().__init__(tiers[-1])
        self._tiers = tiers
        self._caches = tiers[:-1]
        self._admit_max = admit_max_bytes
        self._fill = fill
        self._others_write = others_write
        self._observers = tuple(observers)
        self._doubtful: set[tuple[int, str]] = set()  # copies that may be old and could not be dropped
        self._versions = [0] * _STRIPES  # counts what began or ended a change of a key of the stripe
        self._locks = [threading.RLock() for _ in range(_STRIPES)]
        self._counting = threading.Lock()

    def _through(self, verb: Verb, keys: Sequence[str], ask: Ask[Answer]) -> Answer:
        if verb not in CHANGES:
            return ask(self._store, keys)
        with self._changing(*(keys[1:] if verb == "copy" else keys)):
            return ask(self._store, keys)

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        return self._read(key, _getter(key, start, end), bytes if (start, end) == (0, None) else None)

    def map(self, key: str) -> memoryview:
        return self._read(key, lambda store: store.map(key), memoryview)

    def open(self, key: str) -> BinaryIO:
        return self._read(key, lambda store: store.open(key), io.BytesIO)

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        """As everywhere. What is not cached is one request; it becomes cached unless others write."""
        self._check_open()
        asked = list(map(check_key, keys))
        found: dict[str, bytes] = {}
        for key in asked:
            copy = self._from_caches(key, _getter(key), bytes)
            if copy is not None:
                found[key] = copy
        missing = [key for key in asked if key not in found]
        versions = [self._version(key) for key in missing]
        for key, version, data in zip(missing, versions, self._store.get_many(missing), strict=True):
            found[key] = data
            if self._fill and not self._others_write:
                self._keep(key, data, version, len(self._caches), None)
        return [found[key] for key in asked]

    def _read(self, key: str, ask: _Asked[Answer], form: _Form[Answer]) -> Answer:
        """What the first tier with the key answers; or all its bytes in that form, if they may be copied."""
        copy = self._from_caches(self._checked_key(key), ask, form)
        return self._from_tier(len(self._caches), key, ask, form) if copy is None else copy

    def _from_caches(self, key: str, ask: _Asked[Answer], form: _Form[Answer]) -> Answer | None:
        copy: Answer | None = None
        for depth, cache in enumerate(self._caches):
            if (depth, key) not in self._doubtful or self._drop_from(depth, key):
                try:
                    copy = self._from_tier(depth, key, ask, form)
                except NotFound:
                    pass
                except Exception as error:  # noqa: BLE001 - whatever is wrong with a cache, there is the store
                    self._report(cache, key, error)
            self._tell("cache_miss" if copy is None else "cache_hit", cache, key)
            if copy is not None:
                break
        with self._counting:
            self.hits += copy is not None
            self.misses += copy is None
        return copy

    def _from_tier(self, depth: int, key: str, ask: _Asked[Answer], form: _Form[Answer]) -> Answer:
        tier = self._tiers[depth]
        if depth == 0 or form is None or not self._fill:
            return ask(tier)
        if form is not bytes and not self._admits(tier.size(key)):
            return ask(tier)
        return form(self._fetch(depth, key))

    def _fetch(self, depth: int, key: str) -> bytes:
        """The bytes from that tier, after leaving copies in those before it if they are admitted.

        Raises: NotFound if there are none, or if they turn out to be a copy of what the store no longer has.
        """
        tier, version = self._tiers[depth], self._version(key)
        known = tier.stat(key) if self._others_write else None
        data = tier.get(key)
        kept = self._keep(key, data, version, depth, known)
        is_old = kept and known is not None and not self._verify(key, known, depth)
        if is_old and tier is not self._store:
            raise NotFound(key, tier.url)
        return data

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        self._checked_key(key)
        whole, passed = self._admitted(key, data, size)
        version = self._turn(key, keep=False)
        kept = False
        try:
            known = self._store.put(key, passed, size=size, attrs=attrs, overwrite=overwrite)
            kept = whole is not None and self._keep(key, whole, version, len(self._caches), known)
        finally:  # even if it failed: it may have arrived
            self._turn(key, keep=kept)
        if kept and self._others_write:
            self._verify(key, known, len(self._caches))
        return known

    def batch(self) -> NoReturn:
        raise NotSupported(self.url, "batches", "change one tier, or one key at a time")

    def push(self, key: str) -> NoReturn:
        """As ``Layered`` has it. Raises: NotSupported, since all writes have gone down."""
        raise NotSupported(self.url, "push", "it writes through, so there is nothing to push")

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        if method.upper() not in ("GET", "HEAD"):
            raise NotSupported(self.url, f"signed URLs to {method} past a cache", "use the last tier's")
        return super().sign(key, method, expires_seconds, content_md5=content_md5)

    def close(self) -> None:
        super().close()
        for cache in self._caches:
            try:
                cache.close()
            except Exception as error:  # noqa: BLE001
                self._report(cache, "", error)

    def _admitted(self, key: str, data: Data, size: int | None) -> tuple[Bytes | None, Data]:
        """The data if it is admitted, or None; and the data to go on with. A stream of any size stays one."""
        streams = as_buffer(data) is None
        if streams and (self._admit_max is None or (size is not None and not self._admits(size))):
            return None, data
        whole, passed = look_ahead(key, data, sys.maxsize if self._admit_max is None else self._admit_max)
        return (None if whole is None else bytes(whole)), passed

    @contextmanager
    def _changing(self, *keys: str) -> Iterator[None]:
        self._check_open()
        for key in keys:
            check_key(key)
        for key in keys:
            self._turn(key, keep=False)
        try:
            yield
        finally:
            for key in keys:
                self._turn(key, keep=False)

    def _turn(self, key: str, *, keep: bool) -> int:
        """A change of the key begins or ends; the number that says so."""
        stripe = hash(key) % _STRIPES
        with self._locks[stripe]:
            self._versions[stripe] += 1
            if not keep:
                self._drop(key)
            return self._versions[stripe]

    def _version(self, key: str) -> int:
        return self._versions[hash(key) % _STRIPES]

    def _keep(self, key: str, data: Bytes, version: int, depth: int, known: Stat | None) -> bool:
        """Leave copies of what that tier has in those before it, unless a change came between; say if one is.

        Those that may be copied on, into a faster cache, say of which etag in the store they are.
        """
        if not self._admits(len(data)):
            return False
        attrs = {_ETAG: self._etag(depth, known)} if self._others_write and known is not None else {}
        stripe = hash(key) % _STRIPES
        kept = False
        with self._locks[stripe]:
            if self._versions[stripe] != version:
                return False
            for index, cache in enumerate(self._caches[:depth]):
                try:
                    cache.put(key, data, attrs=attrs if index else {})
                except Exception as error:  # noqa: BLE001
                    if not isinstance(error, TooLarge):
                        self._report(cache, key, error)
                    self._drop_from(index, key)
                else:
                    self._doubtful.discard((index, key))
                    kept = True
        return kept

    def _verify(self, key: str, known: Stat, depth: int) -> bool:
        """Whether the store has what that tier had, as far as it says; if not, every copy goes.

        Those before ``depth`` also go if nobody can say what they were made of.
        """
        try:
            now = find_stat(self._store, key)
            if now is None or now.etag != self._etag(depth, known):
                self._drop(key)
                return False
            if depth < len(self._caches) and self._tiers[depth].stat(key) != known:
                self._drop(key, depth)
        except Exception:  # noqa: BLE001 - then nobody knows
            self._drop(key, depth)
        return True

    def _etag(self, depth: int, known: Stat) -> Json:
        """The etag in the store of what that tier has, as it knows it."""
        return known.etag if depth == len(self._caches) else known.attrs.get(_ETAG)

    def _drop(self, key: str, depth: int | None = None) -> None:
        """Delete the copies in the caches before ``depth``: the last first, so that none is made of it."""
        for index in reversed(range(len(self._caches[:depth]))):
            self._drop_from(index, key)

    def _drop_from(self, index: int, key: str) -> bool:
        """Delete the copy; whether it is certainly gone."""
        try:
            self._caches[index].delete(key)
        except NotFound:
            pass
        except Exception as error:  # noqa: BLE001
            self._doubtful.add((index, key))
            self._report(self._caches[index], key, error)
            return False
        self._doubtful.discard((index, key))
        return True

    def _admits(self, size: int) -> bool:
        return self._admit_max is None or size <= self._admit_max

    def _report(self, cache: Store, key: str, error: Exception) -> None:
        self._tell("cache_error", cache, key, error)

    def _tell(self, operation: str, cache: Store, key: str, error: Exception | None = None) -> None:
        notify(self._observers, Event(operation, key, "end", error=error, place=cache.url))

    def _settings(self) -> dict[str, Any]:
        return {
            "fill": self._fill,
            "admit_max_bytes": self._admit_max,
            "others_write": self._others_write,
            "observers": self._observers,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return rebuild, (type(self), self._tiers, self._settings())


def _getter(key: str, start: int = 0, end: int | None = None) -> Callable[[Store], bytes]:
    return lambda store: store.get(key, start, end)


class _Settings(TypedDict, total=False):
    fill: bool
    admit_max_bytes: int | None
    others_write: bool
    observers: Iterable[Observer]


@overload
def Tiered(
    fast: Store, slow: Store, *, write: Literal["through"] = ..., **settings: Unpack[_Settings]
) -> Cached: ...
@overload
def Tiered(
    fast: Store, slow: Store, *, write: Literal["first"], **settings: Unpack[_Settings]
) -> Layered: ...
def Tiered(  # noqa: N802 - it makes a store, as the classes beside it do
    fast: Store,
    slow: Store,
    *,
    write: Literal["through", "first"] = "through",
    **settings: Unpack[_Settings],
) -> Cached | Layered:
    """A fast store before a slow one: ``Cached``, with its settings, or if ``write`` is "first", ``Layered``.

    The settings mean nothing to the latter.
    """
    if write not in ("through", "first"):
        raise ConfigError("write", f"{write!r} is neither 'through' nor 'first'")
    through = Cached(fast, slow, **settings)
    return through if write == "through" else Layered(fast, slow)


def cached(store: Store, max_bytes: int, *, others_write: bool = True) -> Store:
    """The store with a cache in memory of at most ``max_bytes``; the store itself if that is 0."""
    if not max_bytes:
        return store
    memory = Evicting(MemoryStore(), max_bytes)
    return Cached(memory, store, admit_max_bytes=min(max_bytes, ADMIT_MAX_BYTES), others_write=others_write)
