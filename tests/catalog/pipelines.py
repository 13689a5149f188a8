"""Tasks that are given names of a catalog, or ask it themselves."""

from __future__ import annotations

import sys

from valuestore import Repository, task
from valuestore.catalog import EntryRef


@task(version="1", namespace="catalog")
def length(model: EntryRef) -> int:
    with model.open() as stream:
        return len(stream.read())


@task(version="1", namespace="catalog")
def loaded(model: EntryRef):
    return model.load()


@task(version="1", namespace="catalog")
def among(model: EntryRef):
    return {"models": [model]}


@task(version="1", namespace="catalog")
def pass_on(folder: str, name: str):
    with Repository.open(folder) as repository:
        return length(repository.catalog.ref(name))


@task(version="1", namespace="catalog")
def ask(folder: str, name: str) -> bytes:
    with Repository.open(folder) as repository:
        repository.catalog.put("made/inside", b"by a body")
        return repository.catalog.get(name)


def put_until_killed(folder: str) -> None:
    """Tell each version that is there."""
    with Repository.open(folder) as repository:
        for number in range(10_000):
            with repository.catalog.batch() as catalog:
                catalog.put("a", b"%d" % number * 1000, attrs={"n": number})
                catalog.put("b", b"%d" % number * 2000, attrs={"n": number})
            print(number, flush=True)


def count_up(folder: str, times: int) -> None:
    """Add one to an attribute, whatever others do."""
    from valuestore.errors import VersionConflict

    with Repository.open(folder) as repository:
        done = 0
        while done < times:
            entry = repository.catalog.stat("count")
            new = {"n": entry.attrs["n"] + 1}
            try:
                repository.catalog.update_attrs("count", new, if_version=entry.version)
            except VersionConflict:
                continue
            done += 1


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
