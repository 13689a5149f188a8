"""Events: what happens to stored bytes, as it happens, for those who want to know.

Whoever does the work tells ``notify``; an observer is any callable that takes an ``Event``, and it can
never break the work. ``stores.wrappers.Observed`` tells of any store, ``Tiered`` of its hits and misses.
Here are the observers for logs, progress bars, Prometheus and OpenTelemetry; each loads its library when
it is made. A ``Change`` is what became visible, told after the fact, once, in order.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar
from weakref import WeakKeyDictionary

from valuestore.errors import NotFound

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from rich.progress import Progress

_log = logging.getLogger(__name__)
_numbers = itertools.count(1)

Phase = Literal["start", "step", "end"]


@dataclass(frozen=True, slots=True)
class Event:
    """A moment of one operation: a start, any number of steps, an end. ``number`` is the same in all.

    ``bytes_done`` never shrinks and ends at what was moved; ``bytes_total`` is None while unknown.
    """

    operation: str
    """``get put stat delete list open copy move``, ``*_many``, ``cache_hit cache_miss cache_error`` ..."""
    key: str
    phase: Phase
    bytes_done: int = 0
    bytes_total: int | None = None
    seconds: float = 0.0
    """Since the start."""
    error: BaseException | None = None
    """Why it ended, if it failed."""
    place: str = ""
    """The store's URL, without credentials."""
    number: int = field(default_factory=lambda: next(_numbers))


@dataclass(frozen=True, slots=True)
class Change:
    """A key that was ``set`` (it is new), got an ``update``, or fell to a ``delete``.

    ``attrs`` are those it has now, or for a delete those it had last.
    """

    kind: Literal["set", "update", "delete"]
    key: str
    attrs: Mapping[str, Any]
    place: str = ""


class Observer(Protocol):
    """Whatever takes events. It is called in the thread that does the work, so it is quick, or queues."""

    def __call__(self, event: Event, /) -> object: ...


_E = TypeVar("_E", Event, Change)


def notify(observers: Iterable[Callable[[_E], object]], event: _E) -> None:
    """Tell each of them, in order. What an observer raises is logged, and the next one is told."""
    for observer in observers:
        try:
            observer(event)
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the work goes on
            _log.warning("observer %r failed at %s of %r", observer, event, event.key, exc_info=True)


class Watch:
    """The events of one operation. ``step`` adds bytes; ``end`` counts once."""

    def __init__(
        self, observers: Iterable[Observer], operation: str, key: str, place: str, total: int | None = None
    ) -> None:
        self._observers = tuple(observers)
        self._began = time.perf_counter()
        self._event = Event(operation, key, "start", bytes_total=total, place=place)
        self._ended = False
        notify(self._observers, self._event)

    def step(self, count: int) -> None:
        """So many more bytes have moved."""
        self._tell(replace(self._event, phase="step", bytes_done=self._event.bytes_done + count))

    def end(self, error: BaseException | None = None) -> None:
        """It is done, or has failed."""
        if not self._ended:
            self._ended = True
            self._tell(replace(self._event, phase="end", error=error))

    def _tell(self, event: Event) -> None:
        self._event = replace(event, seconds=time.perf_counter() - self._began)
        notify(self._observers, self._event)


@contextmanager
def watch(
    observers: Iterable[Observer], operation: str, key: str, place: str, total: int | None = None
) -> Iterator[Watch]:
    """The block is the operation: it ends with the block, and fails with its error."""
    watched = Watch(observers, operation, key, place, total)
    try:
        yield watched
    except BaseException as error:
        watched.end(error)
        raise
    watched.end()


def is_failure(event: Event) -> bool:
    """Whether the operation failed. That a key asked for is not there is an answer, to ``stat`` and such."""
    absent = isinstance(event.error, NotFound) and event.operation in ("stat", "size", "exists")
    return event.error is not None and not absent


# --- adapters ---------------------------------------------------------------------------------------


class LogObserver:
    """One line per operation when it ends: failures as warnings, the others at ``level``."""

    def __init__(self, name: str = "valuestore.stores", level: int = logging.DEBUG) -> None:
        self._name = name
        self._level = level

    def __call__(self, event: Event) -> None:
        if event.phase != "end":
            return
        level = logging.WARNING if is_failure(event) else self._level
        outcome = "done" if event.error is None else f"{type(event.error).__name__}: {event.error}"
        logging.getLogger(self._name).log(
            level,
            "%s %s in %s: %d bytes, %.3f s, %s",
            event.operation,
            event.key,
            event.place,
            event.bytes_done,
            event.seconds,
            outcome,
        )


class ProgressObserver:
    """A rich progress bar for each transfer of at least ``min_bytes``, while it lasts; on stderr.

    Give it your own ``Progress`` to draw in; otherwise it keeps one, alive while there are bars.
    """

    def __init__(self, progress: Progress | None = None, min_bytes: int = 8 << 20) -> None:
        self._given = progress
        self._progress = progress
        self._min_bytes = min_bytes
        self._bars: dict[int, Any] = {}
        self._lock = threading.RLock()

    def __call__(self, event: Event) -> None:
        with self._lock:
            if event.phase == "end":
                self._remove(event)
            elif event.phase == "step":
                self._draw(event)

    def _draw(self, event: Event) -> None:
        bar = self._bars.get(event.number)
        if bar is None:
            if max(event.bytes_done, event.bytes_total or 0) < self._min_bytes:
                return
            name = f"{event.operation} {event.key}".translate({ord("["): "\\["})
            bar = self._bars[event.number] = self._open().add_task(name, total=event.bytes_total)
        self._open().update(bar, completed=event.bytes_done, total=event.bytes_total)

    def _remove(self, event: Event) -> None:
        bar = self._bars.pop(event.number, None)
        if bar is None:
            return
        self._open().remove_task(bar)
        if not self._bars and self._given is None:
            self._open().stop()
            self._progress = None

    def _open(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._progress.start()
        return self._progress

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None, self._min_bytes)


class PrometheusObserver:
    """Counts what ends, for Prometheus; extra ``observe``. Keys are no labels: there are too many.

    ``valuestore_operations_total{operation}``, ``valuestore_failures_total{operation,failure_type}``,
    ``valuestore_bytes_total{operation}`` and, of what succeeded, ``valuestore_operation_seconds``.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._given = registry
        self._operations, self._failures, self._bytes, self._seconds = _metrics(registry)

    def __call__(self, event: Event) -> None:
        if event.phase != "end":
            return
        self._operations.labels(event.operation).inc()
        self._bytes.labels(event.operation).inc(event.bytes_done)
        if is_failure(event):
            self._failures.labels(event.operation, type(event.error).__name__).inc()
        else:
            self._seconds.labels(event.operation).observe(event.seconds)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._given,)


_registered: WeakKeyDictionary[Any, tuple[Any, ...]] = WeakKeyDictionary()
_registering = threading.Lock()


def _metrics(registry: CollectorRegistry | None) -> tuple[Any, ...]:
    """The metrics of a registry, which takes each name once."""
    from prometheus_client import REGISTRY, Counter, Histogram

    chosen = REGISTRY if registry is None else registry
    with _registering:
        if chosen not in _registered:
            by_operation: dict[str, Any] = {
                "labelnames": ["operation"],
                "namespace": "valuestore",
                "registry": chosen,
            }
            by_failure = {**by_operation, "labelnames": ["operation", "failure_type"]}
            _registered[chosen] = (
                Counter("operations_total", "Operations on stores that ended.", **by_operation),
                Counter("failures_total", "Operations on stores that failed.", **by_failure),
                Counter("bytes_total", "Bytes moved to or from stores.", **by_operation),
                Histogram("operation_seconds", "Time of successful operations.", **by_operation),
            )
        return _registered[chosen]


class TraceObserver:
    """A span per operation, for OpenTelemetry; extra ``observe``. Its parent is whatever span is current."""

    def __init__(self, tracer: Any = None) -> None:
        from opentelemetry import trace

        self._given = tracer
        self._tracer = tracer or trace.get_tracer("valuestore")
        self._spans: dict[int, Any] = {}

    def __call__(self, event: Event) -> None:
        if event.phase == "start":
            attributes = {"valuestore.key": event.key, "valuestore.place": event.place}
            span = self._tracer.start_span(f"valuestore.store.{event.operation}", attributes=attributes)
            self._spans[event.number] = span
        elif event.phase == "end" and (span := self._spans.pop(event.number, None)) is not None:
            span.set_attribute("valuestore.bytes", event.bytes_done)
            if event.error is not None and is_failure(event):
                self._mark(span, event.error)
            span.end()

    def _mark(self, span: Any, error: BaseException) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, str(error)))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._given,)
