"""A repository with rows of every kind: what travels, and how tests compare what has arrived."""

from __future__ import annotations

from pathlib import Path

from tests.db.history import made_history
from tests.scheduler import handle_pipelines as h
from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler, catch, cond, task
from valuestore.db.record.writer import Writer
from valuestore.db.schema.kept import kept
from valuestore.db.upkeep.records import KINDS, PAGED
from valuestore.db.upkeep.sending import everything as all_pages

BIG = 30_000


class Opaque:
    """Kept as a signed pickle."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        return Opaque, (self.number,)


class Brought:
    """Its code counts: what is given one depends on it."""

    def __init__(self, number):
        self.number = number

    def doubled(self):
        return 2 * self.number


@task
def opaque(number):
    return Opaque(number)


@task
def use(thing):
    return thing.doubled()


@task
def big(number):
    return bytes([number]) * BIG


@task
def bigs(count):
    return [big(number) for number in range(count)]


@task
def recovered(error):
    return -1


@task
def control(n):
    return [cond(n > 1, p.double(n), p.add(n)), catch(p.fails(n), KeyError, recovered)]


def calls(folder: Path):
    """Calls that a rerun answers from the cache."""
    return [p.nested(3), use(Brought(4)), bigs(3), control(2), opaque(1), p.fan(5)]


def make(repository: Repository, folder: Path) -> None:
    """Runs of every sort, values put by hand, tags that have ended, handles."""
    made_history.make(repository, folder)
    with Scheduler(repository) as scheduler:
        for call in calls(folder):
            scheduler.run(call)
        scheduler.run(h.chain(h.Database("db", str(folder / "handles.db"))))
        repository.tags.add("-", {"checked": True})
        repository.tags.update("-", {"checked": False})
        ref = repository.put({"by hand": [1, 2, b"x" * BIG]})
        repository.catalog.put("names/bare", b"bare" * BIG, attrs={"stage": "trial"})
        repository.catalog.update_attrs("names/bare", {"stage": "final"})
        repository.catalog.bind("names/bound", ref, attrs={"n": 1})
        repository.tags.add("catalog:names/bare", {"checked": True})
    repository.flush()


def everything(repository: Repository) -> dict[str, list]:
    """All rows as they would travel, by kind."""
    repository.flush()

    def ask(driver):
        statements = kept(repository.database.dialect_name)
        pages, writer = all_pages(driver, statements), Writer(driver, statements)
        owners = {"edge": "call", "source": "call"} | dict.fromkeys(PAGED)
        found = {}
        for name in KINDS:
            if name == "payload":
                asked = ("value", "payloads of"), ("entry", "payloads of entries")
                rows = [row for by, ask in asked for page in pages(by) for row in writer.rows(ask, page)]
            else:
                by = owners.get(name, "value") or name
                rows = [row for page in pages(by) for row in writer.rows(f"share {name}", page)]
            found[name] = sorted({tuple(map(repr, map(_plain, row))) for row in rows})
        return found

    return repository.database.ask(ask)


def _plain(value):
    return int(value) if isinstance(value, bool) else value
