"""``valuestore log``: what ran and what there is, newest first, by everything that people remember."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import Usage, say
from valuestore.cli.terminal import (
    CsvOption,
    JsonOption,
    LimitOption,
    PageOption,
    RepositoryOption,
    SinceOption,
    open_existing,
    print_json_list,
    print_table,
    short,
    shown_time,
    text_out,
)

if TYPE_CHECKING:
    from valuestore.db.history.history import History
    from valuestore.db.history.query import Query
    from valuestore.db.history.records import Page

_USUAL = {"executions": "execution", "jobs": "job"}
"""What is asked most, and as it comes, is asked without making a query."""

_USUAL_LIMIT = 1000

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
"""Seconds."""


def log(
    kind: Annotated[
        str,
        typer.Argument(
            metavar="[KIND]", help="executions (default), jobs, calls, tasks, values, files or tags."
        ),
    ] = "executions",
    limit: LimitOption = 20,
    task: Annotated[str | None, typer.Option(metavar="NAME", help="Of this task; * and ? match.")] = None,
    status: Annotated[
        list[str] | None, typer.Option(metavar="STATUS", help="done, failed, ...; may be repeated.")
    ] = None,
    since: SinceOption = None,
    until: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="With this tag; may be repeated.")
    ] = None,
    execution_tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY[=VALUE]", help="Jobs of executions with this tag.")
    ] = None,
    execution: Annotated[str | None, typer.Option(metavar="ID", help="Jobs of this execution.")] = None,
    argument: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="[NAME=]VALUE", help="Given this: JSON or text, or @HASH."),
    ] = None,
    result: Annotated[str | None, typer.Option(metavar="VALUE", help="That gave this: likewise.")] = None,
    file: Annotated[str | None, typer.Option(metavar="PATH", help="With this file; * and ? match.")] = None,
    value_type: Annotated[str | None, typer.Option("--type", metavar="NAME", help="Of this type.")] = None,
    label: Annotated[str | None, typer.Option(metavar="TEXT", help="With this in their label.")] = None,
    command: Annotated[
        str | None, typer.Option(metavar="TEXT", help="With this on their command line.")
    ] = None,
    error: Annotated[str | None, typer.Option(metavar="TEXT", help="With this in an error.")] = None,
    longer: Annotated[float | None, typer.Option(metavar="SECONDS", help="That took longer.")] = None,
    order: Annotated[str | None, typer.Option(metavar="NAME", help="newest, oldest, slowest, ...")] = None,
    page: PageOption = None,
    repository: RepositoryOption = None,
    *,
    count: Annotated[bool, typer.Option("--count", help="Only how many.")] = False,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """List executions, jobs, calls, tasks, values, files or tags. `valuestore show ID` has more about each.

    Filters of one command line all have to be met.

    \b
    Examples:
      valuestore log --since 2d --status failed
      valuestore log jobs --task count --arg n=3     which jobs of a task were given this
      valuestore log --label best --tag project=words
      valuestore log files --file "data/*"
    """
    asked = {
        "task": task,
        "status": status,
        "since": since and moment(since),
        "until": until and moment(until),
        "tag": tag,
        "execution_tag": execution_tag,
        "execution": execution,
        ("path" if kind == "files" else "file"): file,
        "value_type": value_type,
        "label": label,
        "command_contains": command,
        "error_contains": error,
        "duration_over": longer,
    }
    from valuestore.db.history.records import plain, to_csv

    if as_csv and (as_json or page is not None):
        raise Usage("--csv excludes --json and --page")
    filters = {name: given for name, given in asked.items() if given is not None and given != []}
    with open_existing(repository) as opened:
        is_usual = not (filters or argument or result is not None or order or page is not None)
        if is_usual and kind in _USUAL and limit <= _USUAL_LIMIT and not (count or as_csv or as_json):
            none = "nothing has run yet" if kind == "executions" else f"no {kind} match"
            _show(opened.history.newest(_USUAL[kind], limit), kind, none)
            return
        query = _query(opened.history, kind)._filtered(filters)
        for each in _value_filters(argument or [], result):
            query = query._filtered(each)
        query = query.order(order) if order else query
        if count:
            print(query.count())
        elif as_csv:
            to_csv(query.shape.record_type, query.limit(limit), text_out())
        elif as_json and page is None:
            print_json_list(plain(record) for record in query.limit(limit))
        else:
            found = query.page(page, limit)
            if as_json:
                print_json_list(plain(record) for record in found.records)
                _say_more(found)
            else:
                _show(found, kind, f"no {kind} match")


def _show(found: Page[Any], kind: str, if_none: str) -> None:
    if found.records:
        columns, cells = _TABLES[kind]
        print_table(columns, [cells(record) for record in found.records])
    else:
        print(if_none)
    _say_more(found)


def _say_more(found: Page[Any]) -> None:
    if found.cursor is not None:
        say(f"there are more: --limit N, or --page {found.cursor}")


def _query(history: History, kind: str) -> Query[Any]:
    if kind not in _TABLES:
        raise Usage(f"{kind!r} is none of {', '.join(_TABLES)}")
    query: Query[Any] = getattr(history, kind)()
    return query.where(current=True) if kind == "tags" else query  # type: ignore[attr-defined]  # a TagQuery


def moment(text: str) -> datetime | timedelta:
    """``2h`` ago, or an ISO date or time; without a zone it is UTC, as times are shown. Raises: Usage."""
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isascii() and number.isdecimal() and len(number) < 7:
        return timedelta(seconds=int(number) * _UNITS[unit])
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise Usage(f"{text!r} is no time: write 2h, 3d, 2026-01-31 or 2026-01-31T12:00") from None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def parse_value(text: str) -> Any:
    """A value as it is written on a command line: JSON, else text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _value_filters(arguments: list[str], result: str | None) -> list[dict[str, Any]]:
    """One filter for each option, since all of them have to be met."""
    filters: list[dict[str, Any]] = []
    for text in arguments:
        name, equals, value = text.partition("=")
        if equals and name.isidentifier():
            filters.append({"arguments": {name: parse_value(value)}})
        elif text.startswith("@"):
            filters.append({"argument_hash": text[1:]})
        else:
            filters.append({"argument": parse_value(text)})
    if result is not None:
        is_hash = result.startswith("@")
        filters.append({"result_hash": result[1:]} if is_hash else {"result": parse_value(result)})
    return filters


def _execution(each: Any) -> tuple[object, ...]:
    counts = (each.executed, each.cached, each.failed)
    seconds = "" if each.seconds is None else f"{each.seconds:.2f}"
    return short(each.execution_id), shown_time(each.started), each.status, *counts, seconds, each.label


def _job(each: Any) -> tuple[object, ...]:
    result = each.error if each.status == "failed" else each.result
    seconds = f"{each.seconds:.3f}"
    return short(each.job_id), shown_time(each.started), each.status, seconds, each.task, result or ""


def _tag(each: Any) -> tuple[object, ...]:
    from valuestore.db.record.tag import format_tag

    told = format_tag(each.key, each.value)
    return short(each.entity_id), each.entity, told, each.author or "", shown_time(each.created)


_TABLES: dict[str, tuple[tuple[str, ...], Callable[[Any], tuple[object, ...]]]] = {
    "executions": (
        ("id", "started (UTC)", "status", "executed", "cached", "failed", "seconds", "label"),
        _execution,
    ),
    "jobs": (("id", "started (UTC)", "status", "seconds", "task", "result"), _job),
    "calls": (
        ("id", "task", "type", "result"),
        lambda each: (short(each.call_hash), each.task, each.result_type or "", each.result or ""),
    ),
    "tasks": (
        ("id", "task", "version", "source"),
        lambda each: (short(each.task_hash), each.task, each.version or "", each.source.partition("\n")[0]),
    ),
    "values": (
        ("id", "type", "bytes", "preview"),
        lambda each: (short(each.value_hash), each.type_name, each.size, each.path or each.preview),
    ),
    "files": (
        ("id", "kind", "path", "value"),
        lambda each: (short(each.value_hash), each.file_kind, each.path, each.preview or ""),
    ),
    "tags": (("id", "on", "tag", "by", "set (UTC)"), _tag),
}
