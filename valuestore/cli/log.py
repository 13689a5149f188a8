"""``valuestore log``: the newest executions; and the short names they have, ``-`` and ``~2``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.failure import Usage
from valuestore.cli.repository import JsonOption, RepositoryOption, open_existing
from valuestore.cli.terminal import print_json, print_table, short

if TYPE_CHECKING:
    from valuestore.db.history import History

_COLUMNS = ("id", "started (UTC)", "status", "executed", "cached", "failed", "seconds", "label")


def log(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="How many.")] = 20,
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """The newest executions, newest first. `valuestore show ID` has more about each."""
    with open_existing(repository) as opened:
        executions = opened.history.executions(limit).dicts()
    if as_json:
        print_json(executions)
        return
    if not executions:
        print("nothing has run yet")
        return
    print_table(
        _COLUMNS,
        [
            (
                short(each["execution_id"]),
                each["started"],
                each["status"],
                each["executed"],
                each["cached"],
                each["failed"],
                "" if each["seconds"] is None else f"{float(each['seconds']):.2f}",
                each["label"],
            )
            for each in executions
        ],
    )


def execution_named(name: str, history: History) -> str | None:
    """The whole id of ``-`` (the newest execution) and ``~2`` (two before it); None for other names.

    Raises: Usage if there are not so many.
    """
    if name != "-" and not name.startswith("~"):
        return None
    steps = "0" if name == "-" else name[1:] or "1"
    if not steps.isdecimal() or len(steps) > 6:
        raise Usage(f"{name!r} names no execution: write - for the newest, ~2 for the second before it")
    newest = history.executions(int(steps) + 1).dicts()
    if len(newest) <= int(steps):
        raise Usage(f"{name!r} names no execution: there are {len(newest)}")
    return str(newest[int(steps)]["execution_id"])
