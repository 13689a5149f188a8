"""Reading: what a catalog answers without changing anything. ``Catalog`` adds the changes."""

from __future__ import annotations

import heapq
import io
import re
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from fnmatch import fnmatchcase
from tempfile import SpooledTemporaryFile
from typing import Any, BinaryIO, cast

from valuestore.catalog.draft import WHERE, Batch, Commits
from valuestore.catalog.entry import Entry, Found, attrs_of, check_names, check_select, entry_of, which_of
from valuestore.db.engine.database import Database
from valuestore.db.record.entries import Entries, State, Which
from valuestore.db.record.guard import Guard
from valuestore.errors import NotFound, NotSupported, PayloadCorrupt, StoreReadOnly
from valuestore.observe import Observer, Watch, notify, watch
from valuestore.stores.data import Json, Page, SignedUrl
from valuestore.stores.keys import check_key, check_page, check_prefix, take_page
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.code.reads import note
from valuestore.values.entry import EntryRef
from valuestore.values.files.file import File

_WHOLE_BYTES = 8 << 20
"""Up to here, a stream is of bytes in memory."""


class Reading:
    """What a name stands for, which names there are, and which have these attributes.

    ``find_value`` gives the ref of a value by its hash, ``record`` writes the rows of refs; ``check`` raises
    if the repository is closed.
    """

    def __init__(
        self,
        database: Database,
        archive: Archive,
        guard: Guard,
        find_value: Callable[[Any], ValueRef],
        record: Callable[[Iterable[ValueRef]], object],
        check: Callable[[], object] = lambda: None,
    ) -> None:
        self._database = database
        self._archive = archive
        self._find_value = find_value
        self._record = record
        self._check = check
        self._entries = Entries(database)
        self._commits = Commits(database, archive.payloads, guard)
        self._local = threading.local()  # shared with views, as all that is here
        self._observers: tuple[Observer, ...] = ()
        self._listeners: tuple[Callable[[Any], object], ...] = ()
        self._is_read_only = False

    # --- bytes ------------------------------------------------------------------------------------

    def get(self, name: str, start: int = 0, end: int | None = None, *, version: int | None = None) -> bytes:
        """The bytes, or those of the half-open range, which is clamped as a slice is; of a bound name the
        stored payload. Raises: NotFound; PayloadMissing, PayloadCorrupt.
        """
        with self._doing("get", name) as watched:
            data = self._bytes(self._asked(name, version))[start:end]
            watched.step(len(data))
        return data

    def open(self, name: str, *, version: int | None = None) -> BinaryIO:
        """A stream of the bytes, which seeks; all of them are verified before. Raises: as ``get``."""
        with self._doing("open", name):
            state = self._asked(name, version)
            if state.stored.size <= _WHOLE_BYTES or state.stored.value_hash is not None:
                return io.BytesIO(self._bytes(state))
            spool = SpooledTemporaryFile(max_size=_WHOLE_BYTES)  # noqa: SIM115  # the caller's to close
            with self._stream(state) as stream:
                shutil.copyfileobj(stream, spool, _WHOLE_BYTES // 8)
            spool.seek(0)
            return cast(BinaryIO, spool)

    def to_file(self, name: str, path: Any, *, version: int | None = None) -> None:
        """Write them to a file, which has the old content or all of the new. Raises: as ``get``; OSError."""
        with self._doing("to_file", name) as watched:
            state = self._asked(name, version)
            with self._stream(state) as stream, File(path).open("wb") as file:
                while piece := stream.read(_WHOLE_BYTES // 8):
                    file.write(piece)
                    watched.step(len(piece))

    def load(self, name: str, *, version: int | None = None) -> Any:
        """The value that the name was bound to; of bare bytes, these. Raises: as ``Repository.get``."""
        with self._doing("load", name):
            state = self._asked(name, version)
            ref = self._ref(state)
            return self._bytes(state) if ref is None else self._archive_of(state).unpack(ref)

    def sign(self, name: str, method: str = "GET", expires_seconds: int = 3600) -> SignedUrl:
        """A URL by which somebody without credentials may read the bytes that are there now, for a while.

        Raises: NotFound; NotSupported where the payload store cannot, and for methods that write.
        """
        with self._doing("sign", name):
            state = self._asked(name, None)
            content = state.stored
            if content.value_hash is not None or method.upper() not in ("GET", "HEAD"):
                raise NotSupported(WHERE, "URLs to write to, or to values", "put bytes, and sign to GET them")
            return self._archive_of(state).payloads.sign(content.digest, method, expires_seconds)

    # --- what is known ----------------------------------------------------------------------------

    def stat(self, name: str, *, version: int | None = None) -> Entry:
        """What is known of the name. Raises: NotFound."""
        with self._doing("stat", name):
            return entry_of(self._asked(name, version))

    def exists(self, name: str) -> bool:
        """Whether there is something."""
        with self._doing("exists", name):
            note("entry", name)
            return name in self._there((check_key(name),))

    def versions(self, name: str) -> Sequence[Entry]:
        """Those that are kept, oldest first; also of a deleted name, until a collection. Raises: NotFound."""
        with self._doing("versions", name):
            note("entry", name)
            if not (found := self._versions(check_key(name))):
                raise NotFound(name, WHERE)
            return [entry_of(state) for state in found]

    def ref(self, name: str) -> EntryRef:
        """The name with what it stands for now, as an argument of tasks: once it stands for something else,
        that is another argument. Raises: NotFound.
        """
        self._check()
        state = self._state(check_key(name))
        return EntryRef(name, state.stored.digest, state.stored.size, self._ref(state), self._archive)

    def holds(self, ref: EntryRef) -> bool:
        """Whether the name of a ref stands for what it did."""
        content = self._there((ref.name,)).get(ref.name, State("", 0, 0)).content
        return content is not None and (content.digest, content.value_hash) == (ref.digest, ref.value_hash)

    # --- names and attributes -----------------------------------------------------------------------

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        """At most ``limit`` names that start with ``prefix`` and come after ``cursor``, in byte order."""
        with self._doing("list", prefix):
            check_page(limit, cursor)
            note("names", f"{prefix}*")
            which = Which(check_prefix(prefix), cursor or "")
            return take_page(self._names(which, None if limit is None else limit + 1), limit)

    def names(self, prefix: str = "", *, glob: str | None = None) -> Iterator[str]:
        """The names that start with ``prefix`` and match ``glob``: case counts, ``*`` crosses ``/``."""
        with self._doing("names", prefix):
            note("names", f"{prefix}*")
            beginning = prefix if glob is None else re.split(r"[*?\[]", glob, maxsplit=1)[0]
            longer = beginning if beginning.startswith(prefix) else prefix
            found = self._names(Which(check_prefix(longer)), None)
        return found if glob is None else (name for name in found if fnmatchcase(name, glob))

    def attrs(self, name: str, select: Iterable[str] | None = None) -> dict[str, Json]:
        """Its attributes, or those of these names that it has. Raises: NotFound."""
        with self._doing("attrs", name):
            return attrs_of(self._asked(name, None), check_select(select))

    def attrs_many(
        self, names: Iterable[str], select: Iterable[str] | None = None
    ) -> Sequence[dict[str, Json]]:
        """The same of many, in the order asked for. Raises: NotFound, for the first that is missing."""
        with self._doing("attrs_many"):
            chosen = check_select(select)
            return [attrs_of(state, chosen) for state in self._many(names)]

    def get_many(self, names: Iterable[str]) -> Sequence[bytes]:
        """The bytes of each, in the order asked for. Raises: NotFound, for the first that is missing."""
        with self._doing("get_many") as watched:
            found = [self._bytes(state) for state in self._many(names)]
            watched.step(sum(map(len, found)))
        return found

    def find(
        self,
        select: Iterable[str] | None = None,
        *,
        where: Mapping[str, Json] | None = None,
        prefix: str = "",
        limit: int | None = None,
        after: str | None = None,
        changed_since: datetime | None = None,
        **equals: Json,
    ) -> Iterator[Found]:
        """The names whose attributes are equal to all of these, in order, with what is selected of them.

        Equal as JSON: 1 and 1.0 are, True and 1 are not, None is an explicit null. ``where`` is for
        attributes named like an argument. ``changed_since`` includes that moment. Raises: TypeError for what
        is not JSON; ValueError for a time without zone, or a limit below 1.
        """
        with self._doing("find", prefix):
            check_page(limit, after)
            note("names", f"{prefix}*")
            chosen = check_select(select)
            asked = [*(where or {}).items(), *equals.items()]
            found = self._walk(which_of(asked, prefix, after, changed_since), limit)
        taken = found if limit is None else (state for _, state in zip(range(limit), found, strict=False))
        return (Found(state.name, attrs_of(state, chosen)) for state in taken)

    # --- states: what a name is, in a batch as it will be ---------------------------------------------

    @property
    def _batch(self) -> Batch | None:
        return getattr(self._local, "batch", None)

    def _known(self, names: Iterable[str]) -> dict[str, State]:
        """Names that there are or were; deleted ones without content."""
        batch, wanted = self._batch, list(names)
        if batch is None:
            return self._entries.states(wanted)
        batch.draft.look(wanted)
        return {name: state for name in wanted if (state := batch.draft.seen[name]).created}

    def _there(self, names: Iterable[str]) -> dict[str, State]:
        return {name: state for name, state in self._known(names).items() if state.content is not None}

    def _state(self, name: str) -> State:
        """Raises: NotFound."""
        state = self._there((name,)).get(name)
        if state is None:
            raise NotFound(name, WHERE)
        return state

    def _many(self, names: Iterable[str]) -> Sequence[State]:
        wanted = check_names(names)
        there = self._there(wanted)
        for name in wanted:
            note("entry", name)
            if name not in there:
                raise NotFound(name, WHERE)
        return [there[name] for name in wanted]

    def _asked(self, name: str, version: int | None) -> State:
        """The name as it is or was at a version, for somebody who wants to know."""
        note("entry", check_key(name))
        if version is None:
            return self._state(name)
        for state in self._versions(name):
            if state.version == version:
                return state
        raise NotFound(name, f"{WHERE}, at version {version},")

    def _versions(self, name: str) -> Sequence[State]:
        batch = self._batch
        own = [] if batch is None else [state for state in batch.draft.versions if state.name == name]
        return [*self._entries.versions(name), *own]

    def _walk(self, which: Which, most: int | None) -> Iterator[State]:
        """Those names in order; in a batch, what it did among them."""
        found, batch = self._entries.walk(which, most), self._batch
        if batch is None:
            return found
        changed = batch.draft.changed
        own = sorted(state for state in changed.values() if which.takes(state))
        return heapq.merge(
            own, (state for state in found if state.name not in changed), key=lambda state: state.name
        )

    def _names(self, which: Which, most: int | None) -> Iterator[str]:
        found, batch = self._entries.names(which, most), self._batch
        if batch is None:
            return found
        changed = batch.draft.changed
        own = sorted(name for name, state in changed.items() if which.takes(state))
        return heapq.merge(own, (name for name in found if name not in changed))

    # --- content -----------------------------------------------------------------------------------

    def _archive_of(self, _state: State) -> Archive:
        """Where its bytes are."""
        return self._archive

    def _ref(self, state: State) -> ValueRef | None:
        """The value that it stands for; None for bare bytes."""
        value_hash = state.stored.value_hash
        return None if value_hash is None else self._find_value(value_hash)

    def _bytes(self, state: State) -> bytes:
        ref, archive = self._ref(state), self._archive_of(state)
        if ref is not None:
            return archive.read(ref)
        digest, size, _ = state.stored
        if len(data := archive.payloads.get(digest)) != size:
            problem = f"it is not what {state.name!r} stood for, which had {size} bytes"
            raise PayloadCorrupt(digest, archive.payloads.url, problem)
        return data

    def _stream(self, state: State) -> BinaryIO:
        """Verified at its end."""
        if state.stored.value_hash is not None:
            return io.BytesIO(self._bytes(state))
        return self._archive_of(state).payloads.open(state.stored.digest)

    # --- what is done --------------------------------------------------------------------------------

    @contextmanager
    def _doing(
        self, verb: str, name: str = "", total: int | None = None, *, changes: bool = False
    ) -> Iterator[Watch]:
        """One operation: observers hear of it, then listeners of what became visible by it."""
        self._check()
        if changes:
            self._check_writable()
        with watch(self._observers, verb, name, self._archive.payloads.url, total) as watched:
            yield watched
        self._tell()

    def _check_writable(self) -> None:
        if self._is_read_only:
            raise StoreReadOnly(WHERE, "it was opened to be read")
        self._database.check_writable()

    def _tell(self) -> None:
        told, self._local.told = getattr(self._local, "told", ()), ()
        for listeners, change in told:
            notify(listeners, change)
