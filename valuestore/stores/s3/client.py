"""S3Client: the requests that S3Store makes of its bucket, with deadlines and in typed errors.

Two clients share the work. obstore is native, and some five times faster: what moves bytes goes through it.
botocore knows the usual places of credentials, lists, signs, uploads in parts under a condition, takes names
with control characters, which obstore refuses, and works after a fork, which obstore does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, TypeVar

import obstore
from botocore.exceptions import ClientError

from valuestore.errors import AlreadyExists, NotFound, NotSupported, StoreUnavailable, is_foreign
from valuestore.stores.base import CHUNK_BYTES
from valuestore.stores.s3.about import Found, boto_conditions, found_by_boto, found_by_obstore
from valuestore.stores.s3.address import S3Address
from valuestore.stores.s3.connection import ATTEMPTS, DEFAULT_REGION, S3Connections, quiet
from valuestore.stores.s3.failure import (
    ABSENT,
    BUSY,
    NOT_PARTIAL,
    PAST_THE_END,
    TAKEN,
    UNKNOWN,
    Busy,
    code_of,
    typed,
)
from valuestore.stores.streams import Stream

_T = TypeVar("_T")

_SLOWEST_BYTES_PER_SECOND = 32 << 10
_NO_CONDITION = "open it with conditional=false"
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

    def head(self, name: str, key: str) -> Found:
        """What is there. Raises: NotFound."""

        def ask() -> Found:
            if (native := self._native(name)) is not None:
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
        options = _options(range_, etag)

        def ask() -> bytes:
            begun = time.monotonic()
            if (native := self._native(name)) is None:
                found, pieces = self._boto_pieces(name, boto_conditions(range_, etag))
                return self._gather(pieces, found.size, begun)
            result = obstore.get(native, name, options=options)
            start, end = result.range
            return self._gather(iter(result.stream(min_chunk_size=1)), end - start, begun)

        return self.do(key, ask)

    def open(
        self, name: str, key: str, start: int = 0, etag: str | None = None
    ) -> tuple[Found, Iterator[Any]]:
        """What is there, and its bytes in pieces, which come from one request. Raises: as ``get``."""
        range_ = {"offset": start} if start else None
        options = _options(range_, etag)

        def ask() -> tuple[Found, Iterator[Any]]:
            if (native := self._native(name)) is None:
                return self._boto_pieces(name, boto_conditions(range_, etag))
            result = obstore.get(native, name, options=options)
            return found_by_obstore(result), iter(result.stream(min_chunk_size=CHUNK_BYTES))

        return self.do(key, ask)

    def list(self, prefix: str, after: str, most: int) -> tuple[Sequence[Any], bool]:
        """At most ``most`` objects with that prefix that come after a name, and whether there may be more."""
        asked = {"Bucket": self._bucket, "Prefix": prefix, "StartAfter": after, "MaxKeys": min(most, 1000)}
        answer = self.do("", lambda: self.boto.list_objects_v2(**asked))
        return answer.get("Contents", ()), bool(answer["IsTruncated"])

    def folders(self, prefix: str) -> Iterator[str]:
        """How names with that prefix begin, up to the next slash and with it."""
        asked = {"Bucket": self._bucket, "Prefix": prefix, "Delimiter": "/"}
        while True:
            answer = self.do("", lambda: self.boto.list_objects_v2(**asked))
            yield from (each["Prefix"] for each in answer.get("CommonPrefixes", ()))
            if not answer["IsTruncated"]:
                return
            asked["ContinuationToken"] = answer["NextContinuationToken"]

    def put(self, name: str, key: str, data: Any, metadata: dict[str, str], *, create: bool) -> None:
        """Store the bytes, in one request.

        Raises, where they are to be new: AlreadyExists if they are not, and Busy, which is one; NotSupported
        if the server seems not to know that condition.
        """

        def ask() -> None:
            if (native := self._native(name)) is not None:
                mode: Literal["create", "overwrite"] = "create" if create else "overwrite"
                obstore.put(native, name, data, attributes=metadata, mode=mode, use_multipart=False)
                return
            condition = {"IfNoneMatch": "*"} if create else {}
            body = data if isinstance(data, bytes) else bytes(data)
            self.boto.put_object(Bucket=self._bucket, Key=name, Body=body, Metadata=metadata, **condition)

        self.do(key, ask, writing=True, creating=create)

    def copy(self, name: str, target: str, key: str, found: Found, metadata: dict[str, str]) -> None:
        """Store the same bytes under another name. Raises: AlreadyExists if they are others by now."""
        asked = {
            **self.place(target),
            "CopySource": self.place(name),
            "CopySourceIfMatch": f'"{found.etag}"',
            "Metadata": metadata,
            "MetadataDirective": "REPLACE",
        }
        answer = self.do(key, lambda: self.boto.copy_object(**asked), writing=True, finding=True)
        copied = str(answer["CopyObjectResult"].get("ETag")).strip('"')
        # the latter is of a server without that condition
        if copied != found.etag and self.head(name, key).etag != found.etag:
            raise AlreadyExists(key, self.url)

    def delete(self, name: str, key: str) -> None:
        """Have nothing there."""

        def ask() -> Any:
            if (native := self._native(name)) is not None:
                return obstore.delete(native, name)
            return self.boto.delete_object(Bucket=self._bucket, Key=name)

        self.do(key, ask, writing=True, finding=True)

    def delete_all(self, names: Sequence[str]) -> None:
        """Have nothing at any of the names."""
        plain = [name for name in names if _CONTROLS.isdisjoint(name)]

        def ask() -> set[str]:
            if (native := self._connections.native) is None or not plain:
                return set()
            obstore.delete(native, plain)
            return set(plain)

        for name in set(names) - self.do("", ask, writing=True):
            with suppress(NotFound):  # gone meanwhile
                self.delete(name, name)

    def check_bucket(self, *, create: bool) -> None:
        """Have a bucket of that name. Raises: NotFound, if it is not to be made."""
        try:
            self._check_bucket()
            return
        except StoreUnavailable as error:
            if "no bucket" not in error.args[1]:
                raise
            if not create:
                raise NotFound(self._bucket, self.url) from error

        def ask() -> None:
            region = self.boto.meta.region_name
            place = {} if region == DEFAULT_REGION else {"LocationConstraint": region}
            configuration = {"CreateBucketConfiguration": place} if place else {}
            try:
                self.boto.create_bucket(Bucket=self._bucket, **configuration)
            except ClientError as error:
                if code_of(error) not in ("BucketAlreadyOwnedByYou", "BucketAlreadyExists"):
                    raise

        self.do("", ask, writing=True)

    def expiries(self, prefix: str) -> Sequence[str]:
        """The rules of the bucket's lifecycle, by their ids, that delete what is below a prefix."""

        def ask() -> Sequence[str]:
            try:
                rules = self.boto.get_bucket_lifecycle_configuration(Bucket=self._bucket)["Rules"]
            except ClientError as error:
                if code_of(error) in ("NoSuchLifecycleConfiguration", "AccessDenied", "NotImplemented"):
                    return ()
                raise
            return [str(rule.get("ID")) for rule in rules if _expires(rule, prefix)]

        return self.do("", ask)

    @property
    def boto(self) -> Any:
        """The client of botocore, for one request inside ``do``."""
        return self._connections.boto

    def do(
        self,
        key: str,
        ask: Callable[[], _T],
        *,
        writing: bool = False,
        finding: bool = False,
        creating: bool = False,
    ) -> _T:
        """The answer to a request, or the typed error for it: the border that nothing foreign gets over.

        Raises: NotFound if it is about a key, and does not write, or is ``finding`` it first;
        AlreadyExists; NotSupported if it is ``creating``, see ``put``.
        """
        try:
            with quiet():
                answer = ask()
        except BaseException as error:
            if not is_foreign(error):
                raise
            code = code_of(error)
            if code in ABSENT and key and (finding or not writing):
                raise NotFound(key, self.url) from None
            if code in TAKEN | BUSY:
                raise (AlreadyExists if code in TAKEN else Busy)(key, self.url) from None
            if creating and code in UNKNOWN:
                raise NotSupported(self.url, f"If-None-Match ({code})", _NO_CONDITION) from None
            if NOT_PARTIAL in str(error):
                raise NotSupported(self.url, "ranges", "all of it is read") from None
            if code in PAST_THE_END:
                return b""  # type: ignore[return-value]  # a range was asked for, so bytes are the answer
            raise typed(error, self.url, self._bucket, writing=writing) from None
        self._bucket_seen = True
        return answer

    def place(self, name: str) -> dict[str, str]:
        """What botocore calls the object of that name."""
        return {"Bucket": self._bucket, "Key": name}

    def restless(self, key: str) -> StoreUnavailable:
        return StoreUnavailable(self.url, f"others change {key!r} too often")

    def _with_reason(self, name: str, ask: Callable[[], _T]) -> _T:
        """As ``ask``, which is a HEAD; the answer to a rejected one has no body to tell the reason."""
        try:
            return ask()
        except Exception as error:
            if code_of(error) in ("400", "403"):
                self.boto.get_object(Bucket=self._bucket, Key=name, Range="bytes=0-0")["Body"].close()
            raise

    def _check_bucket(self) -> None:
        """The answer to HEAD says that something is missing; not whether it is the object or the bucket."""
        if self._bucket_seen:
            return

        def ask() -> None:
            try:
                self.boto.head_bucket(Bucket=self._bucket)
            except ClientError as error:
                if code_of(error) in ABSENT:
                    error.response["Error"]["Code"] = "NoSuchBucket"
                raise

        self.do("", ask)

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
        if "Range" in conditions and "ContentRange" not in answer:
            raise ValueError(NOT_PARTIAL)
        return found_by_boto(answer), iter(lambda: body.read(CHUNK_BYTES), b"")

    def close(self) -> None:
        self._connections.close()

    def _native(self, name: str) -> Any | None:
        """obstore's client, if there is one and it takes such names."""
        return self._connections.native if _CONTROLS.isdisjoint(name) else None


def _expires(rule: Mapping[str, Any], prefix: str) -> bool:
    narrowed = rule.get("Filter", {})
    of = str(rule.get("Prefix") or {**narrowed, **narrowed.get("And", {})}.get("Prefix") or "")
    is_about = of.startswith(prefix) or prefix.startswith(of)
    return rule["Status"] == "Enabled" and "Expiration" in rule and is_about


def _options(range_: Any, etag: str | None) -> Any:
    """The range and the etag that the object must have, as arguments for obstore."""
    wanted = {"range": range_, "if_match": None if etag is None else f'"{etag}"'}
    return {name: value for name, value in wanted.items() if value is not None} or None


# --- Body: the answer to one request for an object, as a stream. Called by ``S3Store.open``.


class Body(Stream):
    """The bytes of one answer, and of another where somebody goes back. Raises: StoreUnavailable."""

    def __init__(self, client: S3Client, name: str, key: str, found: Found, pieces: Iterator[Any]) -> None:
        super().__init__(found.size)
        self._client = client
        self._name = name
        self._key = key
        self._etag = found.etag
        self._pieces = pieces
        self._piece = memoryview(b"")

    def _read(self, count: int) -> memoryview:
        if not self._piece:
            self._piece = memoryview(self._client.do(self._key, lambda: next(self._pieces, b"")))
        if not self._piece:
            missing = self._size - self._at
            raise StoreUnavailable(self._client.url, f"{self._key!r} ended {missing} bytes too early")
        piece, self._piece = self._piece[:count], self._piece[count:]
        return piece

    def _begin(self, position: int) -> int:
        try:
            found, self._pieces = self._client.open(self._name, self._key, position, self._etag)
        except NotSupported:  # a server that ignores ranges
            return self._begin(0)
        except (AlreadyExists, NotFound) as error:
            raise self._client.restless(self._key) from error
        if found.etag != self._etag:  # a server without If-Match
            raise self._client.restless(self._key)
        self._piece = memoryview(b"")
        return position

    def close(self) -> None:
        self._pieces = iter(())
        super().close()
