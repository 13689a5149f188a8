"""S3Client: the requests that S3Store makes of its bucket, with deadlines and in typed errors.

Two clients share the work. obstore is native, and some five times faster: what moves bytes goes through it.
botocore knows the usual places of credentials, lists, signs, uploads in parts under a condition, takes names
with control characters, which obstore refuses, and works after a fork, which obstore does not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Lock
from typing import Any, Literal, TypeVar

import botocore.session
import obstore
from botocore import UNSIGNED
from botocore.config import Config
from botocore.loaders import create_loader

from valuestore.errors import AlreadyExists, CredentialsRejected, NotFound, StoreError, StoreUnavailable
from valuestore.stores.base import CHUNK_BYTES
from valuestore.stores.s3_address import S3Address
from valuestore.stores.s3_failure import FAILURES, code_of, is_absence, is_conflict, is_past_the_end, typed
from valuestore.stores.s3_quiet import quiet

_T = TypeVar("_T")

_ATTEMPTS = 2
_TRANSFER_SECONDS = 24 * 3600
"""However slowly the bytes of one answer come, after this it counts as broken."""
_CREDENTIAL_SECONDS = 9 * 60
"""botocore renews credentials ten minutes before they expire."""
_DEFAULT_REGION = "us-east-1"
_STANDARD = {
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Cache-Control",
    "Storage-Class",
}
_CONTROLS = frozenset(map(chr, (*range(32), 127)))

_models = create_loader()
"""What botocore knows of S3, which takes longer to read than all else that a client needs."""

_native_process: int | None = None
"""The process that obstore's threads belong to."""


@dataclass(frozen=True, slots=True)
class Found:
    """What S3 tells of an object."""

    size: int
    modified: datetime
    etag: str
    """As S3 made it, without quotes."""
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Connection:
    client: Any
    native: Any | None


class S3Client:
    """A bucket. Names here are those of objects: key and prefix; ``key`` is the caller's, for messages.

    Each request is tried twice, for at most half of ``timeout_seconds`` each time. Everything raises
    StoreUnavailable, CredentialsRejected and, where it writes, StoreReadOnly.
    """

    def __init__(self, address: S3Address, timeout_seconds: float, connections: int) -> None:
        self._address = address
        self._bucket = address.bucket
        self._attempt_seconds = timeout_seconds / _ATTEMPTS
        self._connections = connections
        self._opened: dict[int, _Connection] = {}
        self._locks: dict[int, Lock] = {}
        self._bucket_seen = False

    # --- reading ------------------------------------------------------------------------------------

    def head(self, name: str, key: str) -> Found:
        """What is there. Raises: NotFound."""
        native = self._native(name)

        def ask() -> Found:
            if native is not None:
                return _found(obstore.get(native, name, options={"head": True}))
            return _found_by_boto(self.boto.head_object(Bucket=self._bucket, Key=name))

        try:
            return self.do(key, partial(self._with_reason, name, ask))
        except NotFound:
            self._check_bucket()
            raise

    def get(self, name: str, key: str, range_: Any = None, etag: str | None = None) -> bytes:
        """The bytes, or those of a range as obstore writes it; empty if it begins beyond the end.

        ``etag`` is that of the object to read from. Raises: NotFound; AlreadyExists if it has another etag.
        """
        native = self._native(name)

        def ask() -> bytes:
            if native is None:
                return b"".join(self._boto_pieces(name, _conditions(range_, etag))[1])
            if range_ is None:
                return bytes(obstore.get(native, name).bytes())
            options: Any = {"range": range_}
            if etag is not None:
                options["if_match"] = f'"{etag}"'
            return bytes(obstore.get(native, name, options=options).bytes())

        return self.do(key, ask)

    def open(self, name: str, key: str) -> tuple[Found, Iterator[Any]]:
        """What is there, and its bytes in pieces, which come from one request. Raises: NotFound."""
        native = self._native(name)

        def ask() -> tuple[Found, Iterator[Any]]:
            if native is None:
                return self._boto_pieces(name, {})
            result = obstore.get(native, name)
            return _found(result), iter(result.stream(min_chunk_size=CHUNK_BYTES))

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
        native = self._connect().native
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
        place = {} if region == _DEFAULT_REGION else {"LocationConstraint": region}
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
        return self._connect().client

    def do(self, key: str, ask: Callable[[], _T], *, writing: bool = False) -> _T:
        """The answer to a request, or the typed error for it. Raises: NotFound, AlreadyExists."""
        try:
            with quiet():
                answer = ask()
        except StoreError:
            raise
        except FAILURES as error:
            if is_absence(error):
                raise NotFound(key, self._address.url) from None
            if is_conflict(error):
                raise AlreadyExists(key, self._address.url) from None
            if is_past_the_end(error):
                return b""  # type: ignore[return-value]  # a range was asked for, so bytes are the answer
            raise self._typed(error, writing=writing) from None
        self._bucket_seen = True
        return answer

    def failed_to_read(self, error: BaseException) -> StoreError:
        """The error for a failure in the middle of an answer."""
        return self._typed(error, writing=False)

    def _typed(self, error: BaseException, *, writing: bool) -> StoreError:
        return typed(error, self._address.url, self._bucket, writing=writing)

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

    def _boto_pieces(self, name: str, conditions: Mapping[str, str]) -> tuple[Found, Iterator[bytes]]:
        answer = self.boto.get_object(Bucket=self._bucket, Key=name, **conditions)
        body = answer["Body"]
        return _found_by_boto(answer), iter(lambda: body.read(CHUNK_BYTES), b"")

    # --- connections --------------------------------------------------------------------------------

    def close(self) -> None:
        connection = self._opened.pop(os.getpid(), None)
        if connection is not None:
            connection.client.close()

    def _native(self, name: str) -> Any | None:
        """obstore's client, if it takes such names."""
        return None if not _CONTROLS.isdisjoint(name) else self._connect().native

    def _connect(self) -> _Connection:
        process = os.getpid()
        if (connection := self._opened.get(process)) is None:
            with self._locks.setdefault(process, Lock()):
                connection = self._opened.get(process) or self._open()
                self._opened[process] = connection
        return connection

    def _open(self) -> _Connection:
        global _native_process
        try:
            session, client = self._open_boto()
            provider = None if self._address.options.get("anonymous") else self._provider(session)
        except FAILURES as error:
            raise self._typed(error, writing=False) from None
        if _native_process not in (None, os.getpid()):
            return _Connection(client, None)
        _native_process = os.getpid()
        return _Connection(client, self._open_native(client, provider))

    def _open_boto(self) -> tuple[Any, Any]:
        address, options = self._address, self._address.options
        session = botocore.session.Session(profile=options.get("profile"))
        session.register_component("data_loader", _models)
        if address.credentials is not None:
            session.set_credentials(*address.credentials)
        config = Config(
            signature_version=UNSIGNED if options.get("anonymous") else "s3v4",
            s3={"addressing_style": "path" if address.is_path_style else "virtual"},
            connect_timeout=self._attempt_seconds,
            read_timeout=self._attempt_seconds,
            retries={"total_max_attempts": _ATTEMPTS, "mode": "standard"},
            max_pool_connections=self._connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        region = options.get("region") or session.get_config_variable("region") or _DEFAULT_REGION
        return session, session.create_client(
            "s3", region_name=region, endpoint_url=options.get("endpoint_url"), config=config
        )

    def _provider(self, session: Any) -> Callable[[], dict[str, Any]]:
        credentials = session.get_credentials()
        if credentials is None:
            raise CredentialsRejected(self._address.url, "there are none in the usual places")

        def provide() -> dict[str, Any]:
            with quiet():  # here another thread asks
                frozen = credentials.get_frozen_credentials()
            return {
                "access_key_id": frozen.access_key,
                "secret_access_key": frozen.secret_key,
                "token": frozen.token,
                "expires_at": datetime.now(UTC) + timedelta(seconds=_CREDENTIAL_SECONDS),
            }

        return provide

    def _open_native(self, client: Any, provider: Any) -> Any:
        endpoint, seconds = client.meta.endpoint_url, timedelta(seconds=self._attempt_seconds)
        if not self._address.is_path_style:
            scheme, _, host = endpoint.partition("://")
            endpoint = f"{scheme}://{self._bucket}.{host}"
        return obstore.store.S3Store(
            self._bucket,
            config={
                "endpoint": endpoint,
                "region": client.meta.region_name,
                "virtual_hosted_style_request": not self._address.is_path_style,
                "skip_signature": provider is None,
            },
            client_options={
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": seconds,
                "read_timeout": seconds,
                "timeout": timedelta(seconds=_TRANSFER_SECONDS),
            },
            retry_config={"max_retries": _ATTEMPTS - 1, "retry_timeout": seconds},
            credential_provider=provider,
        )


def _found(result: Any) -> Found:
    meta = result.meta
    metadata = {name: value for name, value in result.attributes.items() if name not in _STANDARD}
    return Found(meta["size"], meta["last_modified"], _bare(meta["e_tag"]), metadata)


def _found_by_boto(answer: Mapping[str, Any]) -> Found:
    etag = _bare(answer.get("ETag"))
    return Found(answer["ContentLength"], answer["LastModified"], etag, answer["Metadata"])


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


def _conditions(range_: Any, etag: str | None) -> dict[str, str]:
    conditions = {} if etag is None else {"IfMatch": f'"{etag}"'}
    if isinstance(range_, tuple):
        conditions["Range"] = f"bytes={range_[0]}-{range_[1] - 1}"
    elif range_ is not None:
        name, count = next(iter(range_.items()))
        conditions["Range"] = f"bytes=-{count}" if name == "suffix" else f"bytes={count}-"
    return conditions
