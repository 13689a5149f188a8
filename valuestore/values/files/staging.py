"""Staging: a file or folder and its local copy, for programs that can but read and write local files.

``stage`` fetches, ``unstage`` brings back; ``render_stage`` and ``render_unstage`` say the same as a shell
command. File and Dir have one each (file.py, dir.py).
"""

from __future__ import annotations

import shlex
from typing import Any, ClassVar, Self

from valuestore.errors import BadReference, NotSupported
from valuestore.values.files.external import External
from valuestore.values.files.fence import check_writable
from valuestore.values.files.location import may_contact, scheme_of
from valuestore.values.value import Plain, Value


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
        sides = []
        for place in (state["local"], state["remote"]):
            side = cls._kind.from_state({"path": place, "identity": state["identity"]})
            if may_contact(side.path):
                side._recorded = None  # what is there now is what counts
            sides.append(side)
        return cls(*sides)

    @classmethod
    def parse_arg(cls, text: str) -> Self:
        """``LOCAL=REMOTE``. Raises: ValueError."""
        local, equals, remote = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r}: a staging is written LOCAL=REMOTE")
        return cls(local, remote)

    def stage(self) -> Any:
        """Copy the remote to the local place; the local File or Dir. Raises: BadReference (see fence.py)."""
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


# --- Shell commands that copy, for scripts that run elsewhere.
#
# Every name is quoted. With ``as_mount``, buckets are taken to be mounted below ``/mnt/disks``, as Google's
# Batch does: ``gs://bucket/key`` is copied by ``cp`` from ``/mnt/disks/bucket/key``.


MOUNTS = "/mnt/disks"
_S3 = ("s3", "s3a")
_GOOGLE = ("gs", "gcs")
_CURL = ("http", "https", "ftp")


def shell_copy_file(source: str, destination: str, *, as_mount: bool = False) -> str:
    """The command; empty if both are one. Raises: NotSupported where no common program can do it."""
    if as_mount:
        source, destination = _mounted(source), _mounted(destination)
    schemes = {scheme_of(source), scheme_of(destination)} - {""}
    if source == destination:
        return ""
    made = _make_folder(destination.rpartition("/")[0]) if not scheme_of(destination) else ""
    if not schemes:
        return f"{made}cp -- {_quoted(source)} {_quoted(destination)}"
    if schemes <= set(_S3):
        return f"{made}aws s3 cp --no-progress {_s3(source)} {_s3(destination)}"
    if schemes <= set(_GOOGLE):
        return f"{made}gcloud storage cp {_literal(source)} {_literal(destination)}"
    if scheme_of(source) in _CURL and not scheme_of(destination):
        return f"{made}curl -fsSL --globoff -o {_quoted(destination)} {_quoted(source)}"
    raise NotSupported(f"a shell command from {source} to {destination}", "copying", "copy it with copy_to()")


def shell_copy_folder(source: str, destination: str, *, as_mount: bool = False) -> str:
    """The command, which copies what is in the folder into the other. Raises: NotSupported."""
    if as_mount:
        source, destination = _mounted(source), _mounted(destination)
    schemes = {scheme_of(source), scheme_of(destination)} - {""}
    if source == destination:
        return ""
    made = _make_folder(destination) if not scheme_of(destination) else ""
    if not schemes:
        return f"{made}cp -R -P -- {_quoted(source.rstrip('/') + '/.')} {_quoted(destination)}"
    if schemes <= set(_S3):
        return f"{made}aws s3 cp --no-progress --recursive {_s3(source + '/')} {_s3(destination + '/')}"
    if schemes <= set(_GOOGLE):
        return f"{made}gcloud storage rsync --recursive {_quoted(source)} {_quoted(destination)}"
    raise NotSupported(f"a shell command from {source} to {destination}", "copying", "copy it with copy_to()")


def _mounted(path: str) -> str:
    scheme = scheme_of(path)
    return f"{MOUNTS}/{path[len(scheme) + 3 :]}" if scheme in (*_S3, *_GOOGLE) else path


def _make_folder(folder: str) -> str:
    return f"mkdir -p -- {_quoted(folder)} && " if folder not in ("", ".") else ""


def _quoted(path: str) -> str:
    """For the shell; a name that begins with a dash stays a name."""
    return shlex.quote(f"./{path}" if path.startswith("-") else path)


def _s3(path: str) -> str:
    return _quoted(f"s3://{path[len('s3a://') :]}" if path.startswith("s3a://") else path)


def _literal(url: str) -> str:
    """For a program that expands patterns in URLs: what looks like one is refused."""
    if scheme_of(url) and any(letter in url for letter in "*?[]"):
        raise NotSupported(f"a shell command for {url}", "a name that reads as a pattern", "use copy_to()")
    return _quoted(url)
