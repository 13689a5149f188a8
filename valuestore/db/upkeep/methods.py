"""Upkeep: what is done with a repository as a whole, as its methods. The work is elsewhere, imported late.

The base of ``Repository``, which is above this.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from valuestore.errors import NotARepository

if TYPE_CHECKING:
    from collections.abc import Iterable

    from valuestore.db.upkeep import Whole
    from valuestore.db.upkeep.gc import GcReport
    from valuestore.db.upkeep.sync import Sent
    from valuestore.db.upkeep.verify import Verified

    Place = Whole | str | os.PathLike[str]


class Upkeep:
    """Collecting what is no longer wanted; sending records to other repositories and files, and taking them.

    ``names`` are those of executions, tasks, calls, jobs and values, as in ``history.find_one``, and ``tags``
    are ``key`` or ``key=value``: these records travel with all that a rerun and the history need. Without
    either, everything does. Only what is missing is sent, so that what was interrupted is called again.
    """

    def gc(
        self: Whole,
        *,
        keep_last: int | None = None,
        older_than_seconds: float | None = None,
        dry_run: bool = True,
        grace_seconds: float = 3600.0,
        shared_with: Iterable[Whole] = (),
        force: bool = False,
    ) -> GcReport:
        """Delete what nothing that is kept leads to; a ``dry_run`` only tells. See docs/lifecycle.md.

        Kept are the ``keep_last`` newest executions and those that are not ``older_than_seconds``; without
        either, and without such rules in ``valuestore.toml``, all. A payload that no row names yet is left
        for ``grace_seconds``. ``shared_with`` are all other repositories with payloads in the same store.
        ``force``: also where payloads are missing, or clocks apart. Raises: CollectionRefused; StoreReadOnly.
        """
        from valuestore.db.upkeep.gc import Plan, collect
        from valuestore.db.upkeep.roots import Rules

        rules = Rules.of(self.settings.keep, keep_last, older_than_seconds)
        plan = Plan(rules, grace_seconds=grace_seconds, dry_run=dry_run, force=force)
        return collect(self, plan, tuple(shared_with))

    def delete(
        self: Whole, name: Any, *, dry_run: bool = False, shared_with: Iterable[Whole] = ()
    ) -> GcReport:
        """Delete an execution, or a value that was put by hand, with what nothing else leads to.

        ``name`` is as in ``get``, and ``shared_with`` as in ``gc``. Raises: as these; CollectionRefused while
        it runs, for what is pinned, and for a value that executions lead to.
        """
        from valuestore.db.upkeep.gc import delete

        return delete(self, name, tuple(shared_with), dry_run=dry_run)

    def verify(self: Whole, *, sample: int | None = None, max_seconds: float | None = None) -> Verified:
        """Read everything that is recorded, and tell what is not what it says: ``findings``, ``exit_code``.

        So many values alone with ``sample``, at random places; with ``max_seconds`` what there is time for,
        and the next time goes on from there. Raises: DatabaseError; StoreError if payloads cannot be listed.
        """
        from valuestore.db.upkeep.verify import Verifier

        self.check_open()
        self.flush()
        verifier = Verifier(self.database, self.lookup, self.archive)
        for _ in verifier.verify(max_seconds=max_seconds) if sample is None else verifier.sample(sample):
            pass
        return verifier.report

    def push(self: Whole, other: Place, *names: Any, tags: tuple[str, ...] = ()) -> Sent:
        """Send to another repository, open or where it is. Raises: ConfigError if that has another digest;
        RecordNotFound, AmbiguousId; StoreReadOnly, StoreError, DatabaseError.
        """
        from valuestore.db.upkeep import sync

        seeds = sync.seeds_of(self, names, tags)  # before a repository is made there
        with _opened(self, other) as target:
            return sync.push(self, target, seeds)

    def pull(self: Whole, other: Place, *names: Any, tags: tuple[str, ...] = ()) -> Sent:
        """Take from another repository, which the names are of. Raises: as ``push``; NotARepository."""
        from valuestore.db.upkeep import sync

        if not isinstance(other, Upkeep) and not os.path.isdir(other):  # type: ignore[arg-type]
            raise NotARepository(str(other), "there is no such folder")
        with _opened(self, other) as source:
            return sync.push(source, self, sync.seeds_of(source, names, tags))

    def export(
        self: Whole,
        file: str | os.PathLike[str],
        *names: Any,
        tags: tuple[str, ...] = (),
        overwrite: bool = False,
    ) -> Sent:
        """Write a file that ``import_`` takes; of everything, it is a backup. Runs may go on meanwhile.

        Raises: AlreadyExists; RecordNotFound, AmbiguousId; StoreUnavailable if the disk is full, and no file
        is left then.
        """
        from valuestore.db.upkeep import sync

        return sync.export(self, file, names, tags, overwrite=overwrite)

    def import_(self: Whole, file: str | os.PathLike[str], *, max_bytes: int | None = None) -> Sent:
        """Take what such a file has. Pickles in it are loaded only if a key of this user signed them.

        ``max_bytes`` is what it may be unpacked (default: 1 GiB, or a thousand times its size). Raises:
        BundleRefused, before anything is written; ConfigError if it has another digest.
        """
        from valuestore.db.upkeep import sync

        return sync.import_(self, file, max_bytes)


def _opened(own: Whole, place: Place) -> AbstractContextManager[Whole]:
    return nullcontext(place) if isinstance(place, Upkeep) else own.open(place, digest=own.algorithm)  # type: ignore[arg-type]
