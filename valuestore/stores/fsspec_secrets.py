"""What of an fsspec URL and its options may be shown and pickled. Called by FsspecStore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_SECRET = re.compile("key|secret|token|passw|credential|conn|sas|auth|user|cert|cookie|header", re.I)


def without_password(url: str) -> str:
    """The URL with the user, who may be a container of Azure, but without the password."""
    scheme, _, rest = url.partition("://")
    netloc, slash, path = rest.partition("/")
    user, at, host = netloc.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}{at}{host}{slash}{path}"


def without_secrets(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options but for those whose names look like credentials, and for objects, which may hold some."""
    return {
        name: without_secrets(value) if isinstance(value, Mapping) else value
        for name, value in options.items()
        if not _SECRET.search(name) and (value is None or isinstance(value, str | int | float | Mapping))
    }
