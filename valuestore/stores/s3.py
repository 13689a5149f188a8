"""S3Store: keys as objects of a bucket, on AWS or any server that speaks its protocol.

A value is one object, verbatim, at ``<prefix>/<key>``, where other programs can read it; attributes are in
its metadata (``s3_about``). The requests are those of ``s3_client``, large values go through ``s3_upload``.
"""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import chain
from typing import Any, BinaryIO, Self, TypeVar

from valuestore.errors import AlreadyExists, BadKey, NotFound, NotSupported, StoreUnavailable, TooLarge
from valuestore.hashing import hash_bytes
from valuestore.stores.base import (
    KEY_MAX_BYTES,
    Data,
    Json,
    Page,
    SignedUrl,
    Stat,
    Store,
    as_buffer,
    check_key,
    check_page,
    check_prefix,
    copy_attrs,
    iter_chunks,
)
from valuestore.stores.s3_about import About
from valuestore.stores.s3_address import S3Address
from valuestore.stores.s3_client import S3Client
from valuestore.stores.s3_failure import FAILURES
from valuestore.stores.s3_upload import PARTS_MAX, upload

_T = TypeVar("_T")
_R = TypeVar("_R")

_TIMEOUT_SECONDS = 120.0
_PART_BYTES = 8 << 20
_CONCURRENCY = 16
_BLIND_BYTES = 1 << 20
"""Up to this size a put finds out that the key is taken by trying."""
_COPY_MAX_BYTES = 5 << 30
_ATTEMPTS = 5
_SIGNED_MAX_SECONDS = 7 * 24 * 3600
_SIGNED = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
_PAGE_KEYS = 1000
_MD5_ATTR = "flytecontentmd5"


class S3Store(Store):
    """Keys as objects of a bucket, below the URL's prefix. ``s3_address`` says what a URL may hold.

    ``timeout_seconds``  bounds every request, a second try included; large values are several requests
    ``part_bytes``       larger values are sent in parts of this size, at most 10,000 of them
    ``concurrency``      how many requests ``get_many``, ``put_many`` and ``delete_many`` make at once
    ``conditional``      False for a server that ignores ``If-None-Match``; of two who create the same key at
                         the same time, the later wins then

    Attributes take at most about 1,900 bytes as JSON. The etag of a value of up to ``part_bytes`` is its
    digest, that of a larger one comes from S3 and its parts: it changes when ``part_bytes`` does, and with
    KMS encryption at each put. A put that keeps attributes reads them first, and is no transaction.

    Credentials that were given are in no pickle: where it is opened, the usual places are asked.
    Raises: BadReference, ConfigError.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._address = S3Address.read(url, options)
        settings = self._address.options
        self._part_bytes: int = settings.get("part_bytes", _PART_BYTES)
        self._concurrency: int = settings.get("concurrency", _CONCURRENCY)
        self._conditional: bool = settings.get("conditional", True)
        self._prefix = self._address.prefix
        seconds = settings.get("timeout_seconds", _TIMEOUT_SECONDS)
        self._client = S3Client(self._address, seconds, self._concurrency + 4)
        self._pools: dict[int, ThreadPoolExecutor] = {}
        if settings.get("create"):
            self._client.make_bucket()

    # --- reading ------------------------------------------------------------------------------------

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        name = self._name(key)
        if start == 0 and end is None:
            return self._client.get(name, key)
        if end is None:
            return self._client.get(name, key, {"suffix": -start} if start < 0 else {"offset": start})
        if 0 <= start < end:
            return self._client.get(name, key, (start, end))
        return self._get_slice(name, key, slice(start, end))

    def open(self, key: str) -> BinaryIO:
        """As everywhere, from one request, which is held open meanwhile."""
        found, pieces = self._client.open(self._name(key), key)
        return io.BufferedReader(_Body(self._client, key, found.size, pieces))

    def stat(self, key: str) -> Stat:
        found = self._client.head(self._name(key), key)
        return About.read(found).stat(key, found.size)

    def size(self, key: str) -> int:
        return self._client.head(self._name(key), key).size

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_open()
        check_prefix(prefix)
        check_page(limit, cursor)
        keys: list[str] = []
        if "\0" in prefix or len(prefix.encode()) > KEY_MAX_BYTES:
            return Page(keys, None)
        after, more = self._prefix + (cursor or ""), True
        while more and (limit is None or len(keys) <= limit):
            wanted = _PAGE_KEYS if limit is None else limit + 1 - len(keys)
            names, more = self._client.list(self._prefix + prefix, after, wanted)
            keys += filter(_is_key, (name[len(self._prefix) :] for name in names))
            after = names[-1] if names else after
        if limit is None or len(keys) <= limit:
            return Page(keys, None)
        return Page(keys[:limit], keys[limit - 1])

    # --- writing ------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        data: Data,
        *,
        size: int | None = None,
        attrs: Mapping[str, Json] | None = None,
        overwrite: bool = True,
    ) -> Stat:
        name = self._name(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        if wanted:
            About(wanted, hash_bytes(b"")).metadata(key)  # which raises if there is too much of them
        if size is not None:
            self._check_size(key, size)
        whole = as_buffer(data)
        if whole is not None and len(whole) <= self._part_bytes and size in (None, len(whole)):
            return self._put_whole(name, key, whole, wanted, overwrite)
        parts = _cut(iter_chunks(key, data, size), self._part_bytes)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            return self._put_whole(name, key, first, wanted, overwrite)
        return self._put_parts(name, key, chain((first, second), parts), wanted, overwrite)

    def delete(self, key: str) -> None:
        """As everywhere; of two who delete it at once, both may be told that they did."""
        name = self._name(key)
        self._client.head(name, key)
        self._client.delete(name, key)

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Stat:
        """As everywhere, up to 5 GiB without moving the bytes."""
        name, to = self._name(source), self._name(target)
        for _ in range(_ATTEMPTS):
            found = self._client.head(name, source)
            if not overwrite or found.size > _COPY_MAX_BYTES:
                return super().copy(source, target, overwrite=overwrite)
            known = About.read(found)
            about = About(known.attrs, known.etag)
            try:
                self._client.copy(name, to, source, found, about.metadata(target))
            except AlreadyExists:
                continue  # the source changed meanwhile
            return about.stat(target, found.size)
        raise self._restless(source)

    # --- many at once -------------------------------------------------------------------------------

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        asked = list(keys)
        return {key for key, there in zip(asked, self._map(self.exists, asked), strict=True) if there}

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        return list(self._map(self.get, keys))

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        running: dict[str, Future[Stat]] = {}

        def start(pair: tuple[str, Data]) -> Future[Stat]:
            key, data = pair
            if (earlier := running.get(key)) is not None:
                wait([earlier])  # of two values for one key the last wins
            running[key] = self._pool().submit(self.put, key, data)
            return running[key]

        self._check_open()
        return list(self._ordered(start, zip(keys, values, strict=True)))

    def delete_many(self, keys: Iterable[str]) -> set[str]:
        there = self.exists_many(dict.fromkeys(keys))
        if there:
            self._client.delete_all([self._name(key) for key in there])
        return there

    def sign(
        self,
        key: str,
        method: str = "GET",
        expires_seconds: int = 3600,
        *,
        content_md5: str | None = None,
        add_md5_attr: bool = False,
    ) -> SignedUrl:
        """As everywhere; also for HEAD and DELETE, and for a week at most.

        ``content_md5`` (base64) is what a PUT has to bring, as a header; with ``add_md5_attr`` it becomes the
        attribute ``flytecontentmd5`` of the object.
        """
        name = self._name(key)
        if method not in _SIGNED:
            raise NotSupported(self.url, f"signed URLs for {method}", f"there are {', '.join(_SIGNED)}")
        if not 0 < expires_seconds <= _SIGNED_MAX_SECONDS:
            raise ValueError(f"expires_seconds is from 1 to {_SIGNED_MAX_SECONDS}, not {expires_seconds}")
        if content_md5 is not None and method != "PUT":
            raise ValueError("content_md5 goes with a PUT")
        what: dict[str, Any] = {"Bucket": self._address.bucket, "Key": name}
        headers: dict[str, str] = {}
        if content_md5 is not None:
            what["ContentMD5"] = headers["Content-MD5"] = content_md5
            if add_md5_attr:
                what["Metadata"] = {_MD5_ATTR: content_md5}
                headers[f"x-amz-meta-{_MD5_ATTR}"] = content_md5
        url = self._client.do(
            key,
            lambda: self._client.boto.generate_presigned_url(
                _SIGNED[method], Params=what, ExpiresIn=expires_seconds
            ),
        )
        return SignedUrl(url, headers)

    # --- itself -------------------------------------------------------------------------------------

    def close(self) -> None:
        if not self._closed:
            super().close()
            pool = self._pools.pop(os.getpid(), None)
            if pool is not None:
                pool.shutdown()
            self._client.close()

    @property
    def url(self) -> str:
        return self._address.url

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        return cls(url, **settings)

    def _settings(self) -> dict[str, Any]:
        return {"url": self.url, **self._address.options}

    def _name(self, key: str) -> str:
        self._check_open()
        name = self._prefix + check_key(key)
        if len(name) > KEY_MAX_BYTES // 4 and len(name.encode()) > KEY_MAX_BYTES:
            rule = f"with the prefix of the store it has at most {KEY_MAX_BYTES} bytes"
            raise BadKey(key, rule)
        return name

    # --- putting ------------------------------------------------------------------------------------

    def _put_whole(
        self, name: str, key: str, data: Any, attrs: dict[str, Any] | None, overwrite: bool
    ) -> Stat:
        etag = hash_bytes(data)
        if not overwrite:
            return self._create(name, key, data, About(attrs or {}, etag))
        if attrs is None and self._conditional and len(data) <= _BLIND_BYTES:
            try:
                return self._create(name, key, data, About({}, etag))
            except AlreadyExists:
                pass
        about = About(self._attrs(name, key) if attrs is None else attrs, etag)
        self._client.put(name, key, data, about.metadata(key), create=False)
        return about.stat(key, len(data))

    def _create(self, name: str, key: str, data: Any, about: About) -> Stat:
        """Put what is to be new. Raises: AlreadyExists."""
        for _ in range(_ATTEMPTS):
            if not self._conditional and self.exists(key):
                raise AlreadyExists(key, self.url)
            try:
                self._client.put(name, key, data, about.metadata(key), create=self._conditional)
            except AlreadyExists:
                there = self._find(name, key)
                if there is None:
                    continue  # it was deleted just now, or not created in the end
                if there.put_id != about.put_id:
                    raise
            return about.stat(key, len(data))
        raise self._restless(key)

    def _put_parts(
        self, name: str, key: str, parts: Iterable[Any], attrs: dict[str, Any] | None, overwrite: bool
    ) -> Stat:
        there = None if overwrite and attrs is not None else self._find(name, key)
        if there is not None and not overwrite:
            raise AlreadyExists(key, self.url)
        about = About(attrs if attrs is not None else {} if there is None else there.attrs, None)
        create = self._conditional and not overwrite
        place = {"Bucket": self._address.bucket, "Key": name}
        try:
            sent = self._bounded(key, parts)
            size, etag = upload(self._client, place, key, sent, about.metadata(key), create=create)
        except (AlreadyExists, StoreUnavailable) as error:
            # asked again after a lost answer, S3 may refuse what it did already
            if isinstance(error, StoreUnavailable) and "NoSuchUpload" not in str(error):
                raise
            found = self._find(name, key)
            if found is None or found.put_id != about.put_id:
                raise
            return self.stat(key)
        return about.stat(key, size, etag)

    def _bounded(self, key: str, parts: Iterable[Any]) -> Iterator[Any]:
        size = 0
        for part in parts:
            size += len(part)
            self._check_size(key, size)
            yield part

    def _check_size(self, key: str, size: int) -> None:
        if size > (limit := self._part_bytes * PARTS_MAX):
            raise TooLarge(key, size, limit, "part_bytes")

    # --- what is there ------------------------------------------------------------------------------

    def _find(self, name: str, key: str) -> About | None:
        try:
            return About.read(self._client.head(name, key))
        except NotFound:
            return None

    def _attrs(self, name: str, key: str) -> Mapping[str, Any]:
        there = self._find(name, key)
        return {} if there is None else there.attrs

    def _get_slice(self, name: str, key: str, wanted: slice) -> bytes:
        for _ in range(_ATTEMPTS):
            found = self._client.head(name, key)
            start, end, _step = wanted.indices(found.size)
            if start >= end:
                return b""
            try:
                return self._client.get(name, key, (start, end), found.etag)
            except AlreadyExists:
                continue  # it changed meanwhile
        raise self._restless(key)

    def _restless(self, key: str) -> StoreUnavailable:
        return StoreUnavailable(self.url, f"others change {key!r} too often")

    # --- many at once -------------------------------------------------------------------------------

    def _pool(self) -> ThreadPoolExecutor:
        process = os.getpid()
        if (pool := self._pools.get(process)) is None:
            made = ThreadPoolExecutor(self._concurrency, "valuestore-s3")
            pool = self._pools.setdefault(process, made)
        return pool

    def _map(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        self._check_open()
        pool = self._pool()
        return self._ordered(lambda item: pool.submit(work, item), items)

    def _ordered(self, start: Callable[[_T], Future[_R]], items: Iterable[_T]) -> Iterator[_R]:
        """The results in the order of the items, few of which wait at any time."""
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(start(item))
                if len(waiting) > 2 * self._concurrency:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            wait(waiting)


class _Body(io.RawIOBase):
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


def _cut(chunks: Iterable[bytes | memoryview], size: int) -> Iterator[bytes | memoryview]:
    """The same bytes in pieces of that size; only the last one is shorter."""
    held: list[bytes | memoryview] = []
    count = 0
    for chunk in chunks:
        view = memoryview(chunk)
        while count + len(view) > size:
            cut = size - count
            yield b"".join((*held, view[:cut])) if held else view[:cut]
            held, count, view = [], 0, view[cut:]
        held.append(chunk if len(view) == len(chunk) else bytes(view))
        count += len(view)
    if held:
        yield held[0] if len(held) == 1 else b"".join(held)


def _is_key(name: str) -> bool:
    """Whether a key can have this name; other programs put others into a bucket."""
    try:
        check_key(name)
    except BadKey:
        return False
    return True
