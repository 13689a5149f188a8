"""``valuestore why`` and ``diff``: why a job ran, and what sets two executions apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.terminal import (
    JsonOption,
    RepositoryOption,
    open_existing,
    print_json,
    print_more,
    print_table,
    short,
    shown,
)

if TYPE_CHECKING:
    from valuestore.db.history.compare import ComparedJob, Comparison
    from valuestore.db.history.why import Explanation, Reason

JobArgument = Annotated[
    str, typer.Argument(metavar="JOB", help="Beginning of a job's id; a task: its newest job.")
]


def why(job: JobArgument, repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """Why did this job run? Compares it with the nearest earlier call of its task.

    \b
    Examples:
      valuestore why count       the newest job of a task
      valuestore why 01a2fa06    the job of that id; `valuestore log jobs` lists them
    """
    with open_existing(repository) as opened:
        found = opened.history.why(job)
    if as_json:
        print_json(asdict(found))
    else:
        _print_explanation(found)


def _print_explanation(found: Explanation) -> None:
    print(shown(f"{found.task}  {found.status}  {found.job_id}"))
    if found.compared_with:
        print(f"compared with {found.compared_with}")
    for reason in found.reasons:
        print(f"\n{reason.kind}: {shown(reason.sentence)}")
        for line in _lines(reason):
            print(f"    {shown(line, lines=False)}")


def _lines(reason: Reason) -> Iterator[str]:
    for change in reason.changes:
        before, after = change.before or "nothing", change.after or "nothing"
        yield f"{change.path or 'value'}: {before} -> {after}"
    yield from (reason.diff or "").splitlines()


def diff(
    before: Annotated[str, typer.Argument(metavar="EXECUTION", help="Id, - or ~1: the earlier one.")],
    after: Annotated[str, typer.Argument(metavar="EXECUTION", help="The later one.")] = "-",
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Only jobs of this task.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, metavar="N", help="So many tasks, and jobs of each kind.")
    ] = 20,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """What sets two executions apart: by task, then by job. Exits 1 if they differ.

    A call that both made is the same task with the same arguments. Of others of one task, those that stand at
    the same place are changed, the rest added or removed.

    \b
    Examples:
      valuestore diff ~1                     the execution before the newest, and the newest
      valuestore diff 01a2 01a3 --task fit   only the jobs of one task
    """
    with open_existing(repository) as opened:
        found = opened.history.diff(before, after, task=task)
    if as_json:
        print_json(asdict(found))
    else:
        _print_comparison(found, limit)
    if not found.is_same:
        raise typer.Exit(1)


def _print_comparison(found: Comparison, limit: int) -> None:
    print(f"{found.before} -> {found.after}: {found.equal} equal\n")
    summary = [
        (each.task, _counts(each.before), _counts(each.after), _counts(each.calls), ", ".join(each.code))
        for each in found.tasks
    ]
    print_table(("task", "before", "after", "calls", "changed code"), summary[:limit])
    if len(summary) > limit:
        print(f"... and {len(summary) - limit} more tasks (--limit {len(summary)} shows all)")
    pairs = {"changed": found.changed, "differ": found.differ, "rerun": found.rerun}
    jobs = {"added": found.added, "removed": found.removed}
    rows = [
        (name, short(each.job_id), each.task, _result(each))
        for name, group in jobs.items()
        for each in group[:limit]
    ]
    rows += [
        (name, short(pair.after.job_id), pair.after.task, f"{_result(pair.before)} -> {_result(pair.after)}")
        for name, group in pairs.items()
        for pair in group[:limit]
    ]
    print_more(("what", "id", "task", "result"), rows)
    for name, group in {**jobs, **pairs}.items():
        if len(group) > limit:
            print(f"... and {len(group) - limit} more {name} (--limit {len(group)} shows all)")
    if not found.is_whole:
        print("there are more jobs than were compared")


def _counts(counts: dict[str, int]) -> str:
    names = {"done": "executed"}
    return ", ".join(f"{count} {names.get(name, name)}" for name, count in counts.items()) or "none"


def _result(each: ComparedJob) -> str:
    return (each.error if each.status == "failed" else each.result) or ""
