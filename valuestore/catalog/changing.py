"""Changing: what changes a catalog, on top of what it answers.

A put stores its bytes first; then one transaction writes the name, its version and its attributes. What
changes attributes, copies, moves or reverts moves no bytes. ``Catalog`` is made of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from typing import Any, Self

from valuestore.catalog.draft import WHERE, Batch, Draft, Step
from valuestore.catalog.entry import Entry, as_json, check_names, entry_of, listed
from valuestore.catalog.reading import Reading
from valuestore.db.record.entries import Content, State
from valuestore.errors import NotSupported, SizeMismatch
from valuestore.hashing import Digest, hash_bytes
from valuestore.observe import Change, Observer, Watch
from valuestore.stores.data import Data, Json, as_buffer, iter_chunks
from valuestore.stores.keys import check_key
from valuestore.values.archive import ValueRef
from valuestore.values.files.file import File

Attrs = Mapping[str, Json]
Again = Callable[[], object]


class Changing(Reading):
    """Each change is one transaction, and a version of its name; versions count from 1, on after a delete
    too. Every change raises StoreReadOnly where it cannot be made.
    """

    # --- content -----------------------------------------------------------------------------------

    def put(
        self,
        name: str,
        data: Data,
        *,
        attrs: Attrs | None = None,
        size: int | None = None,
        overwrite: bool = True,
        if_version: int | None = None,
    ) -> Entry:
        """Have the name stand for these bytes. Without ``attrs`` it keeps those that it has.

        ``size`` must match exactly if given. ``if_version``: only if that is the name's version, 0: if it is
        not there. Raises: AlreadyExists if it is, and not to be overwritten; VersionConflict; SizeMismatch;
        TypeError for attributes that are not JSON. After any error the name is as it was.
        """
        wanted = None if attrs is None else as_json(attrs)
        buffer = as_buffer(data)
        total = size if buffer is None else len(buffer)
        with self._doing("put", check_key(name), total, changes=True) as watched:
            on: dict[str, Any] = {"overwrite": overwrite, "version": if_version}
            if if_version is not None or not overwrite:
                self._try(self._putting(name, wanted, Content(Digest(""), 0), **on))
            return self._one(self._putting(name, wanted, *self._stored(name, data, size, watched), **on))

    def bind(self, name: str, value: ValueRef | str, *, attrs: Attrs | None = None) -> Entry:
        """Have the name stand for a value: a ref, a hash, or what a call, job or execution gave, by its id.

        Raises: NotFound; AmbiguousId.
        """
        wanted = None if attrs is None else as_json(attrs)
        with self._doing("bind", check_key(name), changes=True):
            return self._one(self._putting(name, wanted, self._bound(self._find_value(value))))

    def from_file(self, name: str, path: Any, *, attrs: Attrs | None = None) -> Entry:
        """Put the content of a file. Raises: as ``put``; OSError if it cannot be read."""
        with File(path).open("rb") as file:
            return self.put(name, file, attrs=attrs)

    def delete(self, name: str) -> None:
        """Have nothing be there; its versions stay until a collection. Raises: NotFound."""
        with self._doing("delete", check_key(name), changes=True):
            self._do([self._step((name,), lambda draft: draft.delete(name))])

    def copy(self, source: str, target: str, *, overwrite: bool = True) -> Entry:
        """Have ``target`` stand for what ``source`` does, with its attributes; no bytes move.

        Raises: NotFound; AlreadyExists.
        """
        return self._carry("copy", source, target, overwrite=overwrite)

    def move(self, source: str, target: str) -> Entry:
        """The same, and nothing is left under ``source``. Raises: NotFound."""
        return self._carry("move", source, target)

    def _carry(self, verb: str, source: str, target: str, *, overwrite: bool = True) -> Entry:
        def work(draft: Draft) -> State:
            old = draft.get(source)
            draft.expect(target, overwrite=overwrite)
            if source == target:
                return old
            new = draft.put(target, old.stored, old.attrs)
            if verb == "move":
                draft.delete(source)
            return new

        with self._doing(verb, check_key(target), changes=True):
            return self._one(self._step((check_key(source), target), work, keeps=True))

    def revert(self, name: str, version: int) -> Entry:
        """A new version with the bytes and attributes of that one. Raises: NotFound."""
        with self._doing("revert", check_key(name), changes=True):
            old = self._asked(name, version)
            return self._one(self._putting(name, old.attrs, self._content(old)))

    # --- attributes: no bytes move -------------------------------------------------------------------

    def set_attrs(self, name: str, attrs: Attrs, *, if_version: int | None = None) -> Entry:
        """Replace all attributes. Raises: NotFound; VersionConflict; TypeError for what is not JSON."""
        with self._doing("set_attrs", check_key(name), changes=True):
            return self._one(self._changing(name, as_json(attrs), if_version))

    def update_attrs(
        self, name: str, attrs: Attrs, *, remove: Iterable[str] = (), if_version: int | None = None
    ) -> Entry:
        """Set these, remove those named, and leave all others. Raises: as ``set_attrs``."""
        gone = frozenset(listed("remove", remove))
        with self._doing("update_attrs", check_key(name), changes=True):
            return self._one(self._merging(name, as_json(attrs), gone, if_version))

    # --- many: one transaction each --------------------------------------------------------------------

    def put_many(
        self, names: Iterable[str], values: Iterable[Data], attrs: Iterable[Attrs] | None = None
    ) -> Sequence[Entry]:
        """Put each value under its name. Raises: as ``put``; ValueError for unequal lengths. All or none."""
        wanted = check_names(names)
        texts = [None] * len(wanted) if attrs is None else [as_json(each) for each in attrs]
        with self._doing("put_many", changes=True) as watched:
            _check_lengths(wanted, texts)
            source = iter(values)
            steps = [
                self._putting(name, text, *self._stored(name, data, None, watched))
                for name, text, data in zip(wanted, texts, source, strict=False)
            ]
            if len(steps) != len(wanted) or any(True for _ in source):
                raise ValueError(f"{len(wanted)} names, but not so many values; nothing was stored")
            return self._all(steps)

    def set_attrs_many(self, names: Iterable[str], attrs: Iterable[Attrs]) -> Sequence[Entry]:
        """``set_attrs`` of each name with its attributes. Raises: likewise; ValueError. All or none."""
        return self._each("set_attrs_many", names, attrs, self._changing)

    def update_attrs_many(self, names: Iterable[str], attrs: Iterable[Attrs]) -> Sequence[Entry]:
        """``update_attrs`` of each name with its attributes. Raises: likewise; ValueError. All or none."""
        return self._each("update_attrs_many", names, attrs, self._merging)

    def delete_many(self, names: Iterable[str]) -> set[str]:
        """Delete those that are there, and return them."""
        with self._doing("delete_many", changes=True):
            gone: set[str] = set()

            def work(name: str, draft: Draft) -> State:
                state = draft.find(name)
                if state.content is not None:
                    gone.add(name)
                    draft.delete(name)
                return state

            wanted = dict.fromkeys(check_names(names))
            self._do([self._step((name,), partial(work, name)) for name in wanted])
            return gone

    @contextmanager
    def batch(self) -> Iterator[Self]:
        """A block whose changes become visible together when it ends, or not at all if it raises.

        It is of this thread: this catalog and all its views take part, and see what was done. Blocks may be
        nested: the outermost commits, and one that raises takes back its own. Raises at the end: as the
        changes, which are made once more on what the names are by then; DatabaseError.
        """
        self._check()
        if self._batch is not None:
            with self._batch.inner():
                yield self
            return
        batch = self._local.batch = Batch(self._commits.draft())
        try:
            yield self
        finally:
            self._local.batch = None
        if batch.steps:
            _, self._local.told = self._commits.do(batch.steps)
            self._tell()

    # --- views -----------------------------------------------------------------------------------------

    def observed(self, *observers: Observer, changes: Iterable[Callable[[Change], object]] = ()) -> Self:
        """This catalog, of whose operations ``observers`` are told, and ``changes`` of what became visible by
        them, after the commit, in order."""
        view = copy(self)
        view._observers = (*self._observers, *observers)
        view._listeners = (*self._listeners, *changes)
        return view

    def read_only(self) -> Self:
        """This catalog, of which every change is refused."""
        view = copy(self)
        view._is_read_only = True
        return view

    # --- steps -------------------------------------------------------------------------------------------

    def _step(
        self,
        names: tuple[str, ...],
        work: Callable[[Draft], State],
        content: Content | None = None,
        again: Again | None = None,
        *,
        keeps: bool = False,
    ) -> Step:
        return Step(names, work, content, again, self._listeners, keeps)

    def _putting(
        self, name: str, attrs: str | None, content: Content, again: Again | None = None, **on: Any
    ) -> Step:
        """The step, ``on`` the conditions of ``Draft.expect``."""

        def work(draft: Draft) -> State:
            old = draft.expect(name, **on)
            return draft.put(name, content, old.attrs if attrs is None else attrs)

        return self._step((name,), work, content, again)

    def _changing(self, name: str, attrs: str, if_version: int | None = None) -> Step:
        return self._with_attrs(name, if_version, lambda _: attrs)

    def _merging(
        self, name: str, attrs: str, remove: frozenset[str] = frozenset(), if_version: int | None = None
    ) -> Step:
        new = json.loads(attrs)

        def merged(old: str) -> str:
            kept = {key: value for key, value in json.loads(old).items() if key not in remove}
            return json.dumps(kept | new)

        return self._with_attrs(name, if_version, merged)

    def _with_attrs(self, name: str, if_version: int | None, new: Callable[[str], str]) -> Step:
        def work(draft: Draft) -> State:
            old = draft.get(name)
            draft.expect(name, if_version)
            return draft.put(name, old.stored, new(old.attrs))

        return self._step((name,), work, keeps=True)

    def _try(self, step: Step) -> None:
        """Whether the step may be done, before bytes move. Raises: as it."""
        states = self._known(step.names)
        draft = Draft(lambda _: states, "")
        step.work(draft)

    def _stored(
        self, name: str, data: Data, size: int | None, watched: Watch
    ) -> tuple[Content, Again | None]:
        """The content of this data, stored, and how to store it once more."""
        payloads, buffer = self._archive.payloads, as_buffer(data)
        if buffer is not None:
            if size not in (None, len(buffer)):
                raise SizeMismatch(name, size or 0, len(buffer))
            ref = payloads.put(buffer)
            watched.step(ref.size)
            return Content(ref.digest, ref.size), lambda: payloads.put(buffer)
        is_whole = size is None and not self._observers and hasattr(data, "read")
        ref = payloads.put(data if is_whole else _stepping(name, data, size, watched))
        return Content(ref.digest, ref.size), None

    def _bound(self, ref: ValueRef) -> Content:
        """A value of this repository as content."""
        digest = ref.payload_digest or ref.value_hash
        if ref.inline is not None:
            digest = hash_bytes(ref.inline, algorithm=self._archive.registry.algorithm.name)
        return Content(digest, ref.size, ref.value_hash)

    def _taken(self, other: Reading, state: State) -> Content:
        """What another catalog has there, as content of this one: bytes as bytes, a value as that value.

        Raises: NotSupported for a value of a repository with another digest.
        """
        self._check_writable()
        ref, archive = other._ref(state), other._archive_of(state)
        if ref is None:
            with other._stream(state) as stream:
                stored = self._archive.payloads.put(stream)
            return Content(stored.digest, stored.size)
        if archive.registry.algorithm.name != self._archive.registry.algorithm.name:
            what = "values of a repository with another digest"
            raise NotSupported(WHERE, what, "put the value, and bind it")
        if ref.inline is None:
            self._archive.payloads.put(archive.read(ref))
        self._record((ref,))
        return self._bound(self._find_value(ref.value_hash))

    def _content(self, state: State) -> Content:
        """What is there, as content of this catalog."""
        return state.stored

    def _do(self, steps: Sequence[Step]) -> list[State]:
        """Do them: all or none."""
        if (batch := self._batch) is not None:
            return batch.do(steps)
        done, self._local.told = self._commits.do(steps)
        return done

    def _each(
        self, verb: str, names: Iterable[str], attrs: Iterable[Attrs], step: Callable[[str, str], Step]
    ) -> Sequence[Entry]:
        with self._doing(verb, changes=True):
            wanted, texts = check_names(names), [*map(as_json, attrs)]
            _check_lengths(wanted, texts)
            return self._all([step(name, text) for name, text in zip(wanted, texts, strict=True)])

    def _one(self, step: Step) -> Entry:
        return self._all([step])[0]

    def _all(self, steps: Sequence[Step]) -> list[Entry]:
        return [entry_of(state) for state in self._do(steps)]


def _check_lengths(names: Sequence[object], attrs: Sequence[object]) -> None:
    if len(names) != len(attrs):
        raise ValueError(f"{len(names)} names, but attributes of {len(attrs)}; nothing was stored")


def _stepping(name: str, data: Data, size: int | None, watched: Watch) -> Iterator[bytes | memoryview]:
    for piece in iter_chunks(name, data, size):
        yield piece
        watched.step(len(piece))
