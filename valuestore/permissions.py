"""Permissions: whose a repository's folder is, and for whom besides this user the things in it are made.

The folder's own mode says it, so that every process that writes there does the same: a folder that its group
may write to is shared with the group, every other one is this user's alone. What is
to leave nothing behind has a folder that passes. Called by config.py, repository.py, the engine of the
database and the file store.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path
from weakref import finalize

from valuestore.lazy import renew_after_fork

SHARED = 0o660
PRIVATE = 0o600


def folder_mode(file_mode: int) -> int:
    """The mode of folders where files have that one: who may read may enter. Folders pass their group on."""
    return file_mode | (file_mode & 0o444) >> 2 | (stat.S_ISGID if file_mode & stat.S_IWGRP else 0)


def file_mode_in(folder: str | os.PathLike[str], *, shared: bool | None = None) -> int:
    """The mode of files that we make in the folder."""
    if shared is None:
        with suppress(OSError):
            shared = bool(os.stat(folder).st_mode & stat.S_IWGRP)
    return SHARED if shared else PRIVATE


def make_folder(folder: Path, *, shared: bool | None) -> None:
    """Make it unless it is there; one that is to be shared, and is not, becomes so. Raises: OSError."""
    folder.mkdir(folder_mode(PRIVATE), parents=True, exist_ok=True)
    if shared and file_mode_in(folder) != SHARED:
        os.chmod(folder, folder_mode(SHARED))


def make_file(path: str | os.PathLike[str], mode: int) -> None:
    """Make an empty file of that mode, whatever the umask, unless the name is taken or its folder missing.

    Raises: OSError.
    """
    with suppress(FileExistsError, FileNotFoundError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            os.fchmod(descriptor, mode)
        finally:
            os.close(descriptor)


def reason_to_refuse(folder: str | os.PathLike[str]) -> str:
    """Why a folder that was only come across is not to be opened, as git has it (CVE-2022-24765); or empty.

    A link counts as what it is, too: who made it chose where it leads.
    """
    for found in (os.lstat(folder), os.stat(folder)):
        if found.st_uid != os.geteuid():
            return f"it belongs to another user (uid {found.st_uid})"
        if found.st_mode & stat.S_IWOTH and not stat.S_ISLNK(found.st_mode):
            return "everybody can write to it"
    return ""


class PassingFolder:
    """A folder for this user that is gone with this object, on ``remove``, or at the latest when Python ends.

    A child of this process may use it, and leaves it there.
    """

    def __init__(self) -> None:
        from shutil import rmtree  # late: few programs need one
        from tempfile import mkdtemp

        self.path = Path(mkdtemp(prefix="valuestore-"))
        self.remove = finalize(self, rmtree, self.path, ignore_errors=True)
        renew_after_fork(self._leave)

    def _leave(self) -> None:
        self.remove.detach()
