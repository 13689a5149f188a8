"""Sync: from a repository to another, or to a file and back: what is named and all it needs, or everything.

One way leads from records to records: the selection (sending.py), what the other side lacks, a check by who
sends and by who receives (records.py), and the rows in transactions (receiving.py). A payload goes before
the value that has it. What is damaged or lost at the source is left out and told; what arrives damaged is
refused. Whatever was interrupted is simply done again, and sends the rest.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from threading import current_thread, main_thread
from typing import Any

from valuestore.db.engine.driver import Driver
from valuestore.db.history.tags import ENTITIES
from valuestore.db.ids import now
from valuestore.db.record.lookup import Lookup
from valuestore.db.record.tag import ANY_VALUE, parse_tag_filter, tag_value
from valuestore.db.record.writer import Writer
from valuestore.db.schema.kept import kept
from valuestore.db.upkeep import Whole
from valuestore.db.upkeep.bundle import Bundle, Written, written
from valuestore.db.upkeep.receiving import Collected, receive
from valuestore.db.upkeep.records import Checks, Damaged, Row
from valuestore.db.upkeep.sending import Ask, Closure, Pages, everything, lacking, steady
from valuestore.errors import ConfigError, DatabaseBusy, PayloadError, RecordNotFound, SizeMismatch
from valuestore.progress import is_watched, shown
from valuestore.stores.base import iter_chunks
from valuestore.stores.content.store import ContentStore, PayloadRef
from valuestore.version import __version__

_GROUP = 1000
_GROUP_BYTES = 4 << 20
_PART_BYTES = 200
_PROBLEMS = 20
_ROUNDS = 3
_SMALL_BYTES = 1 << 20

_PLAN = (
    *("task task", "code code", "value value signature held subvalue file handle handle_edge"),
    *("set set", "args args", "call call", "call link", "evaluation evaluation"),
    *("job job", "execution execution", "entry entry", "tag tag"),
)
"""What is gone through, and the records that each page of its keys is asked for."""


Seeds = list[tuple[str, str]]
"""Kinds and ids of the records that are sent with all they lead to; of none, everything is."""


@dataclass
class Sent:
    """What was sent: records, those of payloads among them, and payloads that the other side lacked.

    ``lost`` is how many were left out, since they are damaged or gone at the source; ``problems`` says it of
    the first of them.
    """

    records: int = 0
    payloads: int = 0
    payload_bytes: int = 0
    lost: int = 0
    problems: list[str] = field(default_factory=list)
    doing: str = field(default="", repr=False)

    def leave_out(self, problem: object) -> None:
        """Something cannot be sent."""
        self.lost += 1
        if len(self.problems) < _PROBLEMS:
            self.problems.append(str(problem))

    def lines(self, width: int, _most: int, *, colour: bool = False) -> list[str]:
        """How it goes, for people."""
        size = f"{self.payload_bytes / 1e6:,.1f} MB"
        return [f"{self.doing}  {self.records:,} records  {self.payloads:,} payloads, {size}"[:width]]


# --- From here to there


def push(source: Whole, target: Whole, seeds: Seeds) -> Sent:
    """Send what ``target`` lacks of what these lead to. Raises: ConfigError, StoreReadOnly."""
    if source.database.name == target.database.name:
        raise ConfigError("repository", f"{source.database.name} is both source and target")
    _check_digests(str(source.folder), source.algorithm, target)
    target.database.check_writable()
    return _told(lambda sent: _steadily(source, seeds, sent, _Push(source, target, sent)), source)


def export(
    source: Whole,
    path: str | os.PathLike[str],
    names: Sequence[Any] = (),
    tags: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> Sent:
    """Write a bundle. Raises: AlreadyExists, RecordNotFound, AmbiguousId; StoreUnavailable, if it is full."""
    seeds = seeds_of(source, names, tags)
    head = {"digest": source.algorithm, "repository": source.repository_id, "made": now(), "by": __version__}

    def go(sent: Sent) -> None:
        with written(os.fspath(path), overwrite=overwrite) as bundle:
            bundle.head(head)
            _steadily(source, seeds, sent, _Export(source, bundle, sent))

    return _told(go, source)


def import_(target: Whole, path: str | os.PathLike[str], max_bytes: int | None = None) -> Sent:
    """Take over what a bundle has, after all of it was looked at once.

    Raises: BundleRefused, before anything is written; ConfigError if it has another digest; StoreReadOnly.
    """
    with closing(Bundle(os.fspath(path), max_bytes)) as bundle:
        _check_digests(bundle.path, str(bundle.head.get("digest")), target)
        target.database.check_writable()
        return _told(lambda sent: _import(target, bundle, sent), target)


def _told(go: Callable[[Sent], object], own: Whole) -> Sent:
    """Do it, and show how it goes where somebody watches; main thread alone.

    Once more, for the rest, if somebody collected at the target meanwhile. Raises: DatabaseBusy if that goes
    on and on, and nothing comes through.
    """
    sent, wanted = Sent(), own.settings.progress is not False and current_thread() is main_thread()
    with shown(sent, at_once=False) if wanted and is_watched() else nullcontext():  # type: ignore[arg-type]
        rounds = 0
        while True:
            before, sent.lost, sent.problems = sent.records, 0, []
            try:
                go(sent)
                return sent
            except Collected as error:
                rounds = 0 if sent.records > before else rounds + 1
                if rounds == _ROUNDS:
                    raise DatabaseBusy(str(error), "collected meanwhile, again and again") from None


def _check_digests(where: str, algorithm: str, target: Whole) -> None:
    if algorithm != target.algorithm:
        problem = f"{where} has {algorithm!r}, and {target.folder} has {target.algorithm!r}"
        raise ConfigError("digest", f"{problem}: equal values have other hashes there, so none can be sent")


def seeds_of(source: Whole, names: Sequence[Any], tags: Sequence[str]) -> Seeds:
    """The records that are named; none: everything. Raises: RecordNotFound, AmbiguousId, TagError."""
    if isinstance(tags, str):
        raise TypeError(f"tags is a list of texts, such as [{tags!r}], not a text")
    source.check_open()
    source.flush()
    seeds: Seeds = []
    for name in names:
        one = source.history.find_one(name)
        if one.kind not in ENTITIES:
            raise RecordNotFound(str(name), "execution, job, call, task, value or name of the catalog")
        seeds.append((one.kind, one.record_id))
    for text in tags:
        key, value = parse_tag_filter(text)
        name, given = "tagged key", {"of_key": key}
        if value is not ANY_VALUE:
            name, given = "tagged", {**given, "value_digest": tag_value(key, value)[1]}
        rows = source.database.rows(kept(source.database.dialect_name)[name], given)
        if not rows:
            raise RecordNotFound(text, "tag")
        seeds += [(entity, entity_id) for entity, entity_id in rows]
    return seeds


# --- Sending


class _Push:
    """To another repository."""

    def __init__(self, source: Whole, target: Whole, sent: Sent) -> None:
        self._source, self._target, self._sent = source.payloads, target, sent
        self.there: Ask = Lookup(target.database).rows
        self._group = _Group(target, sent)

    def payloads(self, rows: Collection[Row]) -> None:
        """Copy those that are not there, each verified."""
        there = self._target.payloads.has_many([digest for digest, _ in rows])
        for digest, size in rows:
            try:
                if digest not in there:
                    _copy(self._source, self._target.payloads, digest, size)
                    self._sent.payloads += 1
                    self._sent.payload_bytes += size
                self._group.add("payload", (digest, size))
            except (PayloadError, SizeMismatch) as problem:
                self._sent.leave_out(problem)

    def records(self, kind: str, rows: Iterable[Row]) -> None:
        for row in rows:
            self._group.add(kind, row)

    def finish(self) -> None:
        self._group.write()


class _Export:
    """To a bundle."""

    def __init__(self, source: Whole, bundle: Written, sent: Sent) -> None:
        self._payloads, self._bundle, self._sent = source.payloads, bundle, sent

    def there(self, _name: str, _keys: Collection[str]) -> list[Any]:
        return []

    def payloads(self, rows: Collection[Row]) -> None:
        """Write them, each verified."""
        for digest, size in rows:
            try:
                with self._payloads.open(digest) as stream:
                    self._bundle.payload(digest, size, iter_chunks(digest, stream, size))  # type: ignore[arg-type]
            except (PayloadError, SizeMismatch) as problem:
                self._sent.leave_out(problem)
            else:
                self._sent.records += 1
                self._sent.payloads += 1
                self._sent.payload_bytes += size

    def records(self, kind: str, rows: Iterable[Row]) -> None:
        for row in rows:
            self._bundle.record(kind, row)
            self._sent.records += 1

    def finish(self) -> None:
        """Nothing is left."""


def _steadily(source: Whole, seeds: Seeds, sent: Sent, to: _Push | _Export) -> None:
    """Send, from one state of the source."""
    database = source.database
    statements = kept(database.dialect_name)
    checks = Checks(source.archive)

    def work(driver: Driver) -> None:
        ask = Writer(driver, statements).rows
        with steady(driver, is_sqlite=database.is_sqlite):
            if not seeds:
                _send(everything(driver, statements), ask, checks, sent, to)
                return
            sent.doing = "looking"
            with closing(Closure(driver, statements, ask, source.algorithm)) as closure:
                closure.close_over(seeds)
                _send(closure.pages, ask, checks, sent, to)

    database.ask(work)


def _send(pages: Pages, ask: Ask, checks: Checks, sent: Sent, to: _Push | _Export) -> None:
    before: set[str] = set()
    for by, *kinds in map(str.split, _PLAN):
        sent.doing = f"sending {kinds[0]}:"
        for page in pages(by):
            if by == "execution":  # the others came with their jobs
                page = [run for (run,) in ask("idle executions", page)]
            if by in ("value", "entry"):
                to.payloads(ask("payloads of" if by == "value" else "payloads of entries", page))
            for kind in kinds:
                rows = list(_whole(kind, lacking(kind, page, ask, to.there), checks, sent))
                if kind == "job":  # its execution comes with it, or that would be seen without jobs
                    runs = {row[1] for row in rows}
                    new = lacking("execution", runs - before, ask, to.there)
                    to.records("execution", _whole("execution", new, checks, sent))
                    before = runs
                to.records(kind, rows)
    to.finish()


def _whole(kind: str, rows: Iterable[Row], checks: Checks, sent: Sent) -> Iterator[Row]:
    for row in rows:
        try:
            yield checks.checked(kind, row)
        except Damaged as problem:
            sent.leave_out(problem)


def _copy(source: ContentStore, target: ContentStore, digest: str, size: int) -> None:
    if size <= _SMALL_BYTES:
        target.put(source.get(digest))
        return

    def pieces() -> Iterator[bytes]:
        with source.open(digest) as stream:
            yield from iter_chunks(digest, stream)  # type: ignore[misc]

    target.receive(PayloadRef(digest, size), pieces)  # type: ignore[arg-type]


# --- Receiving


class _Group:
    """Records that are written in one transaction, once they are many; made before anything is looked up."""

    def __init__(self, target: Whole, sent: Sent) -> None:
        self._target, self._sent = target, sent
        settings = target.database.rows(kept(target.database.dialect_name)["settings"])
        self._known: str | None = dict(settings).get("collection")
        self._empty()

    def _empty(self) -> None:
        self._records: defaultdict[str, list[Row]] = defaultdict(list)
        self._count = self._bytes = 0

    def add(self, kind: str, row: Row) -> None:
        """Another record, checked. Raises: as ``write``."""
        self._records[kind].append(row)
        self._count += 1
        self._bytes += sum([len(each) for each in row if type(each) is bytes or type(each) is str])
        self._bytes += sum([_PART_BYTES * len(each) for each in row[1:] if type(each) is list])
        if self._count >= _GROUP or self._bytes >= _GROUP_BYTES:
            self.write()

    def write(self) -> None:
        """Write them. Raises: Collected, DatabaseError, StoreError."""
        target = self._target
        target.payloads.flush()
        new, lost = receive(target.database, self._records, target.algorithm, self._known)
        self._sent.records += new
        for problem in lost:
            self._sent.leave_out(problem)
        self._empty()


def _import(target: Whole, bundle: Bundle, sent: Sent) -> None:
    checks, group = Checks(target.archive), _Group(target, sent)
    with bundle.refusing():
        sent.doing = "looking"
        for read in bundle.records():
            checks.checked(read.kind, read.row)
        sent.doing = "importing"
        for read in bundle.records():
            row = checks.checked(read.kind, read.row)
            if read.pieces is None or _take(target.payloads, PayloadRef(*row), read.pieces, sent):
                group.add(read.kind, row)
        group.write()


def _take(payloads: ContentStore, ref: PayloadRef, pieces: Iterator[bytes], sent: Sent) -> bool:
    """Store a payload of a bundle, unless it is there; whether it is there now."""
    if payloads.has_many([ref.digest]):
        return True
    try:
        if ref.size <= _SMALL_BYTES:
            payloads.put(b"".join(pieces))
        else:
            payloads.receive(ref, lambda: pieces)
    except PayloadError as problem:
        sent.leave_out(problem)
        return False
    sent.payloads += 1
    sent.payload_bytes += ref.size
    return True
