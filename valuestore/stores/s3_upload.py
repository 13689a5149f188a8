"""upload: a large value to S3 in parts, which become an object at one instant or are gone.

A process that is killed meanwhile leaves its parts; a rule of the bucket removes them after some days
(AbortIncompleteMultipartUpload). The etag that S3 gives depends on the content and on the size of the parts,
so their size is fixed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import Any

from valuestore.errors import StoreError
from valuestore.stores.s3_client import S3Client

PARTS_MAX = 10_000
"""S3 takes no more: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html"""
_AT_ONCE = 4


def upload(
    client: S3Client,
    place: dict[str, str],
    key: str,
    parts: Iterable[Any],
    metadata: dict[str, str],
    *,
    create: bool,
) -> tuple[int, str]:
    """Store the parts as the object at ``place`` (Bucket and Key); return its size and etag.

    At most five parts are in memory. Whatever happens, no part is left. Raises: AlreadyExists; what the
    iterable raises.
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
            finish = partial(_finish, client, session, [part for _, part in done], create)
            answer = client.do(key, finish, writing=True)
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


def _finish(client: S3Client, session: dict[str, str], parts: list[dict[str, Any]], create: bool) -> Any:
    condition = {"IfNoneMatch": "*"} if create else {}
    return client.boto.complete_multipart_upload(**session, MultipartUpload={"Parts": parts}, **condition)
