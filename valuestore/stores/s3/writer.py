"""S3Writer: how a value becomes an object: in one request if it is small, else in parts, and told afterwards.

It knows what S3 makes difficult: attributes to be kept, values too large for one request. Called by
``S3Store.put``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from valuestore.errors import AlreadyExists, NotSupported, StoreError, StoreUnavailable, TooLarge
from valuestore.hashing import hash_bytes
from valuestore.stores.base import Data, Stat, as_buffer, iter_chunks
from valuestore.stores.data import counted, cut
from valuestore.stores.s3.about import About
from valuestore.stores.s3.client import S3Client
from valuestore.stores.s3.creation import Creation

_BLIND_BYTES = 1 << 20
"""Up to this size a put finds out that the key is taken by trying."""


class S3Writer:
    """Puts objects, in parts of ``part_bytes``.

    In all methods ``name`` is the object's, ``key`` the caller's; ``attrs`` None keeps those there are.
    """

    def __init__(self, client: S3Client, part_bytes: int, creation: Creation) -> None:
        self._client = client
        self._part_bytes = part_bytes
        self._creation = creation
        self._keeps_metadata = False

    def put(
        self,
        name: str,
        key: str,
        data: Data,
        size: int | None,
        attrs: dict[str, Any] | None,
        overwrite: bool,
    ) -> Stat:
        """Store the data. Raises: TooLarge; AlreadyExists; SizeMismatch; StoreError."""
        if attrs:
            About(attrs, hash_bytes(b"")).metadata(key)  # which raises if there is too much of them
        if size is not None:
            self._check_size(key, size)
        whole = as_buffer(data)
        if whole is not None and len(whole) <= self._part_bytes and size in (None, len(whole)):
            return self._put_whole(name, key, whole, attrs, overwrite)
        parts = cut(iter_chunks(key, data, size), self._part_bytes)
        first, second = next(parts, b""), next(parts, None)
        if second is None:
            return self._put_whole(name, key, first, attrs, overwrite)
        return self._put_parts(name, key, chain((first, second), parts), attrs, overwrite)

    def _put_whole(
        self, name: str, key: str, data: Any, attrs: dict[str, Any] | None, overwrite: bool
    ) -> Stat:
        about, there = About(attrs or {}, hash_bytes(data)), None
        if not overwrite or (attrs is None and len(data) <= _BLIND_BYTES):
            there = self._creation.create(name, key, data, about)
            if there is None:
                self._prove(name, key, about)
                return about.stat(key, len(data))
            if not overwrite:
                raise AlreadyExists(key, self._client.url)
        elif attrs is None:
            there = self._creation.find(name, key)
        if there is not None:
            about = replace(about, attrs=there.attrs)
        self._client.put(name, key, data, about.metadata(key), create=False)
        self._prove(name, key, about)
        return about.stat(key, len(data))

    def _put_parts(
        self, name: str, key: str, parts: Iterable[Any], attrs: dict[str, Any] | None, overwrite: bool
    ) -> Stat:
        there = None if overwrite and attrs is not None else self._creation.find(name, key)
        if there is not None and not overwrite:
            raise AlreadyExists(key, self._client.url)
        about = About(attrs if attrs is not None else {} if there is None else there.attrs, None)
        creation = None if overwrite or self._creation.is_kept is False else self._creation
        place, sent = self._client.place(name), counted(parts, partial(self._check_size, key))
        try:
            size, etag = upload(self._client, place, key, sent, about.metadata(key), creation)
        except (AlreadyExists, StoreUnavailable) as error:
            return self._put_after_all(name, key, about, error)
        self._prove(name, key, about)
        return about.stat(key, size, etag)

    def _put_after_all(self, name: str, key: str, about: About, error: Exception) -> Stat:
        """What was put, if it was: asked again after a lost answer, S3 may refuse what it did already."""
        if isinstance(error, StoreUnavailable) and "NoSuchUpload" not in str(error):
            raise error
        there = self._creation.find(name, key)
        if there is None or there.put_id != about.put_id:
            raise error
        found = self._client.head(name, key)
        return About.read(found).stat(key, found.size)

    def _prove(self, name: str, key: str, about: About) -> None:
        """The first attributes are looked at: a server that drops metadata is found out."""
        if about.attrs and not self._keeps_metadata:
            there = self._creation.find(name, key)
            if there is not None and there.put_id == "":
                instead = "the value was stored without them"
                raise NotSupported(self._client.url, "attributes: its server drops metadata", instead)
            self._keeps_metadata = True

    def _check_size(self, key: str, size: int) -> None:
        if size > (limit := self._part_bytes * PARTS_MAX):
            raise TooLarge(key, size, limit, "part_bytes")


# --- upload: a large value to S3 in parts, which become an object at one instant or are gone.
#
# A process that is killed meanwhile leaves its parts; a rule of the bucket removes them after some days
# (AbortIncompleteMultipartUpload). The etag that S3 gives depends on the content and on the size of the
# parts, so their size is fixed.


PARTS_MAX = 10_000
"""S3 takes no more: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
_AT_ONCE = 4


def upload(
    client: S3Client,
    place: dict[str, str],
    key: str,
    parts: Iterable[Any],
    metadata: dict[str, str],
    creation: Creation | None,
) -> tuple[int, str]:
    """Store the parts as the object at ``place`` (Bucket and Key); return its size and etag.

    ``creation`` if it is to be new, and its server is not known to have no condition for that. At most five
    parts are in memory. Whatever happens, no part is left. Raises: AlreadyExists; what the iterable raises.
    """
    begun = client.do(
        key, lambda: client.boto.create_multipart_upload(**place, Metadata=metadata), writing=True
    )
    session = {**place, "UploadId": begun["UploadId"]}
    with ThreadPoolExecutor(_AT_ONCE, "valuestore-s3-parts") as pool:
        sent: list[Future[tuple[int, dict[str, Any]]]] = []
        try:
            waiting: deque[Future[tuple[int, dict[str, Any]]]] = deque()
            for number, part in enumerate(parts, 1):
                waiting.append(pool.submit(_send, client, session, key, number, part))
                sent.append(waiting[-1])
                if len(waiting) == _AT_ONCE:
                    waiting.popleft().result()
            done = [future.result() for future in sent]
            answer = _finish(client, session, key, [part for _, part in done], creation)
        except BaseException:
            for future in sent:
                future.cancel()
            wait(sent)  # a part that arrives after the abort would stay
            with suppress(StoreError):
                client.do(key, lambda: client.boto.abort_multipart_upload(**session), writing=True)
            raise
    return sum(size for size, _ in done), str(answer["ETag"]).strip('"')


def _send(
    client: S3Client, session: dict[str, str], key: str, number: int, part: Any
) -> tuple[int, dict[str, Any]]:
    body = part if isinstance(part, bytes) else bytes(part)
    answer = client.do(
        key, lambda: client.boto.upload_part(**session, PartNumber=number, Body=body), writing=True
    )
    return len(body), {"PartNumber": number, "ETag": answer["ETag"]}


def _finish(
    client: S3Client,
    session: dict[str, str],
    key: str,
    parts: list[dict[str, Any]],
    creation: Creation | None,
) -> Any:
    """Make the parts an object. A server that refuses the condition as unknown has done nothing so far."""
    finish = partial(client.boto.complete_multipart_upload, **session, MultipartUpload={"Parts": parts})
    if creation is not None:
        try:
            return client.do(key, partial(finish, IfNoneMatch="*"), writing=True, creating=True)
        except NotSupported:
            if creation.is_kept:
                raise
    answer = client.do(key, finish, writing=True)
    if creation is not None:
        creation.miss()
    return answer
