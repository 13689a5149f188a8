"""Adapters: observers for logs, progress bars, Prometheus and OpenTelemetry.

Each loads its library when it is made. ``open_observers`` makes those that a configuration names.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from valuestore.errors import ConfigError
from valuestore.observe.events import Audience, Event, JobEvent, Observer, is_failure

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from rich.progress import Progress


class LogObserver:
    """One line per operation when it ends: failures as warnings, the others at ``level``.

    Jobs and executions go to the logger ``valuestore.jobs`` at INFO; jobs that were cached, at ``level``.
    """

    def __init__(self, name: str = "valuestore.stores", level: int = logging.DEBUG) -> None:
        self._name = name
        self._level = level

    def __call__(self, event: Event) -> None:
        if event.phase != "end":
            return
        if isinstance(event, JobEvent):
            self._tell(event)
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

    def _tell(self, event: JobEvent) -> None:
        levels = {"failed": logging.WARNING, "cached": self._level}
        logging.getLogger("valuestore.jobs").log(
            levels.get(event.outcome, logging.INFO),
            "%s %s %s: %.3f s, %s",
            event.operation,
            event.key,
            event.call or event.task,
            event.seconds,
            f"{event.outcome}: {event.message}" if event.message else event.outcome,
        )


def with_log(observers: tuple[Observer, ...]) -> tuple[Observer, ...]:
    """These, and one that logs each job at INFO, unless one of them logs."""
    told = [one for each in observers for one in (each._observers if isinstance(each, Audience) else (each,))]
    is_logged = any(isinstance(one, LogObserver) for one in told)
    return observers if is_logged else (*observers, LogObserver(level=logging.INFO))


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
    ``valuestore_bytes_total{operation}`` and, of what succeeded, ``valuestore_operation_seconds``. Of
    pipelines: ``valuestore_jobs_total{task,outcome}``, ``valuestore_executions_total{outcome}`` and, of those
    that were done, ``valuestore_job_seconds{task}`` and ``valuestore_execution_seconds``.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._given = registry
        metrics = _metrics(registry)
        self._operations, self._failures, self._bytes, self._seconds = metrics[:4]
        self._jobs, self._job_seconds, self._executions, self._execution_seconds = metrics[4:]

    def __call__(self, event: Event) -> None:
        if event.phase != "end":
            return
        if isinstance(event, JobEvent):
            self._count(event)
            return
        self._operations.labels(event.operation).inc()
        self._bytes.labels(event.operation).inc(event.bytes_done)
        if is_failure(event):
            self._failures.labels(event.operation, type(event.error).__name__).inc()
        else:
            self._seconds.labels(event.operation).observe(event.seconds)

    def _count(self, event: JobEvent) -> None:
        is_job = event.operation == "job"
        if is_job:
            self._jobs.labels(event.task, event.outcome).inc()
        else:
            self._executions.labels(event.outcome).inc()
        if event.outcome == "done":
            seconds = self._job_seconds.labels(event.task) if is_job else self._execution_seconds
            seconds.observe(event.seconds)

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
            kept: dict[str, Any] = {"namespace": "valuestore", "registry": chosen}
            of = ["operation"]
            _registered[chosen] = (
                Counter("operations_total", "Operations on stores that ended.", of, **kept),
                Counter("failures_total", "Operations on stores that failed.", [*of, "failure_type"], **kept),
                Counter("bytes_total", "Bytes moved to or from stores.", of, **kept),
                Histogram("operation_seconds", "Time of successful operations.", of, **kept),
                Counter("jobs_total", "Jobs that ended.", ["task", "outcome"], **kept),
                Histogram("job_seconds", "Time of jobs that were done.", ["task"], **kept),
                Counter("executions_total", "Executions that ended.", ["outcome"], **kept),
                Histogram("execution_seconds", "Time of executions that were done.", **kept),
            )
        return _registered[chosen]


class TraceObserver:
    """A span per operation, for OpenTelemetry; extra ``observe``. Its parent is whatever span is current.

    A job is a span in that of the job that called it, or of the execution.
    """

    def __init__(self, tracer: Any = None) -> None:
        from opentelemetry import trace

        self._given = tracer
        self._tracer = tracer or trace.get_tracer("valuestore")
        self._spans: dict[int, Any] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, JobEvent):
            self._tell(event)
        elif event.phase == "start":
            attributes = {"valuestore.key": event.key, "valuestore.place": event.place}
            span = self._tracer.start_span(f"valuestore.store.{event.operation}", attributes=attributes)
            self._spans[event.number] = span
        elif event.phase == "end" and (span := self._spans.pop(event.number, None)) is not None:
            span.set_attribute("valuestore.bytes", event.bytes_done)
            if event.error is not None and is_failure(event):
                span.record_exception(event.error)
                self._mark(span, str(event.error))
            span.end()

    def _tell(self, event: JobEvent) -> None:
        from opentelemetry import trace

        if event.phase == "start":
            above = self._spans.get(event.parent)
            context = None if above is None else trace.set_span_in_context(above)
            attributes = {f"valuestore.{event.operation}": event.key, "valuestore.place": event.place}
            if event.operation == "job":
                name = f"valuestore.job {event.task}"
                attributes["valuestore.task"] = event.task
            else:
                name = "valuestore.execution"
                attributes["valuestore.label"] = event.task
            self._spans[event.number] = self._tracer.start_span(name, context, attributes=attributes)
        elif (span := self._spans.pop(event.number, None)) is not None:
            span.set_attribute("valuestore.outcome", event.outcome)
            if event.outcome == "failed":
                self._mark(span, event.message)
            span.end()

    def _mark(self, span: Any, problem: str) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.set_status(Status(StatusCode.ERROR, problem))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._given,)


ADAPTERS: Mapping[str, Callable[[], Observer]] = {
    "log": LogObserver,
    "opentelemetry": TraceObserver,
    "progress": ProgressObserver,
    "prometheus": PrometheusObserver,
}
"""Those that a configuration can name, see ``config.OBSERVERS``."""


def open_observers(chosen: Mapping[str, bool]) -> list[Observer]:
    """Those that are true. Raises: ConfigError if one is not known, or lacks its library."""
    opened: list[Observer] = []
    for name in (name for name, is_on in chosen.items() if is_on):
        if name not in ADAPTERS:
            raise ConfigError(f"observe.{name}", f"no such observer; there are {', '.join(ADAPTERS)}")
        try:
            opened.append(ADAPTERS[name]())
        except ModuleNotFoundError as error:
            problem = f"needs the package {error.name!r}: install valuestore[observe]"
            raise ConfigError(f"observe.{name}", problem) from error
    return opened
