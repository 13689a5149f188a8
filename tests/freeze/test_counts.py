"""What a run costs, counted: SQL statements, and calls of Python functions. The bounds at the top only fall.

Counts do not depend on the machine, as times do. What counts as a call of a function is said
in count_calls.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.statements import StatementCounter
from valuestore import Repository, Scheduler, task

COLD_STATEMENTS = 19
"""Of a run of new calls whose rows are written in one batch; 12 of them write, 7 ask. 5 are for leases, and
one for collectors, as in each batch."""
COLD_STATEMENTS_OF_A_FURTHER_BATCH = 15
CACHED_STATEMENTS = 10
"""Of a run that finds all of its calls; 5 write, 5 ask."""
CACHED_STATEMENTS_OF_A_FURTHER_BATCH = 8
CALLS_PER_LOOKUP = 500

PYTHON_CALLS = 41.1
"""Of functions of valuestore for one further cached call, on the thread that runs the scheduler."""
PYTHON_CALLS_OF_OTHER_THREADS = 0.5
"""The same on the thread that writes rows, which takes them by the thousand; the clock says how many."""
PYTHON_CALLS_BESIDE_HANDLES = 41.1
"""Where the program has a class of handles, though none is used."""
FILES = 15
"""In how many files these functions are."""

ROOT = Path(__file__).parents[2]


@task(version="1")
def successor(x: int) -> int:
    return x + 1


@pytest.fixture(params=["sqlite", "postgresql"])
def repository(request, tmp_path):
    is_sqlite = request.param == "sqlite"
    settings = {} if is_sqlite else {"database": request.getfixturevalue("postgres_url")}
    with Repository.open(tmp_path, **settings) as repository:
        yield repository


def counted(repository, numbers):
    """Statements and commits of a run, without the sign of life that comes with time."""
    repository.flush()
    with Scheduler(repository) as scheduler, StatementCounter(repository.database) as counter:
        scheduler.run([successor(number) for number in numbers])
    beats = [sql for sql in counter.statements if sql.startswith("UPDATE execution SET updated")]
    return len(counter.statements) - len(beats), counter.commits - len(beats)


def in_one_batch(repository, ranges):
    """Statements of the first of some runs that was quick enough to be written in one batch."""
    for numbers in ranges:
        statements, batches = counted(repository, numbers)
        if batches == 1:
            return statements
    raise AssertionError("no run of so few calls was written in one batch")


def test_a_cold_run_takes_few_statements(repository):
    assert in_one_batch(repository, (range(n, n + 20) for n in range(0, 1000, 20))) <= COLD_STATEMENTS


def test_a_cached_run_takes_few_statements(repository):
    counted(repository, range(20))
    assert in_one_batch(repository, (range(20) for _ in range(50))) <= CACHED_STATEMENTS


def test_statements_grow_with_batches_and_not_with_calls(repository):
    further_lookups = 1000 // CALLS_PER_LOOKUP - 1
    cold, batches = counted(repository, range(1000))
    assert cold <= COLD_STATEMENTS + 2 * further_lookups + COLD_STATEMENTS_OF_A_FURTHER_BATCH * (batches - 1)
    cached, batches = counted(repository, range(1000))
    further = CACHED_STATEMENTS_OF_A_FURTHER_BATCH * (batches - 1)
    assert cached <= CACHED_STATEMENTS + further_lookups + further


@pytest.fixture(scope="module")
def python_calls():
    command = [sys.executable, "-m", "tests.freeze.count_calls"]
    found = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
    for case, one in found.items():
        print(
            f"{one['here']:.2f} Python calls in {len(one['files'])} files, {one['in_others']:.2f} elsewhere"
        )
        print(f"{case}:", *(f"{file} {count:.1f}" for file, count in one["files"].items()), sep="\n    ")
    return found


def test_a_further_cached_call_takes_few_python_calls(python_calls):
    found = python_calls["without handles"]
    assert found["here"] <= PYTHON_CALLS
    assert found["in_others"] <= PYTHON_CALLS_OF_OTHER_THREADS
    assert len(found["files"]) <= FILES


def test_a_class_of_handles_adds_few_python_calls_where_no_handle_is(python_calls):
    assert python_calls["with handles"]["here"] <= PYTHON_CALLS_BESIDE_HANDLES
