"""``valuestore payloads``: where the bytes of large values are kept, and moving them elsewhere."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.keep.setting import check_writable, payloads_setting, write_setting
from valuestore.cli.terminal import RepositoryOption, open_existing
from valuestore.errors import StoreError

if TYPE_CHECKING:
    from valuestore.repository import Repository

payloads = typer.Typer(invoke_without_command=True)


@payloads.callback()
def where(context: typer.Context) -> None:
    """Where the bytes of large values are kept, and moving them elsewhere."""
    if context.invoked_subcommand is None:
        print(context.get_help())


@payloads.command()
def move(
    url: Annotated[str, typer.Argument(metavar="URL", help="redis://..., s3://..., or a folder.")],
    repository: RepositoryOption = None,
) -> None:
    """Copy every payload to URL, verified, and use it from then on. The old copies stay where they are.

    Interrupted, it is run again: what has arrived is not sent twice. Let no pipeline run meanwhile.
    """
    checked = payloads_setting(url)
    with open_existing(repository) as opened:
        check_writable(opened.folder, "payloads", checked)
        missing = _move(opened, checked)
        if missing:
            raise StoreError(f"{missing} payloads could not be copied, so the setting was left as it was")
        write_setting(opened.folder, "payloads", checked)
        print(f"payloads are at {checked} now (set in {opened.folder / 'valuestore.toml'})")


def _move(repository: Repository, url: str) -> int:
    """Copy all; how many could not be. Problems are told on standard error as they are found."""
    from rich.console import Console
    from rich.progress import Progress

    from valuestore.stores.content.moving import move_payloads
    from valuestore.stores.content.store import ContentStore
    from valuestore.stores.wrappers.opening import open_payloads

    digests = repository.history.payload_digests()
    problems = 0
    with (
        ContentStore(
            open_payloads(url, repository.settings.shared), algorithm=repository.algorithm
        ) as target,
        Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress,
    ):
        target.owners()  # that it answers, also where there is nothing to copy
        bar = progress.add_task("payloads", total=len(digests))
        for moved in move_payloads(repository.payloads, target, digests):
            progress.advance(bar)
            if moved.problem is not None:
                problems += 1
                print(f"valuestore: {moved.problem}", file=sys.stderr)
    return problems
