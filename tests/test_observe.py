"""Observers are told everything, and can break nothing; what each of the adapters makes of it."""

from __future__ import annotations

import io
import logging
import pickle
import subprocess
import sys

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress

from valuestore.errors import NotFound, StoreUnavailable
from valuestore.observe import (
    Event,
    LogObserver,
    ProgressObserver,
    PrometheusObserver,
    TraceObserver,
    Watch,
    notify,
    watch,
)


def _broken(event):
    raise RuntimeError("observer")


def _run(observer, operation="get", *, steps=(), total=None, error=None):
    watched = Watch([observer], operation, "a/k", "memory://x", total)
    for count in steps:
        watched.step(count)
    watched.end(error)


def test_an_operation_is_a_start_steps_and_an_end():
    events = []
    _run(events.append, "put", steps=[3, 0, 4], total=7)
    assert [(event.phase, event.bytes_done, event.bytes_total) for event in events] == [
        ("start", 0, 7),
        ("step", 3, 7),
        ("step", 3, 7),
        ("step", 7, 7),
        ("end", 7, 7),
    ]
    assert len({event.number for event in events}) == 1
    assert [event.seconds for event in events] == sorted(event.seconds for event in events)


def test_operations_have_numbers_of_their_own():
    events = []
    _run(events.append)
    _run(events.append)
    assert len({event.number for event in events}) == 2


def test_an_operation_ends_once():
    events = []
    watched = Watch([events.append], "get", "k", "")
    watched.end()
    watched.end(ValueError())
    assert [event.phase for event in events] == ["start", "end"]


def test_a_block_that_raises_ends_with_its_error():
    events, error = [], KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt), watch([events.append], "get", "k", ""):
        raise error
    assert events[-1].error is error


def test_a_broken_observer_breaks_nothing_and_the_next_one_is_told(caplog):
    events = []
    with watch([_broken, events.append, _broken], "get", "k", ""):
        pass
    assert [event.phase for event in events] == ["start", "end"]
    assert "observer" in caplog.text


def test_an_interrupt_is_no_mistake_of_an_observer():
    def interrupted(event):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        notify([interrupted], Event("get", "k", "start"))


def test_the_module_loads_no_library_of_its_adapters():
    libraries = {"rich", "prometheus_client", "opentelemetry"}
    code = f"import sys, valuestore.observe; print({libraries} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


# --- adapters ---------------------------------------------------------------------------------------


def test_the_log_has_a_line_for_each_operation_and_warns_of_failures(caplog):
    caplog.set_level(logging.DEBUG, "valuestore.stores")
    _run(LogObserver(), steps=[5])
    _run(LogObserver(), error=StoreUnavailable("memory://x", "gone"))
    _run(LogObserver(), "stat", error=NotFound("a/k"))
    assert [record.levelname for record in caplog.records] == ["DEBUG", "WARNING", "DEBUG"]
    assert "get a/k in memory://x: 5 bytes" in caplog.messages[0]
    assert "StoreUnavailable" in caplog.messages[1]


@pytest.fixture
def metrics():
    registry = CollectorRegistry()
    return PrometheusObserver(registry), lambda name, **labels: registry.get_sample_value(
        f"valuestore_{name}", labels
    )


def test_prometheus_counts_a_failure_by_its_type_and_times_what_succeeds(metrics):
    observer, value = metrics
    _run(observer, steps=[3, 4])
    _run(observer, error=StoreUnavailable("x", "y"))
    _run(observer, error=NotFound("k"))
    assert value("operations_total", operation="get") == 3
    assert value("failures_total", operation="get", failure_type="StoreUnavailable") == 1
    assert value("failures_total", operation="get", failure_type="NotFound") == 1
    assert value("bytes_total", operation="get") == 7
    assert value("operation_seconds_count", operation="get") == 1


def test_for_prometheus_absence_is_no_failure_of_stat(metrics):
    observer, value = metrics
    for operation in ("stat", "exists", "size"):
        _run(observer, operation, error=NotFound("k"))
        assert value("failures_total", operation=operation, failure_type="NotFound") is None
        assert value("operation_seconds_count", operation=operation) == 1


def test_two_observers_share_the_metrics_of_a_registry(metrics):
    registry = CollectorRegistry()
    for observer in (PrometheusObserver(registry), PrometheusObserver(registry)):
        _run(observer)
    assert registry.get_sample_value("valuestore_operations_total", {"operation": "get"}) == 2


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("test"), exporter.get_finished_spans


def test_an_operation_is_a_span_below_the_current_one(spans):
    tracer, finished = spans
    with tracer.start_as_current_span("outer") as outer:
        _run(TraceObserver(tracer), steps=[3])
    inner = finished()[0]
    assert inner.name == "valuestore.store.get"
    assert inner.parent.span_id == outer.get_span_context().span_id
    assert dict(inner.attributes) == {
        "valuestore.key": "a/k",
        "valuestore.place": "memory://x",
        "valuestore.bytes": 3,
    }


def test_the_span_of_a_failure_has_its_error(spans):
    tracer, finished = spans
    _run(TraceObserver(tracer), error=StoreUnavailable("x", "gone"))
    _run(TraceObserver(tracer), "stat", error=NotFound("k"))
    failed, absent = finished()
    assert failed.status.status_code is StatusCode.ERROR
    assert failed.events[0].attributes["exception.message"] == "x is unavailable: gone"
    assert absent.status.status_code is StatusCode.UNSET


@pytest.fixture
def bars():
    progress = Progress(console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False)
    return ProgressObserver(progress, min_bytes=100), progress


def test_a_long_transfer_has_a_bar_while_it_lasts(bars):
    observer, progress = bars
    watched = Watch([observer], "put", "a[b]", "", 1000)
    watched.step(10)
    (task,) = progress.tasks
    assert (task.completed, task.total) == (10, 1000)
    watched.step(20)
    assert task.completed == 30
    watched.end()
    assert not progress.tasks


def test_a_transfer_of_unknown_size_has_a_bar_once_it_is_long(bars):
    observer, progress = bars
    watched = Watch([observer], "open", "k", "")
    watched.step(99)
    assert not progress.tasks
    watched.step(1)
    assert progress.tasks[0].total is None
    watched.end(OSError())
    assert not progress.tasks


def test_without_a_progress_of_ones_own_it_comes_and_goes_with_the_bars(capsys):
    observer = ProgressObserver(min_bytes=1)
    _run(observer, steps=[1, 1])
    _run(observer, steps=[1])
    assert observer._progress is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("make", [LogObserver, ProgressObserver, PrometheusObserver, TraceObserver])
def test_adapters_go_to_workers_by_configuration(make):
    _run(pickle.loads(pickle.dumps(make())), steps=[1])
