"""Failures as text: what is recorded of an exception that a task raised."""

from __future__ import annotations

import traceback

from valuestore.db.jobs import clean_text
from valuestore.executors.worker import run_body
from valuestore.redaction import redact

_BODY = run_body.__code__


def describe_error(error: BaseException) -> tuple[str, str]:
    """Type and message, and the traceback from the first frame of the task's own on."""
    kind = type(error)
    try:
        text = f"{kind.__module__}.{kind.__qualname__}: {error}".removeprefix("builtins.")
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code is not _BODY:
            trace = trace.tb_next
        if trace is not None and trace.tb_frame.f_code is _BODY and trace.tb_next is not None:
            trace = trace.tb_next
        described = redact("".join(traceback.format_exception(kind, error, trace)))
        return clean_text(redact(text)), clean_text(described, 60_000)
    except Exception as problem:  # noqa: BLE001  # an exception's own __str__ may raise
        return f"{kind.__qualname__} (its text cannot be shown: {type(problem).__name__})", ""
