"""Guard: what a writer does so that no row of it points to what a collection has deleted meanwhile.

A payload is stored, or a value found to be there, before the row that points to it is written; in between a
collection may delete it, however long the writer is paused. The number ``collection`` of the table
``repository`` tells: it counts when collections begin and end. Where it is what it was when this process
opened the repository, nothing was deleted. Else the batch is looked through in the transaction that writes
it, for which collectors wait: what is gone is put again, and what cannot be is left out, so that it is
computed anew. While somebody collects, it is also claimed. See db/upkeep/gc.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import chain

from valuestore.db.ids import now
from valuestore.db.record.batch import Batch, Seen
from valuestore.db.record.rows import CallRow, JobRow, eval_hash
from valuestore.db.record.writer import Writer
from valuestore.errors import StoreError
from valuestore.hashing import Digest
from valuestore.lazy import this_process
from valuestore.stores.content.store import ContentStore
from valuestore.values.payload import Pending

_OF_VALUES = "value", "signature", "payload", "subvalue", "file"
_CLAIM_CHARS = 32
_EVEN = tuple("02468")


class Guard:
    """For one recorder. ``known``: the number when the repository was opened; ``pending``: bytes at hand."""

    def __init__(self, payloads: ContentStore, pending: Pending, algorithm: str, known: str | None) -> None:
        self.pending = pending
        self._payloads = payloads
        self._algorithm = algorithm
        self._known = known if known is None or known[-1:] in _EVEN else ""  # else somebody was at it
        self._last = known
        self._lost: set[Digest] = set()

    def write(self, batch: Batch, writer: Writer) -> None:
        """Write the batch, in the transaction that is on."""
        number, is_on = writer.collection()
        if number != self._known or is_on:
            if number != self._last:
                batch.seen.hashes.clear()
                self._last = number
            self._look_through(batch, writer)
            if is_on:
                claim(writer, self._hashes(batch))
        batch.write(writer)

    def hold(
        self,
        writer: Writer,
        payloads: Mapping[Digest, int],
        values: Collection[Digest],
        entries: Iterable[Digest],
    ) -> set[Digest]:
        """Have these be there, payloads with their sizes, when the transaction that is on is committed.

        Which cannot be: then it is not to be committed. ``entries`` are names that it is about.
        """
        number, is_on = writer.collection()
        lost = set(values) - {row[0] for row in writer.rows("values", values)}
        if number != self._known or is_on:
            lost |= self._put_again(set(payloads))
        if is_on:
            claim(writer, chain(payloads, values, entries))
        writer.insert("payload", payloads.items())
        return lost

    def committed(self, batch: Batch) -> None:
        """The batch is written."""
        self.pending.forget(row[0] for row in batch.rows["payload"])

    def check(self) -> None:
        """Raises: StoreError for values put by hand that could not be written, once."""
        if self._lost:
            lost, self._lost = sorted(self._lost), set()
            problem = f"{len(lost)} values ({lost[0]}, ...) were collected before their rows were written"
            raise StoreError(f"{problem}, and their bytes are not at hand any more; put them again")

    def _look_through(self, batch: Batch, writer: Writer) -> None:
        """Complete the batch with what may have been deleted, and leave out what leads nowhere."""
        _complete(batch)
        lost = self._put_again({row[0] for row in batch.rows["payload"]})
        rows = batch.rows
        gone = {row[0] for row in rows["value"] if row[3] in lost and row[5] is None}
        self._lost |= {row[0] for row in rows["held"] if row[0] in gone}
        rows["payload"] = [row for row in rows["payload"] if row[0] not in lost]
        for table in ("value", "signature", "file", "held"):
            rows[table] = [row for row in rows[table] if row[0] not in gone]
        own = {row[0] for row in rows["value"]}
        wanted = set(chain(_pointed_to(batch), gone)) - own
        gone = wanted - {row[0] for row in writer.rows("values", wanted)}
        rows["evaluation"] = [row for row in rows["evaluation"] if row[2] not in gone]
        rows["subvalue"] = [row for row in rows["subvalue"] if gone.isdisjoint(row)]
        in_part = {row[0] for row in rows["argument"] if row[3] in gone}  # whose hash is that of all
        rows["argument"] = [row for row in rows["argument"] if row[0] not in in_part]
        batch.calls = _whole([call for call in batch.calls if call.value_hash not in gone], writer)
        calls = {call.call_hash for call in batch.calls}
        asked = {job.call_hash for job in batch.jobs if job.call_hash} - calls
        calls.update(map(Digest, writer.numbers("call_node", asked)))
        batch.jobs = [_told(job, calls) for job in batch.jobs]
        tasks = {job.task_hash for job in batch.jobs}
        for task_hash in tasks - writer.numbers("task", tasks).keys():  # which are written again
            batch.add_code(batch.seen.code.get(task_hash, ()))

    def _put_again(self, digests: set[Digest]) -> set[Digest]:
        """Have these payloads be stored; those that are not, and whose bytes are not at hand."""
        missing = digests - self._payloads.has_many(digests) if digests else set()
        lost = {digest for digest in missing if not self.pending.put_again(digest)}
        if missing - lost:
            self._payloads.flush()
        return lost

    def _hashes(self, batch: Batch) -> Iterator[str]:
        """All that rows of the batch are or point to; jobs that were answered, with what answered them."""
        for row in chain(batch.rows["value"], batch.rows["signature"]):
            yield from (row[0], row[3] or "")
        yield from _pointed_to(batch)
        for table in ("payload", "argument", "evaluation", "set_member", "dependency", "task"):
            yield from (row[0] for row in batch.rows[table])
        for member in batch.rows["set_member"]:
            yield member[1]
        for evaluation in batch.rows["evaluation"]:
            yield evaluation[1]
        args: dict[str | None, Digest] = {}
        for call in batch.calls:
            args[call.call_hash] = call.args_hash
            yield from (call.call_hash, call.task_hash, call.args_hash, *call.children)
            yield from (call.tasks.set_hash or "", call.externals.set_hash or "")
            yield from (source.call_hash for source in call.sources)
        for job in batch.jobs:
            given = job.args_hash or args.get(job.call_hash)
            yield from (job.task_hash, job.call_hash or "", job.args_hash or "")
            yield from (job.classes_hash or "", job.trace_hash or "")
            if given:
                yield eval_hash(job.task_hash, given, self._algorithm, job.classes_hash)


def claim(writer: Writer, hashes: Iterable[str]) -> None:
    """Have the collection that is on keep these, with all that they lead to."""
    at, ids = now(), {each[:_CLAIM_CHARS] for each in hashes if each}
    writer.insert("lease", [(each, "write", this_process(), at, at) for each in ids])


def _complete(batch: Batch) -> None:
    """Rows that are left out of a batch since they were written before, for they may be gone."""
    whole = Batch(Seen())
    for ref in batch.refs:
        whole.add_value(ref)
    for args_hash, arguments in batch.given.items():
        whole.add_arguments(args_hash, arguments)
    for table in (*_OF_VALUES, "argument"):
        batch.rows[table] = whole.rows[table]
    batch.calls = list({call.call_hash: call for call in (*batch.known, *batch.calls)}.values())
    known: set[Digest] = set()
    for call in batch.calls:
        for each in (call.tasks, call.externals):
            batch.rows["set_member"] += [row for one in each.unrecorded(known) for row in one.rows()]


def _whole(calls: list[CallRow], writer: Writer) -> list[CallRow]:
    """Those of which all that they made is there, too: a call's hash is that of its parts."""
    there = set(writer.numbers("call_node", {child for call in calls for child in call.children}))
    while True:
        known = there.union(call.call_hash for call in calls)
        whole = [call for call in calls if known.issuperset(call.children)]
        if len(whole) == len(calls):
            return whole
        calls = whole


def _pointed_to(batch: Batch) -> Iterator[Digest]:
    """The values that rows of the batch point to."""
    for table, column in (("evaluation", 2), ("argument", 3), ("subvalue", 0), ("subvalue", 1)):
        yield from (row[column] for row in batch.rows[table])
    yield from (call.value_hash for call in batch.calls)


def _told(job: JobRow, calls: set[Digest]) -> JobRow:
    """The job, without a call that is gone."""
    return job if job.call_hash is None or job.call_hash in calls else job._replace(call_hash=None)
