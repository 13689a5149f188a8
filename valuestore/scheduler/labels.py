"""Tagging: the labels of one run: given to it, set by ``tag`` in its pipeline, and set by themselves.

Every execution is labelled with the version, the user, the host, and the git commit it ran from.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestore.db.record.tag import current_author, tag_rows
from valuestore.errors import NotHashableError, StoreError, ValuestoreWarning
from valuestore.repository import Repository
from valuestore.scheduler.job import Job
from valuestore.scheduler.record import Execution
from valuestore.version import __version__


class Tagging:
    """Keeps the labels of one run. ``job`` is the one whose result is being put together."""

    def __init__(self, repository: Repository, execution: Execution, tags: Mapping[str, Any]) -> None:
        self.archive = repository.archive
        self.recorder = repository.recorder
        self.execution = execution
        self.author = current_author()
        self.job: Job | None = None
        self._checkout: Checkout | None = None
        self._given = {
            "valuestore.version": __version__,
            "user": current_author(),
            "host": os.uname().nodename,
            **repository.settings.tags,
            **tags,
        }

    def begin(self) -> None:
        """Record what the run is labelled with from its start. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, self._given)
        folder = find_checkout()
        self._checkout = Checkout.of(folder) if folder else None

    def keep_checkout(self) -> None:
        """Record what git says, once it has."""
        if self._checkout is not None and self._checkout.is_known():
            checkout, self._checkout = self._checkout, None
            found = {key: value for key, value in checkout.tags.items() if key not in self._given}
            self._keep("execution", self.execution.execution_id, found)

    def end(self) -> None:
        """Record what took a while to find out."""
        if self._checkout is not None:
            self._checkout.wait()
            self.keep_checkout()

    def keep(
        self,
        value: Any,
        tags: Mapping[str, Any],
        job_tags: Mapping[str, Any],
        execution_tags: Mapping[str, Any],
    ) -> None:
        """What ``tag`` was given. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, execution_tags)
        if self.job is not None:
            self._keep("job", self.job.job_id, job_tags)
            self.job.replayable &= not (job_tags or execution_tags)  # each run has its own
        if not tags:
            return
        try:
            ref = self.archive.pack(value)
        except (NotHashableError, StoreError) as error:
            warnings.warn(f"a value is not tagged: {error}", ValuestoreWarning, stacklevel=2)
            return
        self.recorder.record_values((ref,))
        self._keep("value", ref.value_hash, tags)

    def _keep(self, entity: str, entity_id: str, tags: Mapping[str, Any]) -> None:
        if tags:
            self.recorder.record_tags(tag_rows(entity, entity_id, tags, self.author))


# --- Checkout: the git working tree that a run starts in: its commit, and whether it has changes.
#
# Git is asked on a thread of its own, since that takes a while.


_DIRTY_SECONDS = 30.0
"""For so long the answer of git is taken to hold."""

_GIT_SECONDS = 5.0
_PATIENCE_SECONDS = 0.2
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

_GIT = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false"]
"""fsmonitor is a program that the checkout's own configuration names."""


def find_checkout() -> Path | None:
    """The folder of the checkout that the current folder is in; None outside of one."""
    try:
        here = Path.cwd()
        return next((each for each in (here, *here.parents) if (each / ".git").exists()), None)
    except OSError:  # the current folder is gone, or not ours to look at
        return None


class Checkout:
    """What git says of a checkout: the commit, and whether there are changes that are not committed."""

    _known: dict[Path, Checkout] = {}  # noqa: RUF012  # of this process

    def __init__(self, folder: Path) -> None:
        self.asked = time.monotonic()
        self.tags: dict[str, Any] = {}
        """``git.commit`` and ``git.dirty``, as far as they are known."""
        self._thread = threading.Thread(target=self._ask, args=(folder,), name="valuestore-git", daemon=True)
        self._thread.start()

    @classmethod
    def of(cls, folder: Path) -> Checkout:
        """What is known of the checkout, asked anew after a while."""
        known = cls._known.get(folder)
        if known is None or time.monotonic() - known.asked > _DIRTY_SECONDS:
            known = cls._known[folder] = cls(folder)
        return known

    def is_known(self) -> bool:
        """Whether git has answered."""
        return not self._thread.is_alive()

    def wait(self) -> None:
        """Give git a moment more."""
        self._thread.join(_PATIENCE_SECONDS)

    def _ask(self, folder: Path) -> None:
        commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
        if commit and _COMMIT.fullmatch(commit.strip()):
            self.tags["git.commit"] = commit.strip()
        changes = _git(folder, "status", "--porcelain", "-uno")
        if changes is not None:
            self.tags["git.dirty"] = bool(changes.strip())


def _git(folder: Path, *words: str) -> str | None:
    """What git prints; None if it fails, or takes too long."""
    import subprocess  # late: outside of checkouts nothing is started

    try:
        asked = subprocess.run(  # noqa: S603  # constants, run in the user's own folder
            [*_GIT, *words],
            cwd=folder,
            capture_output=True,
            timeout=_GIT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return asked.stdout.decode("utf-8", "replace") if asked.returncode == 0 else None
