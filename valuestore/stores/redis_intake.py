"""RedisIntake: from what callers put to changes that can be made: small data in memory, large on the server.

Nothing it does can be seen by readers: large data waits under a temporary name until ``redis_change`` gives
it the key's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any

from valuestore.errors import AlreadyExists, TooLarge
from valuestore.hashing import hash_bytes
from valuestore.stores.base import Data, check_key, iter_chunks
from valuestore.stores.batch import Changes, Removal
from valuestore.stores.pieces import cut
from valuestore.stores.redis_change import DELETE, Change
from valuestore.stores.redis_client import RedisClient
from valuestore.stores.redis_names import RedisNames
from valuestore.stores.redis_transfer import PIECE_BYTES, known_size, upload

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
        pieces = cut(self._within_limit(key, iter_chunks(key, data, size)), PIECE_BYTES)
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

    def _within_limit(self, key: str, chunks: Iterable[bytes | memoryview]) -> Iterator[bytes | memoryview]:
        size = 0
        for chunk in chunks:
            size += len(chunk)
            self._check_size(key, size)
            yield chunk

    def _upload(self, key: str, pieces: Iterable[bytes | memoryview]) -> tuple[str, str, int]:
        """Gather the pieces under a temporary name: that, the digest and the size."""
        temp = self._names.new_temp()
        try:
            return temp, *upload(self._server, key, temp, pieces)
        except BaseException as error:
            self._server.discard([temp], error)
            raise
