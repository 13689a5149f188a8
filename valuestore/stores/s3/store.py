"""S3Store: keys as objects of a bucket, on AWS or any server that speaks its protocol.

A value is one object, verbatim, at ``<prefix>/<key>``, where other programs can read it; attributes are in
its metadata (about.py). The requests are those of client.py; what is put goes through writer.py.
"""

from __future__ import annotations

import io
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, BinaryIO, Self, TypeVar

from valuestore.errors import AlreadyExists, BadKey, NotSupported
from valuestore.lazy import PerProcess
from valuestore.stores.base import (
    KEY_MAX_BYTES,
    Attrs,
    Data,
    Page,
    SignedUrl,
    Stat,
    Store,
    check_key,
    check_prefix,
    copy_attrs,
    take_page,
)
from valuestore.stores.s3.about import About
from valuestore.stores.s3.address import S3Address
from valuestore.stores.s3.client import Body, S3Client
from valuestore.stores.s3.creation import Creation
from valuestore.stores.s3.writer import S3Writer

_TIMEOUT_SECONDS = 120.0
_PART_BYTES = 8 << 20
_CONCURRENCY = 16
_COPY_MAX_BYTES = 5 << 30
_ATTEMPTS = 5
_SIGNED_MAX_SECONDS = 7 * 24 * 3600
_REQUESTS = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
_MD5_ATTR = "flytecontentmd5"


class S3Store(Store):
    """Keys as objects of a bucket, below the URL's prefix. ``S3Address`` says what a URL may hold.

    ``timeout_seconds``  bounds every request, a second try included; large values are several requests.
                         A ``get`` may take longer, as its size needs at 32 KiB/s; of an opened stream,
                         each read is bounded, but not their number
    ``part_bytes``       larger values are sent in parts of this size, at most 10,000 of them
    ``concurrency``      how many requests ``get_many``, ``put_many`` and ``delete_many`` make at once
    ``conditional``      whether the server keeps ``If-None-Match``; left out, the first creation finds out.
                         Where it does not, a put asks first what is there, and of two who create the same key
                         at the same time, the later wins

    Attributes take at most about 1,900 bytes as JSON. The etag of a value of up to ``part_bytes`` is its
    digest, that of a larger one comes from S3 and its parts: it changes when ``part_bytes`` does, and with
    KMS encryption at each put. A put that keeps attributes reads them first, and is no transaction.

    Credentials that were given are in no pickle: where it is opened, the usual places are asked.
    Raises: BadReference, ConfigError.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._address = S3Address.read(url, options)
        settings = self._address.options
        self._prefix = self._address.prefix
        concurrency: int = settings.get("concurrency", _CONCURRENCY)
        seconds: float = settings.get("timeout_seconds", _TIMEOUT_SECONDS)
        self._client = S3Client(self._address, seconds, concurrency + 4)
        part_bytes: int = settings.get("part_bytes", _PART_BYTES)
        creation = Creation(self._client, settings.get("conditional"))
        self._writer = S3Writer(self._client, part_bytes, creation)
        self._workers = Workers(concurrency)
        if "create" in settings:
            self._client.check_bucket(create=settings["create"])

    def get(self, key: str, start: int = 0, end: int | None = None) -> bytes:
        name = self._name(key)
        if start == 0 and end is None:
            return self._client.get(name, key)
        try:
            return self._get_range(name, key, start, end)
        except NotSupported:  # a server that ignores ranges
            return self._client.get(name, key)[start:end]

    def _get_range(self, name: str, key: str, start: int, end: int | None) -> bytes:
        if end is None:
            return self._client.get(name, key, {"suffix": -start} if start < 0 else {"offset": start})
        if 0 <= start < end:
            return self._client.get(name, key, (start, end))
        return self._get_slice(name, key, slice(start, end))

    def open(self, key: str) -> BinaryIO:
        """As everywhere, from one request, which is held open meanwhile."""
        name = self._name(key)
        return io.BufferedReader(Body(self._client, name, key, *self._client.open(name, key)))

    def stat(self, key: str) -> Stat:
        found = self._client.head(self._name(key), key)
        return About.read(found).stat(key, found.size)

    def size(self, key: str) -> int:
        return self._client.head(self._name(key), key).size

    def list(self, prefix: str = "", *, limit: int | None = None, cursor: str | None = None) -> Page:
        self._check_listing(prefix, limit, cursor)
        if "\0" in prefix or len(prefix.encode()) > KEY_MAX_BYTES:
            return Page([], None)
        return take_page((key for key, _ in self._items_from(prefix, cursor, limit)), limit)

    def scan(self, prefix: str = "") -> Iterator[Stat]:
        self._check_open()
        for key, item in self._items_from(check_prefix(prefix), None, None):
            yield Stat(key, item["Size"], item["LastModified"], "")

    def folders(self, prefix: str = "") -> Iterator[str]:
        self._check_open()
        found = self._client.folders(self._prefix + check_prefix(prefix))
        return (name[len(self._prefix) :] for name in found if _is_key(name[len(self._prefix) : -1]))

    def losses(self) -> Sequence[str]:
        rules = self._client.expiries(self._prefix)
        return [f"rule {rule} of its lifecycle deletes what has some age" for rule in rules]

    def put(
        self, key: str, data: Data, *, size: int | None = None, attrs: Attrs = None, overwrite: bool = True
    ) -> Stat:
        name = self._name(key)
        wanted = None if attrs is None else copy_attrs(attrs)
        return self._writer.put(name, key, data, size, wanted, overwrite)

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
        raise self._client.restless(source)

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        self._check_open()
        asked = list(keys)
        there = self._workers.map(self.exists, asked)
        return {key for key, exists in zip(asked, there, strict=True) if exists}

    def get_many(self, keys: Iterable[str]) -> Sequence[bytes]:
        self._check_open()
        return list(self._workers.map(self.get, keys))

    def put_many(self, keys: Iterable[str], values: Iterable[Data]) -> Sequence[Stat]:
        """As everywhere; of two values for one key the last wins."""
        self._check_open()
        return list(self._workers.map_by_key(self.put, zip(keys, values, strict=True)))

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
        asked: dict[str, Any] = {**self._client.place(self._name(key))}
        if method not in _REQUESTS:
            raise NotSupported(self.url, f"signed URLs for {method}", f"there are {', '.join(_REQUESTS)}")
        if not 0 < expires_seconds <= _SIGNED_MAX_SECONDS:
            raise ValueError(f"expires_seconds is from 1 to {_SIGNED_MAX_SECONDS}, not {expires_seconds}")
        headers: dict[str, str] = {}
        if content_md5 is not None:
            if method != "PUT":
                raise ValueError("content_md5 goes with a PUT")
            asked["ContentMD5"] = headers["Content-MD5"] = content_md5
            if add_md5_attr:
                asked["Metadata"] = {_MD5_ATTR: content_md5}
                headers[f"x-amz-meta-{_MD5_ATTR}"] = content_md5
        how = {"ClientMethod": _REQUESTS[method], "Params": asked, "ExpiresIn": expires_seconds}
        url = self._client.do(key, lambda: self._client.boto.generate_presigned_url(**how))
        return SignedUrl(url, headers)

    def close(self) -> None:
        if not self._closed:
            super().close()
            self._workers.close()
            self._client.close()

    @property
    def is_remote(self) -> bool:
        return True

    @property
    def url(self) -> str:
        return self._address.url

    @classmethod
    def from_url(cls, url: str, **settings: Any) -> Self:
        return cls(url, **settings)

    def _settings(self) -> dict[str, Any]:
        options = {name: value for name, value in self._address.options.items() if name != "create"}
        return {"url": self.url, **options}

    def _name(self, key: str) -> str:
        name = self._prefix + self._checked_key(key)
        if len(name) > KEY_MAX_BYTES // 4 and len(name.encode()) > KEY_MAX_BYTES:
            rule = f"with the prefix of the store it has at most {KEY_MAX_BYTES} bytes"
            raise BadKey(key, rule)
        return name

    def _items_from(self, prefix: str, cursor: str | None, limit: int | None) -> Iterator[tuple[str, Any]]:
        """The keys that come after the cursor, and what the listing tells of each.

        All, or, where there are more than ``limit``, one more.
        """
        after, more = self._prefix + (cursor or ""), True
        left = sys.maxsize if limit is None else limit + 1
        while more and left > 0:
            items, more = self._client.list(self._prefix + prefix, after, left)
            for item in items:
                after = item["Key"]
                if _is_key(key := after[len(self._prefix) :]):
                    left -= 1
                    yield key, item

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
        raise self._client.restless(key)


def _is_key(name: str) -> bool:
    """Whether a key can have this name; other programs put others into a bucket."""
    try:
        check_key(name)
    except BadKey:
        return False
    return True


# --- Workers: threads that make many requests at once, and give the answers in the order of the questions.


_T = TypeVar("_T")
_R = TypeVar("_R")


class Workers:
    """``count`` threads, started on first use and anew in each process."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool = PerProcess(lambda: ThreadPoolExecutor(count, "valuestore-s3"))

    def map(self, work: Callable[[_T], _R], items: Iterable[_T]) -> Iterator[_R]:
        """What ``work`` makes of each item. Raises what it raises, where its turn comes."""
        pool = self._pool.get()
        return self._ordered(lambda item: pool.submit(work, item), items)

    def map_by_key(self, work: Callable[[str, _T], _R], pairs: Iterable[tuple[str, _T]]) -> Iterator[_R]:
        """As ``map``; of several pairs with one key, each waits for the one before."""
        pool = self._pool.get()
        running: dict[str, Future[_R]] = {}

        def start(pair: tuple[str, _T]) -> Future[_R]:
            if (earlier := running.get(pair[0])) is not None:
                wait([earlier])
            running[pair[0]] = pool.submit(work, *pair)
            return running[pair[0]]

        return self._ordered(start, pairs)

    def close(self) -> None:
        """Wait for this process's threads, and end them."""
        pool = self._pool.take()
        if pool is not None:
            pool.shutdown()

    def _ordered(self, start: Callable[[_T], Future[_R]], items: Iterable[_T]) -> Iterator[_R]:
        """The results in the order of the items, few of which wait at any time."""
        waiting: deque[Future[_R]] = deque()
        try:
            for item in items:
                waiting.append(start(item))
                if len(waiting) > 2 * self._count:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            wait(waiting)
