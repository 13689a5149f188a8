"""The cache as the scheduler sees it: ready jobs in, hits and misses out, one query for all of a turn.

A hit is a row whose bytes are all there, unharmed and still true of the outside world. Whatever is not
is a miss, also what a payload store that does not answer may hold; damage is warned of once in a run.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from valuestore.db.record import rows
from valuestore.errors import NotHashableError, PayloadError, StoreError, ValuestoreWarning
from valuestore.hashing import ATOMS, Digest, hash_struct
from valuestore.repository import Repository
from valuestore.scheduler.code import Code
from valuestore.scheduler.handles import Handles
from valuestore.scheduler.job import UNLOADED, Argument, Job, Result, externals_of
from valuestore.scheduler.replay import Replay
from valuestore.scheduler.within import Within
from valuestore.tasks.call import Call, evaluate
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import MAY_GO_STALE, NEVER_STALE, SIGNED
from valuestore.values.files.capture import named_places, restored
from valuestore.values.identity.inside import calls_refused
from valuestore.values.value import hooks_in_use


class Lost(Exception):
    """The bytes of a job's result went away after it was found: the job has to run after all."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.job = job


class Cache:
    """Identities of one execution's calls, and lookups of what they gave before."""

    def __init__(self, repository: Repository, handles: Handles, code: Code) -> None:
        self.archive = repository.archive
        self.lookup = repository.lookup
        self.recorder = repository.recorder
        self.handles = handles
        self.code = code
        self.replay = Replay(repository, self.code, self._note_damage)
        self._algorithm = repository.algorithm
        self._warned = False

    def identify(self, job: Job, jobs: Mapping[int, Job]) -> None:
        """Give a job whose calls are all done, and whose task is known, its arguments and hashes.

        Raises: NotHashableError; Lost; whatever an operator on a result raises.
        """
        job.arguments = [
            self._argument(name, argument, jobs, job) for name, argument in job.call._arguments.items()
        ]
        job.sources = [(position, jobs[id(call)]) for position, call in job.calls]
        pairs = [(argument.name, argument.value_hash) for argument in job.arguments]
        job.args_hash = hash_struct(pairs, "arguments", algorithm=self._algorithm)
        code = self.code
        job.signature_hash = code.signatures.get(id(job.task)) or code.signature_hash(job.task)
        if job.classes:
            job.classes_hash = code.classes_hash(job.task, job.classes)
            if job.classes_hash:
                job.own_code = ()
                job.bring(code.brought(job.classes))
        job.eval_hash = rows.eval_hash(job.task_hash, job.args_hash, self._algorithm, job.classes_hash)

    def find(self, jobs: Sequence[Job]) -> dict[Digest, Result]:
        """The usable cached results of these jobs, by ``eval_hash``."""
        evaluations = self.lookup.evaluations([job.eval_hash for job in jobs])
        lost = self.replay.missing([ref for _, _, ref in evaluations])
        holding = self.code.holding({trace_hash for _, trace_hash, _ in evaluations if trace_hash})
        capturing = {job.eval_hash: job for job in jobs if job.task.capture}
        steps = {key for key, _, ref in evaluations if ref.codec == SIGNED and self.replay.is_vouched(ref)}
        replayed = self._replayed(jobs, steps)
        found = dict(replayed)
        with self.handles.asking() as questions:
            for eval_hash, trace_hash, ref in evaluations:
                if eval_hash in replayed or (trace_hash not in holding if trace_hash else eval_hash in found):
                    continue
                if ref.payload_digest in lost:
                    self._note_damage(
                        ref, f"payload {ref.payload_digest} of a cached {ref.type_name} is gone"
                    )
                elif (result := self._usable(ref, capturing.get(eval_hash))) is not None:
                    result.trace_hash = trace_hash
                    found[eval_hash] = result
        return self._current(found, questions) if questions else found

    def _replayed(self, jobs: Sequence[Job], steps: set[Digest]) -> dict[Digest, Result]:
        """Of the calls whose bodies may have returned calls, those that hold with all below them."""
        found: dict[Digest, Result] = {}
        whole = [job for job in jobs if job.replayable and not job.context]
        asked = [job for job in whole if job.eval_hash in steps or job.task.is_whole]
        for eval_hash, (ref, replayed) in self.replay.find(asked).items() if asked else ():
            result = self._usable(ref, None)
            if result is not None:
                result.replayed = replayed
                found[eval_hash] = result
        return found

    def _current(self, found: dict[Digest, Result], questions: set[Digest]) -> dict[Digest, Result]:
        """Those results that hold no state of a handle which was rolled back; one query for all."""
        is_valid = self.archive.registry.is_valid
        with self.handles.answering(questions):
            return {
                eval_hash: result
                for eval_hash, result in found.items()
                if result.value is UNLOADED or is_valid(result.value)
            }

    def value(self, job: Job) -> Any:
        """The value of a finished job. Raises: Lost."""
        result = job.result
        if result is None:
            raise Lost(job)
        if result.value is not UNLOADED:
            return result.value
        assert result.ref is not None
        try:
            value = self.archive.unpack_verified(result.ref)
        except (PayloadError, StoreError) as error:
            self._note_damage(result.ref, str(error))
            raise Lost(job) from error
        if result.ref.inline is not None:
            result.value = value  # small, and one object to all who ask
        return value

    def private_value(self, argument: Argument) -> object:
        """The value to hand to a body: a copy made from the very bytes that were hashed.

        No body can thus change what another one sees, and a thread sees what a remote worker would.
        Raises: Lost.
        """
        if type(argument.value) in ATOMS:
            return argument.value
        if argument.encoded is not None:
            return self.archive.copy(argument.encoded)
        assert argument.source is not None
        assert argument.ref is not None
        value = self.value(argument.source) if argument.value is UNLOADED else argument.value
        if value is not argument.value and argument.ref.inline is None:
            return value  # large ones are loaded for each who asks
        try:
            return self.archive.unpack(argument.ref)
        except (PayloadError, StoreError) as error:
            self._note_damage(argument.ref, str(error))
            encoded = self.archive.registry.encode(value)
            if encoded.value_hash != argument.ref.value_hash:
                raise
            return self.archive.copy(encoded)

    def may_go_stale(self, argument: Argument) -> bool:
        """Whether an argument may hold what stands for outside state."""
        known = argument.encoded or argument.ref
        assert known is not None
        if known.codec in NEVER_STALE:
            return False
        return self.archive.registry.may_go_stale(known.codec, known.type_name)

    def stored(self, argument: Argument) -> ValueRef:
        """The ref of an argument, its bytes stored if they were not yet. Raises: StoreError."""
        if argument.ref is None:
            assert argument.encoded is not None
            argument.ref = self.archive.store(argument.encoded)
        return argument.ref

    def _argument(self, name: str, argument: object, jobs: Mapping[int, Job], job: Job) -> Argument:
        source = ref = None
        if isinstance(argument, Call):
            source = jobs[id(argument)]
            if source.result is None:
                raise Lost(source)
            ref = source.result.ref
            job.classes |= source.result.classes
            if ref is not None and not ("preprocess" in hooks_in_use and ref.codec in MAY_GO_STALE):
                return Argument(name, source.result.value, ref.value_hash, None, ref, source)
        value = argument
        try:
            if type(argument) not in ATOMS:
                given = evaluate(argument, lambda call: self.value(jobs[id(call)]))
                value = given if job.within is None else self._preprocessed(given, job, job.within)
                if source is not None and ref is not None and value is given:
                    return Argument(name, value, ref.value_hash, None, ref, source)
            encoded = self.archive.registry.encode(value)
            if encoded.classes:
                job.classes |= encoded.classes
        except RecursionError:
            raise NotHashableError(f"argument {name}", "it is nested too deeply") from None
        except NotHashableError as error:
            path, reason = error.args
            raise type(error)(f"argument {name}{path.removeprefix('value')}", reason) from None
        return Argument(name, value, encoded.value_hash, encoded, None, None)

    def _preprocessed(self, given: object, job: Job, within: Within) -> object:
        return self.archive.registry.preprocess(given, position_of=lambda: within.position_of(job.call))

    def _usable(self, ref: ValueRef, capturing: Job | None) -> Result | None:
        """The result behind a row, or None if it is damaged, of another program's types, or stale."""
        try:
            if ref.inline is not None:
                self.archive.verify(ref)
            if ref.codec in NEVER_STALE or not self.archive.registry.may_go_stale(ref.codec, ref.type_name):
                return Result(UNLOADED, ref)  # it cannot go stale; decoded when somebody needs it
            value = self.archive.unpack_verified(ref)
        except (PayloadError, StoreError) as error:
            self._note_damage(ref, str(error))
            return None
        registry = self.archive.registry
        inside = registry.look_inside(value)
        if not registry.are_valid(inside.asked) and not self._put_back(value, ref, capturing):
            return None
        with calls_refused(step=value):
            if inside.code and not registry.is_current(value, ref.value_hash):
                return None
        externals = externals_of(inside.asked, registry)
        return Result(value, ref, externals, inside.classes, code=inside.code)

    def _put_back(self, value: object, ref: ValueRef, capturing: Job | None) -> bool:
        """Whether it is true of the outside world after captured files are put back."""
        if capturing is None:
            return False
        task = capturing.task
        named = named_places(task.func, capturing.call._arguments)
        try:
            put_back = restored(value, self.archive, overwrite=task.capture == "overwrite", named=named)
        except (PayloadError, StoreError) as refused:
            self._note_damage(ref, str(refused))
            return False
        return put_back and self.archive.registry.is_valid(value)

    def _note_damage(self, ref: ValueRef | None, problem: str) -> None:
        """See to it that the value is written again, and say so once."""
        self.recorder.forget(ref.value_hash if ref else None)
        if not self._warned:
            self._warned = True
            warnings.warn(f"{problem}; computed again", ValuestoreWarning, stacklevel=2)
