"""Ctrl-C: what runs is let finish and kept, or stopped; nothing is lost, and nobody is locked out."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from valuestore import Repository

PIPELINE = """
import sys, time
from valuestore import File, Scheduler, script, task

def note(text):
    with open("ran", "a") as stream:
        stream.write(text + "\\n")

@task
def slow(n, seconds):
    note(f"begun {n}")
    time.sleep(seconds)
    note(f"done {n}")
    return n

@task(cache=False)
def uncached():
    return slow.func(10, 0.5)

@task
def wrong():
    slow.func(11, 0.5)
    raise ValueError("wrong")

@task
def quick(n):
    return n + 1

@task
def shell():
    return script("echo begun 0 >> ran; sleep 1000 & sleep 1000", tempdir=False)

if __name__ == "__main__":
    kind, executor = sys.argv[1:]
    with Scheduler("repository", executor=executor, workers=2) as scheduler:
        if kind == "slow":
            call = [slow(n, 0.5) for n in range(4)]
        elif kind == "others":
            call = [uncached(), wrong()]
        elif kind == "endless":
            call = [slow(n, 1000.0) for n in range(6)]
        elif kind == "script":
            call = [shell(), slow(9, 0.1)]
        else:
            call = [quick(n) for n in range(3000)]
        print(len(scheduler.run(call)))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    (tmp_path / "pipeline.py").write_text(PIPELINE)
    started = []

    def start(kind: str, executor: str) -> subprocess.Popen[str]:
        words = [sys.executable, "pipeline.py", kind, executor]
        environment = {**os.environ, "VALUESTORE_KEY_FILE": str(tmp_path / "key")}
        process = subprocess.Popen(
            words,
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=environment,
        )
        started.append(process)
        return process

    (tmp_path / "key").write_text("ab12cd34ef567890" * 4 + "\n")
    (tmp_path / "key").chmod(0o600)
    yield start
    for process in started:
        process.kill()
        process.wait()


def lines(folder: Path, wanted: str, number: int = 1) -> list[str]:
    """Those of what the bodies wrote that begin so, once there are as many."""
    end = time.monotonic() + 30
    while True:
        found = (folder / "ran").read_text().splitlines() if (folder / "ran").exists() else []
        found = [line for line in found if line.startswith(wanted)]
        if len(found) >= number:
            return found
        assert time.monotonic() < end, found
        time.sleep(0.02)


def interrupt(process: subprocess.Popen[str]) -> None:
    """As a terminal does: all of the group hear it."""
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_the_first_lets_what_runs_finish_and_keeps_it(start, tmp_path, executor):
    process = start("slow", executor)
    assert len(lines(tmp_path, "begun", 2)) == 2
    interrupt(process)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "KeyboardInterrupt" in stderr
    assert "Traceback" not in stderr.replace("Traceback", "", 1)
    kept = lines(tmp_path, "done")
    assert len(kept) == len(lines(tmp_path, "begun")) == 2
    with Repository.open(tmp_path / "repository") as repository:
        [run] = repository.history.executions()
        assert run.status == "interrupted"
    again = start("slow", executor)
    assert again.communicate(timeout=60)[0] == "4\n"
    assert len(lines(tmp_path, "begun")) == 4


def test_what_is_not_cached_or_fails_meanwhile_is_recorded_too(start, tmp_path):
    process = start("others", "threads")
    lines(tmp_path, "begun", 2)
    interrupt(process)
    process.communicate(timeout=30)
    with Repository.open(tmp_path / "repository") as repository:
        jobs = {(job.task, job.status) for job in repository.history.jobs()}
    assert jobs == {("pipeline.uncached", "done"), ("pipeline.wrong", "failed")}


def test_the_second_stops_processes(start, tmp_path):
    process = start("endless", "processes")
    lines(tmp_path, "begun", 2)
    interrupt(process)
    time.sleep(0.2)
    assert process.poll() is None
    interrupt(process)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert not lines(tmp_path, "done", 0)


@pytest.mark.parametrize("executor", ["processes", pytest.param("threads", marks=pytest.mark.thorough)])
def test_the_second_stops_scripts_and_what_they_have_started(start, tmp_path, executor):
    process = start("script", executor)
    lines(tmp_path, "begun 0")
    for _ in range(2):
        time.sleep(0.2)
        interrupt(process)
    process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert not programs_in(tmp_path)


def programs_in(folder: Path) -> list[str]:
    """Processes that run in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cwd").resolve() == folder.resolve():
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
    return found


def interrupted_at_random(start: Start, folder: Path, times: int) -> None:
    chance = random.Random(7)
    for _ in range(times):
        process = start("quick", "threads")
        time.sleep(0.35 + chance.random() * 0.8)
        interrupt(process)
        process.communicate(timeout=30)
        connection = sqlite3.connect(folder / "repository/.valuestore/valuestore.db", timeout=2)
        try:
            connection.execute("BEGIN IMMEDIATE")  # fails after two seconds
            connection.execute("ROLLBACK")
        finally:
            connection.close()
    assert start("quick", "threads").communicate(timeout=60)[0] == "3000\n"


@pytest.mark.thorough
@pytest.mark.timeout(900)
def test_nobody_is_locked_out(start, tmp_path):
    interrupted_at_random(start, tmp_path, 20)


def test_an_interrupt_of_one_process_locks_nothing_in_it(tmp_path):
    """Where a program goes on after a Ctrl-C, as a notebook does."""
    program = f"""
import os, random, signal, threading, time
from valuestore import Scheduler, task
@task(namespace="here", version="1")
def quick(n, round): return n
chance = random.Random(3)
def hit(after): time.sleep(after); os.kill(os.getpid(), signal.SIGINT)
with Scheduler({str(tmp_path)!r}, workers=2) as scheduler:
    heard = 0
    for round in range(12):
        thread = threading.Thread(target=hit, args=(chance.random() * 0.15,))
        try:
            thread.start()
            scheduler.run([quick(n, round) for n in range(150)])
            thread.join()
        except KeyboardInterrupt:
            heard += 1
        thread.join()
        began = time.monotonic()
        assert scheduler.run([quick(n, round) for n in range(150)]) == list(range(150))
        assert time.monotonic() - began < 5
    print(heard == 12)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.stdout, done.returncode) == ("True\n", 0), done.stderr
