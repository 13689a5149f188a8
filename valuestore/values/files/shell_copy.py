"""Shell copy: a command line that copies a file or a folder, for scripts that run elsewhere.

Every name is quoted. With ``as_mount``, buckets are taken to be mounted below ``/mnt/disks``, as Google's
Batch does: ``gs://bucket/key`` is copied by ``cp`` from ``/mnt/disks/bucket/key``. Called by File and
Dir.
"""

from __future__ import annotations

import shlex

from valuestore.errors import NotSupported
from valuestore.values.files.location import scheme_of

MOUNTS = "/mnt/disks"
_S3 = ("s3", "s3a")
_GOOGLE = ("gs", "gcs")
_BUCKETS = (*_S3, *_GOOGLE)
_CURL = ("http", "https", "ftp")


def shell_copy_file(source: str, destination: str, *, as_mount: bool = False) -> str:
    """The command; empty if both are one. Raises: NotSupported where no common program can do it."""
    source, destination = _places(source, destination, as_mount)
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
    source, destination = _places(source, destination, as_mount)
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


def _places(source: str, destination: str, as_mount: bool) -> tuple[str, str]:
    return (_mounted(source), _mounted(destination)) if as_mount else (source, destination)


def _mounted(path: str) -> str:
    scheme = scheme_of(path)
    return f"{MOUNTS}/{path[len(scheme) + 3 :]}" if scheme in _BUCKETS else path


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
