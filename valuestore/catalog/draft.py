"""Draft: changes of names one after the other, on what is there; and how they become visible together.

A change is a ``Step``. Outside of a batch its transaction reads the names, does the step and writes what it
made. In a batch the steps are done on a draft in memory, so that the thread sees what it did; when the
outermost block ends, one transaction does all of them once more, on what the names are by then.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from valuestore.db.engine.database import Database
from valuestore.db.ids import now
from valuestore.db.record.entries import Content, Entries, State, Written, entry_id
from valuestore.db.record.guard import Guard
from valuestore.db.record.tag import current_author
from valuestore.db.record.writer import Writer
from valuestore.errors import AlreadyExists, NotFound, StoreError, VersionConflict
from valuestore.hashing import Digest
from valuestore.observe import Change
from valuestore.stores.content.store import ContentStore
from valuestore.values.code.members import inside_body

WHERE = "the catalog"
_TRIES = 3
"""How often what a collection has taken meanwhile is put again."""

Listeners = tuple[Callable[[Change], object], ...]


@dataclass(frozen=True)
class Step:
    """One change. ``content`` is what it brings, which ``again`` can store once more.

    ``keeps``: it goes on with the bytes that are there.
    """

    names: tuple[str, ...]
    work: Callable[[Draft], State]
    content: Content | None = None
    again: Callable[[], object] | None = None
    listeners: Listeners = ()
    keeps: bool = False


class Draft:
    """Names as they are, with what steps make of them. ``read`` gives those that nobody has looked at."""

    def __init__(self, read: Callable[[Iterable[str]], dict[str, State]], place: str) -> None:
        self._read = read
        self._place = place
        self._author = current_author()
        self._run = (inside_body.get() or (None,))[0] or None
        self.seen: dict[str, State] = {}
        self.changed: dict[str, State] = {}
        self.versions: list[State] = []
        self.told: list[tuple[Listeners, Change]] = []
        self._listeners: Listeners = ()
        self._adopted: set[str] = set()

    def do(self, steps: Iterable[Step]) -> list[State]:
        """Do them; the name that each is about, as it is then. Raises: what they raise."""
        done = []
        self._adopted.clear()
        for step in steps:
            self._listeners = step.listeners
            done.append(step.work(self))
        for name in self._adopted - self.changed.keys():
            del self.seen[name]
        return done

    def look(self, names: Iterable[str]) -> None:
        """Read these at once."""
        if wanted := [name for name in names if name not in self.seen]:
            found = self._read(wanted)
            self.seen |= {name: found.get(name) or State(name, 0, 0) for name in wanted}

    def find(self, name: str) -> State:
        """The name as it is; without content if nothing is there, and not even created if it never was."""
        self.look((name,))
        return self.seen[name]

    def get(self, name: str) -> State:
        """The same. Raises: NotFound."""
        state = self.find(name)
        if state.content is None:
            raise NotFound(name, WHERE)
        return state

    def expect(self, name: str, version: int | None = None, *, overwrite: bool = True) -> State:
        """The same as ``find``. Raises: VersionConflict; AlreadyExists; ValueError for what is no version."""
        if version is not None and (type(version) is not int or version < 0):
            raise ValueError(f"if_version={version!r}: a version is 1 or more; 0 means that it is not there")
        state = self.find(name)
        found = 0 if state.content is None else state.version
        if version is not None and found != version:
            raise VersionConflict(name, version, found)
        if found and not overwrite:
            raise AlreadyExists(name, WHERE)
        return state

    def put(self, name: str, content: Content, attrs: str) -> State:
        """Make a version."""
        old = self.find(name)
        at = max(now(), old.modified)
        created = old.created if old.version else at
        state = State(name, old.version + 1, created, content, attrs, self._author, at, self._run)
        self.versions.append(state)
        self._set(old, state)
        return state

    def delete(self, name: str) -> State:
        """Have nothing be there; what was. Raises: NotFound."""
        old = self.get(name)
        self._set(old, State(name, old.version, old.created))
        return old

    def adopt(self, state: State) -> State:
        """For the steps that are done now, go on from what a name is elsewhere, if it never was here."""
        if not self.find(state.name).created:
            self.seen[state.name] = state
            self._adopted.add(state.name)
        return state

    def _set(self, old: State, state: State) -> None:
        self.seen[state.name] = self.changed[state.name] = state
        if self._listeners:
            kind = "delete" if state.content is None else "set" if old.content is None else "update"
            attrs = json.loads((old if state.content is None else state).attrs)
            self.told.append((self._listeners, Change(kind, state.name, attrs, self._place)))  # type: ignore[arg-type]

    @contextmanager
    def taken_back_if_it_fails(self) -> Iterator[None]:
        """What the block did is forgotten if it raises."""
        seen, changed, count = dict(self.seen), dict(self.changed), len(self.versions)
        try:
            yield
        except BaseException:
            self.seen, self.changed = seen, changed
            del self.versions[count:]
            raise


class Batch:
    """The steps of an open block, and the draft that its thread sees."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.steps: list[Step] = []

    def do(self, steps: Sequence[Step]) -> list[State]:
        """Do them in the draft: all or none."""
        with self.draft.taken_back_if_it_fails() if len(steps) > 1 else nullcontext():
            done = self.draft.do(steps)
        self.steps += steps
        return done

    @contextmanager
    def inner(self) -> Iterator[None]:
        """A block in the block."""
        count = len(self.steps)
        try:
            with self.draft.taken_back_if_it_fails():
                yield
        except BaseException:
            del self.steps[count:]
            raise


class _Lost(Exception):
    """Content that a collection has taken: its digests."""


class Commits:
    """Transactions of one catalog: what names are then, and whom to tell of what became visible."""

    def __init__(self, database: Database, payloads: ContentStore, guard: Guard) -> None:
        self._database = database
        self._payloads = payloads
        self._guard = guard

    def draft(self) -> Draft:
        """On what is there now."""
        return Draft(Entries(self._database).states, self._payloads.url)

    def do(self, steps: Sequence[Step]) -> tuple[list[State], list[tuple[Listeners, Change]]]:
        """Do the steps, all or none. Raises: what they raise; StoreError; DatabaseError."""
        for _ in range(_TRIES):
            self._payloads.flush()
            try:
                return Writer.transact(self._database, lambda writer: self._write(writer, steps))
            except _Lost as error:
                lost: set[Digest] = error.args[0]
            again = [step.again for step in steps if step.content and not lost.isdisjoint(step.content)]
            if None in again:
                break
            for store in again:
                store()  # type: ignore[misc]  # none of them is None
        raise StoreError(f"{min(lost)} was collected before its name was written; put it again")

    def _write(
        self, writer: Writer, steps: Sequence[Step]
    ) -> tuple[list[State], list[tuple[Listeners, Change]]]:
        brought = [step.content for step in steps if step.content is not None]
        payloads = {content.digest: content.size for content in brought if content.value_hash is None}
        values = {content.value_hash for content in brought if content.value_hash is not None}
        names = {name for step in steps for name in step.names}
        if lost := self._guard.hold(writer, payloads, values, map(entry_id, names)):
            raise _Lost(lost)
        written = self._alone(writer)
        draft = Draft(written.states, self._payloads.url)
        draft.look(names)
        done = draft.do(steps)
        written.write(draft.changed, draft.versions)
        return done, draft.told

    def forget(self, name: str, version: int) -> None:
        """Have the name never have been there. Raises: VersionConflict if it has changed meanwhile."""

        def work(writer: Writer) -> None:
            written = self._alone(writer)
            Draft(written.states, "").expect(name, version)
            written.forget(name)

        Writer.transact(self._database, work)

    def _alone(self, writer: Writer) -> Written:
        """The names, of which this is the one writer; SQLite has one anyway."""
        if not self._database.is_sqlite:
            writer.table("lock record", id=WHERE)
        return Written(writer)
