"""``valuestore init``: make a repository, or say what the one there is."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from valuestore.cli.keep.setting import check_writable, payloads_setting, write_setting
from valuestore.cli.terminal import (
    JsonOption,
    RepositoryOption,
    open_existing,
    print_facts,
    print_json,
    print_more,
    print_table,
)
from valuestore.config import environment, load_settings
from valuestore.errors import ConfigError


def init(
    path: Annotated[Path | None, typer.Argument(metavar="PATH", help="Default: this folder.")] = None,
    digest: Annotated[
        str | None, typer.Option(metavar="NAME", help="xxh3-128 or blake3-256 (default: docs/trust.md).")
    ] = None,
    payloads: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Where large values go: redis://..., s3://..., a folder."),
    ] = None,
    *,
    shared: Annotated[bool, typer.Option("--shared", help="Your group may read and write it, too.")] = False,
) -> None:
    """Make a repository, or say what the one there is."""
    from valuestore.repository import Repository, find_folder

    location = path or environment("repository") or Path.cwd()
    folder = find_folder(location)
    setting = payloads_setting(payloads) if payloads else None
    if setting and (folder / "valuestore.db").exists() and load_settings(folder, {}).payloads != setting:
        raise ConfigError("payloads", f"{folder} exists; `valuestore payloads move URL` moves what it has")
    if setting:
        check_writable(folder, "payloads", setting)
    with Repository.open(location, digest=digest, payloads=setting, shared=shared or None) as repository:
        if setting:
            write_setting(repository.folder, "payloads", setting)
        print(f"{repository.folder}  digest {repository.algorithm}  id {repository.repository_id}")


# --- ``valuestore stats``: how much a repository keeps.


def stats(repository: RepositoryOption = None, *, as_json: JsonOption = False) -> None:
    """How much a repository keeps: rows by table, and bytes by task, type and last use."""
    with open_existing(repository) as opened:
        found = opened.stats()
    if as_json:
        print_json(dataclasses.asdict(found))
        return
    sizes = {"inline_bytes": found.inline_bytes, "stored_bytes": found.stored_bytes}
    print_table(("kept", "count"), [(name, f"{count:,}") for name, count in (found.rows | sizes).items()])
    for name, shares in (("task", found.tasks), ("type", found.types), ("last used", found.ages)):
        lines = [(key, f"{share.count:,}", f"{share.bytes:,}") for key, share in shares.items()]
        print_more((name, "values", "bytes"), lines)
    print()
    print_facts([("deduplication", found.deduplication), ("compression", found.compression)])
    print("what could go: `valuestore gc --keep-last 20` (nothing is deleted without --yes)")
