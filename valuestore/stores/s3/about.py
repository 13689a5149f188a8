"""About: what S3Store keeps of an object beside its bytes, as one item of the object's metadata.

The item is named ``valuestore`` and is JSON in ASCII without spaces, since a header takes no more::

    {"at": "2026-11-20T14:12:43.123456+00:00", "id": "9f...", "etag": "...", "attrs": {...}}

An object of another program has no such item: its attributes are its metadata, its etag that of S3.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from valuestore.errors import TooLarge
from valuestore.stores.base import Stat, copy_attrs

ITEM = "valuestore"
METADATA_MAX_BYTES = 2048
"""Names and values together: https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html"""

_to_json = json.JSONEncoder(separators=(",", ":")).encode
# A header's spaces may be merged, "=?" may begin an encoded word, and JSON leaves DEL as it is.
_ESCAPES = ((" ", "\\u0020"), ("\x7f", "\\u007f"), ("=?", "\\u003d?"))


@dataclass(frozen=True, slots=True)
class About:
    """What is known of one put."""

    attrs: Mapping[str, Any]
    etag: str | None
    """None if it is what S3 makes of the parts."""
    modified: datetime = field(default_factory=lambda: datetime.now(UTC))
    put_id: str = field(default_factory=lambda: os.urandom(8).hex())
    """Tells one's own put from that of somebody else, when the answer to it was lost."""

    @classmethod
    def read(cls, found: Found) -> About:
        try:
            item = json.loads(found.metadata[ITEM])
            modified = datetime.fromisoformat(item["at"])
            return cls(copy_attrs(item["attrs"]), item.get("etag") or found.etag, modified, item["id"])
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
            return cls(dict(found.metadata), found.etag, found.modified, "")

    def metadata(self, key: str) -> dict[str, str]:
        """What to give S3 with the bytes. Raises: TooLarge, since S3 takes 2 KB and no more."""
        item: dict[str, Any] = {"at": self.modified.isoformat(), "id": self.put_id, "attrs": self.attrs}
        if self.etag is not None:
            item["etag"] = self.etag
        text = _to_json(item)
        for raw, escaped in _ESCAPES:
            text = text.replace(raw, escaped)
        size, limit = len(text), METADATA_MAX_BYTES - len(ITEM)
        if size > limit:
            raise TooLarge(f"attributes of {key}", size, limit, "")
        return {ITEM: text}

    def stat(self, key: str, size: int, etag: str = "") -> Stat:
        """What to tell of the key; ``etag`` is that of S3."""
        return Stat(key, size, self.modified, self.etag or etag, copy_attrs(self.attrs))


# --- Found: what S3 tells of an object, in the answers of either client; and how each is asked for a range.


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
    metadata = {name.lower(): value for name, value in answer["Metadata"].items()}  # headers have any case
    return Found(answer["ContentLength"], answer["LastModified"], etag, metadata)


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
