"""Failure: what went wrong, as one line on stderr and an exit code (the table is in ``valuestore.cli``)."""

from __future__ import annotations

import io
import os
import sys
import traceback
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import typer

from valuestore.cli.terminal import shown
from valuestore.config import environment
from valuestore.errors import (
    BadKey,
    CollectionRefused,
    ConfigError,
    DatabaseError,
    NotFound,
    PayloadError,
    QueryError,
    RecordNotFound,
    StoreError,
    TagError,
    TaskError,
    ValuestoreError,
    ValuestoreWarning,
)

PIPELINE, USAGE, REPOSITORY, INTERRUPTED, CLOSED_PIPE = 1, 2, 3, 130, 141
NOT_FOUND = PIPELINE
"""No record of that name: the answer to a question, as with grep."""

_UNUSABLE = StoreError | DatabaseError | PayloadError | CollectionRefused
COMMAND_LINE_ERROR: type[Exception] = typer.BadParameter.__mro__[1]
"""What typer raises for a command line that it cannot parse: click's UsageError, vendored or not."""

_PACKAGE = str(Path(__file__).resolve().parents[1])
_FUTURES = str(Path(traceback.__file__).parent / "concurrent")


class Usage(ValuestoreError):
    """The command line asks for what cannot be. Facts: the sentence, lines that belong below it."""

    def __init__(self, problem: str, details: tuple[str, ...] = ()) -> None:
        super().__init__(problem, details)

    def __str__(self) -> str:
        return str(self.args[0])


def report(error: Exception, *, debug: bool = False) -> int:
    """Say it on stderr and return the exit code. What is no error of ours is a defect, and raised again."""
    if isinstance(error, COMMAND_LINE_ERROR):
        command = getattr(getattr(error, "ctx", None), "command_path", "valuestore")
        say(f"{error.format_message()} (`{command} --help` has more)")  # type: ignore[attr-defined]  # click's
        return USAGE
    if not isinstance(error, ValuestoreError):
        raise error
    if debug or environment("debug") not in (None, "", "0"):
        _write(shown("".join(traceback.format_exception(error)), lines=True))
    say("; ".join((str(error), *getattr(error, "__notes__", ()))))
    if isinstance(error, Usage):
        for line in error.args[1]:
            _write(f"  {shown(line)}\n")
    return exit_code(error)


def exit_code(error: ValuestoreError) -> int:
    """The exit code of an error that is not the pipeline's own."""
    if isinstance(error, RecordNotFound | NotFound):
        return NOT_FOUND
    if isinstance(error, Usage | BadKey | ConfigError | TaskError | QueryError | TagError):
        return USAGE
    return REPOSITORY if isinstance(error, _UNUSABLE) else PIPELINE


def say(sentence: str) -> None:
    """One line on stderr."""
    _write(f"valuestore: {shown(sentence)}\n")


def _write(text: str) -> None:
    try:
        sys.stderr.write(text)
    except OSError:  # nobody can be told, then the exit code has to do
        leave(sys.stderr)


def leave(stream: TextIO | io.FileIO) -> None:
    """Have what a stream still holds go nowhere: at its end, Python would try to write it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def show_warning(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
    """What ``warnings.showwarning`` is for: ours are one line, without the place in our code."""
    if issubclass(category, ValuestoreWarning):
        say(str(message))
    else:
        _show_other_warning(message, category, *where, **more)


_show_other_warning = warnings.showwarning


def report_pipeline(error: BaseException, *, debug: bool = False) -> None:
    """The traceback of the pipeline's own code, without the frames that led to it."""
    trace = error.__traceback__ if debug else _own_frames(error.__traceback__)
    if trace is None and isinstance(error, ValuestoreError):
        say(str(error))
        notes = getattr(error, "__notes__", ())
        text = "".join(f"{note}\n" for note in notes)
    else:
        text = "".join(traceback.format_exception(type(error), error, trace))
    _write(shown(text, lines=True))


def _own_frames(trace: TracebackType | None) -> TracebackType | None:
    ours = _PACKAGE, _FUTURES, "<frozen importlib"
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(ours):
        trace = trace.tb_next
    return trace
