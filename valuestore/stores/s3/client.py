"""S3Client: the requests that S3Store makes of its bucket, with deadlines and in typed errors.

Two clients share the work. obstore is native, and some five times faster: what moves bytes goes through it.
botocore knows the usual places of credentials, lists, signs, uploads in parts under a condition, takes names
with control characters, which obstore refuses, and works after a fork, which obstore does not.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, cast

import obstore

from valuestore.errors import AlreadyExists, NotFound, StoreError, StoreUnavailable
from valuestore.stores.base import CHUNK_BYTES
from valuestore.stores.s3.about import Found, boto_conditions, found_by_boto, found_by_obstore
from valuestore.stores.s3.address import S3Address
from valuestore.stores.s3.connection import ATTEMPTS, DEFAULT_REGION, S3Connections, quiet
from valuestore.stores.s3.failure import FAILURES, code_of, is_absence, is_conflict, is_past_the_end, typed

_T = TypeVar("_T")

_SLOWEST_BYTES_PER_SECOND = 32 << 10
_CONTROLS = frozenset(map(chr, (*range(32), 127)))


class S3Client:
    """A bucket. Names here are those of objects: key and prefix; ``key`` is the caller's, for messages.

    Each request is tried twice, for at most half of ``timeout_seconds`` each time. Everything raises
    StoreUnavailable, CredentialsRejected and, where it writes, StoreReadOnly.
    """

    def __init__(self, address: S3Address, timeout_seconds: float, at_once: int) -> None:
        self.url = address.url
        self._bucket = address.bucket
        self._timeout_seconds = timeout_seconds
        self._connections = S3Connections(address, timeout_seconds / ATTEMPTS, at_once)
        self._bucket_seen = False

    # --- reading ------------------------------------------------------------------------------------

    def head(self, name: str, key: str) -> Found:
        """What is there. Raises: NotFound."""
        native = self._native(name)

        def ask() -> Found:
            if native is not None:
                return found_by_obstore(obstore.get(native, name, options={"head": True}))
            return found_by_boto(self.boto.head_object(Bucket=self._bucket, Key=name))

        try:
            return self.do(key, partial(self._with_reason, name, ask))
        except NotFound:
            self._check_bucket()
            raise

    def get(self, name: str, key: str, range_: Any = None, etag: str | None = None) -> bytes:
        """The bytes, or those of a range as obstore writes it; empty if it begins beyond the end.

        It may take ``timeout_seconds``, and what its size needs beyond that at 32 KiB/s; botocore looks
        at the clock once per MiB. ``etag`` is that of the object to read from.
        Raises: NotFound; AlreadyExists if it has another etag.
        """
        native = self._native(name)

        options: dict[str, Any] = {} if range_ is None else {"range": range_}
        if etag is not None:
            options["if_match"] = f'"{etag}"'

        def ask() -> bytes:
            begun = time.monotonic()
            if native is None:
                found, pieces = self._boto_pieces(name, boto_conditions(range_, etag))
                return self._gather(pieces, found.size, begun)
            result = obstore.get(native, name, options=cast(Any, options or None))
            start, end = result.range
            return self._gather(iter(result.stream(min_chunk_size=1)), end - start, begun)

        return self.do(key, ask)

    def open(self, name: str, key: str) -> tuple[Found, Iterator[Any]]:
        """What is there, and its bytes in pieces, which come from one request. Raises: NotFound."""
        native = self._native(name)

        def ask() -> tuple[Found, Iterator[Any]]:
            if native is None:
                return self._boto_pieces(name, {})
            result = obstore.get(native, name)
            return found_by_obstore(result), iter(result.stream(min_chunk_size=CHUNK_BYTES))

        return self.do(key, ask)

    def list(self, prefix: str, after: str, most: int) -> tuple[Sequence[str], bool]:
        """At most ``most`` names with that prefix that come after another, and whether there may be more."""

        def ask() -> Any:
            return self.boto.list_objects_v2(
                Bucket=self._bucket, Prefix=prefix, StartAfter=after, MaxKeys=min(most, 1000)
            )

        answer = self.do("", ask)
        return [item["Key"] for item in answer.get("Contents", ())], bool(answer["IsTruncated"])

    # --- writing ------------------------------------------------------------------------------------

    def put(self, name: str, key: str, data: Any, metadata: dict[str, str], *, create: bool) -> None:
        """Store the bytes, in one request. Raises: AlreadyExists if they are to be new and are not."""
        native = self._native(name)

        def ask() -> None:
            if native is not None:
                mode: Literal["create", "overwrite"] = "create" if create else "overwrite"
                obstore.put(native, name, data, attributes=metadata, mode=mode, use_multipart=False)
                return
            condition = {"IfNoneMatch": "*"} if create else {}
            body = data if isinstance(data, bytes) else bytes(data)
            self.boto.put_object(Bucket=self._bucket, Key=name, Body=body, Metadata=metadata, **condition)

        self.do(key, ask, writing=True)

    def copy(self, name: str, target: str, key: str, found: Found, metadata: dict[str, str]) -> None:
        """Store the same bytes under another name. Raises: AlreadyExists if they are others by now."""

        def ask() -> Any:
            return self.boto.copy_object(
                Bucket=self._bucket,
                Key=target,
                CopySource={"Bucket": self._bucket, "Key": name},
                CopySourceIfMatch=f'"{found.etag}"',
                Metadata=metadata,
                MetadataDirective="REPLACE",
            )

        self.do(key, ask, writing=True)

    def delete(self, name: str, key: str) -> None:
        """Have nothing there."""
        native = self._native(name)

        def ask() -> Any:
            if native is not None:
                return obstore.delete(native, name)
            return self.boto.delete_object(Bucket=self._bucket, Key=name)

        self.do(key, ask, writing=True)

    def delete_all(self, names: Sequence[str]) -> None:
        """Have nothing at any of the names."""
        plain = [name for name in names if _CONTROLS.isdisjoint(name)]
        native = self._connections.native
        if native is not None and plain:
            self.do("", partial(obstore.delete, native, plain), writing=True)
        for name in names if native is None else set(names) - set(plain):
            self.delete(name, name)

    def make_bucket(self) -> None:
        """Have a bucket of that name."""
        try:
            self._check_bucket()
            return
        except StoreUnavailable as error:
            if "no bucket" not in error.args[1]:
                raise
        region = self.boto.meta.region_name
        place = {} if region == DEFAULT_REGION else {"LocationConstraint": region}
        configuration = {"CreateBucketConfiguration": place} if place else {}
        try:
            with quiet():
                self.boto.create_bucket(Bucket=self._bucket, **configuration)
        except FAILURES as error:
            if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                raise self._typed(error, writing=True) from None

    # --- asking -------------------------------------------------------------------------------------

    @property
    def boto(self) -> Any:
        """The client of botocore, for one request inside ``do``."""
        return self._connections.boto

    def do(self, key: str, ask: Callable[[], _T], *, writing: bool = False) -> _T:
        """The answer to a request, or the typed error for it. Raises: NotFound, AlreadyExists."""
        try:
            with quiet():
                answer = ask()
        except StoreError:
            raise
        except FAILURES as error:
            if is_absence(error):
                raise NotFound(key, self.url) from None
            if is_conflict(error):
                raise AlreadyExists(key, self.url) from None
            if is_past_the_end(error):
                return b""  # type: ignore[return-value]  # a range was asked for, so bytes are the answer
            raise self._typed(error, writing=writing) from None
        self._bucket_seen = True
        return answer

    def place(self, name: str) -> dict[str, str]:
        """What botocore calls the object of that name."""
        return {"Bucket": self._bucket, "Key": name}

    def restless(self, key: str) -> StoreUnavailable:
        return StoreUnavailable(self.url, f"others change {key!r} too often")

    def failed_to_read(self, error: BaseException) -> StoreError:
        """The error for a failure in the middle of an answer."""
        return self._typed(error, writing=False)

    def _typed(self, error: BaseException, *, writing: bool) -> StoreError:
        return typed(error, self.url, self._bucket, writing=writing)

    def _with_reason(self, name: str, ask: Callable[[], _T]) -> _T:
        """As ``ask``, which is a HEAD; the answer to a rejected one has no body to tell the reason."""
        try:
            return ask()
        except FAILURES as error:
            if code_of(error) in ("400", "403"):
                self.boto.get_object(Bucket=self._bucket, Key=name, Range="bytes=0-0")["Body"].close()
            raise

    def _check_bucket(self) -> None:
        """The answer to HEAD says that something is missing; not whether it is the object or the bucket."""
        if self._bucket_seen:
            return
        try:
            with quiet():
                self.boto.head_bucket(Bucket=self._bucket)
        except FAILURES as error:
            if not is_absence(error):
                raise self._typed(error, writing=False) from None
            error.response["Error"]["Code"] = "NoSuchBucket"  # type: ignore[union-attr]
            raise self._typed(error, writing=False) from None
        self._bucket_seen = True

    def _gather(self, pieces: Iterator[Any], size: int, begun: float) -> bytes:
        """All of the pieces. Raises: StoreUnavailable if they come too slowly: each by itself is in time."""
        seconds = self._timeout_seconds + size / _SLOWEST_BYTES_PER_SECOND
        gathered = []
        for piece in pieces:
            gathered.append(piece)
            if time.monotonic() > begun + seconds:
                reason = f"{size} bytes were not there within {seconds:.0f} s, see timeout_seconds"
                raise StoreUnavailable(self.url, reason)
        return b"".join(gathered)

    def _boto_pieces(self, name: str, conditions: Mapping[str, str]) -> tuple[Found, Iterator[bytes]]:
        answer = self.boto.get_object(Bucket=self._bucket, Key=name, **conditions)
        body = answer["Body"]
        return found_by_boto(answer), iter(lambda: body.read(CHUNK_BYTES), b"")

    def close(self) -> None:
        self._connections.close()

    def _native(self, name: str) -> Any | None:
        """obstore's client, if there is one and it takes such names."""
        return self._connections.native if _CONTROLS.isdisjoint(name) else None


# --- Body: the answer to one request for an object, as a stream. Called by ``S3Store.open``.


class Body(io.RawIOBase):
    """The bytes of one answer. Raises StoreUnavailable where they break off."""

    def __init__(self, client: S3Client, key: str, size: int, pieces: Iterator[Any]) -> None:
        self._client = client
        self._key = key
        self._left = size
        self._pieces = pieces
        self._piece = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._piece:
            self._piece = self._next()
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def readall(self) -> bytes:
        pieces = [self._piece, *iter(self._next, b"")]
        self._piece = memoryview(b"")
        return b"".join(pieces)

    def _next(self) -> memoryview:
        """The next piece, empty at the end."""
        if not self._left:
            return memoryview(b"")
        try:
            piece = memoryview(next(self._pieces, b""))
        except FAILURES as error:
            raise self._client.failed_to_read(error) from None
        if not piece:
            raise StoreUnavailable(repr(self._key), f"its stream ended {self._left} bytes too early")
        self._left -= len(piece)
        return piece

    def close(self) -> None:
        self._pieces = iter(())
        super().close()
