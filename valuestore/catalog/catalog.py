"""Catalog: named, mutable objects with attributes over immutable content; ``repository.catalog``.

All versions of a name that is there are kept by collections. What it answers is in reading.py, what changes
it in changing.py. ``Mounted`` is a catalog over another one: what is changed is copied up first, and the
other stays as it is.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from valuestore.catalog.changing import Changing
from valuestore.catalog.draft import WHERE, Step
from valuestore.catalog.entry import Entry, attrs_of
from valuestore.db.record.entries import Content, State, Which
from valuestore.errors import BadKey, NotFound, NotSupported
from valuestore.stores.keys import check_key
from valuestore.values.archive import Archive, ValueRef
from valuestore.values.entry import EntryRef

_PAGE = 500


class Catalog(Changing):
    """Names for content, with attributes. Thread-safe. Names keep the one key rule (``check_key``)."""

    def over(self, backing: Catalog, prefix: str = "") -> Mounted:
        """This catalog over another one, whose names appear below ``prefix``."""
        return Mounted(self, backing, prefix)


class Mounted(Catalog):
    """``top`` over ``backing``, whose names appear below ``prefix``, where all names of this catalog are.

    A name that ``top`` has, or had and deleted, is as it is there. Other names are those of ``backing``,
    which is only written to by ``push``. What changes one makes it a name of ``top``: its versions count on.
    """

    def __init__(self, top: Catalog, backing: Catalog, prefix: str = "") -> None:
        vars(self).update(vars(top))
        self._backing = backing
        self._prefix = f"{prefix.rstrip('/')}/" if prefix else ""

    def push(self, name: str) -> Entry:
        """Have the backing catalog hold what is here, in its own next version, and this one nothing.

        Raises: NotFound for a name that was not changed here; NotSupported in a batch; VersionConflict if it
        was changed meanwhile: push again.
        """
        if self._batch is not None:
            raise NotSupported(WHERE, "a push in a batch", "push when it is over")
        with self._doing("push", name, changes=True):
            state = super()._known((self._inside(name),)).get(name)
            if state is None or state.content is None:
                raise NotFound(name, f"{WHERE} over the other one")
            below, attrs = self._below(name), attrs_of(state, None)
            if state.content.value_hash is None:
                with self._stream(state) as stream:
                    entry = self._backing.put(below, stream, attrs=attrs)
            else:
                value_hash = self._backing._taken(self, state).value_hash
                entry = self._backing.bind(below, str(value_hash), attrs=attrs)
            self._commits.forget(name, state.version)
            return replace(entry, name=name)

    def ref(self, name: str) -> EntryRef:
        """As of any catalog. Raises: NotSupported for what is behind, which runs here know nothing of."""
        if self._state(check_key(name)).depth:
            raise NotSupported(WHERE, "a ref of what is behind", "ask that catalog for one")
        return super().ref(name)

    # --- what is there: here, else behind --------------------------------------------------------------

    def _known(self, names: Iterable[str]) -> dict[str, State]:
        wanted = [name for name in names if name.startswith(self._prefix)]
        own = super()._known(wanted)
        others = {self._below(name): name for name in wanted if name not in own}
        behind = self._backing._there(others) if others else {}
        return own | {others[name]: self._seen(state) for name, state in behind.items()}

    def _walk(self, which: Which, most: int | None) -> Iterator[State]:
        return self._merged(
            super()._walk(self._kept_in(which), most),
            self._backing._walk(behind, most) if (behind := self._behind(which)) else iter(()),
        )

    def _names(self, which: Which, most: int | None) -> Iterator[str]:
        own = (State(name, 0, 0) for name in super()._names(self._kept_in(which), most))
        behind = self._behind(which)
        names = self._backing._names(behind, most) if behind else iter(())
        return (state.name for state in self._merged(own, (State(name, 0, 0) for name in names)))

    def _merged(self, own: Iterator[State], behind: Iterator[State]) -> Iterator[State]:
        return heapq.merge(own, self._unhidden(map(self._seen, behind)), key=lambda state: state.name)

    def _unhidden(self, behind: Iterator[State]) -> Iterator[State]:
        """Those that have no row here, of a name that is there or was."""
        while page := [state for _, state in zip(range(_PAGE), behind, strict=False)]:
            own = super()._known([state.name for state in page])
            yield from (state for state in page if state.name not in own)

    def _versions(self, name: str) -> Sequence[State]:
        """Those here go on from those behind."""
        own = super()._versions(self._inside(name))
        behind = map(self._seen, self._backing._versions(self._below(name)))
        return [*(state for state in behind if not own or state.version < own[0].version), *own]

    def _ref(self, state: State) -> ValueRef | None:
        return self._backing._ref(_nearer(state)) if state.depth else super()._ref(state)

    def _archive_of(self, state: State) -> Archive:
        return self._backing._archive_of(_nearer(state)) if state.depth else super()._archive_of(state)

    # --- what is changed is copied up --------------------------------------------------------------------

    def _do(self, steps: Sequence[Step]) -> list[State]:
        names = {self._inside(name) for step in steps for name in step.names}
        own = super()._known(names)
        kept = {step.names[0] for step in steps if step.keeps}
        first = [self._adopting(state, kept) for name, state in self._known(names - own.keys()).items()]
        return super()._do([*first, *steps])[len(first) :]

    def _adopting(self, state: State, kept: set[str]) -> Step:
        """Have the name go on from here; its bytes are only copied if they stay."""
        brought = self._content(state) if state.name in kept else None
        known = state._replace(content=brought or state.content, depth=0)
        return Step((state.name,), lambda draft: draft.adopt(known), brought)

    def _content(self, state: State) -> Content:
        return self._taken(self, state) if state.depth else super()._content(state)

    # --- names ----------------------------------------------------------------------------------------

    def _inside(self, name: str) -> str:
        """Raises: BadKey."""
        if not name.startswith(self._prefix):
            raise BadKey(name, f"the names of this catalog begin with {self._prefix!r}")
        return name

    def _below(self, name: str) -> str:
        return name[len(self._prefix) :]

    def _seen(self, state: State) -> State:
        return state._replace(name=self._prefix + state.name, depth=state.depth + 1)

    def _kept_in(self, which: Which) -> Which:
        return which if which.prefix.startswith(self._prefix) else replace(which, prefix=self._prefix)

    def _behind(self, which: Which) -> Which | None:
        """The same names as they are called there; None if none is."""
        prefix, after = which.prefix, which.after
        if not (prefix.startswith(self._prefix) or self._prefix.startswith(prefix)):
            return None
        if after > self._prefix and not after.startswith(self._prefix):
            return None
        later = self._below(after) if after > self._prefix else ""
        return replace(which, prefix=self._below(prefix), after=later)


def _nearer(state: State) -> State:
    """The same for the catalog behind, which asks for content alone."""
    return state._replace(depth=state.depth - 1)
