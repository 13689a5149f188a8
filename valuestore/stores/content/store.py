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

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import IO, Any, BinaryIO, Self, cast

from valuestore.errors import (
    AlreadyExists,
    BadKey,
    NotFound,
    PayloadCorrupt,
    PayloadError,
    PayloadMissing,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    TooLarge,
)
from valuestore.hashing import (
    DEFAULT_ALGORITHM,
    Bytes,
    Digest,
    algorithm_of,
    get_algorithm,
    hash_pieces,
    is_digest,
)
from valuestore.stores.base import Data, Store, as_buffer, iter_chunks
from valuestore.stores.content.marker import Marker
from valuestore.stores.content.quarantine import QUARANTINE, Quarantine, damage, is_forbidden
from valuestore.stores.content.reader import VerifiedReader, fill, fresh_memory, is_seekable
from valuestore.stores.data import Replayed, SignedUrl

_SMALL_BYTES, _SPOOL_BYTES = 1 << 20, 8 << 20


@dataclass(frozen=True, slots=True)
class PayloadRef:
    """Which payload, and how many bytes it has."""

    digest: Digest
    size: int


class ContentStore:
    """Payloads by digest. Thread-safe; pickled by configuration; closing it closes the store below.

    Everything raises ConfigError, naming both, if the store below was first used with another algorithm.
    ``owner`` is the repository that writes here: its id, and where it is.
    """

    def __init__(
        self, store: Store, *, algorithm: str = DEFAULT_ALGORITHM, owner: tuple[str, str] | None = None
    ) -> None:
        self._store = store
        self._algorithm = get_algorithm(algorithm)
        self._marker = Marker(store, self._algorithm.name, owner)
        self.place = owner[1] if owner else ""  # where the repository is
        self._quarantine = Quarantine(store, self._algorithm)
        self._checked: set[str] = set()  # of the large payloads, those that were whole when last looked at

    # --- writing ------------------------------------------------------------------------------------

    def put(self, data: Data) -> PayloadRef:
        """Store the bytes at the address that is their digest. It may happen twice, and it heals.

        What lies there is checked: by size, and by digest if it is at most 1 MiB or this object never checked
        it. What is damaged goes to quarantine. On a server, up to 1 MiB are sent before anything is checked,
        so that a new payload is one request. A stream is read to its end and left open; memory stays bounded.
        A tuple of pieces is gone through twice and not copied.

        Raises: StoreReadOnly; StoreUnavailable, if full for example; nothing is stored then.
        """
        self._marker.check(writing=True)
        buffer = as_buffer(data)
        if buffer is not None:
            ref = PayloadRef(Digest(self._algorithm.hexdigest(buffer)), len(buffer))
            return self._keep(ref, lambda: buffer)
        if isinstance(data, tuple):
            return self._put_pieces(data)
        if is_seekable(data):
            return self._put_seekable(cast(IO[bytes], data))
        from tempfile import SpooledTemporaryFile  # late: small payloads are whole

        with SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:
            for chunk in iter_chunks("payload", data):
                spool.write(chunk)
            spool.seek(0)
            return self._put_seekable(spool)

    def receive(self, ref: PayloadRef, pieces: Callable[[], Iterator[bytes]]) -> None:
        """Store a payload whose digest is known: ``pieces`` gives its bytes, as often as it is called.

        They are not hashed here: the last of them has to come once it is certain that they are right.
        Raises: as ``put``, and what they raise; nothing is stored then.
        """
        self._marker.check(writing=True)
        self._keep(ref, lambda: Replayed(pieces))

    def holds(self, ref: PayloadRef) -> bool:
        """Whether the payload is stored, as ``put`` makes sure of it; what is damaged goes to quarantine."""
        self._marker.check(writing=True)
        return self._is_stored(ref)

    def delete(self, digest: str) -> None:
        """Remove the payload. Raises: PayloadMissing."""
        address = self._address(digest)
        self._marker.check()
        self._checked.discard(digest)
        try:
            self._store.delete(address)
        except NotFound as error:
            raise PayloadMissing(digest, self.url) from error

    def delete_many(self, digests: Iterable[str]) -> None:
        """Remove those of the payloads that are there."""
        self._marker.check()
        addresses = [self._address(digest) for digest in digests]
        self._checked.difference_update(digests)
        self._store.delete_many(addresses)

    def flush(self) -> None:
        """Return when everything put so far is as durable as the store below was configured to make it."""
        self._store.flush()

    # --- reading ------------------------------------------------------------------------------------

    def get(self, digest: str, is_right: Callable[[bytes], bool] | None = None) -> bytes:
        """The payload, verified: by ``is_right`` instead of the digest, if the caller knows more than that.

        Raises: PayloadMissing; PayloadCorrupt, after what was there went to quarantine (unless the store is
        read-only); StoreUnavailable if the store cannot tell, which is no miss.
        """
        address = self._address(digest)
        self._marker.check()
        found = ""
        for _ in range(2):  # the second look tells bad bytes from a bad read
            try:
                data = self._store.get(address)
            except NotFound as error:
                raise PayloadMissing(digest, self.url) from error
            except StoreUnavailable as error:
                found = damage(error)
            else:
                if is_right is not None and is_right(data):
                    return data
                if self._algorithm.hexdigest(data) != digest:
                    found = f"{len(data)} bytes with another digest"
                elif is_right is None:
                    return data
                else:
                    raise PayloadCorrupt(Digest(digest), self.url, "it is the payload of another value")
        raise self._condemn(digest, found)

    def read(self, digest: str, size: int) -> memoryview:
        """A payload of that size, verified, in memory that is the caller's to change. Raises: as ``get``."""
        address = self._address(digest)
        self._marker.check()
        with suppress(OSError, ValueError, OverflowError):  # get looks again, and says what is wrong
            if size > _SMALL_BYTES and self._store.size(address) == size:
                memory = memoryview(fresh_memory(size))
                with self._store.open(address) as stream:
                    whole = fill(memory, stream)
                if whole and self._algorithm.hexdigest(memory) == digest:
                    return memory
        return memoryview(bytearray(self.get(digest)))

    def map(self, digest: str) -> memoryview | None:
        """The payload, verified, read-only and if the store below can do that, in no memory but the file's.

        None if it is not there and whole: ``get`` tells why. Nothing goes to quarantine.
        """
        address = self._address(digest)
        self._marker.check()
        with suppress(NotFound, StoreUnavailable):
            view = self._store.map(address)
            if self._algorithm.hexdigest(view) == digest:
                return view
        return None

    def open(self, digest: str) -> BinaryIO:
        """A stream of the payload. Its last piece is handed out only once the whole was verified.

        Raises: PayloadMissing. Reading raises PayloadCorrupt at the end, under the conditions of ``get``.
        """
        address = self._address(digest)
        self._marker.check()
        try:
            stream = self._store.open(address)
        except NotFound as error:
            raise PayloadMissing(digest, self.url) from error
        return io.BufferedReader(
            VerifiedReader(stream, digest, self._algorithm.new(), partial(self._condemn, digest))
        )

    def stream(self, digest: str) -> BinaryIO:
        """The bytes that lie there, unverified: for who verifies them by more than their digest.

        Raises: NotFound, StoreError.
        """
        return self._store.open(self._address(digest))

    def sign(self, digest: str, method: str, expires_seconds: int) -> SignedUrl:
        """A URL by which somebody may read the payload for a while. Raises: NotSupported."""
        return self._store.sign(self._address(digest), method, expires_seconds)

    def losses(self) -> Sequence[str]:
        """As those of the store."""
        return self._store.losses()

    def set_aside(self) -> int:
        """How many damaged payloads are in quarantine."""
        return sum(1 for _ in self._store.keys(f"{QUARANTINE}/"))

    def has_many(self, digests: Iterable[str]) -> set[Digest]:
        """Those of the digests that something is stored at, without reading it."""
        self._marker.check()
        asked = {self._address(digest): digest for digest in digests}
        return {Digest(asked[address]) for address in self._store.exists_many(asked)}

    def digests(self) -> Iterator[Digest]:
        """The digest of everything stored, in order; keys that are no payload's are passed over."""
        self._marker.check()
        for key in self._store.keys():  # noqa: SIM118 - a store is no mapping
            digest = key[3:]
            if algorithm_of(digest) == self._algorithm.name and key == _address(digest):
                yield Digest(digest)

    def ages(self, digests: Iterable[str]) -> Iterator[tuple[Digest, int, float, float]]:
        """Of each that is there: its size, how many seconds ago it was put, and the store's clock."""
        for digest in digests:
            with suppress(NotFound):
                found = self._store.stat(self._address(digest))
                clock = self._marker.clock()
                yield Digest(digest), found.size, clock - found.modified.timestamp(), clock

    def owners(self) -> list[tuple[str, str]]:
        """The repositories that have written here: their ids, with where they were then."""
        return self._marker.owners()

    def verify(self, digests: Iterable[str] | None = None) -> Iterator[PayloadError | StoreError]:
        """Read everything stored, or what is named; yield what is wrong, and go on. Changes nothing.

        A PayloadMissing or PayloadCorrupt tells its digest; any other error, what could not be looked at.
        """
        for digest in self.digests() if digests is None else digests:
            try:
                found = self._quarantine.digest_at(self._address(digest))
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
        made = partial(ContentStore, algorithm=self.algorithm, owner=self._marker.owner)
        return made, (self._store,)

    def __repr__(self) -> str:
        return f"<ContentStore {self.url} {self.algorithm}>"

    def _address(self, digest: str) -> str:
        if not is_digest(digest):
            raise BadKey(digest, "a digest is 32 or 64 lower-case hex digits")
        return _address(digest)

    # --- putting ------------------------------------------------------------------------------------

    def _put_seekable(self, stream: IO[bytes]) -> PayloadRef:
        """Read it once for the digest and, if need be, once more to store it."""
        start = stream.tell()
        ref = PayloadRef(*self._digest(iter_chunks("payload", cast(BinaryIO, stream))))

        def again() -> Iterator[bytes]:
            stream.seek(start)
            return self._unchanged(ref, stream)

        return self._keep(ref, lambda: Replayed(again))

    def _put_pieces(self, pieces: tuple[Bytes, ...]) -> PayloadRef:
        ref = PayloadRef(*self._digest(pieces))
        return self._keep(ref, lambda: Replayed(partial(self._unchanged, ref, pieces)))

    def _digest(self, pieces: Iterable[Bytes]) -> tuple[Digest, int]:
        return hash_pieces(pieces, algorithm=self._algorithm.name)

    def _unchanged(self, ref: PayloadRef, data: IO[bytes] | tuple[Bytes, ...]) -> Iterator[bytes]:
        """The data's bytes; at their end it raises, which fails the put, if they have another digest."""
        hasher = self._algorithm.new()
        for chunk in iter_chunks(ref.digest, cast(Data, data), ref.size):
            hasher.update(chunk)
            yield cast(bytes, chunk)
        if hasher.hexdigest() != ref.digest:
            raise StoreError("the data changed while it was being stored; nothing was stored")

    def _keep(self, ref: PayloadRef, data: Callable[[], Data]) -> PayloadRef:
        """Have the payload at its address; ``data`` gives its bytes, each time it is called."""
        if not self._is_created(ref, data) and not self._is_stored(ref):
            self._store.put(_address(ref.digest), data(), size=ref.size, attrs={})
            self._remember(ref)
        return ref

    def _is_created(self, ref: PayloadRef, data: Callable[[], Data]) -> bool:
        """Whether the payload was new and is stored now. Not tried where to look first costs less."""
        if ref.size > _SMALL_BYTES or not self._store.is_remote:
            return False
        try:
            self._store.put(_address(ref.digest), data(), size=ref.size, attrs={}, overwrite=False)
        except (AlreadyExists, StoreReadOnly, TooLarge):  # then it is enough if it is there
            return False
        return True

    def _is_stored(self, ref: PayloadRef) -> bool:
        """Whether the payload is at its address. Whatever else is there goes to quarantine."""
        address = _address(ref.digest)
        try:
            if self._is_whole(ref, address):
                self._remember(ref)
                return True
        except NotFound:
            return False
        except PayloadCorrupt:
            pass
        except StoreUnavailable as error:
            if not is_forbidden(error):
                raise
        with suppress(StoreError):  # what cannot be moved is overwritten
            self._checked.discard(ref.digest)
            self._quarantine.take(address)
        return False

    def _is_whole(self, ref: PayloadRef, address: str) -> bool:
        """Whether it is the payload that is there. Raises: NotFound; PayloadCorrupt; StoreUnavailable."""
        if self._store.is_remote and ref.size <= _SMALL_BYTES:  # one request, however much is there
            with self._store.open(address) as stream:
                return self._algorithm.hexdigest(stream.read(ref.size + 1)) == ref.digest
        return self._store.size(address) == ref.size and (
            ref.digest in self._checked or self._quarantine.digest_at(address) == ref.digest
        )

    def _remember(self, ref: PayloadRef) -> None:
        if ref.size > _SMALL_BYTES:
            self._checked.add(ref.digest)

    def _condemn(self, digest: str, found: str) -> PayloadCorrupt:
        """Take away what is at the address, which was found to be no payload; the error to raise."""
        self._checked.discard(digest)
        return self._quarantine.condemn(_address(digest), found)


def _address(digest: str) -> str:
    return f"{digest[:2]}/{digest}"
