"""What goes wrong with workers: each a clear error, nothing recorded that is not so, siblings unharmed."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time

import pytest

from tests.executors import pipelines
from valuestore import Repository, Scheduler, task
from valuestore.errors import (
    ConfigError,
    NotFound,
    NotHashableError,
    NotSendable,
    ValuestoreWarning,
    WorkerLost,
    WorkerMismatch,
)
from valuestore.executors.dask import DaskExecutor, open_dask
from valuestore.executors.processes import Processes

thorough = pytest.mark.thorough


@pytest.fixture
def scheduler(tmp_path, processes):
    with Scheduler(tmp_path, executor=processes) as scheduler:
        yield scheduler


def fails_alone(scheduler, call, error, match):
    """It fails so, is recorded so, and what ran beside it is cached; every payload is whole."""
    siblings = [pipelines.slowly(n) for n in range(4)]
    with pytest.raises(error, match=match) as caught:
        scheduler.run([*siblings[:2], call, *siblings[2:]])
    assert scheduler.run(siblings) == [1, 2, 3, 4]
    assert scheduler.execution.counts.done == 0
    scheduler.repository.flush()
    history = scheduler.repository.history
    [[status]] = history.query("select status from job where error is not null").rows
    assert status == "failed"
    assert len(history.query("select eval_hash from evaluation").rows) == 4
    check_values(scheduler.repository)
    return caught.value


def check_values(repository):
    """Whatever is recorded can be read."""
    repository.flush()
    for (value_hash,) in repository.history.query("select value_hash from value").rows:
        repository.archive.read(repository.find_value(value_hash))


@pytest.mark.parametrize(
    ("how", "match"),
    [
        ("kill", "killed by SIGKILL, perhaps for want of memory"),
        pytest.param("exit", "ended with exit code 3", marks=thorough),
        ("fault", "killed by SIGSEGV"),
        pytest.param("terminate", "ended with exit code 143", marks=thorough),
    ],
)
def test_a_worker_that_ends_fails_its_body_alone(scheduler, how, match):
    fails_alone(scheduler, pipelines.end(how), WorkerLost, match)


def test_a_worker_that_ends_in_the_middle_of_a_payload_leaves_none(scheduler):
    fails_alone(scheduler, pipelines.end_in_payload(1), WorkerLost, "killed by SIGXFSZ")


def test_a_body_that_takes_all_memory_has_a_memory_error(scheduler):
    fails_alone(scheduler, pipelines.take_memory(1), MemoryError, "in task .*take_memory")


def test_a_body_that_lost_its_worker_is_run_again_if_it_may(tmp_path, scheduler):
    calls = [
        pipelines.end_once.options(retries=1, retry_wait_seconds=0.01)(str(tmp_path), n) for n in range(3)
    ]
    assert scheduler.run(calls) == [0, 1, 2]
    scheduler.repository.flush()
    rows = scheduler.repository.history.query("select value from tag where key = 'attempts'").rows
    assert [tuple(row) for row in rows] == [("2",)] * 3


def test_a_full_disk_keeps_nothing_and_the_result_is_there(tmp_path):
    with Processes(1) as executor, Scheduler(tmp_path, executor=executor) as scheduler:
        with pytest.warns(ValuestoreWarning, match=r"fill_disk is not cached: .*File too large"):
            assert len(scheduler.run(pipelines.fill_disk(1))) == 1 << 20
        check_values(scheduler.repository)
        scheduler.run(pipelines.make_room())
        assert len(scheduler.run(pipelines.give(1, 1))) == 1 << 20
        with pytest.warns(ValuestoreWarning, match="is not cached"):
            scheduler.run(pipelines.fill_disk(1))  # it was not kept


@pytest.mark.parametrize(
    ("how", "error", "match"),
    [
        ("two arguments", pipelines.TwoArguments, "^1 and 2"),
        ("stop", StopIteration, "3"),
        ("group", ExceptionGroup, "several"),
        ("caused", ValueError, "outer"),
    ],
)
def test_errors_of_all_kinds_come_home(scheduler, how, error, match):
    raised = fails_alone(scheduler, pipelines.fail(how), error, match)
    [[text]] = scheduler.repository.history.query("select traceback from job where error is not null").rows
    assert "in fail\n" in text
    if how == "caused":
        assert "direct cause" in text
        assert "ZeroDivisionError" in str(raised.__cause__)


def test_an_error_without_text_or_pickle_comes_home(scheduler):
    with pytest.raises(pipelines.Speechless):
        scheduler.run(pipelines.fail("speechless"))


@pytest.mark.parametrize("method", [None, pytest.param("spawn", marks=thorough)])
def test_a_body_may_use_multiprocessing(scheduler, method):
    assert scheduler.run(pipelines.pooled(method)) == [1, 2]


def test_a_child_that_a_body_forked_answers_nobody(scheduler):
    assert [scheduler.run(pipelines.fork(n)) for n in (0, 1)] == [0, 1]


@pytest.mark.parametrize("workers", [0, -1, "2", True, 1.5])
def test_workers_that_are_no_number_are_refused(tmp_path, workers):
    with (
        Scheduler(tmp_path, executor="processes", workers=workers) as scheduler,
        pytest.raises(ConfigError, match="'workers': .* is not a whole number above 0"),
    ):
        scheduler.run(pipelines.process(1))


def test_a_body_is_stopped_if_its_program_is_killed(tmp_path):
    program = PROGRAM.format(folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"runs\n"
        process.kill()
        assert process.stdout.read() == b"stopped\n"  # and the pipe is closed: nobody has it


PROGRAM = """
from time import sleep
from valuestore import Scheduler, task

@task
def wait():
    print("runs", flush=True)
    try:
        sleep(60)
    finally:
        print("stopped", flush=True)

Scheduler({folder!r}, executor="processes", workers=1).run(wait())
"""


def test_a_body_that_exits_stops_the_run_and_no_worker(scheduler):
    pids = set(scheduler.run([pipelines.process(n) for n in range(4)]))
    with pytest.raises(SystemExit, match="4"):
        scheduler.run(pipelines.fail("exit"))
    assert set(scheduler.run([pipelines.process(n) for n in range(4, 8)])) <= pids


@pytest.mark.parametrize("given", [threading.Lock(), pipelines.Locked(), lambda: 2])
def test_what_has_no_identity_is_refused_as_on_threads(scheduler, given):
    with pytest.raises(NotHashableError, match="given"):
        scheduler.run(pipelines.take(given))


def test_lambdas_and_local_functions_are_tasks_too(scheduler):
    factor = 3

    def local(n):
        return n * factor

    double = task(lambda n: n * 2, name="double", namespace="executors")
    assert scheduler.run([double(2), task(local, namespace="executors")(2)]) == [4, 6]


def test_a_local_function_that_holds_a_lock_says_so(scheduler):
    lock = threading.Lock()

    def local(n):
        with lock:
            return n

    with pytest.raises((NotSendable, NotHashableError), match="lock"):
        scheduler.run(task(local, namespace="executors")(2))


def test_payloads_that_workers_do_not_see_are_named(tmp_path, processes):
    with (
        Repository.open(tmp_path, payloads="memory://here") as repository,
        Scheduler(repository, executor=processes) as scheduler,
    ):
        with pytest.raises(WorkerMismatch, match="does not find the payloads at memory://here; keep them"):
            scheduler.run(pipelines.add(1))
        with Scheduler(repository) as threads:
            assert threads.run(pipelines.add(1)) == 2


EDITED = """
from valuestore import task

@task(namespace="edited")
def value(n):
    return [n, {}]
"""


def test_a_module_that_is_edited_is_run_as_it_is_now(tmp_path, monkeypatch):
    """By reload, as a notebook does; the processes that have the old code are replaced."""
    import importlib

    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "edited_module.py"
    file.write_text(EDITED.format("'old'"))
    import edited_module

    with Processes(1) as executor, Scheduler(tmp_path, executor=executor) as scheduler:
        assert scheduler.run(edited_module.value(1)) == [1, "old"]
        file.write_text(EDITED.format("'quite new'"))
        importlib.invalidate_caches()
        importlib.reload(edited_module)
        assert scheduler.run(edited_module.value(1)) == [1, "quite new"]
        assert scheduler.execution.counts.done == 1
    del sys.modules["edited_module"]


UNCLOSED = """
import sys
from tests.executors import pipelines
from valuestore import Scheduler

if __name__ == "__main__":
    scheduler = Scheduler(":memory:", executor=sys.argv[1], workers=1)
    print(scheduler.run(pipelines.process(1)), flush=True)
    if "busy" in sys.argv:
        import time
        from valuestore.executors.processes import Processes
        executor = Processes(1)
        print(executor.submit(pipelines.process.func, 2).result())
        executor.submit(time.sleep, 60)
    if "fails" in sys.argv:
        sys.exit("it failed")
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["processes"],
        ["processes", "busy"],
        pytest.param(["processes", "fails"], marks=thorough),
        pytest.param(["dask"], marks=thorough),
    ],
)
def test_a_program_that_closes_nothing_ends_with_its_workers(tmp_path, arguments):
    script = tmp_path / "unclosed.py"
    script.write_text(UNCLOSED)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, str(script), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == ((1, "it failed\n") if "fails" in arguments else (0, ""))
    until = time.monotonic() + 10
    while any(os.path.exists(f"/proc/{pid}") for pid in done.stdout.split()):
        assert time.monotonic() < until
        time.sleep(0.05)


# --- Dask ----------------------------------------------------------------------------------------


def test_a_dask_worker_that_is_killed_is_survived(tmp_path, dask):
    with Scheduler(tmp_path, executor=dask) as scheduler:
        calls = [pipelines.end_once(str(tmp_path), 0), *(pipelines.slowly(n) for n in range(4))]
        assert scheduler.run(calls) == [0, 1, 2, 3, 4]
        check_values(scheduler.repository)


@thorough
@pytest.mark.parametrize("how", ["kill", "exit", "fault"])
def test_a_body_that_ends_each_dask_worker_is_given_up(tmp_path, dask, how):
    """Dask may blame a sibling that waited on the same workers; a later run has it."""
    siblings = [pipelines.slowly(n) for n in range(4)]
    with Scheduler(tmp_path, executor=dask) as scheduler:
        with pytest.raises(WorkerLost, match="4 workers died of it"):
            scheduler.run([pipelines.end(how), *siblings])
        assert scheduler.run(siblings) == [1, 2, 3, 4]
        check_values(scheduler.repository)


def test_exceptions_are_what_they_are_where_dask_is_imported():
    program = "from valuestore import get_type_registry as g; print(g().hash(ZeroDivisionError('x', 7)))"
    prints = [
        subprocess.run([sys.executable, "-c", f"{first}{program}"], stdout=subprocess.PIPE, check=True).stdout
        for first in ("", "import distributed; ")
    ]
    assert prints[0] == prints[1]


def test_errors_of_two_builtins_are_pickled_where_dask_is_imported():
    assert pickle.loads(pickle.dumps(NotFound("here", "k"))).args == ("here", "k")


def test_bodies_that_exit_end_no_dask_worker(tmp_path, dask, capfd):
    with Scheduler(tmp_path, executor=dask) as scheduler:
        with pytest.raises(SystemExit, match="4"):
            scheduler.run(pipelines.fail("exit"))
        assert scheduler.run(pipelines.add(1)) == 2
    assert capfd.readouterr().err == ""


def test_what_is_submitted_when_it_is_shut_down_is_still_run(dask):
    with DaskExecutor(dask.client) as executor:
        future = executor.submit(sum, [1, 2])
    assert future.result(10) == 3


def test_what_runs_when_it_is_shut_down_at_once_is_lost(dask):
    executor = DaskExecutor(dask.client)
    future = executor.submit(time.sleep, 0.5)
    executor.shutdown(wait=False, cancel_futures=True)
    with pytest.raises(WorkerLost, match="shut down"):
        future.result(10)


@pytest.fixture
def worker_of(tmp_path):
    """A cluster whose one worker is this program, started with other things in its environment."""
    import distributed

    with distributed.LocalCluster(n_workers=0, dashboard_address="127.0.0.1:0") as cluster:
        started = []

        def start(python=sys.executable, path=""):
            command = [python, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
            options = ["--nthreads", "1", "--no-nanny", "--no-dashboard"]
            environment = {"PYTHONPATH": path, "PATH": ""}
            process = subprocess.Popen(
                [*command, *options], cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL
            )
            started.append(process)
            executor = open_dask(address=cluster.scheduler_address)
            executor.client.wait_for_workers(1, timeout=30)
            started.append(executor)
            return executor

        yield start
        process, executor = started
        executor.shutdown()
        executor.client.close()
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("init", "match"),
    [
        (
            "raise ImportError('nothing here')",
            r"another valuestore, or none \(nothing here\); install the same",
        ),
        (
            "__path__ = {path!r}\nimport valuestore.version\nvaluestore.version.__version__ = '9.9'",
            "has valuestore 9.9, and the pipeline valuestore 0.1",
        ),
    ],
)
def test_a_dask_worker_with_another_version_says_so(tmp_path, worker_of, init, match):
    import valuestore

    (tmp_path / "valuestore").mkdir()
    (tmp_path / "valuestore" / "__init__.py").write_text(init.format(path=list(valuestore.__path__)))
    executor = worker_of(path=str(tmp_path))
    with Scheduler(tmp_path, executor=executor) as scheduler, pytest.raises(WorkerMismatch, match=match):
        scheduler.run(pipelines.add(1))
