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
    print_table,
    short,
    shown,
)

if TYPE_CHECKING:
    from valuestore.db.history.compare import ComparedJob, Comparison
    from valuestore.db.history.why import Explanation, Reason

JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Beginning of a job's id.")]
_SHOWN_JOBS = 50


def why(job: JobArgument, repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """Why did this job run? Compares it with the nearest earlier call of its task."""
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
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """What sets two executions apart: jobs added, removed, rerun; other results. Exits 1 if they differ."""
    with open_existing(repository) as opened:
        found = opened.history.diff(before, after)
    if as_json:
        print_json(asdict(found))
    else:
        _print_comparison(found)
    if not found.is_same:
        raise typer.Exit(1)


def _print_comparison(found: Comparison) -> None:
    print(f"{found.before} -> {found.after}: {found.equal} equal")
    pairs = {"changed": found.changed, "differ": found.differ, "rerun": found.rerun}
    jobs = {"added": found.added, "removed": found.removed}
    rows = [(name, *_cells(each)) for name, group in jobs.items() for each in group[:_SHOWN_JOBS]]
    rows += [
        (name, short(pair.after.job_id), pair.after.task, f"{_result(pair.before)} -> {_result(pair.after)}")
        for name, group in pairs.items()
        for pair in group[:_SHOWN_JOBS]
    ]
    if rows:
        print_table(("what", "id", "task", "result"), rows)
    for name, group in {**jobs, **pairs}.items():
        if len(group) > _SHOWN_JOBS:
            print(f"... and {len(group) - _SHOWN_JOBS} more {name} (--json has all)")
    if not found.is_whole:
        print("there are more jobs than were compared")


def _cells(each: ComparedJob) -> tuple[str, str, str]:
    return short(each.job_id), each.task, _result(each)


def _result(each: ComparedJob) -> str:
    return (each.error if each.status == "failed" else each.result) or ""
