"""Observers are told everything, and can break nothing; what each of the adapters makes of it."""

from __future__ import annotations

import io
import logging
import pickle
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.progress import Progress

from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler
from valuestore.errors import ConfigError, NotFound, StoreUnavailable
from valuestore.observe import (
    Audience,
    Event,
    JobEvent,
    LogObserver,
    ProgressObserver,
    PrometheusObserver,
    TraceObserver,
    Watch,
    notify,
    open_observers,
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


# --- pipelines


def run(folder, call, *observers, fails=None):
    """The value of the call, or None if it raises what it is to raise."""
    with Repository.open(folder, observers=observers) as repository, Scheduler(repository) as scheduler:
        if fails is None:
            return scheduler.run(call)
        with pytest.raises(fails):
            scheduler.run(call)
        return None


def of_jobs(events):
    return [event for event in events if isinstance(event, JobEvent)]


def ends(events):
    return [(each.operation, each.task, each.outcome) for each in of_jobs(events) if each.phase == "end"]


def test_a_run_is_an_execution_with_its_jobs(tmp_path):
    events = []
    assert run(tmp_path, p.add(p.double(1), y=3), events.append) == 5
    told = [(each.operation, each.task, each.phase, each.outcome) for each in of_jobs(events)]
    label = told[0][1]
    double, add = f"{p.double.name}", f"{p.add.name}"
    assert told == [
        ("execution", label, "start", ""),
        ("job", double, "start", ""),
        ("job", double, "end", "done"),
        ("job", add, "start", ""),
        ("job", add, "end", "done"),
        ("execution", label, "end", "done"),
    ]
    assert "add(" in label
    assert all(each.seconds > 0 for each in of_jobs(events) if each.phase == "end")
    assert {each.place for each in of_jobs(events)} == {str(tmp_path / ".valuestore")}


def test_jobs_and_executions_are_told_by_the_ids_of_their_rows(tmp_path):
    events = []
    run(tmp_path, p.double(1), events.append)
    with Repository.open(tmp_path) as repository:
        [row] = repository.history.query("select job_id, execution_id from jobs").rows
    assert {(each.operation, each.key) for each in of_jobs(events)} == {
        ("job", row[0]),
        ("execution", row[1]),
    }


def test_what_was_cached_says_so(tmp_path):
    run(tmp_path, p.fan(2))
    events = []
    run(tmp_path, [p.fan(2), p.fan(2)], events.append)
    assert {outcome for operation, _, outcome in ends(events) if operation == "job"} == {"cached"}
    assert ends(events)[-1][2] == "done"


def test_a_job_is_part_of_the_one_that_called_it(tmp_path):
    events = []
    run(tmp_path, p.fan(2), events.append)
    number = {each.task: each.number for each in of_jobs(events)}
    parents = {each.task: each.parent for each in of_jobs(events)}
    execution = next(each.number for each in events if each.operation == "execution")
    assert parents[p.fan.name] == execution
    assert parents[p.double.name] == parents[p.total.name] == number[p.fan.name]


def test_every_start_has_its_end(tmp_path):
    events = []
    run(tmp_path, p.calls_failing(), events.append, fails=KeyError)
    run(tmp_path, p.fails_rudely(), events.append, fails=p.Rude)
    run(tmp_path, p.nested(2), events.append)
    numbers = {
        phase: sorted(each.number for each in of_jobs(events) if each.phase == phase)
        for phase in ("start", "end")
    }
    assert numbers["start"] == numbers["end"]
    assert len(set(numbers["start"])) == len(numbers["start"])


def test_a_failure_has_its_error_and_fails_what_called_it(tmp_path):
    events = []
    run(tmp_path, p.calls_failing(), events.append, fails=KeyError)
    failed = [each for each in of_jobs(events) if each.outcome == "failed"]
    assert [each.task for each in failed[:-1]] == [p.fails.name, p.calls_failing.name]
    assert failed[-1].operation == "execution"
    assert isinstance(failed[0].error, KeyError)
    assert failed[0].message == "KeyError: 'no 1'"


class Interrupted(ThreadPoolExecutor):
    def submit(self, *args, **kwargs):
        raise KeyboardInterrupt


def test_an_interrupted_run_ends_all_that_it_began(tmp_path):
    events = []
    with (
        Repository.open(tmp_path, observers=[events.append]) as repository,
        Interrupted() as executor,
        Scheduler(repository, executor=executor) as scheduler,
        pytest.raises(KeyboardInterrupt),
    ):
        scheduler.run(p.add(1))
    assert [(operation, outcome) for operation, _, outcome in ends(events)] == [
        ("job", "interrupted"),
        ("execution", "interrupted"),
    ]


def test_what_observers_raise_breaks_no_run(tmp_path, caplog):
    assert run(tmp_path, p.add(1), _broken) == 11
    assert "observer" in caplog.text


def test_observers_of_the_file_hear_a_run(tmp_path, caplog):
    (tmp_path / ".valuestore").mkdir()
    (tmp_path / ".valuestore" / "valuestore.toml").write_text("[observe]\nlog = true\nprometheus = false\n")
    caplog.set_level(logging.INFO, "valuestore.jobs")
    with Scheduler(tmp_path) as scheduler:
        scheduler.run(p.add(1))
    assert any(f"{p.add.name}(" in message and message.endswith("done") for message in caplog.messages)


def test_an_observer_that_nobody_has_is_refused():
    with pytest.raises(ConfigError, match="there are log, opentelemetry, progress, prometheus"):
        open_observers({"graphite": True})
    assert open_observers({"graphite": False}) == []


def test_of_several_observers_those_go_to_workers_that_can():
    whole = pickle.loads(pickle.dumps(Audience(lambda event: None, LogObserver())))
    assert [type(observer) for observer in whole._observers] == [LogObserver]


def test_the_log_warns_of_jobs_that_fail_and_is_quiet_about_cached_ones(tmp_path, caplog):
    run(tmp_path, p.double(1))
    caplog.set_level(logging.DEBUG, "valuestore.jobs")
    run(tmp_path, p.fails(1), LogObserver(), fails=KeyError)
    run(tmp_path, p.double(1), LogObserver())
    levels = [(record.levelname, record.getMessage().split()[0]) for record in caplog.records]
    assert levels == [("WARNING", "job"), ("WARNING", "execution"), ("DEBUG", "job"), ("INFO", "execution")]
    assert "KeyError: 'no 1'" in caplog.messages[0]


def test_a_program_that_listens_hears_each_job_once_with_its_call(tmp_path, caplog):
    run(tmp_path, p.double(1))
    assert not caplog.messages
    caplog.set_level(logging.INFO, "valuestore")
    run(tmp_path, p.double(1))
    run(tmp_path, p.double(2), LogObserver())
    told = [record.getMessage().split(" ", 2)[2] for record in caplog.records]
    assert [re.sub(r"\d+\.\d+ s", "N s", each) for each in told] == [
        f"{p.double.name}(x=1): N s, cached",
        f"{p.double.name}(x=1): N s, done",
        f"{p.double.name}(x=2): N s, done",
        f"{p.double.name}(x=2): N s, done",
    ]
    assert all(record.name == "valuestore.jobs" for record in caplog.records)


def test_an_event_of_a_job_has_its_call_without_secrets_and_can_be_pickled(tmp_path):
    events = []
    run(tmp_path, p.double(x=7), events.append)
    job = next(event for event in events if event.operation == "job" and event.phase == "end")
    assert str(job.call) == pickle.loads(pickle.dumps(job)).call == f"{p.double.name}(x=7)"


def test_prometheus_counts_jobs_by_task_and_outcome(tmp_path, metrics):
    observer, value = metrics
    run(tmp_path, p.fan(3), observer)
    run(tmp_path, p.fan(3), observer)
    run(tmp_path, p.fails(1), observer, fails=KeyError)
    assert value("jobs_total", task=p.double.name, outcome="done") == 3
    assert value("jobs_total", task=p.fan.name, outcome="cached") == 1
    assert value("jobs_total", task=p.fails.name, outcome="failed") == 1
    assert value("job_seconds_count", task=p.double.name) == 3
    assert value("executions_total", outcome="done") == 2
    assert value("executions_total", outcome="failed") == 1
    assert value("execution_seconds_count") == 2
    assert value("operations_total", operation="job") is None


def test_a_job_is_a_span_in_that_of_its_execution_and_of_the_job_that_called_it(tmp_path, spans):
    tracer, finished = spans
    with tracer.start_as_current_span("outer") as outer:
        run(tmp_path, p.fan(1), TraceObserver(tracer))
    by_name = {span.name: span for span in finished()}
    execution, fan = by_name["valuestore.execution"], by_name[f"valuestore.job {p.fan.name}"]
    double = by_name[f"valuestore.job {p.double.name}"]
    assert execution.parent.span_id == outer.get_span_context().span_id
    assert fan.parent.span_id == execution.context.span_id
    assert double.parent.span_id == fan.context.span_id
    assert double.attributes["valuestore.outcome"] == "done"


def test_the_span_of_a_job_that_failed_says_why(tmp_path, spans):
    tracer, finished = spans
    run(tmp_path, p.fails(1), TraceObserver(tracer), fails=KeyError)
    failed = next(span for span in finished() if "job" in span.name)
    assert (failed.status.status_code, failed.status.description) == (StatusCode.ERROR, "KeyError: 'no 1'")


def test_a_secret_in_an_error_reaches_no_log_and_no_span(tmp_path, spans, caplog):
    tracer, finished = spans
    run(tmp_path, leaks(), TraceObserver(tracer), LogObserver(), fails=ValueError)
    told = caplog.text + str([span.to_json() for span in finished()])
    assert "ValueError" in told
    assert "canary" not in told


@p.task
def leaks() -> int:
    raise ValueError("cannot open postgresql://me:canary@host/db")
