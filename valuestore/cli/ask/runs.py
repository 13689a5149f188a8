"""``valuestore runs``: the runs of a task as a table, with its parameters, metrics and tags as columns."""

from __future__ import annotations

import csv
from typing import Annotated, Any

import typer

from valuestore.cli.ask.log import moment
from valuestore.cli.failure import Usage, say
from valuestore.cli.terminal import (
    CsvOption,
    JsonOption,
    LimitOption,
    RepositoryOption,
    SinceOption,
    open_existing,
    print_json,
    print_table,
    short,
    shown_time,
    text_out,
)


def runs(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Its name, or the last part of it.")],
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Smallest first; -COLUMN: largest. Default: newest.")
    ] = None,
    limit: LimitOption = 100,
    execution: Annotated[str | None, typer.Option(metavar="ID", help="Those of this execution.")] = None,
    since: SinceOption = None,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
) -> None:
    """Compare runs of a task: a row for each time its body ran, parameters, metrics and tags as columns.

    Parameters and metrics are numbers, texts and the like in what it was given and in what it gave; those in
    a dict are named for its keys, such as config.rate. Tags are those of job, execution and result.

    \b
    Examples:
      valuestore runs fit --sort loss         the best first, if less is better
      valuestore runs fit --sort -accuracy    the best first, if more is better
      valuestore runs fit --csv > fits.csv
    """
    if as_csv and as_json:
        raise Usage("--json and --csv exclude each other")
    with open_existing(repository) as opened:
        name = opened.history.code(task).task
        query = opened.history.jobs().where(since=moment(since) if since else None)
        found = query.where(task=name, status=("done", "failed"), execution=execution).limit(limit).runs()
        if len(found) == limit:
            say(f"the newest {limit}; there may be more: --limit N")
    columns = list(dict.fromkeys(column for row in found for column in row))
    if sort is not None:
        found = _sorted(found, columns, sort)
    exact = [{**row, "started": row["started"].isoformat()} for row in found]
    if as_json:
        print_json(exact)
    elif as_csv:
        writer = csv.DictWriter(text_out(), columns)
        writer.writeheader()
        writer.writerows(exact)
    elif found:
        shown = [column for column in columns if column != "execution"]
        rows = [[_cell(column, row.get(column, "")) for column in shown] for row in found]
        print_table([{"job": "id", "started": "started (UTC)"}.get(each, each) for each in shown], rows)
    else:
        print(f"{name} has not run")


def _sorted(rows: list[dict[str, Any]], columns: list[str], sort: str) -> list[dict[str, Any]]:
    """By a column, rows without it last; numbers before texts."""
    name, is_reversed = (sort, False) if sort in columns else (sort.removeprefix("-"), True)
    if name not in columns:
        raise Usage(f"--sort: there is no column {name!r}; there are {', '.join(columns)}")

    def place(row: dict[str, Any]) -> tuple[bool, Any]:
        value = row[name]
        return (False, value) if isinstance(value, int | float) else (True, str(value))

    there = [row for row in rows if row.get(name) is not None]
    return sorted(there, key=place, reverse=is_reversed) + [row for row in rows if row.get(name) is None]


def _cell(column: str, value: Any) -> object:
    if column == "job":
        return short(value)
    if column == "started":
        return shown_time(value)
    if column == "seconds":
        return f"{value:.3f}"
    return f"{value:.6g}" if isinstance(value, float) else value
