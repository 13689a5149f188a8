"""Tagging: the labels of one run: given to it, set by ``tag`` in its pipeline, and set by themselves.

Every execution is labelled with the version, the user, the host, and the git commit it ran from.
"""

from __future__ import annotations

import platform
import re
import subprocess
import threading
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from valuestore.db.history.tags import current_author, tag_rows
from valuestore.errors import NotHashableError, StoreError, ValuestoreWarning
from valuestore.repository import Repository
from valuestore.scheduler.record import Execution
from valuestore.version import __version__


class Tagging:
    """Keeps the labels of one run. ``job_id`` is the job whose result is being put together."""

    def __init__(self, repository: Repository, execution: Execution, tags: Mapping[str, Any]) -> None:
        self.archive = repository.archive
        self.recorder = repository.recorder
        self.execution = execution
        self.author = current_author()
        self.job_id: str | None = None
        self._checkout = find_checkout()
        self._given = {**_automatic_tags(self._checkout), **repository.settings.tags, **tags}

    def begin(self) -> None:
        """Record what the run is labelled with from its start. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, self._given)
        self._status = GitStatus.of(self._checkout) if self._checkout else None

    def end(self) -> None:
        """Record what took a while to find out."""
        dirty = self._status.is_dirty() if self._status else None
        if dirty is not None and "git.dirty" not in self._given:
            self._keep("execution", self.execution.execution_id, {"git.dirty": dirty})

    def keep(
        self,
        value: Any,
        tags: Mapping[str, Any],
        job_tags: Mapping[str, Any],
        execution_tags: Mapping[str, Any],
    ) -> None:
        """What ``tag`` was given. Raises: TagError."""
        self._keep("execution", self.execution.execution_id, execution_tags)
        if self.job_id is not None:
            self._keep("job", self.job_id, job_tags)
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


def _automatic_tags(checkout: Path | None) -> dict[str, Any]:
    """What every execution is labelled with at once."""
    tags = {"valuestore.version": __version__, "user": current_author(), "host": platform.node()}
    commit = git_commit(checkout) if checkout else None
    return {**tags, "git.commit": commit} if commit else tags


# --- Checkout: the git working tree that a run starts in: its commit, and whether it has changes.
#
# The commit is read from git's files at once. Git itself is asked for changes, on a thread of its own, since
# that takes a while.


_DIRTY_SECONDS = 30.0
"""For so long the answer of git is taken to hold."""

_GIT_SECONDS = 5.0
_PATIENCE_SECONDS = 0.2
_REFERENCE = "ref: "
_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")

# fsmonitor is a program that the checkout's own configuration names
_ASK_GIT = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "status", "--porcelain", "-uno"]


def find_checkout() -> Path | None:
    """The folder of the checkout that the current folder is in; None outside of one."""
    try:
        here = Path.cwd()
        return next((each for each in (here, *here.parents) if (each / ".git").exists()), None)
    except OSError:  # the current folder is gone, or not ours to look at
        return None


def git_commit(checkout: Path) -> str | None:
    """The commit that is checked out; None if there is none yet, or git's files cannot be read."""
    try:
        folder = checkout / ".git"
        if folder.is_file():  # a worktree: it names the folder
            folder = checkout / folder.read_text("utf-8").partition(":")[2].strip()
        head = (folder / "HEAD").read_text("utf-8").strip()
        commit = _resolved(folder, head.removeprefix(_REFERENCE)) if head.startswith(_REFERENCE) else head
    except (OSError, UnicodeDecodeError):
        return None
    return commit if commit and _COMMIT.fullmatch(commit) else None


def _resolved(folder: Path, reference: str) -> str | None:
    """The commit that a branch is at: in a file of its own, or packed with others."""
    common = folder / "commondir"
    folders = [folder, folder / common.read_text("utf-8").strip()] if common.exists() else [folder]
    for each in folders:
        if (each / reference).is_file():
            return (each / reference).read_text("utf-8").strip()
        packed = each / "packed-refs"
        for line in packed.read_text("utf-8").splitlines() if packed.is_file() else ():
            commit, _, name = line.partition(" ")
            if name == reference:
                return commit
    return None


class GitStatus:
    """Whether a checkout has changes that are not committed."""

    _known: dict[Path, GitStatus] = {}  # noqa: RUF012  # of this process

    def __init__(self, checkout: Path) -> None:
        self.asked = time.monotonic()
        self._dirty: bool | None = None
        self._thread = threading.Thread(
            target=self._ask, args=(checkout,), name="valuestore-git", daemon=True
        )
        self._thread.start()

    @classmethod
    def of(cls, checkout: Path) -> GitStatus:
        """What is known of the checkout, asked anew after a while."""
        known = cls._known.get(checkout)
        if known is None or time.monotonic() - known.asked > _DIRTY_SECONDS:
            known = cls._known[checkout] = cls(checkout)
        return known

    def is_dirty(self) -> bool | None:
        """None if git does not say so in time."""
        self._thread.join(_PATIENCE_SECONDS)
        return self._dirty

    def _ask(self, checkout: Path) -> None:
        try:
            asked = subprocess.run(  # noqa: S603  # constants, run in the user's own folder
                _ASK_GIT,
                cwd=checkout,
                capture_output=True,
                timeout=_GIT_SECONDS,
                stdin=subprocess.DEVNULL,
            )
        except (OSError, subprocess.SubprocessError):
            return
        if asked.returncode == 0:
            self._dirty = bool(asked.stdout.strip())
