"""Output: where what bodies print and a line for each job go while ``valuestore run`` runs."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from valuestore.cli.failure import leave, say

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _Pipe(io.FileIO):
    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            leave(self)
            return memoryview(data).nbytes


@contextmanager
def output_for_readers_that_leave() -> Iterator[None]:
    """Have bodies print into nothing when whoever read it is gone (``| head``): else each of them failed."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_lasting(stream) for stream in before)
    try:
        yield
    finally:
        lasting = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for stream in lasting:
            stream.flush()


def _lasting(stream: TextIO) -> TextIO:
    if type(stream) is not io.TextIOWrapper or stream.isatty():
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


@contextmanager
def line_for_each_job() -> Iterator[None]:
    """Have each job and execution say how it ended, on stderr."""
    import logging  # late: few runs are asked to

    logger, handler = logging.getLogger("valuestore.jobs"), logging.Handler()
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]  # all it is to do
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
