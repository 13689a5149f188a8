r"""Bundle: records and payloads of a repository as one compressed file, written and read as a stream.

The first line says what it is; each further one is a record, ``["kind", [...]]``, its bytes in base64. After
the line of a payload come its bytes in pieces, each behind a line with its length; 0 ends them, -1 says that
the rest is lost. The last line counts what came before it, and has its digest: a file that was cut has none.
zstd or gzip, which both can be read by others; docs/sharing.md describes it. Nothing of it is believed.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import os
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from tempfile import mkstemp
from typing import Any, BinaryIO, NamedTuple, NoReturn

from valuestore.db.upkeep.records import BYTES, Damaged, Row
from valuestore.errors import (
    AlreadyExists,
    BundleRefused,
    ConfigError,
    PayloadCorrupt,
    StoreUnavailable,
    ValuestoreError,
)
from valuestore.hashing import get_algorithm

FORMAT = 1
_LONGEST_LINE = 64 << 20
_PIECE = 1 << 20
_MOST_ANYWAY = 1 << 30
_MOST_RATIO = 1000
"""What a file may become, as a multiple of its size: more is a bomb, unless somebody says otherwise."""
_ZSTD = b"\x28\xb5\x2f\xfd"
_GZIP = b"\x1f\x8b"


def _zstd() -> Any:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd


# --- Writing


class Written:
    """A bundle that is being written."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hasher = get_algorithm().new()
        self._records = 0

    def head(self, facts: dict[str, Any]) -> None:
        self._line({"valuestore": "bundle", "format": FORMAT, **facts})

    def record(self, kind: str, row: Row) -> None:
        if places := BYTES[kind]:
            packed: list[Any] = list(row)
            for at in places:
                packed[at] = None if row[at] is None else base64.b64encode(row[at]).decode()
            row = tuple(packed)
        self._line([kind, row])

    def payload(self, digest: str, size: int, pieces: Iterable[bytes]) -> None:
        """A payload. Raises: what ``pieces`` raise, after it was noted that the rest is lost."""
        self._line(["payload", [digest, size]])
        try:
            for piece in pieces:
                self._write(b"%d\n" % len(piece))
                self._write(piece)
        except BaseException:
            self._write(b"-1\n")
            raise
        self._write(b"0\n")

    def end(self) -> None:
        """The last line."""
        self._line({"end": self._records, "digest": self._hasher.hexdigest()})

    def _line(self, thing: Any) -> None:
        self._records += 1
        self._write(json.dumps(thing, separators=(",", ":")).encode() + b"\n")

    def _write(self, data: bytes) -> None:
        self._hasher.update(data)
        self._stream.write(data)


@contextmanager
def written(path: str, *, overwrite: bool) -> Iterator[Written]:
    """A new bundle, which is there once the block has ended well; for this user alone.

    Raises: AlreadyExists; StoreUnavailable, if the disk is full for example.
    """
    if not overwrite and os.path.lexists(path):
        raise AlreadyExists(os.path.basename(path), os.path.dirname(path) or "this folder")
    if os.path.exists(path) and not os.path.isfile(path):
        raise StoreUnavailable(path, "it is no regular file, so it cannot be replaced")
    unfinished = ""
    try:
        with _typed_errors(path):
            parts = ".unfinished", f"{os.path.basename(path)}.", os.path.dirname(path) or "."
            descriptor, unfinished = mkstemp(*parts)
            with open(descriptor, "wb") as file:
                with closing(_compressing(file)) as stream:
                    bundle = Written(stream)
                    yield bundle
                    bundle.end()
                os.fsync(file.fileno())
            os.replace(unfinished, path)
    finally:
        with suppress(OSError):
            os.unlink(unfinished)


@contextmanager
def _typed_errors(path: str) -> Iterator[None]:
    try:
        yield
    except ValuestoreError:
        raise
    except OSError as error:
        raise StoreUnavailable(path, error.strerror or str(error)) from error


def _compressing(file: BinaryIO) -> Any:
    try:
        zstd = _zstd()
    except ImportError:
        return gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6, mtime=0)
    options = {zstd.CompressionParameter.compression_level: 3, zstd.CompressionParameter.checksum_flag: 1}
    return io.BufferedWriter(zstd.ZstdFile(file, "w", options=options), _PIECE)


# --- Reading


class Read(NamedTuple):
    """A record that was read; of a payload also its bytes, which are read when they are asked for.

    The last piece of a payload comes once its digest was compared. Raises: Damaged, and PayloadCorrupt if
    its sender had lost it.
    """

    kind: str
    row: list[Any]
    pieces: Iterator[bytes] | None


class Bundle:
    """A bundle that is read, any number of times. Nothing of it is believed.

    ``head`` is what its first line says.
    """

    def __init__(self, path: str, max_bytes: int | None = None) -> None:
        self.path = path
        self._number = 0
        with _typed_errors(path):
            self._file = open(path, "rb")  # noqa: SIM115  # closed by close
        self._most = max_bytes or max(_MOST_ANYWAY, _MOST_RATIO * os.fstat(self._file.fileno()).st_size)
        try:
            self._begin()
            with self.refusing():
                self.head = self._parsed(self._line())
                self._check_head()
        except BaseException:
            self.close()
            raise

    def _check_head(self) -> None:
        if not isinstance(self.head, dict) or self.head.get("valuestore") != "bundle":
            raise Damaged("it is no bundle of valuestore's")
        if (found := self.head.get("format")) != FORMAT:
            problem = f"its format is {found!r}, and this valuestore reads {FORMAT}"
            raise Damaged(f"{problem}: upgrade valuestore (`pip install -U valuestore`)")

    def records(self) -> Iterator[Read]:
        """Each record, from the first. Raises: Damaged, at the latest at the end of a file that was cut."""
        self._begin()
        self._line()
        while True:
            before = self._hasher.hexdigest()
            found = self._parsed(self._line())
            if isinstance(found, dict):
                if found != {"end": self._number - 1, "digest": before} or self._stream.read(1):
                    raise Damaged("it does not end with what came before")
                return
            yield from self._one(found)

    def _one(self, found: Any) -> Iterator[Read]:
        if not isinstance(found, list) or len(found) != 2 or not isinstance(found[0], str):
            raise Damaged("this is no record")
        kind, row = found
        if kind != "payload":
            yield Read(kind, _unpacked(kind, row), None)
            return
        if not isinstance(row, list) or [type(each) for each in row] != [str, int]:
            raise Damaged("this is no payload")
        pieces = self._pieces(*row)
        yield Read(kind, row, pieces)
        with suppress(PayloadCorrupt):
            for _ in pieces:  # what nobody has asked for
                pass

    def _pieces(self, digest: str, size: int) -> Iterator[bytes]:
        hasher, held, left = get_algorithm(self.head["digest"]).new(), b"", size
        while length := self._length():
            if length < 0:
                raise PayloadCorrupt(digest, self.path, "it was lost where the bundle was made")
            left -= length
            if left < 0:
                break
            if held:
                yield held
            held = self._exactly(length)
            hasher.update(held)
        if left or hasher.hexdigest() != digest:
            raise Damaged(f"payload {digest} has other bytes")
        if held:
            yield held

    def _length(self) -> int:
        text = self._stream.readline(16)
        self._count(text)
        length = int(text) if text.strip().lstrip(b"-").isdigit() else -2
        if not -1 <= length <= _PIECE or not text.endswith(b"\n"):
            raise Damaged("a piece of a payload has no length, or too much of it")
        return length

    def _exactly(self, length: int) -> bytes:
        data: bytes = self._stream.read(length)
        if len(data) < length:
            raise Damaged("it ends too early")
        self._count(data)
        return data

    def _line(self) -> bytes:
        self._number += 1
        line: bytes = self._stream.readline(_LONGEST_LINE)
        if not line.endswith(b"\n"):
            raise Damaged("it ends too early" if len(line) < _LONGEST_LINE else "the record is too long")
        self._count(line)
        return line

    def _count(self, data: bytes) -> None:
        self._hasher.update(data)
        self._left -= len(data)
        if self._left < 0:
            problem = f"unpacked it is larger than {self._most:,} bytes"
            raise Damaged(f"{problem}: if that is meant, say max_bytes (--max-bytes)")

    def _parsed(self, line: bytes) -> Any:
        try:
            return json.loads(line, parse_float=_refuse, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise Damaged(f"it is not JSON ({str(error)[:80]})") from error

    @contextmanager
    def refusing(self) -> Iterator[None]:
        """What goes wrong in the block is the fault of the bundle. Raises: BundleRefused."""
        try:
            with _typed_errors(self.path):
                yield
        except self._errors as error:
            raise BundleRefused(self.path, self._number, str(error)) from error

    def _begin(self) -> None:
        """Read it from the beginning."""
        self._file.seek(0)
        magic = self._file.read(4)
        self._file.seek(0)
        self._errors: tuple[type[Exception], ...] = Damaged, EOFError, zlib.error, gzip.BadGzipFile
        if magic == _ZSTD:
            try:
                zstd = _zstd()
            except ImportError as error:
                problem = "it is compressed by zstd: pip install 'valuestore[zstd]'"
                raise ConfigError("bundle", problem) from error
            self._errors = (*self._errors, zstd.ZstdError)
            stream = zstd.ZstdFile(self._file)
        elif magic.startswith(_GZIP):
            stream = gzip.GzipFile(fileobj=self._file)
        else:
            raise BundleRefused(self.path, 0, "it is no bundle of valuestore's")
        self._stream: Any = io.BufferedReader(stream, _PIECE)
        self._hasher, self._left, self._number = get_algorithm().new(), self._most, 0

    def close(self) -> None:
        self._file.close()


def _unpacked(kind: str, row: Any) -> Any:
    """The record with its bytes as bytes; what is none is found out by who looks at it."""
    for at in BYTES.get(kind, ()):
        if isinstance(row, list) and len(row) > at and isinstance(row[at], str):
            try:
                row[at] = base64.b64decode(row[at], validate=True)
            except ValueError as error:
                raise Damaged("its bytes are not base64") from error
    return row


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number of a record")
