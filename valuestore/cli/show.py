"""``valuestore show``: one record by the beginning of its id. It reads rows; no value is loaded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.log import execution_named
from valuestore.cli.repository import JsonOption, RepositoryOption, open_existing
from valuestore.cli.terminal import print_facts, print_json, print_table, short

if TYPE_CHECKING:
    from valuestore.db.history import Found, History
    from valuestore.repository import Repository

_HEX = frozenset("0123456789abcdef")


def show(
    record_id: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="Beginning of an id; - is the newest execution, ~1 the one before."
        ),
    ],
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many jobs of an execution.")
    ] = 50,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Show an execution, job, call, task or value. Nothing that is stored is loaded or executed."""
    with open_existing(repository) as opened:
        found = find_record(record_id, opened.history)
        record = read_record(found, opened, limit)
    if as_json:
        print_json({"kind": found.kind, **record})
    else:
        print_record(found.kind, record)


def find_record(name: str, history: History) -> Found:
    """The one record that ``name`` stands for. Raises: Usage if there is none, or more than one."""
    prefix = execution_named(name, history) or name.strip().lower()
    if not prefix or not _HEX.issuperset(prefix):
        raise Usage(f"{name!r} is no id: ids are hex digits, and `valuestore log` shows some")
    found = history.find(prefix)
    if not found:
        raise Usage(f"no record has an id that starts with {name!r}")
    if len(found) > 1:
        raise Usage(
            f"{name!r} is the beginning of {len(found)} ids or more; give more digits of one:",
            tuple(f"{each.kind:<9}  {each.record_id}  {_brief(each, history)}" for each in found),
        )
    return found[0]


def _brief(found: Found, history: History) -> str:
    """What tells a record from others of its kind."""
    record = history.describe(found)
    names = {"execution": ("label",), "job": ("task", "status"), "call": ("task",), "task": ("task_name",)}
    return "  ".join(str(record[name]) for name in names.get(found.kind, ("type_name", "preview")))[:100]


# --- reading ---------------------------------------------------------------------------------------


def read_record(found: Found, repository: Repository, limit: int) -> dict[str, Any]:
    """All that is known of a record, as JSON-able data; of an execution's jobs, the first ``limit``."""
    history = repository.history
    record = history.describe(found)
    record["tags"] = {key: json.loads(value) for key, value in history.tags(found.record_id).items()}
    if found.kind == "execution":
        record["first_jobs"] = history.jobs(found.record_id, limit).dicts()
        record["failed_jobs"] = history.failed_jobs(found.record_id).dicts() if record["failed"] else []
    elif found.kind in ("job", "call"):
        record["arguments"] = history.arguments(record["args_hash"] or "").dicts()
    elif found.kind == "value":
        record["is_inline"] = bool(record["is_inline"])
        digest = record["payload_digest"]
        record["where"] = "the database" if record["is_inline"] else f"{repository.payloads.url}, {digest}"
        record["made_by"] = history.calls_that_gave(found.record_id).dicts()
    return record


# --- showing ---------------------------------------------------------------------------------------


def print_record(kind: str, record: dict[str, Any]) -> None:
    """A record as names, values and tables."""
    print_facts([*_facts(kind, record), ("tags", _tags(record["tags"]))])
    if kind == "execution":
        _print_jobs(record)
    elif kind in ("job", "call") and record["arguments"]:
        rows = [
            (each["name"], each["type_name"], short(each["value_hash"]), each["preview"])
            for each in record["arguments"]
        ]
        print()
        print_table(("argument", "type", "id", "preview"), rows)
    elif kind == "value" and record["made_by"]:
        print()
        print_table(
            ("made by", "id"), [(each["task"], short(each["call_hash"])) for each in record["made_by"]]
        )


def _facts(kind: str, record: dict[str, Any]) -> Iterator[tuple[str, object]]:
    names = {
        "execution": ("execution_id", "label", "status", "started", "seconds"),
        "job": (
            *("job_id", "task", "status", "started", "seconds", "execution_id", "parent_id", "call_hash"),
            *("task_hash", "value_hash", "result_type", "result", "error", "traceback"),
        ),
        "call": ("call_hash", "task", "task_hash", "args_hash", "value_hash", "result"),
        "task": ("task_hash", "task_name", "version", "source"),
        "value": ("value_hash", "type_name", "codec", "size", "where", "payload_digest", "preview"),
    }
    labels = {f"{kind}_{ending}": kind for ending in ("id", "hash")}
    units = {"started": " UTC", "seconds": " s", "size": " bytes"}
    for name in names[kind]:
        value = record[name]
        if value is not None:
            label = labels.get(name, name).removesuffix("_id").removesuffix("_hash").replace("_", " ")
            yield label, f"{value}{units.get(name, '')}"
    if kind == "execution":
        counts = ", ".join(f"{record[status]} {status}" for status in ("executed", "cached", "failed"))
        yield "jobs", f"{record['jobs']} ({counts})"


def _tags(tags: dict[str, Any]) -> str | None:
    return ", ".join(f"{key}={json.dumps(value)}" for key, value in tags.items()) or None


def _print_jobs(record: dict[str, Any]) -> None:
    jobs = record["first_jobs"]
    if jobs:
        print()
        print_table(("id", "status", "seconds", "task", "result"), list(_job_rows(jobs)))
    more = record["jobs"] - len(jobs)
    if more > 0:
        print(f"... and {more} more (--limit {record['jobs']} shows all)")
    seen = {job["job_id"] for job in jobs}
    failed = [job for job in record["failed_jobs"] if job["job_id"] not in seen]
    if failed:
        print()
        print_table(("id", "status", "seconds", "task", "result"), list(_job_rows(failed)))


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
