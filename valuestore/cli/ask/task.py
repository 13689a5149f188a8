"""``valuestore task``: what the results of a task depend on beside its arguments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.terminal import JsonOption, RepositoryOption, open_existing, print_json, short, shown

if TYPE_CHECKING:
    from valuestore.db.history.code import CodePart, TaskCode


def task(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name of a task, its last part, or the beginning of a hash.")
    ],
    repository: RepositoryOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """What a task depends on: code that it names, that arguments bring, that it reached; what it read."""
    with open_existing(repository) as opened:
        found = opened.history.code(name)
    if as_json:
        print_json(asdict(found))
    else:
        for line in _lines(found):
            print(shown(line))


def _lines(found: TaskCode) -> Iterator[str]:
    version = f", version {found.version}" if found.version else ""
    yield f"{found.task}  {short(found.task_hash)}{version}"
    if found.version:
        yield "a version speaks for all code: nothing below is followed until the version changes"
    followed = tuple(part for part in found.follows if part not in found.not_followed)
    yield from _section("follows", followed)
    yield from _section("counts, but not by its content", found.not_followed)
    yield from _section("brought by classes of arguments", found.classes)
    yield from _section("reached when it ran", found.reached)
    if found.undeclared:
        yield from ("", "read, though it is no argument: a change of it does not make the task run again")
        yield from (f"  {kind:<9} {name}" for kind, name in found.undeclared)


def _section(title: str, parts: tuple[CodePart, ...]) -> Iterator[str]:
    if parts:
        yield from ("", title)
        yield from (f"  {short(part.digest) or 'never the same':<14} {part.name}" for part in parts)
