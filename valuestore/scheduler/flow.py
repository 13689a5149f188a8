"""Flow: a control expression (``cond``, ``catch``, ``map_``, ...) while the scheduler brings it to its value.

Its arguments are expressions, and its identity is theirs: nothing of it runs before it is looked up. Then its
body is advanced from one expression that it needs to the next (tasks/control.py). A finished one is answered
again by replay alone, which knows all that was run for it. Called by run.py, on the thread of the run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from valuestore.db.ids import new_id
from valuestore.db.record import rows
from valuestore.errors import ArgumentError, MisplacedCall, NotHashableError, PayloadError, ValuestoreError
from valuestore.hashing import Digest, hash_struct
from valuestore.repository import Repository
from valuestore.scheduler.cache import Lost
from valuestore.scheduler.failure import first_error
from valuestore.scheduler.job import Job
from valuestore.scheduler.record import Recording
from valuestore.scheduler.waiting import Loop, Waiting
from valuestore.tasks.call import Call, Operation, find_expressions
from valuestore.tasks.control import Aside, Branch, Drawn, FromContext, Joined, Kept, Outcomes, Settled, Steps
from valuestore.values.identity.inside import LAZY, calls_refused, find

_LET_GO: dict[str, Any] = {}
_MOST_DRAWN = 1000


class Flow:
    """One body: what it asked for, and the calls that were drawn for it and are still open, by their ids."""

    __slots__ = ("asked", "drawn", "error", "is_drawing", "open", "room", "steps")

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.asked: Any = None
        self.drawn: list[Job] = []
        self.open: dict[int, tuple[int, Call]] = {}
        self.room = 0
        self.is_drawing = False
        self.error: Exception | None = None


class Flows:
    """The control expressions of one run, and its side branches."""

    def __init__(self, repository: Repository, loop: Loop, waiting: Waiting, recording: Recording) -> None:
        self._archive = repository.archive
        self._algorithm = repository.algorithm
        self._loop = loop
        self._waiting = waiting
        self._recording = recording
        self._recorder = repository.recorder
        self._branches: dict[str, Any] = {}
        self.asides: list[Job] = []

    def identify(self, job: Job) -> None:
        """Give a job the hashes of its arguments as expressions; its own to one that cannot have any."""
        arguments = job.call._arguments
        try:
            values = [*arguments.values()]
            with calls_refused(step=values):
                job.args_hash, classes = self._archive.registry.hash_with_classes(values, is_step=True)
            if classes:  # an operator of theirs may decide what is run
                job.own_code = ()
                job.bring(self._loop.cache.code.brought(classes))
        except MisplacedCall:
            raise
        except (NotHashableError, RecursionError):
            job.args_hash, job.replayable = Digest(new_id()), False
        job.eval_hash = rows.eval_hash(job.task_hash, job.args_hash, self._algorithm, None)

    def begin(self, job: Job) -> None:
        """Run its body up to the first expression that it needs."""
        self._recording.started(job)
        self._recording.counts.waiting -= 1
        job.status = "done"
        args, kwargs = job.task.call_arguments(job.call._arguments, job.call._given)
        job.flow = Flow(job.task.func(*args, **kwargs))
        self._advance(job, None, None)

    def go_on(self, job: Job) -> None:
        """What it asked for is settled, or one of the calls that were drawn for it. Raises: Lost."""
        asked = job.flow.asked
        if isinstance(asked, Drawn):
            self._draw(job, asked.calls)
            return
        value = error = None
        if isinstance(asked, Outcomes):
            value = [self._outcome(one) for one in asked.expressions]
        else:
            value, error = self._outcome(asked)
        job.broken = False
        self._advance(job, value, error)

    def _outcome(self, asked: Any) -> tuple[Any, Exception | None]:
        expression = asked.expression if isinstance(asked, Settled) else asked
        error = first_error(expression, self._waiting.jobs)
        if isinstance(error, Exception):
            return None, error
        try:
            if isinstance(asked, Settled) and not _has_operations(expression):
                return None, None
            return self._loop.evaluated(expression), None
        except Lost:
            raise
        except Exception as raised:  # noqa: BLE001  # the body's to handle, or the job's
            return None, raised

    def _advance(self, job: Job, value: Any, error: Exception | None) -> None:
        flow = job.flow
        while True:
            try:
                asked = flow.steps.send(value) if error is None else flow.steps.throw(error)
            except StopIteration as end:
                job.flow = None
                self._waiting.wait(job, end.value)
                return
            except Exception as raised:  # noqa: BLE001  # recorded, and raised again as it is
                job.flow = None
                own: BaseException = raised
                if isinstance(raised, RuntimeError) and isinstance(raised.__cause__, StopIteration):
                    own = raised.__cause__  # which no generator raises
                if own is not error and job.task.name != "valuestore.throw":
                    job.replayable = False  # nobody knows what made it
                self._loop.fail(job, own, is_own=own is not error)
                return
            value = error = None
            if isinstance(asked, Aside):
                value = self._begin_aside(job, asked.expression)
            elif isinstance(asked, Joined):
                value, error = self._branches.get(asked.branch.branch_id), None
                if value is None:
                    problem = "the branch is of another run; join it in the run that forks it"
                    error = ArgumentError("join", problem)
            elif isinstance(asked, Kept):
                value, error = self._kept(asked.expression)
            elif isinstance(asked, FromContext):
                value = job.context or self._waiting.context
                if value.is_said(asked.key):
                    job.apart = True
                else:
                    job.bring(self._loop.cache.code.context_hash(asked.key, value))
            else:
                break
        flow.asked = asked
        if isinstance(asked, Drawn):
            self._draw(job, asked.calls)
        else:
            self._waiting.wait(job, _expression_of(asked))

    def _kept(self, expression: Any) -> tuple[Any, Exception | None]:
        """The hash of an expression that others can read by then, and the tasks that they need for that."""
        try:
            with calls_refused(step=expression):
                ref = self._archive.pack(expression)
            self._recorder.record_values((ref,))
            self._recorder.flush()
        except ValuestoreError as error:
            return None, error
        found = {call._task.name: call._task for call in find(expression, Call, LAZY).leaves}
        return (ref.value_hash, list(found.values())), None

    def _begin_aside(self, job: Job, expression: Any) -> Branch[Any]:
        job.replayable = False  # what runs beside it is no part of what it gives
        branch_id: str = job.args_hash
        if job.context is not None:
            branch_id = self._archive.registry.hash([branch_id, job.context.hash(self._archive.registry)])
        self._branches[branch_id] = expression
        self.asides += self._waiting.begin(expression, job)
        return Branch(branch_id)

    # --- calls that are drawn -----------------------------------------------------------------

    def _draw(self, job: Job, calls: Iterator[Call]) -> None:
        """Let go of the calls that are settled, and draw as many as there is room for."""
        flow: Flow = job.flow
        if not flow.room:
            flow.room, flow.is_drawing, job.replayable = self._loop.at_once, True, False
        self._let_go(flow)
        drawn: list[Job] = []
        while flow.is_drawing and len(flow.open) < flow.room:
            try:
                call = next(calls)
            except StopIteration:
                flow.is_drawing = False
                break
            except Exception as raised:  # noqa: BLE001  # the iterator's own
                flow.is_drawing, flow.error = False, raised
                break
            flow.open[id(call)] = len(flow.drawn), call
            drawn += self._waiting.begin(call, job)
            flow.drawn.append(drawn[-1])
        job.slack = max(flow.room // 2, 1) - 1 if flow.is_drawing else 0
        if flow.open or drawn:
            self._waiting.wait(job, (), drawn)
            return
        job.args_hash = hash_struct([one.args_hash for one in flow.drawn], "items", algorithm=self._algorithm)
        error = next((one.error for one in flow.drawn if one.error is not None), flow.error)
        job.broken = False
        values = None if error is not None else [self._loop.cache.value(one) for one in flow.drawn]
        self._advance(job, values, error if isinstance(error, Exception) else None)

    def _let_go(self, flow: Flow) -> None:
        """Keep the results of the calls that are settled, and not what they were given."""
        ran = False
        for key, (number, call) in list(flow.open.items()):
            job = self._waiting.jobs[key]
            if job.is_settled:
                ran |= job.status != "cached"
                made = flow.drawn[number]
                flow.drawn[number] = job
                del flow.open[key], self._waiting.jobs[key]
                self._waiting.kept.pop(key, None)
                made.call = job.call = Call(call._task, _LET_GO, _LET_GO)
                made.within = job.within = None
        flow.room = self._loop.at_once if ran else min(2 * flow.room, _MOST_DRAWN)


def check_not_let_go(job: Job) -> None:
    """Raises: PayloadError if nobody knows any more what it was given, so that it cannot run again."""
    if job.call._given is _LET_GO:
        problem = "is gone, and the item it was given was let go; run it again"
        raise PayloadError(f"what {job.task.name} gave {problem}")


def _expression_of(asked: Any) -> Any:
    if isinstance(asked, Settled):
        return asked.expression
    return list(asked.expressions) if isinstance(asked, Outcomes) else asked


def _has_operations(expression: Any) -> bool:
    return any(isinstance(one, Operation) for one in find_expressions(expression))
