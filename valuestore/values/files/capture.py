"""Capture: a file's content kept in the payload store, and given back to its place.

The address of the content is the digest that the File is identified by, so nothing more is needed to find
it: a File out of a store says itself what belongs at its path. Local files alone, since those are identified
by digest. Called in workers (``captured``) and by the scheduler (``restored``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from valuestore.errors import NotHashableError, PayloadError, StoreUnavailable
from valuestore.hashing import Digest, active_algorithm, algorithm_of
from valuestore.stores.content.store import ContentStore
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.codecs.plain import BYTES
from valuestore.values.files.external import External
from valuestore.values.files.fence import entered
from valuestore.values.files.file import File
from valuestore.values.files.location import scheme_of
from valuestore.values.files.staging import Staging
from valuestore.values.preview import preview_bytes

_COPY_BYTES = 1 << 20
_PREVIEWED_BYTES = 100
_LONGEST = 4096
_NO_CODE = (lambda: None).__code__


def captured(ref: ValueRef, value: object, archive: Archive) -> ValueRef:
    """``ref``, with the content of each local File in ``value`` stored and a part of the File's ref.

    What changes meanwhile is left out. Memory stays bounded. Raises: StoreError.
    """
    contents = {}
    for file, digest in _identified_files(value, archive):
        content = _content(file, digest, archive)
        if content is not None:
            contents[archive.registry.hash(file)] = content
    return _with_contents(ref, contents) if contents else ref


def restored(value: object, archive: Archive, *, overwrite: bool = False, named: Iterable[str] = ()) -> bool:
    """Put captured content back where Files in ``value`` are missing; whether that was done for any.

    A file that is there is left alone, unless ``overwrite``: then one with other content is replaced.
    ``named`` are the places of this run's call. Raises: BadReference if the fence refuses the place of one,
    and then of none that comes after it; StoreUnavailable; OSError if the place cannot be written.
    """
    lost = [
        (file, digest)
        for file, digest in _identified_files(value, archive)
        if (overwrite or not os.path.lexists(file.path)) and not file.is_valid()
    ]
    stored = archive.payloads.has_many({digest for _, digest in lost}) if lost else set()
    done = [
        _put_back(file.path, digest, archive.payloads, overwrite, named)
        for file, digest in lost
        if digest in stored
    ]
    return any(done)


def named_places(task: Callable[..., Any], arguments: object) -> list[str]:
    """The local paths in a call's arguments, and the absolute ones that stand in its task's code."""
    found = [text for text in getattr(task, "__code__", _NO_CODE).co_consts if str(text).startswith("/")]
    pending = [arguments, found]
    places: list[str] = []
    while pending:
        part = pending.pop()
        if isinstance(part, Mapping):
            pending += [*part.keys(), *part.values()]
        elif isinstance(part, list | tuple | set | frozenset):
            pending += part
        elif isinstance(part, Staging):
            pending += [part.local, part.remote]
        elif isinstance(part, External):
            places.append(part.path)
        elif isinstance(part, str | os.PathLike):
            places.append(os.fspath(part))
    return [
        place for place in places if 0 < len(place) < _LONGEST and "\0" not in place and not scheme_of(place)
    ]


def _identified_files(value: object, archive: Archive) -> Iterator[tuple[File, Digest]]:
    for found in archive.registry.iter_values(value):
        if isinstance(found, File) and not scheme_of(found.path):
            digest = _digest_of(found, archive.payloads.algorithm)
            if digest is not None:
                yield found, digest


def _digest_of(file: File, algorithm: str) -> Digest | None:
    """What its content hashes to, as recorded or as it is; None if that does not identify it."""
    token = active_algorithm.set(algorithm)
    try:
        digest = file.state_recorded().get("digest")
    except (NotHashableError, StoreUnavailable):  # a folder, or a file that nobody can read
        return None
    finally:
        active_algorithm.reset(token)
    return Digest(str(digest)) if algorithm_of(digest) == algorithm else None


def _content(file: File, digest: Digest, archive: Archive) -> ValueRef | None:
    try:
        if not file.is_valid():  # one that came out of a store may be any file of this machine by now
            return None
        with open(file.path, "rb") as stream:
            payload = archive.payloads.put(stream)
            if payload.digest != digest:
                return None
            stream.seek(0)
            preview = preview_bytes(stream.read(_PREVIEWED_BYTES))
            stream.seek(0)
            value_hash = archive.registry.hash_stream("builtins.bytes", BYTES, stream)
    except OSError:
        return None
    return ValueRef(value_hash, "builtins.bytes", BYTES, digest, payload.size, None, preview)


def _with_contents(ref: ValueRef, contents: dict[Digest, ValueRef]) -> ValueRef:
    parts = tuple([_with_contents(part, contents) for part in ref.parts])
    content = contents.get(ref.value_hash)
    return replace(ref, parts=parts if content is None else (*parts, content))


def _put_back(
    path: str, digest: Digest, payloads: ContentStore, overwrite: bool, named: Iterable[str]
) -> bool:
    """Write the content beside the path, and when all of it is verified, move it there."""
    from shutil import copyfileobj  # late: few tasks have their files put back

    temporary = f".restored.{os.urandom(8).hex()}"
    with entered(path, named) as (folder, name):

        def make(temporary: str, flags: int) -> int:
            return os.open(temporary, flags | os.O_NOFOLLOW, 0o666, dir_fd=folder)

        try:
            with payloads.open(digest) as source, open(temporary, "xb", opener=make) as target:
                copyfileobj(source, target, _COPY_BYTES)
            return _moved(folder, temporary, name, overwrite)
        except PayloadError:  # it is gone or damaged: the file is made again by its task
            return False
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)


def _moved(folder: int, temporary: str, name: str, overwrite: bool) -> bool:
    if not overwrite:
        try:
            os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            return True
        except FileExistsError:  # it was made meanwhile
            return False
        except OSError:  # a filesystem without links
            if name in os.listdir(folder):
                return False
    os.replace(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
    return True
