"""Handles of a run: which states its jobs enter and leave, and which cached results hold stale ones.

The run's ``HandleJournal``. Without handles it asks the database nothing; with them, one query for the cached
results of a turn and one transaction for the jobs that a turn starts. A rollback is committed before the
body that makes it necessary begins, so a crash leaves nothing current that is not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from valuestore.db.ids import now
from valuestore.db.record.handles import HandleEdge, HandleRow, HandleStates
from valuestore.errors import StaleHandle
from valuestore.executors.worker import Outcome
from valuestore.hashing import Digest
from valuestore.repository import Repository
from valuestore.scheduler.job import Job
from valuestore.values.codecs.plain import MAY_GO_STALE
from valuestore.values.entry import EntryRef
from valuestore.values.handles.journal import Journaled
from valuestore.values.value import hooks_in_use

_MOST_PENDING = 1000
_ROLLED_BACK = (
    "the state that it is given was rolled back when a task was given an earlier one; "
    "pass the call that returns the handle, not its old result, or fork the handle for each"
)
_IN_USE = (
    "{} is at work on the same state; let one take what the other returns, or give each a fork of its own"
)


class Handles:
    """Used by the thread of one run alone."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._states = HandleStates(repository.database)
        self._registry = repository.archive.registry
        self._answers: dict[Digest, bool] = {}
        self._questions: set[Digest] | None = None
        self._reached: dict[Digest, HandleRow] = {}
        self._known: dict[Digest, HandleRow] = {}
        self._edges: dict[HandleEdge, None] = {}
        self._inside: dict[Digest, Job] = {}

    # --- cached results ---------------------------------------------------------------------------

    def is_valid(self, handle: Journaled, /) -> bool:
        """Whether all calls that the state rests on are still current; inside ``asking``, perhaps."""
        anchors = [self._hash(handle, key) for key in handle.__handle__.anchors]
        unknown = [anchor for anchor in anchors if anchor not in self._answers]
        if self._questions is not None:
            self._questions.update(unknown)
            return all(self._answers.get(anchor, True) for anchor in anchors)
        self._look_up(unknown)
        try:
            return all(self._answers[anchor] for anchor in anchors)
        finally:
            self._answers.clear()  # another process may roll back at any time

    def holds(self, ref: EntryRef, /) -> bool:
        """Whether a name of the catalog stands for what it did."""
        return self._repository.catalog.holds(ref)

    @contextmanager
    def asking(self) -> Iterator[set[Digest]]:
        """Collect questions: ``is_valid`` says yes for now, and what it has to know is added to the set."""
        self._questions = set()
        try:
            yield self._questions
        finally:
            self._questions = None

    @contextmanager
    def answering(self, questions: set[Digest]) -> Iterator[None]:
        """Look all of them up at once; inside, ``is_valid`` knows."""
        self._look_up(questions)
        self._questions = set()
        try:
            yield
        finally:
            self._questions = None
            self._answers.clear()

    def _look_up(self, anchors: Iterable[Digest]) -> None:
        wanted = set(anchors)
        if wanted:
            self.flush()
            valid = self._states.valid(wanted)
            self._answers.update({anchor: anchor in valid for anchor in wanted})

    # --- jobs -------------------------------------------------------------------------------------

    def enter(self, jobs: Iterable[Job]) -> tuple[Job, StaleHandle] | None:
        """Before these jobs run: roll back what came from the states that they are given.

        Returns a job that cannot run and why, if there is one: its state is itself rolled back, or in use.
        """
        if "preprocess" not in hooks_in_use:
            return None
        given = [
            (job, handle)
            for job in jobs
            for argument in job.arguments
            if argument.may_go_stale
            for handle in self._handles_in(argument.value)
        ]
        if not given:
            return None
        needed: dict[Digest, tuple[Job, Journaled]] = {}
        for job, handle in given:
            other = self._inside.setdefault(self._hash(handle, handle.__handle__.key), job)
            if other is not job:
                return job, _stale(job, handle, _IN_USE.format(other.task.name))
            self._note(handle)
            for key in handle.__handle__.anchors:
                needed.setdefault(self._hash(handle, key), (job, handle))
        stale = self._write({self._hash(handle, handle.__handle__.key) for _, handle in given}, needed)
        refused = next((given_to for anchor, given_to in needed.items() if anchor in stale), None)
        return None if refused is None else (refused[0], _stale(*refused, _ROLLED_BACK))

    def leave(self, job: Job, outcome: Outcome) -> None:
        """A body has returned: the states in what it returned are current."""
        if "postprocess" not in hooks_in_use:
            return
        if self._inside:
            self._inside = {state: inside for state, inside in self._inside.items() if inside is not job}
        if outcome.ref is None or outcome.ref.codec in MAY_GO_STALE:
            for handle in self._handles_in(outcome.value):
                self._note(handle)
        if len(self._reached) >= _MOST_PENDING:
            self.flush()

    def flush(self) -> None:
        """Write the states that were left since. Raises: DatabaseError."""
        if self._reached:
            self._write((), ())

    def _write(self, entered: Iterable[Digest], needed: Iterable[Digest]) -> set[Digest]:
        stale = self._states.advance(
            list(self._reached.values()),
            list(self._edges),
            known=list(self._known.values()),
            entered=set(entered),
            needed=set(needed),
        )
        self._reached, self._known, self._edges = {}, {}, {}
        return stale

    def _handles_in(self, value: object) -> Iterator[Journaled]:
        return (found for found in self._registry.iter_values(value) if isinstance(found, Journaled))

    def _note(self, handle: Journaled) -> None:
        """Its last steps; of the states on the way, those that others rest on are not made current again."""
        info = handle.__handle__
        current = {info.key} if info.kind == "call" else {after for _, after in info.trail} - {*info.anchors}
        for before, after in info.trail:
            edge = HandleEdge(self._hash(handle, before), self._hash(handle, after))
            self._edges[edge] = None
            for value_hash, key in zip(edge, (before, after), strict=True):
                row = HandleRow(value_hash, info.fullname, type(handle).type_name, key, True, now())
                (self._reached if key in current else self._known).setdefault(value_hash, row)

    def _hash(self, handle: Journaled, key: str) -> Digest:
        return self._registry.hash(handle.at(key))


def _stale(job: Job, handle: Journaled, problem: str) -> StaleHandle:
    return StaleHandle(handle.__handle__.fullname, job.task.name, problem)
