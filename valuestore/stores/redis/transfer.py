"""Transfer: values too large for one request, on their way to a Redis server and back.

They go in pieces, each within the timeout, by way of a temporary name that expires if nobody removes it. So
memory stays bounded on this side, and whole values appear and are read at one instant all the same.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any, BinaryIO, cast

from valuestore.errors import AlreadyExists, StoreUnavailable, TooLarge
from valuestore.hashing import get_algorithm, hash_bytes
from valuestore.stores.base import Data, as_buffer, check_key, iter_chunks
from valuestore.stores.batch import Changes, Removal
from valuestore.stores.data import counted, cut
from valuestore.stores.redis.address import RedisNames
from valuestore.stores.redis.change import DELETE, Change
from valuestore.stores.redis.client import RedisClient
from valuestore.stores.streams import Stream

PIECE_BYTES = 8 << 20
TEMP_MILLISECONDS = 600_000
"""After this time without a transfer, a temporary name is gone."""


class TempReader(Stream):
    """Reads a copy that the server made for it, and removes it in the end."""

    def __init__(self, server: RedisClient, key: str, temp: str, size: int) -> None:
        super().__init__(size)
        self._server = server
        self._key = key
        self._temp = temp

    def _read(self, count: int) -> bytes:
        last = self._at + min(count, PIECE_BYTES) - 1
        commands = ("GETRANGE", self._temp, self._at, last), ("PEXPIRE", self._temp, TEMP_MILLISECONDS)
        data, _ = self._server.do_all(self._key, *commands)
        if len(data) != last + 1 - self._at:
            raise StoreUnavailable(self._server.url, f"it dropped {self._key!r} while that was being read")
        return bytes(data)

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._server.forget(self._temp)


def known_size(data: Data) -> int | None:
    """The size, where it can be told without reading."""
    if (buffer := as_buffer(data)) is not None:
        return len(buffer)
    file = getattr(data, "raw", data)
    if isinstance(file, io.FileIO | io.BytesIO) and file.seekable():
        stream = cast(BinaryIO, data)
        position = stream.tell()
        size = stream.seek(0, io.SEEK_END) - position
        stream.seek(position)
        return size
    return None


# --- RedisIntake: from what callers put to changes that can be made; large data waits on the server.
#
# Nothing it does can be seen by readers: large data waits under a temporary name until change.py gives
# it the key's.


_GROUP_VALUES = 500
_BATCH_BYTES = 64 << 20


class RedisIntake:
    """Takes data for the keys of a server, at most ``max_value_bytes`` for each."""

    def __init__(self, server: RedisClient, names: RedisNames, max_value_bytes: int) -> None:
        self._server = server
        self._names = names
        self._max_value_bytes = max_value_bytes

    def take(
        self,
        key: str,
        data: Data,
        size: int | None = None,
        attrs: dict[str, Any] | None = None,
        overwrite: bool = True,
        most: int = PIECE_BYTES,
    ) -> Change:
        """Read the data, up to ``most`` bytes into memory, else to a temporary name.

        Raises: TooLarge; AlreadyExists, for large data only; SizeMismatch; what the data raises.
        """
        verb = "p" + ("k" if attrs is None else "") + ("" if overwrite else "n")
        if (
            type(data) is bytes
            and size in (None, len(data))
            and len(data) <= min(most, self._max_value_bytes)
        ):
            return Change(key, verb, data, hash_bytes(data), len(data), attrs)  # the usual case, made quick
        self._check_size(key, known_size(data) if size is None else size)
        chunks = counted(iter_chunks(key, data, size), partial(self._check_size, key))
        pieces = cut(chunks, PIECE_BYTES)
        first, second = next(pieces, b""), next(pieces, None)
        if second is None and len(first) <= most:
            return Change(key, verb, first, hash_bytes(first), len(first), attrs)
        if not overwrite and self._server.do(key, "EXISTS", self._names.name(key)):
            raise AlreadyExists(key, self._server.url)
        whole = chain((first,), () if second is None else (second,), pieces)
        return Change(key, verb + "t", *self._upload(key, whole), attrs)

    def take_groups(self, pairs: Iterable[tuple[str, Data]]) -> Iterator[Sequence[Change]]:
        """What to put, in groups that go in one round trip each.

        Where a value cannot be taken, those before it come as a group of their own; then the error.
        """
        group: list[Change] = []
        size = 0
        try:
            for key, data in pairs:
                group.append(self.take(check_key(key), data))
                size += group[-1].size
                if len(group) == _GROUP_VALUES or size >= PIECE_BYTES:
                    yield group
                    group, size = [], 0
        except Exception:
            if group:
                yield group
            raise
        if group:
            yield group

    def take_batch(self, changes: Changes) -> Sequence[Change]:
        """What to change, of it at most 64 MiB in memory. After an error nothing of it is on the server."""
        taken: list[Change] = []
        memory = _BATCH_BYTES
        try:
            for key, change in changes.items():
                if isinstance(change, Removal):
                    taken.append(Change(key, DELETE))
                    continue
                most = min(memory, PIECE_BYTES)
                taken.append(self.take(key, change.data, None, change.attrs, not change.create, most))
                memory -= 0 if taken[-1].is_uploaded else taken[-1].size
        except BaseException as error:
            self._server.discard((change.data for change in taken if change.is_uploaded), error)
            raise
        return taken

    def _check_size(self, key: str, size: int | None) -> None:
        if size is not None and size > self._max_value_bytes:
            setting = "max_value_bytes and the server's proto-max-bulk-len"
            raise TooLarge(key, size, self._max_value_bytes, setting)

    def _upload(self, key: str, pieces: Iterable[bytes | memoryview]) -> tuple[str, str, int]:
        """Gather the pieces under a temporary name: that, the digest and the size."""
        server, temp = self._server, self._names.new_temp()
        size, hasher = 0, get_algorithm().new()
        try:
            for piece in pieces:
                length, _ = server.do_all(key, ("APPEND", temp, piece), ("PEXPIRE", temp, TEMP_MILLISECONDS))
                hasher.update(piece)
                size += len(piece)
                if length != size:
                    raise StoreUnavailable(server.url, f"it dropped {key!r} while that was being written")
        except BaseException as error:
            server.discard([temp], error)
            raise
        return temp, hasher.hexdigest(), size
