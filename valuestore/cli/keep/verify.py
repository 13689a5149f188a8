"""``valuestore verify`` and ``valuestore repair``: whether all that is recorded is what it says."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import Usage, report
from valuestore.cli.terminal import (
    JsonOption,
    RepositoryOption,
    located,
    open_existing,
    print_facts,
    print_json,
    shown,
)
from valuestore.errors import NotARepository, ValuestoreError

if TYPE_CHECKING:
    from valuestore.db.upkeep.verify import Finding, Verified, Verifier
    from valuestore.repository import Repository
    from valuestore.stores.content.store import ContentStore


def verify(
    repository: RepositoryOption = None,
    *,
    sample: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="So many values alone, at random places.")
    ] = None,
    max_seconds: Annotated[
        float | None,
        typer.Option(metavar="S", min=0, help="End after S seconds; the next goes on from there."),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Read everything that is recorded, and say what is not what it should be. Changes nothing.

    \b
    The exit code is the sum of
      1   damaged       bytes or rows are not what their hashes say
      2   missing       a payload or a value is gone
      4   untrusted     no key of yours vouches for what cannot be read without
      8   unverifiable  a class, codec, store or repository is not there to read it with
      16  orphans       payloads that no value has: harmless, and collected by `valuestore gc`

    A damaged or missing value is computed again by the next run that wants it; see `valuestore repair`.

    \b
    Examples:
      valuestore verify
      valuestore verify --max-seconds 600     each night a part, the one that was not looked at longest
    """
    if sample is not None and max_seconds is not None:
        raise Usage("--sample and --max-seconds are two ways to look at a part; give one of them")
    try:
        with open_existing(repository) as opened:
            verifier = _verifier(opened)
            found = verifier.verify(max_seconds=max_seconds) if sample is None else verifier.sample(sample)
            for finding in _watched(found, verifier):
                _tell(finding, as_json=as_json)
    except ValuestoreError as error:  # its usual exit codes would read as findings
        from valuestore.db.upkeep.verify import Verdict

        report(error)
        return int(Verdict.UNVERIFIABLE)
    _sum_up(verifier.report, {}, as_json=as_json)
    return verifier.report.exit_code


def repair(
    repository: RepositoryOption = None,
    *,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            metavar="PLACE",
            help="A repository, or a payload store, that may have it; may be repeated.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> int:
    """Restore what is damaged or missing from where it is whole, or drop it, so that it is computed again.

    What is left is orphans, and what this program cannot judge.

    \b
    Examples:
      valuestore repair
      valuestore repair --from /srv/team --from s3://bucket/payloads
    """
    from valuestore.db.upkeep.repair import Repairer

    with open_existing(repository) as opened, ExitStack() as stack:
        sources = [_payloads(place, opened, stack) for place in source or ()]
        verifier = _verifier(opened)
        repairer = Repairer(opened.database, opened.lookup, opened.archive, sources)
        outcomes: dict[str, int] = {}
        for repaired in repairer.repair(_watched(verifier.verify(), verifier)):
            outcomes[repaired.outcome.value] = outcomes.get(repaired.outcome.value, 0) + 1
            _tell(repaired.finding, as_json=as_json, outcome=repaired.outcome.value)
    _sum_up(verifier.report, outcomes, as_json=as_json)
    return 0


def _verifier(repository: Repository) -> Verifier:
    from valuestore.db.upkeep.verify import Verifier

    return Verifier(repository.database, repository.lookup, repository.archive)


def _payloads(place: str, repository: Repository, stack: ExitStack) -> ContentStore:
    """Those of a repository, or a payload store by its URL or folder, which is not made."""
    from valuestore.stores.content.marker import MARKER_KEY
    from valuestore.stores.content.store import ContentStore
    from valuestore.stores.wrappers.opening import folder_of, open_payloads

    folder, store = folder_of(place), None
    if "://" not in folder:
        with suppress(NotARepository):
            return stack.enter_context(open_existing(located(folder))).payloads
    if "://" in folder or Path(folder).is_dir():
        store = open_payloads(place, repository.settings.shared)
    if store is None or not store.exists(MARKER_KEY):  # what it lacks would be dropped
        raise Usage(f"--from {place}: neither a repository nor payloads of one are there")
    return stack.enter_context(ContentStore(store, algorithm=repository.algorithm))


def _watched(findings: Iterable[Finding], verifier: Verifier) -> Iterator[Finding]:
    """The same, with a bar on a terminal."""
    if not sys.stderr.isatty():
        yield from findings
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("values", total=None)
        verifier.on_page = lambda report: progress.update(bar, completed=report.values, total=report.total)
        yield from findings


def _tell(finding: Finding, *, as_json: bool, outcome: str = "") -> None:
    """Say it as soon as it is found; JSON has all at its end."""
    if not as_json:
        end = f"; {outcome}" if outcome else ""
        what = f"{str(finding.verdict.name).lower()}: {finding.kind} {finding.name}: {finding.reason}{end}"
        print(shown(what))


def _sum_up(report: Verified, outcomes: dict[str, int], *, as_json: bool) -> None:
    counts = {str(verdict.name).lower(): count for verdict, count in sorted(report.counts.items())}
    facts: dict[str, Any] = {
        "values": report.values,
        "bytes": report.bytes,
        "rows": report.records,
        **counts,
        **outcomes,
        "all": report.is_whole,
    }
    if as_json:
        told = [{**one._asdict(), "verdict": str(one.verdict.name).lower()} for one in report.findings]
        print_json({**facts, "findings": told})
    else:
        print_facts((name, count) for name, count in facts.items())
