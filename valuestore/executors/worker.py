"""What runs inside an executor: one task body, timed, its result packed where it was made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from valuestore.errors import NotHashableError, StoreError
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.code.function import Dependency
from valuestore.values.code.members import trace_of
from valuestore.values.code.reads import Read, Reads, warn_of
from valuestore.values.code.trace import nobodys
from valuestore.values.files.capture import captured
from valuestore.values.files.external import External
from valuestore.values.handles.journal import handles_taken_as_valid

inside_body: ContextVar[bool] = ContextVar("inside_body", default=False)
"""Whether this code is called by a task's body."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a body gave. ``ref`` is None when the result cannot be stored, and ``refused`` says why.

    ``reached`` is the code that bodies of its task version reached in this process and that its identity
    does not have; ``reads`` what it used undeclared, by kind and name. Times are microseconds since
    1970-01-01 UTC.
    """

    value: Any
    ref: ValueRef | None
    refused: str
    started: int
    ended: int
    reached: tuple[Dependency, ...] = ()
    reads: tuple[Read, ...] = ()


def run_body(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    archive: Archive,
    watched: Sequence[Any] = (),
    eval_hash: str = "",
    capture: bool = False,
    task: str = "",
    code: str = "",
    run: str = "",
) -> Outcome:
    """Call ``func`` and pack its result. Raises: whatever ``func`` raises, untouched.

    ``watched`` are the arguments that stand for outside state: if one is not what was hashed, or was true
    and changes meanwhile, nobody knows what the body saw, and the result is not kept. A missing file is
    one to be written.
    ``capture`` keeps the content of Files in the result as well.
    ``task`` is the name that warnings use, ``code`` the task's hash; without it nothing is traced. Warnings
    are given, and digests of code are taken, once in a ``run``.
    """
    with nobodys():
        registry = archive.registry
        as_hashed = all(
            found.is_as_recorded() for found in registry.iter_values(watched) if isinstance(found, External)
        )
        with handles_taken_as_valid():
            watched = [value for value in watched if registry.is_valid(value)]
        trace = trace_of(code, func, registry)
        started = time.time_ns() // 1000
        token = inside_body.set(True)
        try:
            with Reads() as reads, trace.body():
                value = func(*args, **kwargs)
        finally:
            inside_body.reset(token)
        value = registry.postprocess(value, eval_hash=eval_hash)
        ended = time.time_ns() // 1000
        reached = trace.members(registry, run)
        found = (*reads.undeclared((args, kwargs)), *trace.surroundings())
        warn_of(task or func.__qualname__, trace.unsaid(found))
        try:
            with handles_taken_as_valid():
                still_valid = registry.is_valid(watched)
            if as_hashed and still_valid:
                ref, refused = archive.pack(value), ""
                if capture:
                    ref = captured(ref, value, archive)
            else:
                when = "while it ran" if as_hashed else "before it ran"
                ref, refused = None, f"a file among its arguments changed {when}"
        except (NotHashableError, StoreError) as error:
            ref, refused = None, str(error)
        return Outcome(value, ref, refused, started, ended, reached, found)
