"""Dir: a folder with everything in it, as one value.

Its identity is the path and one manifest (files/manifest.py): every file by its content, folders, links by
their target, down to the last. Paths are literal, never patterns, and links are never followed below the
folder itself. Each content is read once and remembered by its file's status.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Self

from valuestore.errors import BadReference
from valuestore.hashing import Digest, active_algorithm, hash_bytes
from valuestore.values.files.external import External
from valuestore.values.files.file import File
from valuestore.values.files.filesystem import say_once
from valuestore.values.files.location import joined, scheme_of
from valuestore.values.files.manifest import Changes, compare, entries_of
from valuestore.values.files.staging import Staging, shell_copy_folder
from valuestore.values.value import Plain


class Dir(External):
    """A folder as a task's argument or result: ``Dir("run[1]")``, ``Dir("s3://bucket/data")``.

    One that is not there is an invalid value, not an error. Iterating gives its Files, at every depth.
    """

    type_name = "valuestore.Dir"

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """As for every External. Raises: TypeError if the manifest is not one."""
        if not isinstance(state.get("manifest"), bytes | None):
            raise TypeError("a manifest is bytes")
        return super().from_state(state)

    def digest(self) -> Digest | None:
        """Digest of all that is in the folder now; None if it is not there. Raises: as ``File.digest``."""
        manifest = self._filesystem.manifest(self.path, "content")
        if manifest is None:
            return None
        return hash_bytes(manifest, "manifest", algorithm=active_algorithm.get())

    def manifest(self) -> bytes | None:
        """Everything in the folder as it is now, as files/manifest.py has it; None if it is not there."""
        return self._filesystem.manifest(self.path, "stat" if self.identity_kind == "stat" else "content")

    def changes_since(self, earlier: Dir | Plain) -> Changes:
        """What is not as it was in ``earlier``: a Dir from a store, or what ``state_recorded()`` said.

        Raises: ValueError if that was of another kind of identity; DecodeError if it is damaged.
        """
        state = earlier.state_recorded() if isinstance(earlier, Dir) else earlier
        if state.get("identity", "path+content") != self.identity_kind or self.identity_kind == "path":
            raise ValueError("the two do not tell the same of a folder; compare Dirs of one identity")
        token = active_algorithm.set(state.get("algorithm", active_algorithm.get()))
        try:
            return compare(state.get("manifest"), self.manifest())
        finally:
            active_algorithm.reset(token)

    def changed_place(self) -> str:
        if self.identity_kind == "path":
            return self.path
        changes = self.changes_since(self)
        names = (*changes.changed, *changes.added, *changes.removed)
        return joined(self.path, names[0]) if names else self.path

    def _mark(self) -> dict[str, Plain]:
        if self.identity_kind == "path":
            return {"exists": self.exists()}
        return {"manifest": self.manifest(), "algorithm": active_algorithm.get()}

    def _mark_unlike(self, recorded: dict[str, Plain]) -> dict[str, Plain] | None:
        if self.identity_kind == "path" or recorded.get("manifest") is None:
            return self._mark()
        kind = "stat" if self.identity_kind == "stat" else "content"
        manifest = self._filesystem.manifest(self.path, kind, recorded["manifest"])
        return {"manifest": manifest, "algorithm": active_algorithm.get()}

    def exists(self) -> bool:
        """Whether a folder is there."""
        found = self._filesystem.look(self.path)
        return found is not None and found.kind == "folder"

    def mkdir(self) -> None:
        """Make the folder, and those above it; one that is there is fine. Object stores need none."""
        self._filesystem.make_folder(self.path)

    def rmdir(self, recursive: bool = False) -> None:
        """Delete the folder; one that is not there is fine. Raises: OSError if it holds something."""
        self._filesystem.remove_folder(self.path, recursive=recursive)

    def file(self, relative: str) -> File:
        """The File of this path below the folder, be it there or not. Raises: BadReference."""
        return File(self._inside(relative), self.identity_kind)

    def dir(self, relative: str) -> Dir:
        """The folder of this path below the folder, be it there or not. Raises: BadReference."""
        return Dir(self._inside(relative), self.identity_kind)

    def files(self) -> list[File]:
        """All files in it now, at every depth, sorted by path. Links and special files are not among them."""
        return [
            File(joined(self.path, path), self.identity_kind) for kind, path in self._entries() if kind == "f"
        ]

    def rel_path(self, path: str | File) -> str:
        """The path below this folder of a path that is written as this one is. Raises: ValueError."""
        text = path.path if isinstance(path, File) else path
        prefix = joined(self.path, "")
        elsewhere = self.path == "." and (text.startswith("/") or scheme_of(text))
        if elsewhere or not text.startswith(prefix) or text == prefix:
            raise ValueError(f"{text!r} is not below {self.path!r}")
        return text[len(prefix) :]

    def __iter__(self) -> Iterator[File]:
        return iter(self.files())

    def __contains__(self, item: object) -> bool:
        """Whether there is a file of that path below the folder, or this File, now."""
        try:
            relative = self.rel_path(item) if isinstance(item, File) else item
            return isinstance(relative, str) and self.file(relative).isfile()
        except (ValueError, BadReference):
            return False

    def copy_to(self, destination: str | Dir, skip_if_exists: bool = False) -> Dir:
        """Copy everything, file by file, into another folder, and leave what else it holds; the new Dir.

        Between local folders links are copied as links; pipes, sockets and devices are left out.
        ``skip_if_exists``: leave files that are already there as they are.
        """
        target = destination if isinstance(destination, Dir) else Dir(destination, self.identity_kind)
        target.mkdir()
        local = not scheme_of(self.path) and not scheme_of(target.path)
        for kind, path in self._entries():
            if kind == "f":
                self.file(path).copy_to(target.file(path), skip_if_exists)
            elif kind == "D":
                target.dir(path).mkdir()
            elif kind == "l" and local:
                _copy_link(joined(self.path, path), joined(target.path, path), skip_if_exists)
        return target

    def shell_copy_to(self, destination: str | Dir, as_mount: bool = False) -> str:
        """A shell command that copies the folder. See files/staging.py for ``as_mount``."""
        target = destination if isinstance(destination, Dir) else Dir(destination)
        return shell_copy_folder(self.path, target.path, as_mount=as_mount)

    def stage(self, local: str | Dir | None = None) -> StagingDir:
        """This folder and its local copy, by default of the same name in the working folder."""
        name = local if local is not None else self.basename if scheme_of(self.path) else self.path
        return StagingDir(name if isinstance(name, Dir) else Dir(name, self.identity_kind), self)

    @property
    def basename(self) -> str:
        """The last name of the path."""
        return self.path.rpartition("/")[2]

    def _inside(self, relative: str) -> str:
        if not relative or relative.startswith("/") or "://" in relative:
            raise BadReference(repr(relative), f"no path below {self.path}")
        if ".." in relative.split("/"):
            raise BadReference(repr(relative), f"it leads out of {self.path}")
        return joined(self.path, relative)

    def _entries(self) -> list[tuple[str, str]]:
        """Kind and path below the folder of each thing in it, folders before what is in them."""
        manifest = self._filesystem.manifest(self.path, "list")
        if manifest is None:
            say_once(f"{self!r} is not there, so it has no files")
            return []
        return [(kind, os.fsdecode(path)) for kind, path, _ in entries_of(manifest) if path]


class StagingDir(Staging):
    """A Dir and its local copy: ``Dir("s3://bucket/run").stage("run")``."""

    type_name = "valuestore.StagingDir"
    _kind = Dir

    local: Dir
    remote: Dir


def _copy_link(source: str, destination: str, skip_if_exists: bool) -> None:
    if os.path.lexists(destination):
        if skip_if_exists:
            return
        os.unlink(destination)
    os.symlink(os.readlink(source), destination)
