"""``valuestore tag``: labels on executions, jobs, calls, tasks and values; their history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.terminal import (
    JsonOption,
    LimitOption,
    PairsArgument,
    RecordArgument,
    RepositoryOption,
    command_group,
    open_existing,
    print_json,
    print_table,
    short,
    shown_time,
)

if TYPE_CHECKING:
    from valuestore.db.history.records import TagRecord

AuthorOption = Annotated[
    str | None, typer.Option("--author", metavar="NAME", help="Who does this. Default: you.")
]

tag = command_group(
    """Label executions, jobs, calls, tasks and values.

    \b
    Examples:
      valuestore tag add - stage=trial        the newest execution
      valuestore tag update count team=maps   a task
      valuestore tag list -
    """
)


@tag.command("list")
def list_tags(
    record: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Of this record. Default: all there are.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Of this key; * and ? match.")] = None,
    limit: LimitOption = 100,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """The current tags."""
    with open_existing(repository) as opened:
        query = opened.history.tags().where(current=True, key=key)
        if record is not None:
            found = opened.history.find_one(record)
            query = query.where(record=found.record_id, entity=found.kind)
        _print(query.limit(limit).all(), as_json=as_json)


@tag.command()
def add(
    record: RecordArgument,
    pairs: PairsArgument = None,
    author: AuthorOption = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Add tags beside those there are."""
    with open_existing(repository) as opened:
        _print(opened.tags.add(record, _parsed(pairs), author=author), as_json=as_json)


@tag.command()
def update(
    record: RecordArgument,
    pairs: PairsArgument = None,
    author: AuthorOption = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Set tags: each replaces all values of its key."""
    with open_existing(repository) as opened:
        _print(opened.tags.update(record, _parsed(pairs), author=author), as_json=as_json)


@tag.command()
def rm(
    record: RecordArgument,
    named: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY[=VALUE] ...", help="Without a value: all values of the key."),
    ] = None,
    author: AuthorOption = None,
    repository: RepositoryOption = None,
) -> None:
    """Remove tags. They stay in the history."""
    from valuestore.db.record.tag import ANY_VALUE, parse_tag_filter

    pairs = [parse_tag_filter(text) for text in named or []]
    keys = [key for key, value in pairs if value is ANY_VALUE]
    values = [(key, value) for key, value in pairs if value is not ANY_VALUE]
    with open_existing(repository) as opened:
        count = opened.tags.remove(record, *keys, tags=values, author=author)
    print(f"{count} removed")
    if not count:
        raise typer.Exit(1)


@tag.command()
def history(
    record: RecordArgument, repository: RepositoryOption = None, *, as_json: JsonOption = False
) -> None:
    """Every tag a record ever had: who set it when, and who ended it."""
    with open_existing(repository) as opened:
        _print(opened.tags.history(record), as_json=as_json, ended=True)


def _parsed(pairs: list[str] | None) -> list[tuple[str, Any]]:
    from valuestore.db.record.tag import parse_tag

    if not pairs:
        raise Usage("give at least one KEY=VALUE")
    return [parse_tag(text) for text in pairs]


def _print(records: list[TagRecord], *, as_json: bool, ended: bool = False) -> None:
    from valuestore.db.history.records import plain
    from valuestore.db.record.tag import format_tag

    if as_json:
        print_json([plain(each) for each in records])
        return
    rows = [
        (
            short(each.entity_id),
            each.entity,
            format_tag(each.key, each.value),
            each.author or "",
            shown_time(each.created),
            *((each.ended_by or "", shown_time(each.ended) if each.ended else "") if ended else ()),
        )
        for each in records
    ]
    more = ("ended by", "ended (UTC)") if ended else ()
    if rows:
        print_table(("id", "on", "tag", "by", "set (UTC)", *more), rows)
    else:
        print("no tags")
