"""``valuestore sql``: any SELECT on the metadata database, which itself refuses to write."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from valuestore.cli.failure import Usage, say
from valuestore.cli.terminal import (
    CsvOption,
    JsonOption,
    RepositoryOption,
    open_existing,
    print_json,
    print_table,
    shown,
)

_TABLE_ROWS = 1000


def sql(
    query: Annotated[str, typer.Argument(metavar="SELECT", help='One statement, such as "select 1".')],
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="At most so many rows.")
    ] = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Ask the database. It is opened for reading only.

    \b
    Views, made for asking:
      executions  execution_id label status started seconds jobs executed cached failed
      jobs        job_id execution_id parent_id task status started seconds
                  result_type result error call_hash task_hash args_hash value_hash
      slow_jobs   those that took 10 ms or more, the same columns; sorts a million by seconds at once
      task_counts task status jobs seconds
      arguments   args_hash position name type value path value_hash
      results     call_hash task args_hash type result bytes path value_hash
      lineage     call_hash task via argument source_call_hash source_task value_hash
      files       path kind role task argument call_hash value_hash
      tags        entity entity_id key value author created
      storage     type codec number inline_bytes stored_bytes

    \b
    Tables: execution job call_node call_edge argument evaluation task value payload tag
    ("pragma table_info(job)" lists the columns of one). Times in tables are microseconds since 1970, UTC.

    \b
    Examples:
      valuestore sql "select task, status, jobs, seconds from task_counts"
      valuestore sql "select job_id, error from jobs where status = 'failed'" --json
    """
    if as_json and as_csv:
        raise Usage("--json and --csv exclude each other")
    most = limit if limit or as_json or as_csv else _TABLE_ROWS + 1
    with open_existing(repository) as opened:
        found = opened.history.query(query, most)
    if as_json:
        columns = _distinct(found.columns)
        print_json([dict(zip(columns, row, strict=True)) for row in found.rows])
    elif as_csv:
        _print_csv(found.columns, found.rows)
    else:
        cut = limit is None and len(found.rows) > _TABLE_ROWS
        if found.columns:
            print_table(found.columns, found.rows[:_TABLE_ROWS] if cut else found.rows)
        if cut:
            say(f"these are the first {_TABLE_ROWS} rows; --limit N, --json or --csv give more")


def _print_csv(columns: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """RFC 4180 but for line ends; NULL is empty, bytes are hex. Escaped on a terminal, exact elsewhere."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    on_terminal = sys.stdout.isatty()
    for row in (columns, *rows):
        cells = [cell.hex() if isinstance(cell, bytes) else cell for cell in row]
        writer.writerow([shown(cell) if on_terminal and isinstance(cell, str) else cell for cell in cells])


def _distinct(columns: tuple[str, ...]) -> list[str]:
    """Column names, a repeated one with its number: JSON objects have each name once."""
    names: list[str] = []
    for column in columns:
        name, count = column, 2
        while name in names:
            name, count = f"{column}_{count}", count + 1
        names.append(name)
    return names
