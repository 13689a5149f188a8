"""Digests of what the golden files (tests/golden) do not have: tasks, calls, files and handles."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from tests.freeze import pipeline, values
from valuestore import Repository, Scheduler, get_type_registry, tag

DIGESTS = Path(__file__).with_name("digests.json")
ALGORITHMS = ("xxh3-128", "blake3-256")


def identified() -> dict[str, Any]:
    """What has an identity without being run."""
    shelf = pipeline.Shelf("main", "outputs/shelf")
    call = pipeline.add(1, 2, z=3)
    return {
        "task by version": pipeline.versioned,
        "task by code": pipeline.double,
        "task with constants": pipeline.with_constants,
        "task with helpers": pipeline.scaled,
        "task with classes": pipeline.measured,
        "call": call,
        "call with defaults": pipeline.add(1),
        "operation": (call + 1) * -call,
        "item": call["a"].b,
        "tag": tag(call, a=1),
        "handle": shelf,
        "handle forked": shelf.fork("a"),
        "handle after a call": shelf.apply_call("0" * 32),
        "file missing": values.File("inputs/none.txt"),
        **values.files(),
    }


def ran() -> Any:
    """What is run for the digests of evaluations and finished calls."""
    return [
        pipeline.versioned(1),
        pipeline.double(2),
        pipeline.add(1, 2, 3, z=4, w=5),
        pipeline.fan(2),
        pipeline.keep("values", {"a": [values.Feet(1), values.Point(1.0)], "b": {1, 2}}),
    ]


def digests() -> dict[str, dict[str, Any]]:
    """By algorithm: those of values, then hash of task, arguments, evaluation and call of each call."""
    return {algorithm: digests_by(algorithm) for algorithm in ALGORITHMS}


def digests_by(algorithm: str) -> dict[str, Any]:
    """Those of one algorithm."""
    registry = get_type_registry().with_algorithm(algorithm)
    found: dict[str, Any] = {name: registry.hash(value) for name, value in identified().items()}
    with (
        tempfile.TemporaryDirectory() as folder,
        Repository.open(folder, digest=algorithm) as repository,
        Scheduler(repository) as scheduler,
    ):
        scheduler.run(ran())
        calls = repository.history.query(
            "SELECT t.task_name, t.task_hash, c.args_hash, c.value_hash, c.call_hash "
            "FROM call_node c JOIN task t ON t.task_no = c.task_no ORDER BY t.task_name, c.call_hash"
        )
        evaluations = repository.history.query("SELECT eval_hash, value_hash FROM evaluation ORDER BY 1")
        found["calls: task, task hash, arguments, result, call"] = [list(row) for row in calls.rows]
        found["evaluations: key, result"] = [list(row) for row in evaluations.rows]
    return found


def frozen() -> dict[str, dict[str, Any]]:
    """What was written down."""
    found: dict[str, dict[str, Any]] = json.loads(DIGESTS.read_text())
    return found
