"""Options: what ``valuestore run`` is told beside the arguments of the task, before FILE or behind TASK.

They are texts by name here, and become what the scheduler takes. What is not given is not passed on.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from valuestore.cli.failure import Usage

if TYPE_CHECKING:
    from valuestore.cli.run.task import Pipeline
    from valuestore.repository import Repository

OWN = {
    **dict.fromkeys(("tag", "label", "only", "option", "context", "context-file", "on-error"), True),
    **dict.fromkeys(("rerun", "repository", "executor", "workers"), True),
    **dict.fromkeys(("no-cache", "dry-run", "pdb", "verbose", "json", "help"), False),
}
"""Options of ``run`` that may stand behind TASK, and whether they take a value."""

Texts = Mapping[str, list[str]]


def keywords(given: Texts, pipeline: Pipeline) -> dict[str, Any]:
    """What ``Scheduler.run`` is given. Raises: Usage; TaskNotFound."""
    found: dict[str, Any] = {"tags": _tags(given["tag"])}
    if given["label"]:
        found["label"] = given["label"][-1]
    if given["no-cache"]:
        found["cache"] = False
    if given["only"]:
        found["only"] = tuple(pipeline.task(name).name for name in given["only"])
    if given["option"]:
        found["options"] = dict(_pair("--option", text) for text in given["option"])
    if given["context"] or given["context-file"]:
        found["context"] = _context(given["context-file"], given["context"])
    if given["on-error"]:
        found["on_error"] = given["on-error"][-1]
    return found


def workers(texts: list[str]) -> int | None:
    """How many bodies at once. Raises: Usage."""
    if texts and not (texts[-1].isdecimal() and int(texts[-1])):
        raise Usage(f"--workers: expected a positive int, got {texts[-1]!r}")
    return int(texts[-1]) if texts else None


def earlier_call(name: str, pipeline: Pipeline, repository: Repository) -> tuple[Any, Any]:
    """The call that an earlier execution ran, with the arguments as they were recorded, and its context.

    Raises: RecordNotFound; AmbiguousId; Usage if it was none, or is not known; PayloadError.
    """
    history = repository.history
    found = history.find_one(name)
    if found.kind != "execution":
        raise Usage(f"--rerun: {name!r} is a {found.kind}; name an execution")
    tags = repository.tags.get(found)
    label = str(tags.get("call", history.describe(found)["label"]))
    jobs = history.jobs_of(found, 2)
    is_alone = jobs and all(job.parent_id for job in jobs[1:])  # calls in arguments have no parent either
    if not jobs or not (is_alone or label.startswith(f"{jobs[0].task}(")):
        raise Usage(f"--rerun: execution {found.record_id} ran no single call, but {label}")
    task = pipeline.task(jobs[0].task)
    rows = {row["name"]: row["value_hash"] for row in history.arguments(jobs[0].args_hash or "").dicts()}
    if rows.keys() != task.signature.parameters.keys():
        raise Usage(f"--rerun: the arguments of {label} were not recorded, or {task.name} takes others now")
    arguments = {each: repository.get(value_hash) for each, value_hash in rows.items()}
    bound = inspect.BoundArguments(task.signature, arguments)
    return task(*bound.args, **bound.kwargs), tags.get("context")


def _tags(texts: Iterable[str]) -> dict[str, Any]:
    from valuestore.db.record.tag import parse_tag  # late, as what follows: the help needs none of it

    tags = {}
    for text in texts:
        try:
            key, value = parse_tag(text)
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise Usage(f"--tag: {error}") from error
        tags[key] = value
    return tags


def _pair(option: str, text: str) -> tuple[str, Any]:
    """The name and the value, which is JSON or text."""
    from valuestore.values.parse import parse_arg

    name, equals, value = text.partition("=")
    if not equals or not name:
        raise Usage(f"{option} {text}: it is not key=value")
    return name, parse_arg(Any, value)


def _context(files: Iterable[str], texts: Iterable[str]) -> dict[str, Any]:
    """The tables of the files, the later over the earlier, and over them what is given by itself."""
    from valuestore.tasks.context import nested
    from valuestore.tasks.options import merged

    found: dict[str, Any] = {}
    for file in files:
        found = merged(found, _table(Path(file)))
    for text in texts:
        found = merged(found, nested(dict([_pair("--context", text)])))
    return found


def _table(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        text = path.read_text("utf-8")
        table = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise Usage(f"--context-file {path}: {error}") from error
    if not isinstance(table, dict):
        raise Usage(f"--context-file {path}: expected a JSON object")
    return table
