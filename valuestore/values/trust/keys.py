"""KeyRing: the secret keys that pickled values are signed and verified with, as files of this user.

One key signs, any number verify. The folder (0700) holds one file (0600) for each key, named for its id,
and ``signing``, which names the one that signs; ``VALUESTORE_KEY_FILE`` puts a single file in their place,
its first key the one that signs. It knows no pickle: gate.py signs and verifies, the command line lists
and rotates. A key never leaves here but by ``Key.mac``: ids alone are shown, and neither a key nor a ring
is written into a pickle, a log or a row.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Self

import blake3

from valuestore.config import key_file, keys_folder
from valuestore.errors import ConfigError, KeyUnusable
from valuestore.hashing import Bytes
from valuestore.locks import FileLock

KEY_BYTES = 32
_FEWEST_BYTES = 8
"""So many different ones has every key that was made by chance: zeros are no key."""
_SIGNING = "signing"
_SUFFIX = ".key"
_CONTEXT = "valuestore 2026-11 signed values"
_LOCK_SECONDS = 10.0
_MOST_BYTES = 1 << 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def is_key_id(text: object) -> bool:
    """Whether this has the form of a key's id; ids from payloads may be anything."""
    return isinstance(text, str) and re.fullmatch(r"[0-9a-f]{8}", text) is not None


class Key:
    """One secret. ``key_id`` names it in public: the first 8 hex digits of its SHA-256."""

    __slots__ = ("_derived", "_secret", "key_id")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._derived = blake3.blake3(secret, derive_key_context=_CONTEXT).digest()
        self.key_id = hashlib.sha256(secret).hexdigest()[:8]

    def mac(self, data: bytes) -> bytes:
        """HMAC-SHA256 (RFC 2104) of ``data``: 32 bytes."""
        return hmac.digest(self._secret, data, "sha256")

    def keyed(self, told: bytes, data: Bytes) -> bytes:
        """Keyed BLAKE3 of both, under a key derived for that: 32 bytes, in a third of the time."""
        return blake3.blake3(told, key=self._derived).update(data).digest()

    def __repr__(self) -> str:
        return f"<key {self.key_id}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled; worker processes read it from its file")


class KeyRing:
    """The keys of one user. Thread-safe. Pickles as the place of its files, which are read again there."""

    def __init__(self, folder: Path, file: Path | None = None) -> None:
        self.folder = folder
        self.file = file
        self._known: dict[str, Key] = {}
        self._signing: Key | None = None
        self._lock = threading.Lock()

    @classmethod
    def open(cls, folder: Path | None = None) -> Self:
        """The keys in ``folder``; by default the user's own, and those of ``VALUESTORE_KEY_FILE``.

        Reads and makes nothing yet. Raises: ConfigError if the user has no home folder.
        """
        if folder is not None:
            return cls(folder)
        file = key_file()
        try:
            return cls(keys_folder(), file)
        except ConfigError:
            if file is None:
                raise
            return cls(file.parent, file)

    @property
    def signing(self) -> Key:
        """The key that signs; made on first use, once however many processes ask. Raises: KeyUnusable."""
        if self._signing is None:
            with self._lock:
                key = self._read_file()[0] if self.file else self._read_signing() or self._make_first()
                self._known[key.key_id] = key
                self._signing = key
        return self._signing

    def find(self, key_id: str) -> Key | None:
        """The key of that id, whoever wrote the id; None if it is not on the ring. Raises: KeyUnusable."""
        if key_id in self._known:
            return self._known[key_id]
        if not is_key_id(key_id):
            return None
        if self.file is not None:
            self._known.update((key.key_id, key) for key in self._read_file())
        key = self._known.get(key_id) or self._read_key(key_id)
        if key is not None:
            self._known[key_id] = key
        return key

    def find_all(self) -> list[Key]:
        """Every key on the ring, by id; none is made. Raises: KeyUnusable for one that is damaged or open."""
        found = {key.key_id: key for key in self._read_file()} if self.file else {}
        for name in _names_in(self.folder):
            if name.endswith(_SUFFIX) and is_key_id(name.removesuffix(_SUFFIX)):
                key = self._read_key(name.removesuffix(_SUFFIX))
                if key is not None:
                    found[key.key_id] = key
        return [found[key_id] for key_id in sorted(found)]

    def find_signing(self) -> Key | None:
        """The key that signs if there is one already. Raises: KeyUnusable."""
        return self._read_file()[0] if self.file else self._read_signing()

    def add(self, source: Path, *, sign: bool = False) -> list[Key]:
        """Put the keys in the file ``source`` on the ring; with ``sign``, the first signs from now on.

        Raises: KeyUnusable; ConfigError where ``VALUESTORE_KEY_FILE`` decides who signs.
        """
        if sign:
            self._require_folder("sign")
        added = _read_required(source)
        with self._locked():
            for key in added:
                self._write_key(key)
            if sign:
                self._point_at(added[0])
        return added

    def rotate(self) -> Key:
        """A new key that signs from now on; all others still verify. Raises: KeyUnusable, ConfigError."""
        self._require_folder("rotate")
        with self._locked():
            return self._make()

    # --- files ------------------------------------------------------------------------------

    def _require_folder(self, verb: str) -> None:
        if self.file is not None:
            raise ConfigError("VALUESTORE_KEY_FILE", f"it decides which key signs; unset it to {verb}")

    def _read_file(self) -> list[Key]:
        assert self.file is not None
        return _read_required(self.file)

    def _read_signing(self) -> Key | None:
        pointer = self.folder / _SIGNING
        try:
            self._check_folder()
            key_id = _read(pointer).decode("ascii", "replace").strip()
        except FileNotFoundError:
            return None
        key = self._read_key(key_id) if is_key_id(key_id) else None
        if key is None:
            raise KeyUnusable(str(pointer), "it names no key that is here; run `valuestore keys rotate`")
        return key

    def _read_key(self, key_id: str) -> Key | None:
        path = self.folder / f"{key_id}{_SUFFIX}"
        try:
            self._check_folder()
            keys = _parse(path, _read(path))
        except FileNotFoundError:
            return None
        if [key.key_id for key in keys] != [key_id]:
            raise KeyUnusable(
                str(path), "it is damaged: it holds no key of that id; put a copy there, or delete it"
            )
        return keys[0]

    def _check_folder(self) -> None:
        """Raises: KeyUnusable for a folder in which somebody else could put keys; FileNotFoundError."""
        with _typed(self.folder):
            found = os.stat(self.folder)
        if found.st_uid != os.geteuid():
            raise KeyUnusable(str(self.folder), "it belongs to another user; move it away, or `chown` it")
        if found.st_mode & _WRITABLE_BY_OTHERS:
            raise KeyUnusable(str(self.folder), f"others can write to it; `chmod 700 {self.folder}`")

    def _make_first(self) -> Key:
        with self._locked():
            return self._read_signing() or self._make()

    def _make(self) -> Key:
        key = Key(secrets.token_bytes(KEY_BYTES))
        self._write_key(key)
        self._point_at(key)
        return key

    def _write_key(self, key: Key) -> None:
        _write(self.folder / f"{key.key_id}{_SUFFIX}", key._secret.hex())

    def _point_at(self, key: Key) -> None:
        _write(self.folder / _SIGNING, key.key_id)
        self._signing = key

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process at a time changes the folder, which exists then and is this user's alone."""
        with ExitStack() as stack:
            try:
                with _typed(self.folder):
                    os.makedirs(self.folder, mode=0o700, exist_ok=True)
                    self._check_folder()
                    stack.enter_context(FileLock(self.folder / ".lock", 0o600).held(_LOCK_SECONDS))
            except FileNotFoundError as error:
                raise KeyUnusable(str(self.folder), "the folder cannot be made") from error
            except TimeoutError as error:
                reason = f"locked for over {_LOCK_SECONDS:g} s; try again"
                raise KeyUnusable(str(self.folder), reason) from error
            yield

    def __reduce__(self) -> tuple[type[Self], tuple[Path, Path | None]]:
        return type(self), (self.folder, self.file)

    def __repr__(self) -> str:
        return f"<key ring {self.file or self.folder}>"


class PassingKey(KeyRing):
    """One key of this process and those forked from it, in no file: what it signed, no other can read."""

    def __init__(self) -> None:
        super().__init__(Path())
        self._signing = Key(secrets.token_bytes(KEY_BYTES))

    def find(self, key_id: str) -> Key | None:
        return self._signing if self.signing.key_id == key_id else None


def _names_in(folder: Path) -> list[str]:
    try:
        with _typed(folder):
            return sorted(os.listdir(folder))
    except FileNotFoundError:
        return []


def _read_required(path: Path) -> list[Key]:
    try:
        return _parse(path, _read(path))
    except FileNotFoundError as error:
        raise KeyUnusable(str(path), "there is no such file") from error


def _parse(path: Path, text: bytes) -> list[Key]:
    """Lines of 64 hex digits; blank ones and those that start with # do not count."""
    lines = [line.strip() for line in text.decode("ascii", "replace").splitlines()]
    wanted = [line for line in lines if line and not line.startswith("#")]
    if not wanted or not all(re.fullmatch(r"[0-9a-fA-F]{64}", line) for line in wanted):
        raise KeyUnusable(str(path), "it is no key file: one key a line, each 64 hex digits")
    if any(len(set(bytes.fromhex(line))) < _FEWEST_BYTES for line in wanted):
        raise KeyUnusable(str(path), "a key in it is no random one, so that anybody could guess it")
    return [Key(bytes.fromhex(line)) for line in wanted]


def _read(path: Path) -> bytes:
    """What is in a file that nobody else can read or write. Raises: KeyUnusable, FileNotFoundError."""
    with _typed(path):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a pipe must not block
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise KeyUnusable(str(path), "it is no file; delete it")
            if found.st_uid != os.geteuid():
                raise KeyUnusable(str(path), "it belongs to another user; `chown` it, then `chmod 600`")
            if found.st_mode & _OTHERS:
                raise KeyUnusable(str(path), f"others can read it; `chmod 600 {path}`")
            return os.read(descriptor, _MOST_BYTES)
        finally:
            os.close(descriptor)


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole; it is on disk when this returns, and never readable by others."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _typed(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text + "\n")
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise


@contextmanager
def _typed(path: Path) -> Iterator[None]:
    """OSError as KeyUnusable, absence excepted."""
    try:
        yield
    except (FileNotFoundError, KeyUnusable, TimeoutError):
        raise
    except OSError as error:
        fix = "plain values need no key; for others make it writable, or set VALUESTORE_KEY_FILE"
        raise KeyUnusable(str(path), f"{error.strerror or error}; {fix}") from error
