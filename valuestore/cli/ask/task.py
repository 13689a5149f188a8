"""``valuestore task``: what a task is, how often it ran, and what its results depend on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

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
    """What a task is, how often it ran, who called it, and what it depends on.

    That is code that it names, that its arguments bring, and that it reached when it ran; and what it read.

    \b
    Examples:
      valuestore task count         the newest version of the task of that name, whatever its namespace
      valuestore log tasks --task count
    """
    from valuestore.db.history.records import plain

    with open_existing(repository) as opened:
        found = opened.history.code(name)
        counts = [plain(each) for each in opened.history.task_counts() if each.task == found.task]
        tags = opened.tags.get(found.task_hash)
    if as_json:
        print_json({**asdict(found), "counts": counts[0] if counts else None, "tags": tags})
        return
    for line in (*_what(found, counts, tags), *_lines(found)):
        print(shown(line, lines=True))


def _what(found: TaskCode, counts: list[dict[str, Any]], tags: dict[str, Any]) -> Iterator[str]:
    from valuestore.db.record.tag import UNDECLARED, format_tag

    version = f", version {found.version}" if found.version else ""
    yield f"{found.task}  {short(found.task_hash)}{version}"
    for count in counts:
        statuses = ", ".join(f"{count[name]} {name}" for name in ("executed", "cached", "failed"))
        yield f"{count['jobs']} jobs ({statuses}), {count['seconds']:.2f} s in its bodies"
    declared = [format_tag(*each) for each in tags.items() if not each[0].startswith(UNDECLARED)]
    yield from [f"tags {', '.join(declared)}"] if declared else []
    if found.called_by:
        yield f"called by {', '.join(f'{name} ({count})' for name, count in found.called_by)}"
    if len(found.versions) > 1:
        known = (f"{short(each)} {version}" if version else short(each) for each, version in found.versions)
        yield f"versions, newest first: {', '.join(known)}"
    yield from ("", *found.source.rstrip().splitlines())


def _lines(found: TaskCode) -> Iterator[str]:
    if found.version:
        yield ""
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
