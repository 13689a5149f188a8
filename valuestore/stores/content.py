"""ContentStore: payload digest -> verified bytes, on any store.

The address of a payload is the digest of its bytes, so whatever is read is checked against what was asked
for, and equal bytes are stored once. It knows no names, types or codecs: those live in the metadata
database. The keys in the store below it::

    ab/ab3f...                  the payload with that digest
    quarantine/<digest>.<n>     what lay at an address without being that payload
    valuestore.json             the format, and the one digest algorithm of this store

Called by ``values.archive`` for payloads, by garbage collection and by ``verify``.
"""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, cast

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    ConfigError,
    NotFound,
    PayloadCorrupt,
    PayloadError,
    PayloadMissing,
    StoreError,
    StoreUnavailable,
)
from valuestore.hashing import DEFAULT_ALGORITHM, Digest, get_algorithm, is_digest
from valuestore.stores.base import CHUNK_BYTES, Data, Store, as_buffer, iter_chunks

MARKER_KEY = "valuestore.json"
QUARANTINE = "quarantine"
FORMAT = 1

_SMALL_BYTES = 1 << 20
_SPOOL_BYTES = 8 << 20
_QUARANTINE_MAX = 100
_DAMAGE = {errno.EIO, errno.EILSEQ, errno.EBADMSG, getattr(errno, "EUCLEAN", errno.EIO)}
_FORBIDDEN = {errno.EACCES, errno.EPERM}


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """Which payload, and how many bytes it has."""

    digest: Digest
    size: int


class ContentStore:
    """Payloads by digest. Thread-safe; pickled by configuration; closing it closes the store below.

    Everything raises ConfigError, naming both, if the store below was first used with another algorithm.
    """

    def __init__(self, store: Store, *, algorithm: str = DEFAULT_ALGORITHM) -> None:
        self._store = store
        self._algorithm = get_algorithm(algorithm)
        self._marker_read = False
        self._marker_certain = False
        self._checked: set[str] = set()  # of the large payloads, those that were whole when last looked at

    # --- writing ------------------------------------------------------------------------------------

    def put(self, data: Data) -> PayloadRef:
        """Store the bytes at the address that is their digest. It may happen twice, and it heals.

        What lies there is checked first: by size, and by digest if it is at most 1 MiB or this object never
        checked it. What is damaged goes to quarantine. A stream is read to its end and left open; memory
        stays bounded. Raises: StoreReadOnly; StoreUnavailable, if full for example; nothing is stored then.
        """
        self._prepare(writing=True)
        buffer = as_buffer(data)
        if buffer is not None:
            ref = PayloadRef(Digest(self._algorithm.hexdigest(buffer)), len(buffer))
            if not self._is_stored(ref):
                self._write(ref, buffer)
            return ref
        if _is_seekable(data):
            return self._put_seekable(cast(IO[bytes], data))
        with SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            for chunk in iter_chunks("payload", data):
                spool.write(chunk)
            spool.seek(0)
            return self._put_seekable(spool)

    def delete(self, digest: str) -> None:
        """Remove the payload. Raises: PayloadMissing."""
        address = self._address(digest)
        self._prepare()
        self._checked.discard(digest)
        try:
            self._store.delete(address)
        except NotFound as error:
            raise PayloadMissing(digest, self.url) from error

    def flush(self) -> None:
        """Return when everything put so far is as durable as the store below was configured to make it."""
        self._store.flush()

    # --- reading ------------------------------------------------------------------------------------

    def get(self, digest: str) -> bytes:
        """The payload, verified.

        Raises: PayloadMissing; PayloadCorrupt, after what was there went to quarantine (unless the store is
        read-only); StoreUnavailable if the store cannot tell, which is no miss.
        """
        address = self._address(digest)
        self._prepare()
        found = ""
        for _ in range(2):  # the second look tells bad bytes from a bad read
            try:
                data = self._store.get(address)
            except NotFound as error:
                raise PayloadMissing(digest, self.url) from error
            except StoreUnavailable as error:
                found = _damage(error)
            else:
                if self._algorithm.hexdigest(data) == digest:
                    return data
                found = f"{len(data)} bytes with another digest"
        raise self._condemn(digest, found)

    def open(self, digest: str) -> BinaryIO:
        """A stream of the payload. Its last piece is handed out only once the whole was verified.

        Raises: PayloadMissing. Reading raises PayloadCorrupt at the end, under the conditions of ``get``.
        """
        address = self._address(digest)
        self._prepare()
        try:
            stream = self._store.open(address)
        except NotFound as error:
            raise PayloadMissing(digest, self.url) from error
        return io.BufferedReader(_VerifiedReader(self, digest, stream))

    def has_many(self, digests: Iterable[str]) -> set[Digest]:
        """Those of the digests that something is stored at, without reading it."""
        self._prepare()
        asked = {self._address(digest): digest for digest in digests}
        return {Digest(asked[address]) for address in self._store.exists_many(asked)}

    def digests(self) -> Iterator[Digest]:
        """The digest of everything stored, in order; keys that are no payload's are passed over."""
        self._prepare()
        for key in self._store.keys():  # noqa: SIM118 - a store is no mapping
            digest = key[3:]
            if len(digest) == self._algorithm.hex_length and is_digest(digest) and key == _address(digest):
                yield Digest(digest)

    def verify(self, digests: Iterable[str] | None = None) -> Iterator[PayloadError | StoreError]:
        """Read everything stored, or what is named; yield what is wrong, and go on. Changes nothing.

        A PayloadMissing or PayloadCorrupt tells its digest; any other error, what could not be looked at.
        """
        for digest in self.digests() if digests is None else digests:
            try:
                found = self._digest_at(self._address(digest))
            except NotFound:
                if digests is not None:
                    yield PayloadMissing(digest, self.url)
            except PayloadCorrupt as error:
                self._checked.discard(digest)
                yield error
            except StoreError as error:
                yield error
            else:
                if found != digest:
                    self._checked.discard(digest)
                    yield PayloadCorrupt(digest, self.url, f"bytes with digest {found}")

    # --- itself -------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """What messages call the store below; never with credentials."""
        return self._store.url

    @property
    def algorithm(self) -> str:
        """The name of the digest algorithm."""
        return self._algorithm.name

    def close(self) -> None:
        """Close the store below."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(ContentStore, algorithm=self.algorithm), (self._store,)

    def __repr__(self) -> str:
        return f"<ContentStore {self.url} {self.algorithm}>"

    def _address(self, digest: str) -> str:
        if not is_digest(digest):
            raise BadKey(digest, "a digest is 32 or 64 lower-case hex digits")
        return _address(digest)

    # --- the marker ---------------------------------------------------------------------------------

    def _prepare(self, *, writing: bool = False) -> None:
        """Before first use, compare the algorithm with the marker's; before the first put, leave a marker."""
        if self._marker_certain or (self._marker_read and not writing):
            return
        if not self._check_marker() and writing:
            marker = json.dumps({"digest": self.algorithm, "format": FORMAT}).encode()
            try:
                self._store.put(MARKER_KEY, marker, overwrite=False)
            except AlreadyExists:  # made just now by somebody else, or damaged
                if not self._check_marker():
                    self._store.put(MARKER_KEY, marker)
            self._marker_certain = True
        self._marker_read = True

    def _check_marker(self) -> bool:
        """Whether there is a marker that can be read. Raises: ConfigError if it names something else."""
        try:
            marker = json.loads(self._store.get(MARKER_KEY))
            format_, algorithm = marker["format"], marker["digest"]
        except (NotFound, ValueError, KeyError, TypeError, RecursionError):
            return False
        if format_ != FORMAT:
            problem = f"{self.url} has format {format_!r}, and this valuestore knows {FORMAT}; upgrade it"
            raise ConfigError("format", problem)
        if algorithm != self.algorithm:
            problem = f"{self.url} was made with {algorithm!r} and is opened with {self.algorithm!r}"
            raise ConfigError("digest", problem)
        self._marker_certain = True
        return True

    # --- putting ------------------------------------------------------------------------------------

    def _put_seekable(self, stream: IO[bytes]) -> PayloadRef:
        """Read it once for the digest and, if need be, once more to store it."""
        start, size, hasher = stream.tell(), 0, self._algorithm.new()
        for chunk in iter_chunks("payload", cast(BinaryIO, stream)):
            hasher.update(chunk)
            size += len(chunk)
        ref = PayloadRef(Digest(hasher.hexdigest()), size)
        if not self._is_stored(ref):
            stream.seek(start)
            self._write(ref, self._unchanged(ref, stream))
        return ref

    def _unchanged(self, ref: PayloadRef, stream: IO[bytes]) -> Iterator[bytes]:
        """The stream's bytes; at their end it raises, which fails the put, if they have another digest."""
        hasher = self._algorithm.new()
        for chunk in iter_chunks(ref.digest, cast(BinaryIO, stream), ref.size):
            hasher.update(chunk)
            yield cast(bytes, chunk)
        if hasher.hexdigest() != ref.digest:
            raise StoreError("the data changed while it was being stored; nothing was stored")

    def _write(self, ref: PayloadRef, data: Data) -> None:
        self._store.put(_address(ref.digest), data, size=ref.size, attrs={})
        self._remember(ref)

    def _is_stored(self, ref: PayloadRef) -> bool:
        """Whether the payload is at its address. Whatever else is there goes to quarantine."""
        address = _address(ref.digest)
        try:
            whole = self._store.size(address) == ref.size and (
                ref.digest in self._checked or self._digest_at(address) == ref.digest
            )
            if whole:
                self._remember(ref)
                return True
        except NotFound:
            return False
        except PayloadCorrupt:
            pass
        except StoreUnavailable as error:
            if _errno(error) not in _FORBIDDEN:
                raise
        with suppress(StoreError):  # what cannot be moved is overwritten
            self._quarantine(ref.digest)
        return False

    def _remember(self, ref: PayloadRef) -> None:
        if ref.size > _SMALL_BYTES:
            self._checked.add(ref.digest)

    # --- damage -------------------------------------------------------------------------------------

    def _digest_at(self, key: str) -> str:
        """The digest of the bytes at a key. Raises: PayloadCorrupt if the medium cannot give them."""
        hasher = self._algorithm.new()
        try:
            with self._store.open(key) as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    hasher.update(chunk)
        except StoreUnavailable as error:
            raise PayloadCorrupt(key.rpartition("/")[2], self.url, _damage(error)) from error
        return hasher.hexdigest()

    def _condemn(self, digest: str, found: str) -> PayloadCorrupt:
        """Move what is at the address to quarantine; the error to raise."""
        with suppress(StoreError):  # read-only, or nobody can move it: the verdict stands
            self._quarantine(digest)
        return PayloadCorrupt(digest, self.url, found)

    def _quarantine(self, digest: str) -> None:
        """Take away what is at the address, and keep it for people to look at if it can be kept.

        Somebody may have healed it since it was looked at: then what was moved is whole, and goes back.
        """
        self._checked.discard(digest)
        address = _address(digest)
        keep = self._free_quarantine(digest)
        try:
            self._store.move(address, keep)
            if self._digest_at(keep) == digest:
                self._store.move(keep, address)
        except NotFound:  # gone already
            pass
        except PayloadCorrupt:  # moved, and unreadable
            pass
        except StoreUnavailable as error:  # cannot even be copied: the next put replaces it
            if _errno(error) not in {*_DAMAGE, *_FORBIDDEN}:
                raise
            with suppress(NotFound):
                self._store.delete(address)

    def _free_quarantine(self, digest: str) -> str:
        names = (f"{QUARANTINE}/{digest}.{n}" for n in range(_QUARANTINE_MAX))
        return next((key for key in names if not self._store.exists(key)), f"{QUARANTINE}/{digest}.0")


class _VerifiedReader(io.RawIOBase):
    """Hands out a piece once the next one was read, so that the last comes after the verdict."""

    def __init__(self, content: ContentStore, digest: str, stream: BinaryIO) -> None:
        self._content = content
        self._digest = digest
        self._stream = stream
        self._hasher = content._algorithm.new()
        self._piece = memoryview(b"")
        self._next: bytes | None = None
        self._verdict: PayloadCorrupt | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._piece:
            self._piece = memoryview(self._advance())
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def readall(self) -> bytes:
        pieces: list[bytes | memoryview] = [self._piece, *iter(self._advance, b"")]
        self._piece = memoryview(b"")
        return b"".join(pieces)

    def _advance(self) -> bytes:
        """The next piece, empty at the end."""
        piece = self._read() if self._next is None else self._next
        self._next = self._read() if piece else b""
        return piece

    def _read(self) -> bytes:
        if self._verdict is not None:
            raise self._verdict
        try:
            piece = self._stream.read(CHUNK_BYTES)
        except StoreUnavailable as error:
            self._verdict = self._content._condemn(self._digest, _damage(error))
            raise self._verdict from error
        self._hasher.update(piece)
        if not piece and (found := self._hasher.hexdigest()) != self._digest:
            self._verdict = self._content._condemn(self._digest, f"bytes with digest {found}")
            raise self._verdict
        return piece

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _is_seekable(data: Data) -> bool:
    seekable = getattr(data, "seekable", None)
    return seekable is not None and bool(seekable())


def _address(digest: str) -> str:
    return f"{digest[:2]}/{digest}"


def _errno(error: StoreError) -> int | None:
    return error.__cause__.errno if isinstance(error.__cause__, OSError) else None


def _damage(error: StoreUnavailable) -> str:
    """The reason, if it says that these bytes are lost; else the error goes on its way."""
    if _errno(error) not in _DAMAGE:
        raise error
    return str(error.args[1])
