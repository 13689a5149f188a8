"""Compressed: a store whose bytes are zstd below, where that pays, and themselves above. Extra ``zstd``.

What is compressed begins with a frame that says so and that zstd skips, see Frames; so ``zstd -d`` reads
it too. Whatever does not begin so is as it was put, by this wrapper or without it; bytes that happen to
begin so are always compressed.
"""

from __future__ import annotations

import errno
import io
import struct
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from tempfile import SpooledTemporaryFile
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from valuestore.errors import NotSupported, StoreUnavailable
from valuestore.hashing import Bytes, get_algorithm
from valuestore.stores.base import CHUNK_BYTES, Attrs, Data, SignedUrl, Stat, Store, as_buffer, iter_chunks
from valuestore.stores.streams import Rest, Stream
from valuestore.stores.wrappers.base import Answer, Wrapper, pair_up

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

_SPOOL_BYTES = 8 << 20
_LOOKS = 1000


class Compressed(Wrapper):
    """Data of at least ``min_bytes`` is compressed at ``level``, if that saves a sixteenth.

    Sizes, ranges and etags are those of the data; the etag of what is compressed is its digest, xxh3-128.
    A stream is judged by its first MiB, and compressed into a temporary file. A read stops at the size that
    was recorded, whatever the compressed bytes would become. Damage raises StoreUnavailable, caused by an
    OSError with EBADMSG. ``stat`` and reads of ranges take three requests, to see one value throughout.
    """

    def __init__(self, store: Store, level: int = 3, min_bytes: int = 512) -> None:
        super().__init__(store)
        self._level = level
        self._min_bytes = min_bytes

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        if (start, end) == (0, None):
            return self._decoded(key, super().get(key))
        return self._steady(key, lambda _, facts: self._range(key, start, end, facts))

    def open(self, key: str) -> BinaryIO:
        stream = super().open(key)
        try:
            head = read_up_to(stream, HEADER_BYTES)
        except BaseException:
            stream.close()
            raise
        damaged = partial(self._damaged, key)
        reader = Decoder(stream, facts, damaged) if (facts := read_facts(head)) else Rest(stream, head)
        return cast(BinaryIO, io.BufferedReader(reader, CHUNK_BYTES))

    map = Store.map  # of the data, not of what is stored
    scan = Store.scan

    def stat(self, key: str) -> Stat:
        known = super().stat(key)  # what is too short to be compressed is certain at once
        return known if known.size < HEADER_BYTES else self._steady(key, _described)

    def size(self, key: str) -> int:
        return self.stat(key).size

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        asked = list(keys)
        stored = super().get_many(asked)
        return [self._decoded(key, data) for key, data in zip(asked, stored, strict=True)]

    def sign(
        self, key: str, method: str = "GET", expires_seconds: int = 3600, *, content_md5: str | None = None
    ) -> SignedUrl:
        raise NotSupported(self.url, "signed URLs past compression", "read and write through the store")

    def _range(self, key: str, start: int, end: int | None, facts: Facts | None) -> bytes:
        if facts is None:
            return self._store.get(key, start, end)
        with self.open(key) as stream:  # which sees one value, be it another than a moment ago
            data = b""
            wanted = range(*slice(start, end).indices(facts.size))
            if wanted:
                stream.seek(wanted.start)
                data = stream.read(len(wanted))
        return data

    def _steady(self, key: str, answer: Callable[[Stat, Facts | None], Answer]) -> Answer:
        """The answer about a value that stayed the same while it was looked at."""
        for _ in range(_LOOKS):
            known = self._store.stat(key)
            facts = read_facts(self._store.get(key, 0, HEADER_BYTES)) if known.size >= HEADER_BYTES else None
            found = answer(known, facts)
            after = self._store.stat(key)
            if (after.etag, after.modified) == (known.etag, known.modified):  # old bytes may come back
                return found
        raise StoreUnavailable(self.url, f"{key!r} changes faster than it can be read")

    def _decoded(self, key: str, data: bytes) -> bytes:
        facts = read_facts(data)
        if facts is None:
            return data
        with Decoder(io.BytesIO(data[HEADER_BYTES:]), facts, partial(self._damaged, key)) as reader:
            return reader.readall()

    def _damaged(self, key: str, reason: str) -> StoreUnavailable:
        error = StoreUnavailable(self.url, f"{key!r} does not decompress: {reason}")
        error.__cause__ = OSError(errno.EBADMSG, reason)
        return error

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        with closing(self._encode(key, data, size)) as encoded:
            known = super().put(
                key, encoded.data, size=encoded.stored_bytes, attrs=attrs, overwrite=overwrite
            )
        return _described(known, encoded.facts)

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        encoded: list[_Encoded] = []

        def encode(key: str, data: Data) -> Data:
            encoded.append(self._encode(key, data, None))
            return encoded[-1].data

        try:
            stats = super().put_many(*pair_up(keys, values, encode))
        finally:
            for each in encoded:
                each.close()
        return [_described(known, each.facts) for known, each in zip(stats, encoded, strict=True)]

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        super().copy(source, target, overwrite=overwrite)
        return self.stat(target)

    def _settings(self) -> dict[str, Any]:
        return {"store": self._store, "level": self._level, "min_bytes": self._min_bytes}

    def _encode(self, key: str, data: Data, size: int | None) -> _Encoded:
        self._check_open()
        whole = as_buffer(data)
        if whole is not None:
            for _ in iter_chunks(key, whole, size):
                pass  # which checks the size
            return self._encode_whole(whole)
        chunks, head, length = iter_chunks(key, data, size), [], 0
        for chunk in chunks:
            head.append(bytes(chunk))
            length += len(chunk)
            if length >= CHUNK_BYTES:
                break
        else:
            return self._encode_whole(b"".join(head))
        sample = self._encode_whole(b"".join(head))
        if sample.facts is None:
            return _Encoded(chain(head, chunks), size, None, None)
        return self._encode_stream(chain(head, chunks))

    def _encode_whole(self, data: Bytes) -> _Encoded:
        ambiguous = bytes(data[: len(SIGNATURE)]) == SIGNATURE
        if len(data) >= max(self._min_bytes, 1) or ambiguous:
            packed = zstd.compress(data, self._level)
            stored = HEADER_BYTES + len(packed)
            if stored <= len(data) - len(data) // 16 or ambiguous:
                facts = Facts(len(data), get_algorithm().hexdigest(data))
                return _Encoded(facts.header() + packed, stored, facts, None)
        return _Encoded(data, len(data), None, None)

    def _encode_stream(self, chunks: Iterable[Bytes]) -> _Encoded:
        spool = SpooledTemporaryFile(max_size=_SPOOL_BYTES)  # noqa: SIM115 - closed with what it becomes
        try:
            packer, hasher, size = zstd.ZstdCompressor(self._level), get_algorithm().new(), 0
            for chunk in chunks:
                hasher.update(chunk)
                size += len(chunk)
                spool.write(packer.compress(chunk))
            spool.write(packer.flush())
            facts = Facts(size, hasher.hexdigest())
            stored = HEADER_BYTES + spool.tell()
            spool.seek(0)
            pieces: Iterator[bytes] = iter(lambda: spool.read(CHUNK_BYTES), b"")
            return _Encoded(chain([facts.header()], pieces), stored, facts, spool)
        except BaseException:
            spool.close()
            raise


@dataclass(slots=True)
class _Encoded:
    """Data on its way down; ``facts`` if it is compressed."""

    data: Data
    stored_bytes: int | None
    facts: Facts | None
    spool: Any

    def close(self) -> None:
        if self.spool is not None:
            self.spool.close()


def _described(known: Stat, facts: Facts | None) -> Stat:
    return known if facts is None else replace(known, size=facts.size, etag=facts.digest)


# --- Frames: the stored form of what ``Compressed`` compressed, and how it is read without trusting it.
#
# First a frame that zstd skips, which says how many bytes there are and what their digest is; then one zstd
# frame, and nothing more. Format: RFC 8878; section 3.1.2 for skippable frames.

SIGNATURE = struct.pack("<II", 0x184D2A5E, 40) + b"valuestore zstd\x01"
_FACTS = struct.Struct("<Q16s")
HEADER_BYTES = len(SIGNATURE) + _FACTS.size


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first frame says of the data."""

    size: int
    digest: str

    def header(self) -> bytes:
        return SIGNATURE + _FACTS.pack(self.size, bytes.fromhex(self.digest))


def read_facts(head: bytes) -> Facts | None:
    if not head.startswith(SIGNATURE) or len(head) < HEADER_BYTES:
        return None
    size, digest = _FACTS.unpack_from(head, len(SIGNATURE))
    return Facts(size, digest.hex())


def read_up_to(stream: BinaryIO, count: int) -> bytes:
    """That many bytes, or fewer only at the end."""
    head = b""
    while len(head) < count and (piece := stream.read(count - len(head))):
        head += piece
    return head


class Decoder(Stream):
    """The data of a zstd frame: no more of it than its size, and at the end it has to be the data it was."""

    def __init__(self, stream: BinaryIO, facts: Facts, damaged: Callable[[str], StoreUnavailable]) -> None:
        super().__init__(facts.size, stream)
        self._start = stream.tell()
        self._facts = facts
        self._damaged = damaged
        self._begin(-1)

    def _begin(self, position: int) -> int:
        if position > self._at:
            return self._at
        self._stream.seek(self._start)
        self._unpacker = zstd.ZstdDecompressor()
        self._hasher = get_algorithm().new()
        self._verified = False
        return 0

    def _take(self, most: int) -> bytes | memoryview:
        piece = super()._take(most)
        if self._at == self._size and not self._verified:
            self._verify()
        return piece

    def _read(self, count: int) -> bytes:
        while not (piece := self._decompress(count)):
            if self._unpacker.eof:
                raise self._damaged(f"it has {self._size - self._at} bytes less than recorded")
        self._hasher.update(piece)
        return piece

    def _verify(self) -> None:
        while not self._unpacker.eof:
            if self._decompress(1):
                raise self._damaged("it has more bytes than recorded")
        if self._unpacker.unused_data or self._stream.read(1):
            raise self._damaged("something follows it")
        if self._hasher.hexdigest() != self._facts.digest:
            raise self._damaged("it has another digest than recorded")
        self._verified = True

    def _decompress(self, most: int) -> bytes:
        packed = b""
        if self._unpacker.needs_input and not (packed := self._stream.read(CHUNK_BYTES)):
            raise self._damaged("it ends too early")
        try:
            return self._unpacker.decompress(packed, most)
        except (zstd.ZstdError, EOFError) as error:
            reason = str(error)
        raise self._damaged(reason)
