"""Routed: keys that are references, each to a store of its own. The one store that takes URLs for keys.

A reference is ``scheme://container/key``, all three verbatim: nothing is escaped, so that what is listed
can be read back whatever its name. A key without a scheme is one of the default store.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Protocol

from valuestore import plugins
from valuestore.errors import BadReference, NotFound
from valuestore.stores.base import Page, Stat, Store, check_key, check_page, check_prefix, without_credentials
from valuestore.stores.open import open_store
from valuestore.stores.wrappers.renaming import Renaming

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_PLACES = {"s3a", "s3n", "gcs", "abfss", "adl", "ftp", "sftp", "ssh", "hdfs", "webdav"}
"""Schemes that say where bytes are, though no store of ours is called so."""
_CONTAINER = re.compile(r"[\w.:\[\]~+=,-]*")


class Opener(Protocol):
    """Opens the store of a container; with ``create``, after making the container if it is not there.

    One whose attribute ``shared`` is true is called once, for all containers. Raises: NotFound if there is
    no such container and ``create`` is False. None, on first use by a key, leaves it to the store.
    """

    def __call__(self, container: str, *, create: bool | None) -> Store: ...


@dataclass(frozen=True)
class ByUrl:
    """Opens stores by a URL in which ``{container}`` stands for the container.

    Without that, all containers of the scheme are the one store: a Redis with a configured address, say.
    ``creating`` are further settings for a container that is to be made.
    """

    url: str
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    creating: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, container: str, *, create: bool | None) -> Store:
        url = self.url.replace("{container}", container)
        flag = {"create": create} if create is not None and url.startswith(("file:", "s3:", "/")) else {}
        return open_store(url, **{**self.settings, **flag, **(self.creating if create else {})})

    @property
    def shared(self) -> bool:
        """Whether all containers are one store."""
        return "{container}" not in self.url

    def __repr__(self) -> str:
        return f"ByUrl({without_credentials(self.url)!r})"


class Routed(Renaming):
    """One store per scheme and container, opened on first use, once, however many threads ask.

    ``schemes`` says how: an ``Opener``, or a URL for ``ByUrl``. The keys of ``default`` go without a scheme,
    or below ``base``, its own reference; those of a scheme that nobody knows go to it too, as
    ``scheme/container/key``. A place that is not configured raises BadReference, and without a default any
    other does. Unless ``dynamic``, only those ``containers`` (``scheme://container``) are served that are
    named here or were given to ``load``; others are NotFound.
    """

    def __init__(
        self,
        schemes: Mapping[str, Opener | str] | None = None,
        *,
        default: Store | None = None,
        base: str = "",
        containers: Iterable[str] = (),
        dynamic: bool = True,
    ) -> None:
        self._schemes = dict(schemes or {})
        self._openers = {
            scheme.lower(): ByUrl(opener) if isinstance(opener, str) else opener
            for scheme, opener in self._schemes.items()
        }
        self._default = default
        self.base = base.rstrip("/")
        self._containers = {_split(container)[:2] for container in containers}
        self._dynamic = dynamic
        self._slots: dict[tuple[str, str], _Slot] = {}
        self._lock = threading.Lock()

    def load(self, container: str, *, create: bool = False) -> None:
        """Open ``scheme://container`` now, and serve it from now on; with ``create``, make it first.

        Raises: NotFound if there is none and it is not to be made; BadReference for an unknown scheme.
        """
        scheme, name, _ = _split(container)
        if scheme not in self._openers:
            raise BadReference(container, self._known())
        self._check_open()
        self._slot(scheme, name).open(create=create)
        self._containers.add((scheme, name))

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        """As everywhere, of the one container that the prefix names, or of the default store."""
        self._check_open()
        check_page(limit, None)
        place = self._find(check_prefix(prefix))
        after = None
        if cursor is not None:
            store, (after,) = self._locate((cursor,))
            if store is not place.store:
                raise BadReference(cursor, f"the cursor is no key of {place.outside or 'the default store'}")
        page = place.store.list(place.name, limit=limit, cursor=after)
        keys = [place.outside + key.removeprefix(place.inside) for key in page.keys]
        return Page(keys, None if page.cursor is None else keys[-1])

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        place = self._find(check_prefix(prefix))
        for known in place.store.scan(place.name):
            yield replace(known, key=place.outside + known.key.removeprefix(place.inside))

    def folders(self, prefix: str = "") -> Iterator[str]:
        place = self._find(check_prefix(prefix))
        for folder in place.store.folders(place.name):
            yield place.outside + folder.removeprefix(place.inside)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        if len(self._by_store((source, target))) > 1:
            return Store.copy(self, source, target, overwrite=overwrite)
        return super().copy(source, target, overwrite=overwrite)

    def move(self, source: str, target: str) -> None:
        if len(self._by_store((source, target))) > 1:
            return Store.move(self, source, target)
        return super().move(source, target)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        ask = super().exists_many
        return {key for group in self._by_store(keys) for key in ask(group)}

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        ask, asked = super().get_many, list(keys)
        groups = self._by_store(asked)
        found = {key: data for group in groups for key, data in zip(group, ask(group), strict=True)}
        return [found[key] for key in asked]

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        ask = super().delete_many
        return {key for group in self._by_store(keys) for key in ask(group)}

    put_many = Store.put_many
    batch = Store.batch

    def _by_store(self, keys: Iterable[str]) -> Sequence[Sequence[str]]:
        """The keys of each store, in the order given."""
        self._check_open()
        groups: dict[int, dict[str, None]] = {}
        for key in keys:
            groups.setdefault(id(self._locate((key,))[0]), {})[key] = None
        return [list(group) for group in groups.values()]

    def flush(self) -> None:
        self._check_open()
        for store in self._opened():
            store.flush()

    def close(self) -> None:
        Store.close(self)
        for store in self._opened():
            store.close()

    @property
    def is_remote(self) -> bool:
        return self._default is not None and self._default.is_remote

    @property
    def url(self) -> str:
        return self.base or (self._default.url if self._default is not None else "routed")

    def _settings(self) -> dict[str, Any]:
        return {
            "schemes": self._schemes,
            "default": self._default,
            "base": self.base,
            "containers": sorted(f"{scheme}://{name}" for scheme, name in self._containers),
            "dynamic": self._dynamic,
        }

    def _check_open(self) -> None:
        super()._check_open()
        if self._default is not None:
            self._default._check_open()

    def _locate(self, keys: Sequence[str]) -> tuple[Store, Sequence[str]]:
        self._check_open()
        places = [self._find(check_prefix(key)) for key in keys]
        return places[0].store, [check_key(place.name) for place in places]

    def _find(self, reference: str) -> _Place:
        if self._default is not None and self.base and f"{reference}/".startswith(f"{self.base}/"):
            return _Place(self._default, reference[len(self.base) + 1 :], "", f"{self.base}/")
        if "://" not in reference:
            if self._default is None:
                raise BadReference(reference, f"it has no scheme, and there is no default; {self._known()}")
            return _Place(self._default, reference, "", "")
        scheme, container, name = _split(reference)
        outside = f"{scheme}://{container}/"
        if scheme in self._openers:
            if not self._dynamic and (scheme, container) not in self._containers:
                where = "a store without dynamic loading, where that container is not loaded,"
                raise NotFound(reference, where)
            return _Place(self._slot(scheme, container).open(), name, "", outside)
        if self._default is None or scheme in _PLACES or scheme in plugins.names("stores"):
            raise BadReference(without_credentials(reference), self._known())
        inside = f"{scheme}/{container}/"
        return _Place(self._default, inside + name, inside, outside)

    def _known(self) -> str:
        return f"there are {', '.join(sorted(f'{scheme}://' for scheme in self._openers)) or 'no schemes'}"

    def _slot(self, scheme: str, container: str) -> _Slot:
        opener = self._openers[scheme]
        name = "" if getattr(opener, "shared", False) else container
        with self._lock:
            if (scheme, name) not in self._slots:
                self._slots[scheme, name] = _Slot(opener, name)
            return self._slots[scheme, name]

    def _opened(self) -> Sequence[Store]:
        with self._lock:
            opened = [store for slot in self._slots.values() for store in slot.opened]
        return opened if self._default is None else [self._default, *opened]


class _Place(NamedTuple):
    """Where a reference leads. Keys there begin with ``inside``, and for the caller with ``outside``."""

    store: Store
    name: str
    inside: str
    outside: str


class _Slot:
    """The store of a container, once it is opened. A failure leaves it as it was, for the next to try."""

    def __init__(self, opener: Opener, container: str) -> None:
        self.store: Store | None = None
        self.opened: list[Store] = []
        self._opener = opener
        self._container = container
        self._lock = threading.Lock()

    def open(self, *, create: bool | None = None) -> Store:
        """The store. What ``create`` says of its container holds even if the store was opened without."""
        if self.store is None or create is not None:
            with self._lock:
                if self.store is None or create is not None:
                    self.store = self._opener(self._container, create=create)
                    self.opened.append(self.store)
        return self.store


def join(base: str, *parts: str) -> str:
    """The reference of what lies below ``base``: the parts, without outer slashes, one below the other.

    Nothing in a part leads out of the base or to another store. Raises: BadKey for a part that is empty or
    has a segment that is empty, ``.`` or ``..``.
    """
    below = [check_key(part.strip("/")) for part in parts]
    return "/".join([base.rstrip("/"), *below] if base else below)


def _split(reference: str) -> tuple[str, str, str]:
    """Scheme (lower case), container and key. The key may be empty, and is not looked at."""
    scheme, _, rest = reference.partition("://")
    container, _, name = rest.partition("/")
    if _SCHEME.fullmatch(scheme) is None:
        raise BadReference(without_credentials(reference), "a reference is scheme://container/key")
    if "@" in container:
        raise BadReference(without_credentials(reference), "a reference holds no credentials")
    if _CONTAINER.fullmatch(container) is None or container in (".", ".."):
        problem = "its container's name has characters none can have"
        raise BadReference(without_credentials(reference), problem)
    return scheme.lower(), container, name
