"""StatRecord: digests by file status, kept in a file, so that the next process need not read again.

A table of records of fixed size; a file's place in it follows from its device and inode, so a lookup is one
read of 88 bytes and the table never grows past its bound. Each record carries a checksum that only this
host, algorithm and status give: a damaged, torn, foreign or outdated record is no record. Hence no locks:
processes overwrite each other's records, and what is lost is read again. Called by stat_memory.py.
"""

from __future__ import annotations

import os
import socket
import stat
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress

import xxhash

from valuestore.hashing import Digest

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

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            if descriptor is not None:
                with suppress(OSError):
                    os.close(descriptor)

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
        return Digest(digest[: 16 if algorithm == "xxh3-128" else 32].hex())

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
            descriptor = os.open(self.path, flags | os.O_RDWR | os.O_CREAT, 0o600)
        else:
            descriptor = os.open(self.path, flags | os.O_RDONLY)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o022:
            return descriptor
        os.close(descriptor)
        return None


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
    return socket.gethostname()
