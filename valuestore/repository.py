"""Repository: metadata database, payload store and configuration: the object that users hold.

The embedded default is one folder, ``.valuestore/``: ``valuestore.db`` (SQLite), ``payloads/`` and, if you
write one, ``valuestore.toml``.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from valuestore.config import Settings, database_password, environment, is_safe, load_settings, placed
from valuestore.db.engine.database import Database
from valuestore.db.history.tags import Tags
from valuestore.db.record.lookup import Lookup, Miss
from valuestore.db.record.recorder import Recorder
from valuestore.db.schema import migrate
from valuestore.errors import (
    BadKey,
    ConfigError,
    NotARepository,
    NotFound,
    PayloadError,
    StoreError,
    StoreReadOnly,
)
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, get_algorithm, is_digest
from valuestore.observe import Audience, Observer, open_observers
from valuestore.permissions import file_mode_in, make_folder, reason_to_refuse
from valuestore.stores import wrappers
from valuestore.stores.base import Store
from valuestore.stores.content.store import ContentStore
from valuestore.stores.files.store import FileStore
from valuestore.stores.open import open_store
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.codecs.pickled import Signer
from valuestore.values.codecs.plain import decode_form
from valuestore.values.registry import get_type_registry

if TYPE_CHECKING:
    from valuestore.db.history.history import History
    from valuestore.values.trust.keys import KeyRing

FOLDER = ".valuestore"
_DATABASE = "valuestore.db"
_PAYLOADS = "payloads"
_LIKE_A_URL = re.compile(r"[a-z][a-z0-9+.-]+:/", re.I)
"""Also after ``Path`` has made one slash of two; a drive has one letter."""
_COMPARED_MAX_BYTES = 4 << 20
_STRONG = "blake3-256"


@dataclass(frozen=True)
class Stats:
    """Sizes of a repository: rows by table, and payload bytes in the database and in the store."""

    rows: dict[str, int]
    inline_bytes: int
    stored_bytes: int


class Repository:
    """Values by content, and the record of what made them. A context manager. Thread-safe.

    ``archive`` packs and unpacks, ``recorder`` writes rows, ``lookup`` and ``history`` read them.
    """

    def __init__(self, folder: Path, settings: Settings, observers: Iterable[Observer] = ()) -> None:
        self.folder = folder
        self.settings = settings
        digest = settings.digest or (_STRONG if _is_within_reach(settings) else DEFAULT_ALGORITHM)
        get_algorithm(digest)
        _check_payloads(settings.payloads)
        told = (*observers, *open_observers(settings.observe))
        self.observers: tuple[Observer, ...] = (Audience(*told),) if told else ()
        _make_folder(folder, settings.shared)
        self.database = open_database(folder, settings)
        try:
            recorded = migrate.ensure(self.database, {"digest": digest})
        except BaseException:
            self.database.close()
            raise
        self.repository_id = recorded["id"]
        self.algorithm = recorded["digest"]
        try:
            store = _open_payloads(folder, settings, self.observers)
        except BaseException:
            self.database.close()
            raise
        self.payloads = ContentStore(store, algorithm=self.algorithm)
        signer = Signer(self.repository_id, cache(_keys))
        trusted = settings.trust.get("classes", ())
        registry = get_type_registry().bound(self.algorithm, signer, trusted)
        self.archive = Archive(registry, self.payloads, settings.inline_max_bytes)
        self.recorder = Recorder(self.database, self.payloads.flush)
        self.lookup = Lookup(self.database)
        self._history: History | None = None
        self.tags = Tags(self.database, self.recorder.flush)
        self._release = weakref.finalize(self, _release, self.recorder, self.database, self.payloads)

    @classmethod
    def open(
        cls, location: str | Path | None = None, *, observers: Iterable[Observer] = (), **settings: Any
    ) -> Self:
        """The repository at ``location``, made there if there is none.

        ``None`` means: ``VALUESTORE_REPOSITORY`` if set, else ``.valuestore/`` here or in the nearest
        parent, else made here; one that is found so has to be this user's. A location that is not named
        ``.valuestore`` and holds no repository gets one inside it. Settings: see ``config.Settings``; a
        repository keeps the digest that it was made with.
        A ``Store`` given as ``payloads`` is the repository's from then on: closing it closes that.
        ``observers`` hear of the payload store, of executions and of jobs, beside those of ``[observe]``.
        Raises: ConfigError, DatabaseError, StoreReadOnly.
        """
        folder = find_folder(location)
        repository = cls(folder, load_settings(folder, settings), observers)
        if settings.get("digest") not in (None, repository.algorithm):
            repository.close()
            raise ConfigError("digest", f"{folder} exists, and keeps its {repository.algorithm}")
        return repository

    @property
    def history(self) -> History:
        """Questions about what ran. Imported when the first is asked: most programs only record."""
        if self._history is None:
            from valuestore.db.history.history import History

            forms = partial(_form, self.lookup, self.archive)
            self._history = History(self.database, self.archive.registry, self.recorder.flush, forms)
        return self._history

    def put(self, obj: object) -> ValueRef:
        """Keep a value; the ref's ``value_hash`` gives it back. Written soon, or at ``flush``.

        Raises: NotHashableError naming the path inside the object; StoreError.
        """
        ref = self.archive.pack(obj)
        self.recorder.record_values((ref,))
        return ref

    def get(self, value_hash: str, *, copy: bool = True) -> Any:
        """The value. Without ``copy``, arrays and frames are read-only, and show the payload's file itself.

        Who truncates that file in place meanwhile ends this process (SIGBUS); valuestore itself never does.

        Raises: NotFound, PayloadMissing, PayloadCorrupt, DecodeError, UntrustedPayload.
        """
        ref = self.find_value(value_hash)
        try:
            return self.archive.unpack(ref, copy=copy)
        except PayloadError:
            self.recorder.forget(ref.value_hash)
            raise

    def find_value(self, value_hash: str) -> ValueRef:
        """What is known of a value, without loading it. Raises: NotFound; BadKey if that is no digest."""
        if not is_digest(value_hash):
            raise BadKey(value_hash, "a value hash is 32 or 64 lower-case hex digits")
        self.recorder.flush()
        ref = self.lookup.value(Digest(value_hash))
        if isinstance(ref, Miss):
            raise NotFound(value_hash, str(self.folder))
        return ref

    def stats(self) -> Stats:
        """How much is kept. Loads no payload."""
        self.flush()
        rows, inline_bytes, stored_bytes = self.history.sizes()
        return Stats(rows, inline_bytes, stored_bytes)

    def flush(self) -> None:
        """Write what is buffered; when it returns, it is committed."""
        self.recorder.flush()

    def close(self) -> None:
        """Flush and release everything. Closing twice is fine; a forgotten repository closes itself."""
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<repository {self.folder}>"


def find_folder(location: str | Path | None = None) -> Path:
    """The folder of the repository that ``Repository.open(location)`` opens; it may not exist yet.

    Raises: ConfigError for one of another user, unless it was named or allowed (``config.is_safe``).
    """
    location = location if location is not None else environment("repository")
    if location is not None:
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
    return Database.at(folder / _DATABASE, busy_timeout_seconds=seconds, file_mode=mode)


def _check_payloads(given: object) -> None:
    """Raises: ConfigError for what is no place of payloads. Opens nothing."""
    if isinstance(given, Mapping):
        wrappers.check_config(given, name="payloads")
    elif not isinstance(given, str | Store):
        raise ConfigError("payloads", f"{type(given).__name__} is not a URL, a path, a table or a Store")


def _open_payloads(folder: Path, settings: Settings, observers: tuple[Observer, ...]) -> Store:
    given = settings.payloads
    if isinstance(given, Mapping):  # payloads never change under their key, so a cache need not ask
        base = None if settings.folder is None else str(settings.folder)
        return wrappers.store_from_config(
            given, folder=base, observers=observers, others_write=False, name="payloads"
        )
    if isinstance(given, Store):
        store = given
    elif given:
        store = open_payloads(str(given), settings.shared)
    else:
        mode = file_mode_in(folder, shared=settings.shared)
        store = FileStore((folder / _PAYLOADS).resolve(), durability=settings.durability, file_mode=mode)
    return wrappers.Observed(store, *observers) if observers else store


def _is_within_reach(settings: Settings) -> bool:
    """Whether others than this user may write to the database or the payloads."""
    has_server = settings.database != "" and not settings.database.startswith("sqlite")
    return bool(settings.shared) or has_server or _is_on_server(settings.payloads)


def _is_on_server(payloads: object) -> bool:
    if isinstance(payloads, Mapping):
        on_server = payloads.get("type", "file") not in ("file", "memory")
        return on_server or any(map(_is_on_server, payloads.values()))
    if isinstance(payloads, list | tuple):
        return any(map(_is_on_server, payloads))
    url = payloads.url if isinstance(payloads, Store) else payloads
    return isinstance(url, str) and "://" in url and not url.startswith(("file://", "memory://"))


def open_payloads(url: str, shared: bool | None) -> Store:
    """The store of a URL or path; a folder gets the modes of a repository's."""
    if _is_on_server(url) or url.startswith("memory:"):
        return open_store(url)
    folder = unquote(url.removeprefix("file://").removeprefix("localhost"))
    return open_store(url, file_mode=file_mode_in(folder, shared=shared))


def _make_folder(folder: Path, shared: bool | None) -> None:
    try:
        make_folder(folder, shared=shared)
    except FileExistsError as error:
        raise NotARepository(str(folder), "there is a file of that name") from error
    except OSError as error:
        raise StoreReadOnly(str(folder), error.strerror or str(error)) from error


def _keys() -> KeyRing:
    """The user's keys; asked for only when something has to be signed or verified."""
    from valuestore.values.trust.keys import KeyRing

    return KeyRing.open()


def _form(lookup: Lookup, archive: Archive, value_hash: str) -> Any:
    """The canonical form of a value, for comparing; None if it is large, lost or not plain."""
    ref = lookup.value(Digest(value_hash))
    if isinstance(ref, Miss) or ref.size > _COMPARED_MAX_BYTES:
        return None
    try:
        return decode_form(ref.codec, archive.read(ref))
    except (PayloadError, StoreError):
        return None


def _release(recorder: Recorder, database: Database, payloads: ContentStore) -> None:
    """What closing means; knows no repository, so that it can run after one is gone, or at exit."""
    with ExitStack() as stack:  # the others, too, if one cannot be closed
        stack.callback(payloads.close)
        stack.callback(database.close)
        stack.callback(recorder.close)
