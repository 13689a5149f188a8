"""``valuestore lineage``: what made a value or file, and what used it."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from valuestore.cli.failure import Usage, say
from valuestore.cli.terminal import (
    JsonOption,
    PageOption,
    RepositoryOption,
    open_console,
    open_existing,
    print_json,
    shown,
)


def lineage(
    record: Annotated[
        str, typer.Argument(metavar="ID", help="Beginning of a value's, call's or job's id, or a path.")
    ],
    depth: Annotated[int, typer.Option(min=1, metavar="N", help="How many calls deep.")] = 20,
    rows: Annotated[int, typer.Option(min=1, max=100_000, metavar="N", help="How many steps.")] = 1000,
    page: PageOption = None,
    repository: RepositoryOption = None,
    *,
    down: Annotated[bool, typer.Option("--down", help="What used it, instead of what made it.")] = False,
    as_json: JsonOption = False,
    as_events: Annotated[
        bool, typer.Option("--openlineage", help="OpenLineage events, one JSON object to a line.")
    ] = False,
) -> None:
    """What made a value or file, and from what, across executions; --down: what used it.

    \b
    Examples:
      valuestore lineage figures/one.png      which calls made it, from which files
      valuestore lineage data.csv --down      what was made from it
    """
    from valuestore.db.history import lineage_forms

    if as_json and as_events:
        raise Usage("--json and --openlineage exclude each other")
    with open_existing(repository) as opened:
        history = opened.history
        ask = history.downstream if down else history.upstream
        found = ask(record, depth=depth, rows=rows, cursor=page)
    if as_json:
        print_json(lineage_forms.nested(found))
    elif as_events:
        import json

        for event in lineage_forms.openlineage(found):
            sys.stdout.write(json.dumps(event) + "\n")
    else:
        name = record if found.root.kind == "entry" else found.root.record_id
        _print_tree(list(lineage_forms.tree(found)), name, down=down)
    if found.cursor is not None:
        say(f"there is more: --rows N, or --page {found.cursor}")


def _print_tree(lines: list[tuple[int, str]], name: str, *, down: bool) -> None:
    """As a tree of rich; deep ones are indented lines, since rich draws trees by recursion."""
    if not lines:
        print(f"nothing is known to have {'used' if down else 'made'} {shown(name)}")
        return
    if max(depth for depth, _ in lines) > 100:  # rich's recursion would end somewhere
        for depth, line in lines:
            print("  " * depth + shown(line))
        return
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(Text(shown(name), style="bold"))
    branches = [root]
    for depth, line in lines:
        del branches[depth + 1 :]
        branches.append(branches[-1].add(Text(shown(line))))
    console = open_console()
    if console.is_terminal:
        console.print(root)
        return
    with console.capture() as captured:
        console.print(root)
    sys.stdout.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
