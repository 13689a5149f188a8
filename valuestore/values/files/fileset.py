"""FileSet: the files that a pattern names, as one value with each File inside it.

It changes when one of them changes, appears or goes. In a pattern ``*`` and ``?`` stand for letters within a
name, ``[ab]`` for one of them, ``{csv,tsv}`` for one of these texts or for itself, ``**`` as a whole name for
any number of folders, none included. Names that begin with a dot are matched only where the pattern has the
dot, and the folder of a repository by its name alone. Case counts. Links to files are files; ``**`` does not
go through links to folders, so loops end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import translate
from functools import lru_cache
from typing import ClassVar, Self

from valuestore.errors import BadReference
from valuestore.hashing import active_algorithm
from valuestore.values.files.external import External
from valuestore.values.files.file import File
from valuestore.values.files.filesystem import Filesystem, say_once
from valuestore.values.files.location import joined, lexical, scheme_of
from valuestore.values.files.manifest import REPOSITORY
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
        return [File(path, self.identity_kind) for path in self.paths()]

    def paths(self) -> list[str]:
        """The paths that match now, sorted. Raises: StoreUnavailable if a folder cannot be read."""
        filesystem, pattern = self._filesystem, self.path
        found: set[str] = set()
        for alternative in alternatives(pattern):
            found.update(_below(filesystem, *_split(alternative)))
        if not found and not _MAGIC.search(pattern):
            place = filesystem.look(pattern)
            if place is not None and place.kind == "folder":
                better = f"take Dir({pattern!r}) or a pattern in it"
                say_once(f"FileSet({pattern!r}) names a folder, so no file: {better}")
        return sorted(found)

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


# --- which files a pattern names ------------------------------------------------------------------


MOST_NAMES = 200
"""In one pattern, each of which may look at every folder."""

_MAGIC = re.compile(r"[*?\[]")
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


def alternatives(pattern: str) -> list[str]:
    """The pattern, and what its braces stand for, innermost first. Raises: BadReference for too many."""
    found, pending = [pattern], [pattern]
    while pending and len(found) + len(pending) <= MOST_NAMES:
        current = pending.pop()
        if (braces := _BRACES.search(current)) is not None:
            texts = braces[1].split(",")
            pending += [current[: braces.start()] + text + current[braces.end() :] for text in texts]
        elif current != pattern:
            found.append(lexical(current) if not scheme_of(current) else current)
    if pending or sum(one.count("/") + 1 for one in found) > MOST_NAMES + 1:
        raise BadReference(pattern[:100] + "...", f"a pattern has at most {MOST_NAMES} names")
    return found


def matches(pattern: str, path: str) -> bool:
    """Whether the path is one that the pattern names; nothing is looked at."""
    other, given = _split_all(path)
    named = map(_split_all, alternatives(pattern))
    return any(start == other and _fits(given, _without_repeats(names)) for start, names in named)


def _split(pattern: str) -> tuple[str, list[str]]:
    """Where to begin, without magic, and the names that follow."""
    start, names = _split_all(pattern)
    while scheme_of(start) == "" and len(names) > 1 and not _MAGIC.search(names[0]):
        start = joined(start or ".", names.pop(0))
    return start, _without_repeats(names)


def _without_repeats(names: list[str]) -> list[str]:
    """``**/**`` says what ``**`` says."""
    return [name for at, name in enumerate(names) if name != "**" or names[at - 1 : at] != ["**"]]


def _split_all(path: str) -> tuple[str, list[str]]:
    scheme = scheme_of(path)
    if scheme == "memory":
        return "memory://", path[len("memory://") :].split("/")
    if scheme:
        host, _, rest = path[len(scheme) + 3 :].partition("/")
        return f"{scheme}://{host}", rest.split("/")
    root = "/" if path.startswith("/") else ""
    return root, path[len(root) :].split("/")


def _below(filesystem: Filesystem, folder: str, names: list[str]) -> Iterator[str]:
    name, rest = names[0], names[1:]
    if name == "**":
        yield from _anywhere_below(filesystem, folder, rest)
    elif not _MAGIC.search(name):
        path = joined(folder or ".", name)
        if rest:
            yield from _below(filesystem, path, rest)
        elif (found := filesystem.look(path)) is not None and found.kind == "file":
            yield path
    else:
        for entry, kind in filesystem.list_folder(folder or "."):
            if entry != REPOSITORY and _name_fits(name, entry):
                if rest and kind in ("folder", "link to folder"):
                    yield from _below(filesystem, joined(folder or ".", entry), rest)
                elif not rest and kind == "file":
                    yield joined(folder or ".", entry)


def _anywhere_below(filesystem: Filesystem, folder: str, rest: list[str]) -> Iterator[str]:
    """What ``rest`` names from each folder at any depth; all files, if there is no rest."""
    pending = [folder]
    while pending:
        here = pending.pop()
        if rest:
            yield from _below(filesystem, here, rest)
        for entry, kind in filesystem.list_folder(here or "."):
            if entry.startswith("."):
                continue
            if kind == "folder":
                pending.append(joined(here or ".", entry))
            elif kind == "file" and not rest:
                yield joined(here or ".", entry)


def _fits(given: list[str], names: list[str]) -> bool:
    if not names or not given:
        return not names and not given
    if names[0] != "**":
        return _name_fits(names[0], given[0]) and _fits(given[1:], names[1:])
    if len(names) == 1:
        return all(not name.startswith(".") for name in given)
    return _fits(given, names[1:]) or (not given[0].startswith(".") and _fits(given[1:], names))


def _name_fits(pattern: str, name: str) -> bool:
    if name.startswith(".") and not pattern.startswith("."):
        return False
    return _compiled(pattern).match(name) is not None


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(translate(pattern))
