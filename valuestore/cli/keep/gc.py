"""``valuestore gc``, ``delete``, ``pin`` and ``unpin``: what is kept, and what goes."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.failure import Usage, say
from valuestore.cli.terminal import (
    JsonOption,
    RecordArgument,
    RepositoryOption,
    located,
    open_existing,
    print_facts,
    print_json,
    print_table,
    short,
)

if TYPE_CHECKING:
    from valuestore.db.upkeep.gc import GcReport
    from valuestore.repository import Repository

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

YesOption = Annotated[bool, typer.Option("--yes", help="Do it; without it, it is only shown what would go.")]
SharedOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--with",
        metavar="PATH",
        parser=located,
        help="Another repository with the same payload store, or its name; may be repeated.",
    ),
]
Kept = Annotated[
    str, typer.Argument(metavar="ID", help="Beginning of an id, - (newest execution), a task, catalog:NAME.")
]


def gc(
    keep_last: Annotated[
        int | None, typer.Option("--keep-last", min=0, metavar="N", help="Keep the newest N executions.")
    ] = None,
    older_than: Annotated[
        str | None,
        typer.Option("--older-than", metavar="TIME", help="Keep what is newer: 30d, 12h; s, m, h, d, w."),
    ] = None,
    grace: Annotated[
        str, typer.Option("--grace", metavar="TIME", help="Leave payloads that no row names for so long.")
    ] = "1h",
    shared_with: SharedOption = None,
    repository: RepositoryOption = None,
    *,
    yes: YesOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also where kept payloads are missing, or clocks apart.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete executions that no rule keeps, and all values and payloads that nothing kept leads to.

    Rules come from here or from the table [keep] of valuestore.toml (last, days, tags, tasks); without
    --keep-last and --older-than (last and days there), every execution is kept. Running and pinned ones
    are always. Pipelines may run meanwhile.

    \b
    Examples:
      valuestore gc --keep-last 20                       what would go
      valuestore gc --keep-last 20 --older-than 30d --yes
    """
    with _opened(repository, shared_with) as (opened, *others):
        report = opened.gc(
            keep_last=keep_last,
            older_than_seconds=None if older_than is None else _seconds("--older-than", older_than),
            dry_run=not yes,
            grace_seconds=_seconds("--grace", grace),
            shared_with=others,
            force=force,
        )
    _print(report, as_json=as_json)
    if "no rule" in report.kept:
        say("no rule says what may go: --keep-last N, --older-than TIME, or [keep] in valuestore.toml")


def delete(
    record: RecordArgument,
    shared_with: SharedOption = None,
    repository: RepositoryOption = None,
    *,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Delete an execution, or a value that was put by hand, with all that nothing else leads to.

    \b
    Examples:
      valuestore delete ~1          what would go with the execution before the newest
      valuestore delete ~1 --yes
    """
    with _opened(repository, shared_with) as (opened, *others):
        report = opened.delete(record, dry_run=not yes, shared_with=others)
    _print(report, as_json=as_json)


def pin(record: Kept, repository: RepositoryOption = None) -> None:
    """Keep an execution, job, call, task, value or name, whatever the rules of `valuestore gc` are.

    It is the tag `pinned`: `valuestore tag history ID` tells who set it when.

    \b
    Examples:
      valuestore pin -                      the newest execution
      valuestore pin catalog:models/best    a name, also once it is deleted
    """
    with open_existing(repository) as opened:
        found = opened.history.find_one(record)
        opened.tags.update(found, pinned=True)
    print(f"pinned {found.kind} {short(found.record_id)}")


def unpin(record: Kept, repository: RepositoryOption = None) -> None:
    """Keep it no longer than the rules say."""
    with open_existing(repository) as opened:
        found = opened.history.find_one(record)
        count = opened.tags.remove(found, "pinned")
    print(f"unpinned {found.kind} {short(found.record_id)}" if count else "it was not pinned")
    if not count:
        raise typer.Exit(1)


@contextmanager
def _opened(repository: Path | None, shared_with: list[Path] | None) -> Iterator[list[Repository]]:
    """The repository, and those that have payloads in the same store."""
    with ExitStack() as stack:
        yield [stack.enter_context(open_existing(place)) for place in (repository, *(shared_with or ()))]


def _seconds(option: str, text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text)
    if found is None:
        raise Usage(f"{option}: {text!r} is no time; write a number and s, m, h, d or w, such as 30d")
    return float(found[1]) * _SECONDS[found[2]]


def _print(report: GcReport, *, as_json: bool) -> None:
    if as_json:
        print_json({**dataclasses.asdict(report), "freed_bytes": report.freed_bytes})
        return
    if report.kept:
        kept = ", ".join(f"{count} ({reason})" for reason, count in report.kept.items())
        print_facts([("executions kept", kept)])
    rows = [(name, f"{each.count:,}", f"{each.bytes:,}") for name, each in report.freed.items()]
    print_table(("would go" if report.dry_run else "deleted", "count", "bytes"), rows)
    for problem in report.problems:
        print(f"valuestore: {problem}", file=sys.stderr)
    if report.dry_run and any(each.count for each in report.freed.values()):
        print("nothing was deleted; --yes deletes it")
