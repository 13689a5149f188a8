"""Repository: metadata database, payload store and configuration: the object that users hold.

The embedded default is one folder, ``.valuestore/``: ``valuestore.db`` (SQLite), ``payloads/`` and, if you
write one, ``valuestore.toml``.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from copy import copy
from functools import cache, cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

from valuestore.config import Settings, database_password, environment, is_safe, load_settings, placed
from valuestore.db.engine.database import Database
from valuestore.db.history.names import Name, is_prefix
from valuestore.db.record.guard import Guard
from valuestore.db.record.lookup import MISS, Lookup, Miss
from valuestore.db.record.recorder import Recorder, Unrecorded
from valuestore.db.schema import migrate
from valuestore.db.upkeep.methods import Upkeep
from valuestore.db.upkeep.sizes import Stats as Stats
from valuestore.db.upkeep.sizes import stats_of
from valuestore.errors import (
    BadKey,
    ConfigError,
    NotARepository,
    NotFound,
    PayloadError,
    RecordNotFound,
    StoreClosed,
    StoreReadOnly,
    ValuestoreError,
)
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, get_algorithm, is_digest
from valuestore.permissions import PassingFolder, file_mode_in, make_folder, reason_to_refuse
from valuestore.plugins import find as find_part
from valuestore.stores.content.marker import OWN_FOLDER
from valuestore.stores.content.store import ContentStore
from valuestore.stores.files.unsynced import sync
from valuestore.stores.wrappers.opening import check_payloads, is_within_reach, open_payloads_of
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.codecs.signed import Signer, user_keys
from valuestore.values.payload import Pending
from valuestore.values.registry import get_type_registry

if TYPE_CHECKING:
    from valuestore.catalog.catalog import Catalog
    from valuestore.db.history.history import History
    from valuestore.db.history.tags import Tags
    from valuestore.observe import Observer

F = TypeVar("F", bound="Callable[..., Any]")

FOLDER = ".valuestore"
MEMORY = ":memory:"
_DATABASE = "valuestore.db"
_LIKE_A_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.I)
"""Also after ``Path`` has made one slash of two; a drive has one letter."""
_STRONG = "blake3-256"


class Repository(Upkeep):
    """Values by content, and the record of what made them. A context manager. Thread-safe.

    ``archive`` packs and unpacks, ``recorder`` writes rows, ``lookup`` and ``history`` read them.
    """

    refused: ValuestoreError | None = None  # why nothing can be recorded, where that is known
    _passing: PassingFolder | None = None

    def __init__(self, folder: Path, settings: Settings, observers: Iterable[Observer] = ()) -> None:
        self.folder = folder
        self.settings = settings
        digest = settings.digest or (_STRONG if is_within_reach(settings) else DEFAULT_ALGORITHM)
        get_algorithm(digest)
        check_payloads(settings.payloads)
        self.observers = _audience(observers, settings.observe)
        _make_folder(folder, settings)
        self.database = open_database(folder, settings)
        try:
            is_own = not settings.database
            recorded = migrate.ensure(self.database, {"digest": digest}, is_own=is_own)
            store = open_payloads_of(folder, settings, self.observers)
        except BaseException:
            self.database.close()
            raise
        self.repository_id = recorded["id"]
        self.algorithm = recorded["digest"]
        owner = self.repository_id, _place(folder, self.database) if settings.payloads else OWN_FOLDER
        self.payloads = ContentStore(store, algorithm=self.algorithm, owner=owner)
        signer = Signer(self.repository_id, cache(user_keys))
        trusted = settings.trust.get("classes", ())
        registry = get_type_registry().bound(self.algorithm, signer, trusted)
        self.archive = Archive(registry, self.payloads, settings.inline_max_bytes)
        archive = self.archive  # the finalizer holds on to what is pending, which must not hold on to this
        pending = archive.stored.pending = Pending(lambda pieces: archive.payloads.put(pieces).digest)
        guard = self._guard = Guard(self.payloads, pending, self.algorithm, recorded.get("collection"))
        self.recorder = Recorder(self.database, self.payloads.flush, guard)
        self.lookup = Lookup(self.database, signer.knows)
        self._release = weakref.finalize(self, _release, self.recorder, self.database, self.payloads)

    @classmethod
    def open(
        cls, location: str | Path | None = None, *, observers: Iterable[Observer] = (), **settings: Any
    ) -> Self:
        """The repository at ``location``, made there if there is none.

        ``None`` means: ``VALUESTORE_REPOSITORY`` if set, else ``.valuestore/`` here or in the nearest
        parent, else made here; one that is found so has to be this user's. A location that is not named
        ``.valuestore`` and holds no repository gets one inside it. Settings: see ``config.Settings``; a
        repository keeps the digest that it was made with. ``:memory:`` is a new one, gone when it is closed.
        A ``Store`` given as ``payloads`` is the repository's from then on: closing it closes that.
        ``observers`` hear of the payload store, of executions and of jobs, beside those of ``[observe]``.
        Raises: ConfigError, DatabaseError, StoreReadOnly.
        """
        location = location if location is not None else environment("repository")
        passing = PassingFolder() if str(location) == MEMORY else None
        if passing is not None:
            settings = {"database": "", "payloads": "", "once": False, **settings}
        folder = find_folder(location) if passing is None else passing.path
        repository = cls(folder, load_settings(folder, settings), observers)
        repository._passing = passing
        if settings.get("digest") not in (None, repository.algorithm):
            repository.close()
            raise ConfigError("digest", f"{folder} exists, and keeps its {repository.algorithm}")
        return repository

    @cached_property
    def history(self) -> History:
        """Questions about what ran. Imported when the first is asked: most programs only record."""
        from valuestore.db.history.history import History

        forms = partial(_form, self.lookup, self.archive)
        return History(self.database, self.archive.registry, self.recorder.flush, forms)

    @cached_property
    def tags(self) -> Tags:
        """Labels on records: read and changed. Imported likewise."""
        from valuestore.db.history.tags import Tags

        return Tags(self.database, self.recorder.flush)

    @cached_property
    def catalog(self) -> Catalog:
        """Names for content, with attributes that are found by. Imported likewise."""
        from valuestore.catalog.catalog import Catalog

        calls = self.find_value, self.recorder.record_values, self.check_open
        return Catalog(self.database, self.archive, self._guard, *calls)

    @overload
    def memoize(self, func: F, /, **options: Any) -> F: ...
    @overload
    def memoize(self, /, **options: Any) -> Callable[[F], F]: ...
    def memoize(self, func: Any = None, /, **options: Any) -> Any:
        """Remember here what a function gives: ``valuestore.memoize(func, repository=self, ...)``."""
        return find_part("repository", "memoize")(func, repository=self, **options)

    def put(self, obj: object) -> ValueRef:
        """Keep a value; the ref's ``value_hash`` gives it back. Written soon, or at ``flush``.

        Raises: NotHashableError naming the path inside the object; StoreError.
        """
        self.check_open()
        ref = self.archive.pack(obj)
        self.recorder.record_values((ref,), by_hand=True)
        return ref

    def put_many(self, objects: Iterable[object]) -> list[ValueRef]:
        """Keep each of them, in order. Those before one that is refused are kept. Raises: as ``put``."""
        self.check_open()
        refs: list[ValueRef] = []
        try:
            refs.extend(map(self.archive.pack, objects))
        finally:
            self.recorder.record_values(refs, by_hand=True)
        return refs

    def get(self, value_hash: Name, *, copy: bool = True) -> Any:
        """The value of a hash or of its beginning; of a job, call or execution, by its id or record, what
        it gave.

        Without ``copy``, arrays and frames are read-only, and show the payload's file itself. Who truncates
        that file in place meanwhile ends this process (SIGBUS); valuestore itself never does.

        Raises: as ``find_value``; PayloadMissing, PayloadCorrupt, DecodeError, UntrustedPayload.
        """
        return self._unpacked(self.find_value(value_hash), copy=copy)

    def get_many(self, value_hashes: Iterable[str], *, copy: bool = True) -> list[Any]:
        """The values, in the order asked for; one query for 500. Raises: as ``get``, for the first."""
        self.check_open()
        wanted = [_digest_of(value_hash) for value_hash in value_hashes]
        self.recorder.flush()
        refs = self.lookup.values(set(wanted))
        for value_hash in wanted:
            if value_hash not in refs:
                raise NotFound(value_hash, str(self.folder))
        return [self._unpacked(refs[value_hash], copy=copy) for value_hash in wanted]

    def _unpacked(self, ref: ValueRef, *, copy: bool) -> Any:
        try:
            return self.archive.unpack(ref, copy=copy)
        except PayloadError:
            self.recorder.forget(ref.value_hash)
            raise

    def find_value(self, value_hash: Name) -> ValueRef:
        """What is known of a value, named as in ``get``, without loading it.

        Raises: NotFound; AmbiguousId, which lists what the beginning may be; BadKey for a text that is none;
        StoreClosed.
        """
        self.check_open()
        is_name = is_prefix(value_hash) if isinstance(value_hash, str) else hasattr(value_hash, "value_hash")
        if not is_name and not hasattr(value_hash, "record_id"):
            raise BadKey(value_hash, "a value hash is 32 or 64 lower-case hex digits, or their beginning")
        self.recorder.flush()
        is_whole = isinstance(value_hash, str) and is_digest(value_hash)
        ref = self.lookup.value(Digest(str(value_hash))) if is_whole else MISS
        where = str(self.folder)
        try:
            ref = self.lookup.value(self.history.result(value_hash)) if isinstance(ref, Miss) else ref
        except RecordNotFound as error:
            raise NotFound(error.args[0], where) from error
        if isinstance(ref, Miss):
            raise NotFound(str(value_hash), where)
        return ref

    def stats(self) -> Stats:
        """How much is kept. Loads no payload."""
        self.check_open()
        self.flush()
        return stats_of(self.database, self.history.sizes(), self.payloads.url)

    def flush(self) -> None:
        """Write what is buffered; when it returns, it is committed."""
        self.recorder.flush()

    def close(self) -> None:
        """Flush and release everything. Closing twice is fine; a forgotten repository closes itself."""
        self._release()
        if self._passing is not None:
            self._passing.remove()

    def unrecorded(self, refused: ValuestoreError) -> Self:
        """This repository for a run of what it knows: nothing is kept, and a body would be refused."""
        other = copy(self)
        other.recorder, other.refused = Unrecorded(), refused  # type: ignore[assignment]
        return other

    def check_open(self) -> None:
        """Raises: StoreClosed."""
        if not self._release.alive:
            raise StoreClosed(f"the repository {self.folder}")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<repository {self.folder}>"


def _digest_of(value_hash: str) -> Digest:
    if not is_digest(value_hash):
        raise BadKey(value_hash, "a value hash is 32 or 64 lower-case hex digits")
    return Digest(value_hash)


def find_folder(location: str | Path | None = None) -> Path:
    """The folder of the repository that ``Repository.open(location)`` opens; it may not exist yet.

    Raises: ConfigError for one of another user, unless it was named or allowed (``config.is_safe``).
    """
    location = location if location is not None else environment("repository")
    if location is not None:
        if str(location) == MEMORY:
            raise ConfigError("repository", f"{MEMORY} ends with the program that opens it; name a folder")
        folder = Path(placed("repository", os.fspath(location), None))
        if _LIKE_A_URL.match(str(location)) and not os.path.exists(folder):  # may have a password
            raise ConfigError("repository", "a URL is no folder; VALUESTORE_DATABASE may be one")
        return folder if folder.name == FOLDER or os.path.exists(folder / _DATABASE) else folder / FOLDER
    here = Path.cwd()
    for parent in (here, *here.parents):
        if (found := parent / FOLDER).is_dir():
            if (reason := reason_to_refuse(found)) and not is_safe(found):
                allow = f"name it to open it all the same, or put {parent} into VALUESTORE_SAFE_FOLDERS"
                raise ConfigError("repository", f"{found} was found, but {reason}; {allow}")
            return found
    return here / FOLDER


def open_database(folder: Path, settings: Settings) -> Database:
    """The metadata database of the repository in ``folder``, its schema unchecked."""
    seconds = settings.busy_timeout_seconds
    mode = file_mode_in(folder, shared=settings.shared)
    if settings.database:
        return Database(
            settings.database,
            file_mode=mode,
            password=database_password(settings),
            busy_timeout_seconds=seconds,
            statement_timeout_seconds=settings.statement_timeout_seconds,
        )
    durable = settings.durability == "full"
    return Database.at(folder / _DATABASE, busy_timeout_seconds=seconds, file_mode=mode, durable=durable)


def _place(folder: Path, database: Database) -> str:
    """Where a repository is: a database on a server is the same one for whoever opens it from wherever."""
    if database.is_sqlite:
        return os.path.abspath(folder)
    url = database.url
    return f"{url.host or url.query.get('host', '')}:{url.port or ''}/{url.database}"


def _audience(observers: Iterable[Observer], named: Mapping[str, bool]) -> tuple[Observer, ...]:
    """All of them as one; none of none, for which nothing is imported."""
    given = tuple(observers)
    if not given and not any(named.values()):
        return ()
    from valuestore.observe import Audience, open_observers

    told = (*given, *open_observers(named))
    return (Audience(*told),) if told else ()


def _make_folder(folder: Path, settings: Settings) -> None:
    is_durable = settings.durability == "full"
    new = [made for made in (folder, *folder.parents) if is_durable and not made.exists()]
    try:
        make_folder(folder, shared=settings.shared)
        for made in new:
            sync(os.fsencode(made.parent))
    except FileExistsError as error:
        raise NotARepository(str(folder), "there is a file of that name") from error
    except OSError as error:
        raise StoreReadOnly(str(folder), error.strerror or str(error)) from error


def _form(lookup: Lookup, archive: Archive, value_hash: str) -> Any:
    """The canonical form of a value, for comparing; None if nobody has it."""
    from valuestore.values.difference import form_of

    ref = lookup.value(Digest(value_hash))
    return None if isinstance(ref, Miss) else form_of(ref, archive)


def _release(recorder: Recorder, database: Database, payloads: ContentStore) -> None:
    """What closing means; knows no repository, so that it can run after one is gone, or at exit."""
    with ExitStack() as stack:  # the others, too, if one cannot be closed
        stack.callback(payloads.close)
        stack.callback(database.close)
        stack.callback(recorder.close)
