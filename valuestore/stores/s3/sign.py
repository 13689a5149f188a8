"""sign: a URL by which somebody without credentials makes one request of a bucket.

Called by ``S3Store.sign``.
"""

from __future__ import annotations

from typing import Any

from valuestore.errors import NotSupported
from valuestore.stores.base import SignedUrl
from valuestore.stores.s3.client import S3Client

_MAX_SECONDS = 7 * 24 * 3600
_REQUESTS = {"GET": "get_object", "HEAD": "head_object", "PUT": "put_object", "DELETE": "delete_object"}
_MD5_ATTR = "flytecontentmd5"


def sign(
    client: S3Client,
    place: dict[str, str],
    key: str,
    method: str,
    expires_seconds: int,
    content_md5: str | None,
    add_md5_attr: bool,
) -> SignedUrl:
    """The URL for the object at ``place`` (Bucket and Key). The rest is as ``S3Store.sign`` says.

    Raises: NotSupported, ValueError.
    """
    if method not in _REQUESTS:
        raise NotSupported(client.url, f"signed URLs for {method}", f"there are {', '.join(_REQUESTS)}")
    if not 0 < expires_seconds <= _MAX_SECONDS:
        raise ValueError(f"expires_seconds is from 1 to {_MAX_SECONDS}, not {expires_seconds}")
    if content_md5 is not None and method != "PUT":
        raise ValueError("content_md5 goes with a PUT")
    what, headers = _with_md5(content_md5, add_md5_attr)
    url = client.do(
        key,
        lambda: client.boto.generate_presigned_url(
            _REQUESTS[method], Params={**place, **what}, ExpiresIn=expires_seconds
        ),
    )
    return SignedUrl(url, headers)


def _with_md5(content_md5: str | None, add_md5_attr: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """What the signature covers besides the place, and the headers that then have to come."""
    if content_md5 is None:
        return {}, {}
    what: dict[str, Any] = {"ContentMD5": content_md5}
    headers = {"Content-MD5": content_md5}
    if add_md5_attr:
        what["Metadata"] = {_MD5_ATTR: content_md5}
        headers[f"x-amz-meta-{_MD5_ATTR}"] = content_md5
    return what, headers
