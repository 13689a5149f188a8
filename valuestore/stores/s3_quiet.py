"""quiet: a block whose requests botocore does not log; at DEBUG its logs hold session tokens and bodies."""

from __future__ import annotations

import logging
import threading

_LOGGERS = ("botocore.auth", "botocore.endpoint", "botocore.parsers", "botocore.httpsession")

_here = threading.local()


class quiet:  # noqa: N801 - used as a statement; a class costs a third of a generator
    """Within it, this thread logs nothing of requests. What other users of botocore log is left alone."""

    def __enter__(self) -> None:
        _here.depth = getattr(_here, "depth", 0) + 1

    def __exit__(self, *_: object) -> None:
        _here.depth -= 1


def _is_loud(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the signature of a filter
    return not getattr(_here, "depth", 0)


for _name in _LOGGERS:
    logging.getLogger(_name).addFilter(_is_loud)
