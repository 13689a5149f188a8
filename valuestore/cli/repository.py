"""Which repository a command means, and ``init`` and ``stats``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.config import Settings, environment, load_settings, payloads_setting, write_setting
from valuestore.errors import ConfigError, NotARepository

if TYPE_CHECKING:
    from valuestore.db.engine import Database
    from valuestore.repository import Repository

RepositoryOption = Annotated[
    Path | None,
    typer.Option(
        "--repository", "-r", metavar="PATH", help="Its folder. Default: .valuestore here or in a parent."
    ),
]

JsonOption = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


def open_existing(location: Path | None) -> Repository:
    """The repository there, for looking at it: none is made. Raises: NotARepository."""
    from valuestore.repository import Repository

    _require(location)
    return Repository.open(location)


def open_database(location: Path | None) -> Database:
    """Its metadata database, whatever schema it has. Raises: NotARepository."""
    from valuestore import repository

    return repository.open_database(*_require(location))


def _require(location: Path | None) -> tuple[Path, Settings]:
    from valuestore.repository import find_folder

    folder = find_folder(location)
    settings = load_settings(folder, {})
    if not settings.database and not (folder / "valuestore.db").exists():
        raise NotARepository(str(folder), "there is none yet (`valuestore init` makes one)")
    return folder, settings


def init(
    path: Annotated[Path | None, typer.Argument(metavar="PATH", help="Default: this folder.")] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="NAME", help="xxh3-128 (default) or blake3-256.")
    ] = None,
    payloads: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where large values go: redis://..., s3://..., a folder."),
    ] = None,
) -> None:
    """Make a repository, or say what the one there is."""
    from valuestore.repository import Repository, find_folder

    location = path or environment("repository") or Path.cwd()
    folder = find_folder(location)
    setting = payloads_setting(payloads) if payloads else None
    if setting and (folder / "valuestore.db").exists() and load_settings(folder, {}).payloads != setting:
        raise ConfigError("payloads", f"{folder} exists; `valuestore payloads move URL` moves what it has")
    with Repository.open(location, digest=digest, payloads=setting) as repository:
        if setting:
            write_setting(repository.folder, "payloads", setting)
        print(f"{repository.folder}  digest {repository.algorithm}  id {repository.repository_id}")


def stats(repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """How much a repository keeps: rows by table, and bytes."""
    from valuestore.cli.terminal import print_json, print_table

    with open_existing(repository) as opened:
        found = opened.stats()
    sizes = {"inline_bytes": found.inline_bytes, "stored_bytes": found.stored_bytes}
    if as_json:
        print_json({"rows": found.rows, **sizes})
        return
    print_table(("kept", "count"), [(name, f"{count:,}") for name, count in (found.rows | sizes).items()])
