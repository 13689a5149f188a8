"""StatMemory: the content digests of local files, remembered by status so that each content is read once.

In this process, and across processes through a ``StatRecord``. Called by local_files.py and manifest.py.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cache
from operator import attrgetter

import xxhash

from valuestore.config import cache_folder
from valuestore.errors import NotHashableError, StoreUnavailable
from valuestore.hashing import Digest, active_algorithm, get_algorithm

RACY_NS = 2_000_000_000
"""A file touched less than two seconds before it is read is not remembered: it could change again within its
time stamp's granularity (the "racily clean" problem of git's index)."""

fingerprint_of: Callable[[os.stat_result], Fingerprint]
fingerprint_of = attrgetter("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")
"""What identifies a file's content as long as nobody sets the clock back."""

_READS_TRIED = 3
_REMEMBERED = 200_000
_KEPT_AT_ONCE = 1_000
_BELIEVABLE_BYTES = 1 << 40
_BLOCK_BYTES = 1 << 18
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Changing(Exception):
    """A file changed while it was read, more than once. Internal: callers name the File or Dir."""


class StatMemory:
    """Digests by algorithm and (device, inode, size, mtime_ns, ctime_ns). Thread-safe, bounded.

    Without locks, which a fork would copy: each step is atomic by itself; at worst a digest is forgotten.
    """

    def __init__(self, record: StatRecord | None = None) -> None:
        self._digests: dict[tuple[str, Fingerprint], Digest] = {}
        self._record = record
        self._learned: list[tuple[str, Fingerprint, Digest]] = []

    def digest(self, path: str) -> Digest | None:
        """Digest of the file's content, or None if there is no regular file.

        Raises: StoreUnavailable if it cannot be read; NotHashableError if it is no file, or keeps changing.
        """
        algorithm = active_algorithm.get()
        try:
            status = os.stat(path)
            if stat.S_ISREG(status.st_mode):
                fingerprint = fingerprint_of(status)
                digest = self.known(algorithm, fingerprint)
                if digest is None:
                    digest = self.read(path, algorithm)[0]
                    self.keep()
                return digest
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise StoreUnavailable(path, error.strerror or str(error)) from error
        except Changing:
            raise NotHashableError(f"File({path!r})", "its content keeps changing while it is read") from None
        kind = "a directory" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise NotHashableError(f"File({path!r})", f"it is {kind}")

    def known(self, algorithm: str, fingerprint: Fingerprint) -> Digest | None:
        found = self._digests.get((algorithm, fingerprint))
        if found is None and self._record is not None:
            found = self._record.find(algorithm, fingerprint)
            if found is not None:
                self._remember((algorithm, fingerprint), found)
        return found

    def read(self, path: str, algorithm: str) -> tuple[Digest, Fingerprint, bool]:
        """Digest and status of the file as it is now, and whether it is settled, so that it was remembered.

        ``keep`` writes down what was learned. Raises: OSError; Changing.
        """
        for _ in range(_READS_TRIED):
            started = time.time_ns()
            digest, before, after = _read_once(path, algorithm)
            if digest is not None and before == after:
                settled = started - max(after[3:]) > RACY_NS
                if settled:
                    self._remember((algorithm, after), digest)
                    self._learned.append((algorithm, after, digest))
                    if len(self._learned) >= _KEPT_AT_ONCE:
                        self.keep()
                return digest, after, settled
        raise Changing(path)

    def keep(self) -> None:
        """Write down what was learned, for other processes."""
        learned, self._learned = self._learned, []
        if learned and self._record is not None:
            self._record.keep(learned)

    def _remember(self, key: tuple[str, Fingerprint], digest: Digest) -> None:
        if len(self._digests) >= _REMEMBERED:
            self._digests.clear()
        self._digests[key] = digest


@cache
def stat_memory() -> StatMemory:
    folder = cache_folder()
    return StatMemory(StatRecord(folder) if folder else None)


def _read_once(path: str, algorithm: str) -> tuple[Digest | None, Fingerprint, Fingerprint]:
    """Digest, and status before and after; None where the bytes are not as many as the status says.

    A pipe that took the file's place is not waited for. Raises: OSError.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise Changing(path)
        if status.st_size > _BELIEVABLE_BYTES and not status.st_blocks:
            raise OSError(errno.EFBIG, "It claims a size that no disk has", path)  # /proc/kcore
        before = fingerprint_of(status)
        digest, size = _digest_of(descriptor, before[2], algorithm)
        after = fingerprint_of(os.fstat(descriptor))
    finally:
        os.close(descriptor)
    whole = size == before[2] or before[2] == 0  # files of /proc have content, but no size
    return digest if whole else None, before, after


def _digest_of(descriptor: int, size: int, algorithm: str) -> tuple[Digest, int]:
    """Digest of what the descriptor gives, and how many bytes that was."""
    chosen = get_algorithm(algorithm)
    if 0 < size < _BLOCK_BYTES:
        data = os.read(descriptor, size + 1)
        if len(data) == size:
            return Digest(chosen.hexdigest(data)), size
        os.lseek(descriptor, 0, os.SEEK_SET)
    hasher, total, buffer = chosen.new(), 0, bytearray(_BLOCK_BYTES)
    view = memoryview(buffer)
    while got := os.readv(descriptor, [buffer]):
        hasher.update(view[:got])
        total += got
    return Digest(hasher.hexdigest()), total


# --- StatRecord: digests by file status, kept in a file, so that the next process need not read again.
#
# A table of records of fixed size; a file's place in it follows from its device and inode, so a lookup is one
# read of 88 bytes and the table never grows past its bound. Each record carries a checksum that only this
# host, algorithm and status give: a damaged, torn, foreign or outdated record is no record. Hence no locks:
# processes overwrite each other's records, and what is lost is read again.


RECORD_BYTES = 88
SLOTS = 1 << 18
"""At most 22 MiB; files with neighbouring inodes have neighbouring records."""

_VERSION = b"valuestore stat record 1\0"
_STATUS = struct.Struct("<QQQqq")
_RECORD = struct.Struct("<Q8s40s32s")
_ALGORITHMS = {"xxh3-128": b"xxh3-128", "blake3-256": b"blake3\0\0"}

Fingerprint = tuple[int, int, int, int, int]
"""Device, inode, size, mtime_ns, ctime_ns."""


class StatRecord:
    """The table in ``folder``, made when first written to. Every failure means: not known, not kept.

    A table that others could have written to is not used.
    """

    def __init__(self, folder: str, host: str | None = None) -> None:
        self._folder = folder
        self._host = host
        self._found_salt: bytes | None = None
        self._descriptors: dict[bool, int | None] = {}
        weakref.finalize(self, _close, self._descriptors)

    def find(self, algorithm: str, fingerprint: Fingerprint) -> Digest | None:
        """The digest kept for exactly this status."""
        descriptor = self._opened(writing=False)
        if descriptor is None:
            return None
        try:
            found = os.pread(descriptor, RECORD_BYTES, _slot(fingerprint) * RECORD_BYTES)
            checksum, name, status, digest = _RECORD.unpack(found)
            wanted = _STATUS.pack(*fingerprint)
        except (OSError, struct.error):
            return None
        if status != wanted or name != _ALGORITHMS.get(algorithm) or checksum != self._checksum(found[8:]):
            return None
        return Digest(digest[: get_algorithm(algorithm).hex_length // 2].hex())

    def keep(self, learned: Iterable[tuple[str, Fingerprint, Digest]]) -> None:
        """Keep these digests; neighbouring records are written at once."""
        descriptor = self._opened(writing=True)
        if descriptor is None:
            return
        records = {}
        for algorithm, fingerprint, digest in learned:
            with suppress(struct.error):
                records[_slot(fingerprint)] = self._record(algorithm, fingerprint, digest)
        with suppress(OSError):
            for first, run in _runs(sorted(records)):
                os.pwrite(descriptor, b"".join([records[slot] for slot in run]), first * RECORD_BYTES)

    @property
    def path(self) -> str:
        """Where the table is; each host has its own, where alone device and inode numbers mean a thing."""
        return os.path.join(self._folder, f"stat-memory-{self._salt[:4].hex()}")

    @property
    def _salt(self) -> bytes:
        """Found once. Not by cached_property, whose lock a fork may copy while it is held (Python 3.11)."""
        if self._found_salt is None:
            host = self._host if self._host is not None else _host_id()
            self._found_salt = xxhash.xxh3_128_digest(_VERSION + host.encode(errors="surrogateescape"))
        return self._found_salt

    def _record(self, algorithm: str, fingerprint: Fingerprint, digest: Digest) -> bytes:
        body = _ALGORITHMS[algorithm] + _STATUS.pack(*fingerprint) + bytes.fromhex(digest).ljust(32, b"\0")
        return self._checksum(body).to_bytes(8, "little") + body

    def _checksum(self, body: bytes) -> int:
        return xxhash.xxh3_64_intdigest(self._salt + body)

    def _opened(self, *, writing: bool) -> int | None:
        if writing not in self._descriptors:
            descriptor = None  # and stays so: asking in vain costs each file a system call
            with suppress(OSError):
                descriptor = self._open(writing)
            if descriptor is not None and self._descriptors.get(False) is None:
                self._descriptors.pop(False, None)  # it is made now
            self._descriptors[writing] = descriptor
        return self._descriptors[writing]

    def _open(self, writing: bool) -> int | None:
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        if writing:
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
        if not _is_own(os.stat(self._folder)):
            return None
        descriptor = os.open(self.path, flags | (os.O_RDWR | os.O_CREAT if writing else os.O_RDONLY), 0o600)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and _is_own(status):
            return descriptor
        os.close(descriptor)
        return None


def _close(descriptors: dict[bool, int | None]) -> None:
    for descriptor in descriptors.values():
        if descriptor is not None:
            with suppress(OSError):
                os.close(descriptor)


def _is_own(status: os.stat_result) -> bool:
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _slot(fingerprint: Fingerprint) -> int:
    return (fingerprint[1] + fingerprint[0] * 40503) % SLOTS


def _runs(slots: Sequence[int]) -> Iterable[tuple[int, Sequence[int]]]:
    """Consecutive numbers together: first number and all of them."""
    start = 0
    for at in range(1, len(slots) + 1):
        if at == len(slots) or slots[at] != slots[at - 1] + 1:
            yield slots[start], slots[start:at]
            start = at


def _host_id() -> str:
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        with suppress(OSError), open(path, encoding="ascii", errors="replace") as stream:
            if text := stream.read(100).strip():
                return text
    return os.uname().nodename
