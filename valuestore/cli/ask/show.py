"""``valuestore show``: one record by the beginning of its id. It reads rows; no value is loaded."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.terminal import (
    JsonOption,
    RepositoryOption,
    open_existing,
    print_facts,
    print_json,
    print_more,
    print_table,
    short,
)
from valuestore.db.history.tags import ENTITIES
from valuestore.errors import AmbiguousId

if TYPE_CHECKING:
    from valuestore.db.history.history import Found, History
    from valuestore.db.history.records import ExecutionRecord, JobRecord
    from valuestore.repository import Repository


_ALL_JOBS = 2**31 - 1
"""The largest number that Postgres is given as a limit."""


def show(
    record_id: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="Beginning of an id; -: the newest execution, ~1: the one before; a path; a task.",
        ),
    ],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many jobs of an execution.")
    ] = 50,
    repository: RepositoryOption = None,
    *,
    times: Annotated[bool, typer.Option("--times", help="Where the time of an execution went.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show an execution, job, call, task, value, file, tag or catalog entry. Nothing stored is loaded.

    \b
    Examples:
      valuestore show -             the newest execution, with its jobs; what runs now, and since when
      valuestore show - --times     where its time went, by task
      valuestore show 3fa9          whatever has an id that begins so
      valuestore show README.md     the file, and what it was given to
      valuestore show catalog:NAME  the entry, what made it, and what it was given to
    """
    with open_existing(repository) as opened:
        found = find_record(record_id, opened.history)
        if times:
            _show_times(found, opened.history, as_json=as_json)
            return
        record = read_record(found, opened, limit)
    if as_json:
        print_json({"kind": found.kind, **record})
    else:
        print_record(found.kind, record)


def _show_times(found: Found, history: History, *, as_json: bool) -> None:
    if found.kind != "execution":
        raise Usage(f"--times: {found.record_id} is a {found.kind}; name an execution")
    told = times_of(cast("ExecutionRecord", history.record(found)), history.jobs_of(found, _ALL_JOBS))
    if as_json:
        print_json(told)
    else:
        print_times(told)


def find_record(name: str, history: History) -> Found:
    """The one record that ``name`` stands for. Raises: RecordNotFound; Usage if there is more than one."""
    if not name.strip():
        raise Usage("an empty id names no record")
    try:
        return history.find_one(name)
    except AmbiguousId as error:
        from valuestore.db.history.history import Found

        found = [Found(*match.split()) for match in error.args[1]]
        raise Usage(
            f"{name!r} may be {len(found)} records or more; give the whole name, or more digits of one:",
            tuple(f"{each.kind:<9}  {each.record_id}  {_brief(each, history)}" for each in found),
        ) from error


def _brief(found: Found, history: History) -> str:
    """What tells a record from others of its kind."""
    record = history.describe(found)
    names = {
        "execution": ("label",),
        "job": ("task", "status"),
        "call": ("task",),
        "task": ("task_name",),
        "value": ("type_name", "preview"),
        "tag": ("key", "value"),
        "entry": ("name",),
    }
    return "  ".join(str(record[name]) for name in names[found.kind])[:100]


def read_record(found: Found, repository: Repository, limit: int) -> dict[str, Any]:
    """All that is known of a record, as JSON-able data; of an execution's jobs, the first ``limit``."""
    from valuestore.db.history.records import moment, plain

    history = repository.history
    record = history.describe(found)
    if found.kind in ENTITIES:
        record["tags"] = repository.tags.get(found)
    if found.kind == "execution":
        record["running"] = history.running(found, limit).dicts() if record["status"] == "running" else []
        record["first_jobs"] = [plain(job) for job in history.jobs_of(found, limit)]
        record["failed_jobs"] = (
            history.jobs(found.record_id).where(status="failed").limit(10).dicts() if record["failed"] else []
        )
    elif found.kind in ("job", "call"):
        record["arguments"] = history.arguments(record["args_hash"] or "").dicts()
        record["made"] = history.calls_made(record["call_hash"] or "", limit).dicts()
    elif found.kind == "value":
        record["is_inline"] = bool(record["is_inline"])
        digest = record["payload_digest"]
        record["where"] = "the database" if record["is_inline"] else f"{repository.payloads.url}, {digest}"
        record["signed_by"] = history.signed_by(found.record_id)
        record["made_by"] = history.calls_that_gave(found.record_id).dicts()
        record["given_to"] = history.calls_given(found.record_id).dicts()
    elif found.kind == "file":
        record["values"] = _contents(history, found.record_id, limit)
    elif found.kind == "entry":
        record["values"] = _contents(history, f"catalog:{record['name']}", limit)
        if record["value_hash"]:
            record["values"].append(_used(history, {"value_hash": record["value_hash"]}))
        for name in ("created", "modified", "deleted"):
            record[name] = record[name] and moment(record[name]).isoformat()
    elif found.kind == "tag":
        record["value"] = json.loads(record["value"])
        for name in ("created", "ended"):
            record[name] = record[name] and moment(record[name]).isoformat()
    return record


def _contents(history: History, path: str, limit: int) -> list[dict[str, Any]]:
    return [_used(history, content) for content in history.contents(path, limit).dicts()]


def _used(history: History, value: dict[str, Any]) -> dict[str, Any]:
    made = history.calls_that_gave(value["value_hash"]).dicts()
    return {**value, "made_by": made, "given_to": history.calls_given(value["value_hash"]).dicts()}


def print_record(kind: str, record: dict[str, Any]) -> None:
    print_facts([*_facts(kind, record), ("tags", _tags(record.get("tags", {})))])
    if kind == "execution":
        _print_jobs(record)
    elif kind in ("job", "call"):
        _print_call(record)
    elif kind == "value":
        _print_first_rows(record["preview"])
        _print_calls([record])
    elif kind in ("file", "entry"):
        _print_calls(record["values"])


def _print_call(record: dict[str, Any]) -> None:
    """What it was given, and which calls it made, whether or not they are jobs of the same run."""
    rows = [
        (each["name"], each["type_name"], short(each["value_hash"]), each["preview"])
        for each in record["arguments"]
    ]
    print_more(("argument", "type", "id", "preview"), rows)
    made = [
        (short(each["call_hash"]), each["task"], each["calls"], each["result"]) for each in record["made"]
    ]
    print_more(("call made", "task", "calls", "result"), made)


def _print_first_rows(preview: str) -> None:
    """The first rows of a frame, as far as its preview has them."""
    try:
        told = json.loads(preview)
    except (ValueError, RecursionError):  # damaged
        return
    match told:
        case {"rows": int(), "columns": dict() | list() as columns, "first": [*rows]}:
            types = columns.items() if isinstance(columns, dict) else [(text, None) for text in columns]
            labels = [f"{label}: {of}" if of else str(label) for label, of in types]
            whole = [row for row in rows if isinstance(row, list) and 0 < len(row) <= len(labels)]
            width = min(map(len, whole), default=0)
            if width:
                print_more(labels[:width], [row[:width] for row in whole])


def _print_calls(values: list[dict[str, Any]]) -> None:
    """Which calls gave and were given these values."""
    rows = [
        (what, short(call["call_hash"]), call["task"], call.get("parameter", ""), short(value["value_hash"]))
        for value in values
        for what, calls in (("made by", value["made_by"]), ("given to", value["given_to"]))
        for call in calls
    ]
    print_more(("what", "id", "task", "argument", "value"), rows)


def _facts(kind: str, record: dict[str, Any]) -> Iterator[tuple[str, object]]:
    names = {
        "execution": ("execution_id", "label", "status", "started", "seconds", "command"),
        "job": (
            *("job_id", "task", "status", "started", "seconds", "execution_id", "parent_id", "call_hash"),
            *("task_hash", "value_hash", "result_type", "result", "error", "traceback", "calls"),
        ),
        "call": ("call_hash", "task", "task_hash", "args_hash", "value_hash", "result"),
        "task": ("task_hash", "task_name", "version", "source"),
        "value": (
            *("value_hash", "type_name", "path", "codec", "size", "where", "payload_digest", "signed_by"),
            "preview",
        ),
        "file": ("path", "file_kind", "contents"),
        "tag": ("tag_id", "entity", "entity_id", "key", "value", "author", "created", "ended", "ended_by"),
        "entry": (
            *("name", "version", "size", "attrs", "author", "modified", "created", "deleted", "execution_id"),
            *("payload_digest", "value_hash", "entry_id"),
        ),
    }
    labels = {f"{kind}_{ending}": kind for ending in ("id", "hash")}
    units = {"started": " UTC", "seconds": " s", "size": " bytes"}
    for name in names[kind]:
        value = ", ".join(record[name]) if name == "signed_by" else record[name]
        if name in ("created", "modified", "deleted", "ended") and value:  # ISO, in UTC
            value = f"{value[:19].replace('T', ' ')} UTC"
        if value not in (None, "") and (name, value) != ("calls", 1):
            label = labels.get(name, name).removesuffix("_id").removesuffix("_hash").replace("_", " ")
            yield label, f"{value}{units.get(name, '')}"
    if kind == "execution":
        counts = ", ".join(f"{record[status]} {status}" for status in ("executed", "cached", "failed"))
        if record["replayed"]:
            counts += f"; {record['replayed']} of them with the call that made them"
        yield "jobs", f"{record['jobs']} ({counts})"


def _tags(tags: dict[str, Any]) -> str | None:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in tags.items()) or None


def _print_jobs(record: dict[str, Any]) -> None:
    if record["running"]:
        print("\nrunning now, or next in an executor:")
        rows = [
            (short(job["job_id"]), f"{job['started']} UTC", f"{float(job['seconds']):.0f}", job["task"] or "")
            for job in record["running"]
        ]
        print_table(("id", "since", "seconds", "task"), rows)
    jobs = record["first_jobs"]
    print_more(("id", "status", "seconds", "task", "result"), list(_job_rows(jobs)))
    more = record["jobs"] - len(jobs)
    if more > 0:
        print(f"... and {more} more (--limit {record['jobs']} shows all)")
    seen = {job["job_id"] for job in jobs}
    failed = [job for job in record["failed_jobs"] if job["job_id"] not in seen]
    print_more(("id", "status", "seconds", "task", "result"), list(_job_rows(failed)))


def _job_rows(jobs: list[dict[str, Any]]) -> Iterator[tuple[object, ...]]:
    """Jobs below the job that made the call, indented; parents are made, and so listed, before children."""
    children: dict[str | None, list[dict[str, Any]]] = {}
    listed = {job["job_id"] for job in jobs}
    for job in jobs:
        parent = job["parent_id"] if job["parent_id"] in listed else None
        children.setdefault(parent, []).append(job)
    pending = [(job, 0) for job in reversed(children.get(None, []))]
    while pending:
        job, depth = pending.pop()
        result = job["error"] if job["status"] == "failed" else job["result"]
        task = "  " * depth + job["task"]
        yield short(job["job_id"]), job["status"], f"{float(job['seconds']):.3f}", task, result or ""
        pending += [(child, depth + 1) for child in reversed(children.get(job["job_id"], []))]


# --- Times: where the time of an execution went, from when its jobs began and ended.


Span = tuple[float, float]

_COLUMNS = ("task", "executed", "cached", "failed", "seconds", "mean", "longest", "share", "in_chain")


def times_of(execution: ExecutionRecord, jobs: Iterable[JobRecord]) -> dict[str, Any]:
    """Seconds by task, of the whole, and of when nothing ran; the chain of jobs that it took, oldest first.

    A job's seconds are its own: not those in which calls that it made ran. In the chain each began after the
    one before it had ended.
    """
    tasks: dict[str, dict[str, Any]] = {}
    spans: dict[str, Span] = {}
    made: dict[str | None, list[Span]] = defaultdict(list)
    for job in jobs:
        task = tasks.setdefault(job.task, dict.fromkeys(_COLUMNS, 0) | {"task": job.task, "jobs": []})
        task["executed" if job.status == "done" else job.status] += 1
        span = job.started.timestamp(), job.started.timestamp() + job.seconds
        made[job.parent_id].append(span)
        if job.status != "cached":
            spans[job.job_id] = span
            task["jobs"].append(job.job_id)
    own = {job_id: _without(span, made[job_id]) for job_id, span in spans.items()}
    parts = sorted((end, start, job_id) for job_id, ran in own.items() for start, end in ran)
    began = execution.started.timestamp()
    ended = max(began + (execution.seconds or 0.0), max(parts, default=(began,))[0])
    chain = _chain(parts)
    for task in tasks.values():
        jobs_seconds = [sum(end - start for start, end in own[job_id]) for job_id in task["jobs"]]
        task["in_chain"] = sum((chain.get(job_id, 0.0) for job_id in task.pop("jobs")), 0.0)
        task["seconds"], task["longest"] = sum(jobs_seconds, 0.0), max(jobs_seconds, default=0.0)
        task["mean"] = task["seconds"] / max(len(jobs_seconds), 1)
        task["share"] = task["seconds"] / (ended - began) if ended > began else 0.0
    idle = _without((began, ended), [(start, end) for end, start, _ in parts])
    return {
        "execution_id": execution.execution_id,
        "seconds": ended - began,
        "idle_seconds": sum(end - start for start, end in idle),
        "tasks": sorted(tasks.values(), key=lambda task: -task["seconds"]),
        "chain": list(chain),
    }


def _without(whole: Span, others: Iterable[Span]) -> list[Span]:
    """The parts of a span in which none of the others is."""
    parts, (start, end) = [], whole
    for began, ended in sorted(others):
        if start < began and start < end:
            parts.append((start, min(began, end)))
        start = max(start, ended)
    return [*parts, (start, end)] if start < end else parts


def _chain(parts: list[tuple[float, float, str]]) -> dict[str, float]:
    """From the part that ended last back, each time to the last that had ended by then: seconds by job."""
    found: dict[str, float] = {}
    before = float("inf")
    for end, start, job_id in reversed(parts):
        if end <= before:
            found[job_id] = found.get(job_id, 0.0) + end - start
            before = start
    return dict(reversed(found.items()))


def print_times(told: dict[str, Any]) -> None:
    """What ``times_of`` gives, as names, values and a table."""
    times = [(name, f"{told[key]:.3f} s") for name, key in (("seconds", "seconds"), ("idle", "idle_seconds"))]
    print_facts([("execution", told["execution_id"]), *times])
    rows = [
        [f"{cell:.3f}" if isinstance(cell, float) else cell for cell in map(task.get, _COLUMNS)]
        for task in told["tasks"]
    ]
    print_more([name.replace("_", " ") for name in _COLUMNS], rows)
