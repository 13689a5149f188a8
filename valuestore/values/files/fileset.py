"""FileSet: the files that a pattern names, as one value with each File inside it.

It changes when one of them changes, appears or goes. See files/patterns.py for what a pattern means.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from valuestore.hashing import active_algorithm
from valuestore.values.files.external import External
from valuestore.values.files.file import File
from valuestore.values.files.patterns import alternatives, matches, matching_files
from valuestore.values.value import Plain, Value


class FileSet(External):
    """The files of a pattern, such as ``FileSet("reads/*.fq")`` or ``FileSet("s3://bucket/**/*.csv")``.

    ``identity`` is that of the Files, too; ``content`` leaves the pattern and the paths out. Iterating gives
    the Files that there are now, sorted by path. None is a set as well, and a valid one.

    Raises: BadReference, also for a pattern of more than 200 names.
    """

    type_name = "valuestore.FileSet"

    _place_key: ClassVar[str] = "pattern"
    _path_says_all: ClassVar[bool] = False

    @staticmethod
    def _normal(path: str) -> str:
        alternatives(path)  # not too many
        return External._normal(path)

    @property
    def pattern(self) -> str:
        """The pattern as written."""
        return self.path

    def files(self) -> list[File]:
        """The Files that match now, sorted by path. Raises: StoreUnavailable."""
        return [File(path, self.identity_kind) for path in matching_files(self.path)]

    def paths(self) -> list[str]:
        """Their paths."""
        return matching_files(self.path)

    def iter_subvalues(self) -> Iterator[Value]:
        """The Files: as recorded, if this came out of a store, else as they are."""
        if self._recorded is None:
            return iter(self.files())
        return iter(_files(self._recorded))

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """As for every External. Raises: KeyError, TypeError or ValueError if a file's state is none."""
        _files(state)
        return super().from_state(state)

    def __iter__(self) -> Iterator[File]:
        return iter(self.files())

    def __len__(self) -> int:
        return len(self.paths())

    def __bool__(self) -> bool:
        return True

    def __contains__(self, item: object) -> bool:
        """Whether the pattern names this path or File, be it there or not."""
        path = item.path if isinstance(item, File) else item
        return isinstance(path, str) and matches(self.path, path)

    def exists(self) -> bool:
        """Whether there is at least one."""
        return bool(self.paths())

    def changed_place(self) -> str:
        recorded = _files(self.state_recorded())
        new = {*self.paths()} - {file.path for file in recorded}
        changed = [file.path for file in recorded if not file.is_as_recorded()]
        return next(iter([*changed, *sorted(new)]), self.path)

    def _mark(self) -> dict[str, Plain]:
        states = [file.state() for file in self.files()]
        # without those that went away between the listing and the look
        there = [state for state in states if None not in (state.get("digest", ""), state.get("size", 0))]
        return {"files": there, "algorithm": active_algorithm.get()}

    def _mark_unlike(self, recorded: dict[str, Plain]) -> dict[str, Plain] | None:
        return self._mark() if self.paths() == [file["path"] for file in recorded["files"]] else None

    def _is_there(self) -> bool:
        return True

    def _is_missing(self, mark: dict[str, Plain]) -> bool:
        return False

    def _without_place(self, state: dict[str, Plain]) -> dict[str, Plain]:
        files = [{name: part for name, part in file.items() if name != "path"} for file in state["files"]]
        return {"files": files, "algorithm": state["algorithm"], "identity": "content"}


def _files(state: dict[str, Plain]) -> list[File]:
    return [File.from_state(file) for file in state["files"]]
