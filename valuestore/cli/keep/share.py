"""``valuestore push``, ``pull``, ``export``, ``import``, ``backup``: records and payloads, there and back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.failure import REPOSITORY, Usage, say
from valuestore.cli.terminal import RepositoryOption, located, open_existing, shown
from valuestore.errors import AlreadyExists, StoreError

if TYPE_CHECKING:
    from valuestore.db.upkeep.sync import Sent

OtherArgument = Annotated[
    Path,
    typer.Argument(metavar="OTHER", parser=located, help="Its folder, or a name of `valuestore repo`."),
]
FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="Its path, such as monday.vsb.")]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID ...]",
        help="Executions, tasks, calls, jobs, values, catalog:NAME. Default: everything.",
    ),
]
TagOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="What has this tag; may be repeated.")
]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace FILE if there is one.")]


def push(
    other: OtherArgument,
    names: NamesArgument = None,
    tag: TagOption = None,
    repository: RepositoryOption = None,
) -> int:
    """Send executions, or everything, to another repository, which is made if there is none.

    With them goes what a rerun and the history need. What is there is not sent again: after an interruption,
    push again.

    \b
    Examples:
      valuestore push /srv/team -                the newest execution
      valuestore push team --tag stage=paper     what is tagged so, to the one that `repo add` named team
      valuestore push team catalog:models/best   a name, and what made its value
    """
    from valuestore.repository import find_folder

    with open_existing(repository) as opened:  # not into memory, which ends with this program
        folder = find_folder(other)
        new = "" if folder.exists() else ", which is new"
        sent = opened.push(folder, *names or (), tags=tuple(tag or ()))
        return _say("sent", sent, f" to {folder}{new}")


def pull(
    other: OtherArgument,
    names: NamesArgument = None,
    tag: TagOption = None,
    repository: RepositoryOption = None,
) -> int:
    """Take executions, or everything, from another repository; IDs are those there.

    \b
    Examples:
      valuestore pull team                    everything that is not here yet
      valuestore pull team --tag stage=paper
    """
    from valuestore.repository import Repository

    with (
        open_existing(other) as source,
        Repository.open(repository, digest=source.algorithm) as opened,
    ):
        received = opened.pull(source, *names or (), tags=tuple(tag or ()))
        return _say("received", received, f" from {source.folder}")


def export(
    file: FileArgument,
    names: NamesArgument = None,
    tag: TagOption = None,
    repository: RepositoryOption = None,
    *,
    overwrite: OverwriteOption = False,
) -> int:
    """Write executions, or everything, into one file for `valuestore import`.

    \b
    Examples:
      valuestore export last.vsb -                 the newest execution
      valuestore export paper.vsb --tag stage=paper
    """
    with open_existing(repository) as opened:
        try:
            sent = opened.export(file, *names or (), tags=tuple(tag or ()), overwrite=overwrite)
        except AlreadyExists as error:
            raise StoreError(f"{file} is there already; --overwrite replaces it") from error
        return _say(f"wrote {file}:", sent)


def backup(
    file: FileArgument, repository: RepositoryOption = None, *, overwrite: OverwriteOption = False
) -> int:
    """Write everything into one file, as it is at this moment; runs may go on.

    `valuestore import FILE -r FOLDER` restores it. Not in it: valuestore.toml, and your keys.

    \b
    Example:
      valuestore backup monday.vsb
    """
    return export(file, repository=repository, overwrite=overwrite)


def import_(
    file: FileArgument,
    repository: RepositoryOption = None,
    max_bytes: Annotated[
        int | None, typer.Option(min=1, metavar="BYTES", help="Refuse what unpacks to more than this.")
    ] = None,
) -> int:
    """Take over what a file of `valuestore export` has. All of it is checked first.

    Without a repository, one is made. Pickles in the file load only if a key of yours signed them.

    \b
    Example:
      valuestore import monday.vsb -r restored
    """
    from valuestore.db.upkeep.bundle import Bundle
    from valuestore.repository import Repository

    if not file.exists():
        raise Usage(f"cannot read {file}: there is no such file")
    with closing(Bundle(str(file))) as bundle:
        digest = str(bundle.head.get("digest"))
    with Repository.open(repository, digest=digest) as opened:
        return _say("imported", opened.import_(file, max_bytes=max_bytes), f" into {opened.folder}")


def _say(what: str, sent: Sent, where: str = "") -> int:
    """Say it; the exit code."""
    size = f"{sent.payload_bytes:,} bytes"
    print(shown(f"{what} {sent.records:,} records and {sent.payloads:,} payloads ({size}){where}"))
    for problem in sent.problems:
        say(problem)
    if sent.lost:
        say(f"{sent.lost:,} records or payloads are damaged or missing, and were left out")
    return REPOSITORY if sent.lost else 0
