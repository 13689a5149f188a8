"""quiet: a block whose requests botocore does not log; at DEBUG its logs hold session tokens and bodies."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("botocore.auth", "botocore.endpoint", "botocore.parsers", "botocore.httpsession")

_here = threading.local()


@contextmanager
def quiet() -> Iterator[None]:
    """Within it, this thread logs nothing of requests. What other users of botocore log is left alone."""
    before = getattr(_here, "quiet", False)
    _here.quiet = True
    try:
        yield
    finally:
        _here.quiet = before


def _is_loud(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the signature of a filter
    return not getattr(_here, "quiet", False)


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_loud)
