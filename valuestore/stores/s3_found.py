"""Found: what S3 tells of an object, in the answers of either client; and how each is asked for a range.

Called by ``s3_client``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_STANDARD = {
    "Content-Type",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Cache-Control",
    "Storage-Class",
}


@dataclass(frozen=True, slots=True)
class Found:
    """What S3 tells of an object."""

    size: int
    modified: datetime
    etag: str
    """As S3 made it, without quotes."""
    metadata: Mapping[str, str]


def found_by_obstore(result: Any) -> Found:
    meta = result.meta
    metadata = {name: value for name, value in result.attributes.items() if name not in _STANDARD}
    return Found(meta["size"], meta["last_modified"], _bare(meta["e_tag"]), metadata)


def found_by_boto(answer: Mapping[str, Any]) -> Found:
    etag = _bare(answer.get("ETag"))
    return Found(answer["ContentLength"], answer["LastModified"], etag, answer["Metadata"])


def _bare(etag: str | None) -> str:
    return (etag or "").removeprefix("W/").strip('"')


def boto_conditions(range_: Any, etag: str | None) -> dict[str, str]:
    """The range, as obstore writes it, and the etag that the object must have, as arguments for botocore."""
    conditions = {} if etag is None else {"IfMatch": f'"{etag}"'}
    if isinstance(range_, tuple):
        conditions["Range"] = f"bytes={range_[0]}-{range_[1] - 1}"
    elif range_ is not None:
        name, count = next(iter(range_.items()))
        conditions["Range"] = f"bytes=-{count}" if name == "suffix" else f"bytes={count}-"
    return conditions
