"""Replay: a finished call with all that is below it, answered at once.

A call node carries the tasks and the externals of its whole subtree. If each of these tasks is the one that
is defined now, and each external still true of the outside world, then walking the subtree would give what
it gave: its result is handed on, and one job recorded. Otherwise the call is walked one step, and the calls
below are asked in turn, so that only what changed is walked. What a subtree does not tell by its sets, such
as a task that is not cached, makes it not replayable when it is recorded (job.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from valuestore.db.record.lookup import Finished
from valuestore.db.record.subtree import FLAT_EXTERNALS, FLAT_TASKS, expanded, recorded, set_hash, single
from valuestore.errors import NotHashableError, StoreError
from valuestore.hashing import Digest
from valuestore.repository import Repository
from valuestore.scheduler.code import AnyTask, Code
from valuestore.scheduler.job import Job, Replayed
from valuestore.tasks.control import named
from valuestore.values.archive import ValueRef
from valuestore.values.handles.journal import Journaled

Hashes = Mapping[Digest | None, frozenset[Digest]]
"""What is in each set that calls depended on, by its hash; None is the hash of the empty one."""


class Replay:
    """What one execution knows of the code and the externals that finished calls depended on."""

    def __init__(
        self,
        repository: Repository,
        code: Code,
        note_damage: Callable[[ValueRef | None, str], None],
    ) -> None:
        self._archive = repository.archive
        self._note_damage = note_damage
        self._lookup = repository.lookup
        self._code = code
        self._algorithm = repository.algorithm
        self._is_current: dict[Digest, bool] = {}

    def is_vouched(self, ref: ValueRef) -> bool:
        """Whether a key of this user is said to vouch for a step; its bytes are not looked at."""
        signer, signature = self._archive.registry.signer, ref.signature
        return signature is not None and signer is not None and signer.knows(signature.key_id)

    def find(self, jobs: Sequence[Job]) -> dict[Digest, tuple[ValueRef, Replayed]]:
        """Those of these calls that hold as a whole, by ``eval_hash``: the result, and what it rests on."""
        finished = self._lookup.finished({(job.task_hash, job.args_hash) for job in jobs})
        if not finished:
            return {}
        sets = {one for each in finished for one in (each.task_set_hash, each.external_set_hash) if one}
        members = self._lookup.set_members(sets)
        if any(
            inside and set_hash(sorted(inside), self._algorithm) != one for one, inside in members.items()
        ):
            return {}  # damaged
        hashes: Hashes = {None: frozenset(), **{one: expanded(one, members) for one in sets}}
        holding = self._holding(finished, hashes)
        refs = self._lookup.values([one.value_hash for one in holding])
        lost = self.missing(refs.values())
        held = {
            (one.task_hash, one.args_hash): (one, refs[one.value_hash])
            for one in holding
            if one.value_hash in refs and refs[one.value_hash].payload_digest not in lost
        }
        found: dict[Digest, tuple[ValueRef, Replayed]] = {}
        for job in jobs:
            one, ref = held.get((job.task_hash, job.args_hash), (None, None))
            if one is None or ref is None:
                continue
            if hashes[one.task_set_hash].issuperset(job.own_code):  # it is given what it was
                found[job.eval_hash] = ref, _replayed(one, hashes)
        return found

    def missing(self, refs: Collection[ValueRef]) -> set[Digest]:
        """The payload digests of these refs that the store does not hold, or cannot be asked for."""
        try:
            return self._archive.missing(refs)
        except StoreError as error:
            self._note_damage(None, str(error))
            return {ref.payload_digest or ref.value_hash for ref in refs if ref.inline is None}

    def _holding(self, finished: Sequence[Finished], hashes: Hashes) -> list[Finished]:
        """Those whose code is current and whose externals are valid; each external is looked at once."""
        code = [one for one in finished if self._are_current(hashes[one.task_set_hash] or {one.task_hash})]
        invalid = self._invalid(frozenset().union(*[hashes[one.external_set_hash] for one in code]))
        return [one for one in code if invalid.isdisjoint(hashes[one.external_set_hash])]

    # --- code ---------------------------------------------------------------------------------

    def _are_current(self, hashes: Collection[Digest]) -> bool:
        """Whether they are tasks as they are defined now, and code that is what it was."""
        unknown = {one for one in hashes if one not in self._is_current}
        if unknown:
            names = self._lookup.task_names(unknown)
            holding = self._code.holding(unknown - names.keys())
            self._is_current.update((one, one in names or one in holding) for one in unknown)
            for task_hash, name in names.items():
                self._look_at(task_hash, named(name))
        return all(self._is_current[one] for one in hashes)

    def _look_at(self, task_hash: Digest, task: AnyTask | None) -> None:
        """Whether that task is as it was, and with it the parameters and defaults of its day."""
        try:
            is_same = (
                task is not None and self._code.may_replay(task) and self._code.task_hash(task) == task_hash
            )
        except NotHashableError:
            is_same = False
        self._is_current[task_hash] = is_same
        if is_same:
            assert task is not None
            self._is_current[self._code.signature_hash(task)] = True
            self._code.met(task)  # a walk would have recorded it

    # --- externals ----------------------------------------------------------------------------

    def _invalid(self, hashes: Collection[Digest]) -> set[Digest]:
        """Those that are no longer true of the outside world, or cannot be asked."""
        if not hashes:
            return set()
        refs = self._lookup.values(hashes)
        return {one for one in hashes if one not in refs or not self._is_valid(refs[one])}

    def _is_valid(self, ref: ValueRef) -> bool:
        """Not of handles: whether their state holds depends on what this run does."""
        registry = self._archive.registry
        try:
            value = self._archive.unpack(ref)
            if ref.payload_digest is not None and registry.hash(value) != ref.value_hash:
                return False
            return not isinstance(value, Journaled) and registry.is_valid(value)
        except Exception:  # noqa: BLE001  # whatever a class does: then it is asked in the walk
            return False


def _replayed(one: Finished, hashes: Hashes) -> Replayed:
    tasks, externals = hashes[one.task_set_hash], hashes[one.external_set_hash]
    return Replayed(
        one.call_hash,
        one.calls,
        recorded(one.task_set_hash, tasks, FLAT_TASKS) if one.task_set_hash else single(one.task_hash),
        recorded(one.external_set_hash, externals, FLAT_EXTERNALS),
    )
