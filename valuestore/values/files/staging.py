"""Staging: a file or folder and its local copy, for programs that can but read and write local files.

``stage`` fetches, ``unstage`` brings back; ``render_stage`` and ``render_unstage`` say the same as a shell
command. File and Dir have one each (file.py, dir.py).
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from valuestore.errors import BadReference
from valuestore.values.files.external import External
from valuestore.values.files.fence import check_writable
from valuestore.values.files.location import may_contact, scheme_of
from valuestore.values.value import Plain, Value

_SIDES = ("local", "remote")


class Staging(Value, register=False):
    """A place and its local copy. What identifies it are the two paths: it says where, not what."""

    _kind: ClassVar[type[External]]

    local: Any
    remote: Any

    def __init__(self, local: Any, remote: Any) -> None:
        kind = self._kind
        self.local = local if isinstance(local, kind) else kind(local)
        self.remote = remote if isinstance(remote, kind) else kind(remote)
        if scheme_of(self.local.path):
            raise BadReference(self.local.path, "the local side of a staging is a local path")

    def identity(self) -> Plain:
        """Both paths, and what of the remote counts (see external.py)."""
        return {"local": self.local.path, "remote": self.remote.path, "identity": self.remote.identity_kind}

    @classmethod
    def from_state(cls, state: Plain) -> Self:
        """The same two places; nothing is looked at."""
        kind = state["identity"]
        sides = [cls._kind.from_state({"path": state[side], "identity": kind}) for side in _SIDES]
        for side in sides:
            if may_contact(side.path):
                side._recorded = None  # what is there now is what counts
        return cls(*sides)

    @classmethod
    def parse_arg(cls, text: str) -> Self:
        """``LOCAL=REMOTE``. Raises: ValueError."""
        local, equals, remote = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: a staging is written LOCAL=REMOTE")
        return cls(local, remote)

    def stage(self) -> Any:
        """Copy the remote to the local place; the local File or Dir.

        Raises: BadReference for a place that only a stored value names (fence.py), as the others do.
        """
        check_writable(self.local.path)
        return self.remote.copy_to(self.local)

    def unstage(self) -> Any:
        """Copy the local to the remote place; the remote File or Dir."""
        check_writable(self.remote.path)
        return self.local.copy_to(self.remote)

    def render_stage(self, as_mount: bool = False) -> str:
        """The shell command for ``stage``; empty if both are one place. Raises: NotSupported."""
        check_writable(self.local.path)
        return str(self.remote.shell_copy_to(self.local, as_mount))

    def render_unstage(self, as_mount: bool = False) -> str:
        """The shell command for ``unstage``; empty if both are one place. Raises: NotSupported."""
        check_writable(self.remote.path)
        return str(self.local.shell_copy_to(self.remote, as_mount))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.local!r}, {self.remote!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other.identity() == self.identity()

    def __hash__(self) -> int:
        return hash((self.local, self.remote))
