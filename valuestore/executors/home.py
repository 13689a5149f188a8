"""Home: what a body gave, packed where it ran, and taken in where the run is."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

from valuestore.errors import NotSendable
from valuestore.executors.worker import Outcome, call_body
from valuestore.values.archive import Archive
from valuestore.values.codecs.plain import MAY_GO_STALE, SIGNED, TAGGED
from valuestore.values.identity.inside import Lazy, find
from valuestore.values.trust.sending import dump_sent, load_sent


class Home(NamedTuple):
    """What came of it. ``value`` is there only where it is not stored; ``told`` is its error as text."""

    outcome: Outcome
    is_unloaded: bool
    told: str


def packed(outcome: Outcome) -> bytes:
    """For the way home. Raises: NotSendable."""
    ref, error, told = outcome.ref, outcome.error, ""
    is_unloaded = False
    if ref is not None:
        is_unloaded = ref.codec not in (TAGGED, SIGNED) or not find(outcome.value, Lazy).leaves
    if error is not None:
        told, error = traceback_of(error), _sendable(error)
    value = outcome.value if ref is None and error is None else None
    home = outcome._replace(value=value, error=error)
    try:
        return dump_sent(Home(home, is_unloaded, told))
    except NotSendable as problem:
        if ref is None:
            raise NotSendable(
                f"what the body gave is not kept ({outcome.refused}), and {problem.args[0]}"
            ) from None
        raise


def came_home(data: bytes, archive: Archive, unloaded: object, *, with_values: bool) -> Outcome:
    """What a worker packed. ``unloaded`` stands for a value that is stored and holds no calls.

    ``with_values``: values that may hold what is asked when it was made are loaded. Raises: PayloadError.
    """
    home: Home = load_sent(data)
    outcome, error = home.outcome, home.outcome.error
    if error is not None:
        error.__cause__ = RemoteTraceback(home.told)
    if outcome.ref is None:
        return outcome
    is_loaded = not home.is_unloaded or (with_values and outcome.ref.codec in MAY_GO_STALE)
    return outcome._replace(value=archive.unpack(outcome.ref) if is_loaded else unloaded)


class RemoteTraceback(Exception):
    """Stands in an error from a worker for the traceback that it had there."""

    def __str__(self) -> str:
        return f"in a worker:\n{self.args[0]}"


_BODY = call_body.__code__


def traceback_of(error: BaseException) -> str:
    """An error with its traceback from the first frame of the task's own on, wherever that ran."""
    from traceback import format_exception  # late: few bodies fail

    if isinstance(error.__cause__, RemoteTraceback):
        return str(error.__cause__.args[0])
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code is not _BODY:
        trace = trace.tb_next
    if trace is not None and trace.tb_frame.f_code is _BODY and trace.tb_next is not None:
        trace = trace.tb_next
    return "".join(format_exception(type(error), error, trace))


def _sendable(error: Exception) -> Exception:
    """What comes back as the error, or as one that tells of it."""
    reason = ""
    for sent in (error, cast(Exception, _Unmade(error))):
        try:
            if type(load_sent(dump_sent(sent))) is type(error):
                return sent
            problem = "it comes back as another"
        except Exception as failure:  # noqa: BLE001  # whatever a class does
            problem = str(failure)
        reason = reason or problem
    try:
        text = f"{type(error).__qualname__}: {error}"
    except Exception:  # noqa: BLE001
        text = type(error).__qualname__
    return NotSendable(f"{text} ({reason})")


class _Unmade(NamedTuple):
    """An error whose class takes other arguments than it hands on: it is made again without ``__init__``."""

    error: Exception

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self.error), self.error.args, vars(self.error))


def _made_again(kind: type[Exception], args: tuple[Any, ...], state: dict[str, Any]) -> Exception:
    error = kind.__new__(kind, *args)
    vars(error).update(state)
    return error
