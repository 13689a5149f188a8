"""What runs inside an executor: one task body, timed, its result packed where it was made."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from valuestore.errors import MisplacedCall, NotHashableError, StoreError
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.code.function import Dependency
from valuestore.values.code.members import Body, Version
from valuestore.values.code.members import inside_body as inside_body
from valuestore.values.code.reads import Read
from valuestore.values.code.trace import nobodys
from valuestore.values.entry import opened_in
from valuestore.values.files.capture import captured
from valuestore.values.files.external import External
from valuestore.values.handles.journal import handles_taken_as_valid
from valuestore.values.identity.inside import calls_refused
from valuestore.values.registry import TypeRegistry


class Outcome(NamedTuple):
    """What a body gave. ``ref`` is None when the result cannot be stored, and ``refused`` says why.

    ``error`` is what the body raised; then ``refused`` says why nobody knows what it saw. Times are
    microseconds since 1970-01-01 UTC. ``reached`` and ``reads`` are what ``Body.seen`` says.
    """

    value: Any
    ref: ValueRef | None
    refused: str
    started: int
    ended: int
    reached: tuple[Dependency, ...] = ()
    reads: tuple[Read, ...] = ()
    error: Exception | None = None


def run_body(
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    archive: Archive,
    watched: Sequence[Any] = (),
    eval_hash: str = "",
    capture: bool = False,
    version: Version = Version(),  # noqa: B008  # nothing changes it
) -> Outcome:
    """Call ``func``, of that ``version``, and pack its result. Raises: MisplacedCall.

    ``watched`` are the arguments that stand for outside state: if one is not what was hashed, or was true
    and changes meanwhile, nobody knows what the body saw, and the result is not kept. A missing file is
    one to be written.
    ``capture`` keeps the content of Files in the result as well.
    """
    registry = archive.registry
    with nobodys():
        found = opened_in(archive, registry.iter_values(watched)) if watched else []
        externals = [one for one in found if isinstance(one, External)]
        other = next((external for external in externals if not external.is_as_recorded()), None)
        watched = [value for value in watched if _are_valid([value], registry)]
        started = time.time_ns() // 1000
        with Body(func, version, registry) as body:
            value, error = call_body(func, args, kwargs)
        if error is None:
            value = registry.postprocess(value, eval_hash=eval_hash)
        ended = time.time_ns() // 1000
        reached, reads = body.seen((args, kwargs))
        ref, refused = None, ""
        try:
            if other is None and _are_valid(watched, registry):
                with calls_refused(step=value):
                    ref, refused = archive.try_pack(value) if error is None else (None, "")
                ref = captured(ref, value, archive) if capture and ref else ref
            else:
                when = "before it ran" if other else "while it ran"
                other = other or next((one for one in externals if not one.is_as_recorded()), None)
                refused = (
                    f"{other.changed_place() if other else 'something'} among its arguments changed {when}"
                )
                registry.check_no_calls(value)
        except MisplacedCall:
            raise
        except (NotHashableError, StoreError) as problem:
            ref, refused = None, str(problem)
    return Outcome(value, ref, refused, started, ended, reached, reads, error)


def call_body(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Any, Exception | None]:
    """What it returns, or what it raises."""
    try:
        return func(*args, **kwargs), None
    except Exception as error:  # noqa: BLE001  # it is the caller's to record
        return None, error


def _are_valid(watched: Sequence[Any], registry: TypeRegistry) -> bool:
    """Whether they are still true of the outside; of handles the journal says it."""
    if not watched:
        return True
    with handles_taken_as_valid():
        return registry.is_valid(watched)
