"""``valuestore payloads``: where the bytes of large values are kept, and moving them elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from valuestore.cli.keep.setting import check_writable, payloads_setting, write_setting
from valuestore.cli.terminal import RepositoryOption, command_group, open_existing
from valuestore.errors import PayloadCorrupt, PayloadError, StoreError

if TYPE_CHECKING:
    from valuestore.hashing import Digest
    from valuestore.repository import Repository
    from valuestore.stores.content.store import ContentStore

_TOGETHER = 500
"""So many payloads are asked for at once, whether they are there."""

payloads = command_group("Where the bytes of large values are kept, and moving them elsewhere.")


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
        for problem in _moved(repository.payloads, target, digests):
            progress.advance(bar)
            if problem is not None:
                problems += 1
                print(f"valuestore: {problem}", file=sys.stderr)
    return problems


def _moved(
    source: ContentStore, target: ContentStore, digests: Sequence[Digest]
) -> Iterator[PayloadError | None]:
    """Copy each payload that the target lacks, one in memory at most: for each, what is wrong with it.

    Raises: StoreError if either store does not answer; what was copied stays.
    """
    for first in range(0, len(digests), _TOGETHER):
        some = digests[first : first + _TOGETHER]
        present = target.has_many(some)
        yield from (None if digest in present else _copied(source, target, digest) for digest in some)
    target.flush()


def _copied(source: ContentStore, target: ContentStore, digest: Digest) -> PayloadError | None:
    try:
        with source.open(digest) as stream:
            ref = target.put(stream)
    except PayloadError as problem:
        return problem
    is_same = ref.digest == digest
    return None if is_same else PayloadCorrupt(digest, source.url, f"it arrived as {ref.digest}")
