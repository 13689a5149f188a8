"""Which filesystem a location is on: this machine's, or one of fsspec's."""

from __future__ import annotations

from valuestore.values.files.filesystem import Filesystem
from valuestore.values.files.local_files import LOCAL_FILES
from valuestore.values.files.location import scheme_of


def filesystem_of(path: str) -> Filesystem:
    """The filesystem of a location. Raises: BadReference if fsspec has none for its scheme."""
    if not scheme_of(path):
        return LOCAL_FILES
    from valuestore.values.files.remote_files import remote_files  # loads fsspec

    return remote_files(path)
