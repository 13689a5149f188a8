"""What the tests put: keys, bytes and attributes that a store has to keep apart or to refuse, and sources
of data: in pieces, streams that can little, streams that fail.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, cast

import pytest

from valuestore.stores.base import Store

ALL_BYTES = bytes(range(256))
ATTRS: dict[str, Any] = {
    "str": "text ä\N{NO-BREAK SPACE}\n",
    "int": 2**70,
    "float": 0.1,
    "whole": 1.0,
    "true": True,
    "none": None,
    "list": [1, [2.5, "x"], {}],
    "dict": {"": {"nested": [False]}},
}
BAD_KEYS = [
    "",
    "/",
    "/a",
    "a/",
    "a//b",
    ".",
    "..",
    "../x",
    "a/../b",
    "a/./b",
    "a/..",
    "./a",
    "a\0b",
    "\0",
    "x" * 1025,
    "ä" * 513,
    "a/" * 512 + "b",
    "\ud800",
    "a/\udcff",
]
ODD_KEYS = [
    "plain",
    "two/levels",
    "deep/" * 100 + "end",
    "x" * 1024,
    "y" * 256 + "/" + "z" * 300,
    "ä" * 512,
    "a b",
    "tab\tnew\nline\rbell\a",
    "-rf",
    "~",
    "~root/x",
    "*?[x]",
    "a\\b",
    "C:\\x",
    "con",
    "nul.txt",
    "trailing.",
    "trailing ",
    " leading",
    ".hidden",
    "...",
    "..a",
    "a..",
    ".vs~",
    ".vs~/tmp/x",
    ".vs~/attrs/y",
    ".tmp",
    "x.tmp",
    "x.lock",
    "x.key",
    "%2e%2e/%2e%2e",
    "%00",
    "a%2Fb",
    "a?b=c#d",
    "http:/evil",
    "$(id)",
    "`id`",
    "{0}",
    "'; DROP TABLE x; --",
    "é",
    "e\N{COMBINING ACUTE ACCENT}",
    "\N{RIGHT-TO-LEFT OVERRIDE}x",
    "\N{ZERO WIDTH JOINER}",
    "\N{GRINNING FACE}",
    "\x7f",
    "\x01",
    "Case",
    "case",
    "CASE",
]
"""All of them keys, though they look like paths out, patterns, commands, reserved names or each other."""


class OpenedStore:
    """``make_store`` returns a callable that opens the one place of the test, again and again."""

    shared_between_processes = True
    """Whether a store opened in another process, from a pickle, sees the same keys."""

    @pytest.fixture
    def make_store(self, tmp_path: Any) -> Callable[[], Store]:
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Iterator[Store]:
        with make_store() as store:
            yield store

    def odd_keys(self) -> list[str]:
        """Keys that look like something else."""
        raise NotImplementedError


class _OnlyRead:
    """A stream that can read forward and nothing else, in short pieces; it tells if somebody closed it."""

    closed = False

    def __init__(self, data: bytes, most: int = 8000) -> None:
        self._stream = io.BytesIO(data)
        self._most = most

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(self._most if size < 0 else min(size, self._most))

    def close(self) -> None:
        self.closed = True


def forward_only(data: bytes) -> BinaryIO:
    return cast(BinaryIO, _OnlyRead(data))


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def failing(data: bytes, error: BaseException) -> Iterator[bytes]:
    yield data
    raise error


def refuses(error: type[Exception], *uses: Callable[[], object]) -> None:
    """Each of these raises that error."""
    for use in uses:
        with pytest.raises(error):
            use()


def list_pages(store: Store, prefix: str, limit: int) -> list[list[str]]:
    pages: list[list[str]] = []
    cursor: str | None = None
    while True:
        page = store.list(prefix, limit=limit, cursor=cursor)
        pages.append(page.keys)
        if (cursor := page.cursor) is None:
            return pages


def put_all(store: Store, keys: Iterable[str]) -> None:
    for key in keys:
        store.put(key, key.encode())
