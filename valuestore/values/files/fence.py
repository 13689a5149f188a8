"""Fence: where something is written because a stored value says so, and how that place is entered.

Rows may be forged, so a path in one is a wish. It is granted below what this run's own call or program names,
and below the working folder, there for names without a dot in front. What a task's code does with a path that
it was given is its own affair. Called by capture.py, staging.py and tasks/script.py.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from valuestore.errors import BadReference
from valuestore.values.files.location import is_named, scheme_of

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_REFUSED = (
    "a stored value says so, but this run does not name it, and it is not below the working folder: "
    "nothing is written there; name it in the call"
)
_LINKED = "a stored value says so, but there is a link, or no folder, on its way: nothing is written there"


def granted(path: str, named: Iterable[str] = ()) -> tuple[str, Sequence[str]]:
    """The folder that is entered as it is, and the names below it, down to that of the path itself.

    ``named`` are local paths of this run's call, files or folders. Raises: BadReference.
    """
    place = os.path.abspath(path)
    places = [os.path.abspath(name) for name in named]
    if place in places:
        return os.path.dirname(place), (os.path.basename(place),)
    home = os.path.expanduser("~")
    for folder in (*places, os.getcwd()):
        is_wide = folder == "/" or home.startswith(f"{folder}/")  # it holds what is nobody's output
        if not is_wide and place.startswith(f"{folder}/"):
            names = place[len(folder) + 1 :].split("/")
            if not any(name.startswith(".") for name in names):
                return folder, names
    raise BadReference(path, _REFUSED)


@contextmanager
def entered(path: str, named: Iterable[str]) -> Iterator[tuple[int, str]]:
    """A descriptor on the folder that the path is in, and its name there; missing folders are made.

    Each is opened from the one above without following a link, so none can be put in the way meanwhile.
    Raises: BadReference; OSError.
    """
    folder, names = granted(path, named)
    os.makedirs(folder, exist_ok=True)
    descriptor = os.open(folder, _FOLDER)
    try:
        for name in names[:-1]:
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=descriptor)
            try:
                inner = os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
            except OSError as error:
                if error.errno not in (errno.ENOTDIR, errno.ELOOP):  # of a link, systems say either
                    raise
                raise BadReference(path, _LINKED) from error
            os.close(descriptor)
            descriptor = inner
        yield descriptor, names[-1]
    finally:
        os.close(descriptor)


def check_writable(path: str) -> None:
    """Refuse a place that this program did not name, unless it is below the working folder without a link.

    For what is written by name, as staged copies are. Raises: BadReference.
    """
    if is_named(path):
        return
    if scheme_of(path):
        raise BadReference(path, _REFUSED)
    folder, names = granted(path)
    has_links = any(
        os.path.islink(os.path.join(parent, entry))
        for parent, folders, files in os.walk(path)
        for entry in (*folders, *files)
    )
    if has_links or os.path.realpath(path) != os.path.join(os.path.realpath(folder), *names):
        raise BadReference(path, _LINKED)
