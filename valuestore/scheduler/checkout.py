"""Checkout: the git working tree that a run starts in: its commit, and whether it has changes.

The commit is read from git's files at once. Git itself is asked for changes, on a thread of its own, since
that takes a while.
"""

from __future__ import annotations

import re
import subprocess
import threading
import time
from pathlib import Path

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
