"""The SQLite file with bits flipped or pages swapped: never a wrong value, and pipelines go on."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults import workflow
from tests.faults.found import Found
from valuestore import Repository
from valuestore.errors import ValuestoreError

_PAGE = 4096
_CALLS = 6


def flips(folder: Path, size: int, chance: random.Random) -> Found:
    """One bit at a time, anywhere in the file."""

    def flip(data: bytearray) -> str:
        place = chance.randrange(len(data)) if chance.random() < 0.9 else chance.randrange(_PAGE)
        data[place] ^= 1 << chance.randrange(8)
        return f"bit of byte {place}"

    return _damage(folder, size, flip)


def pages(folder: Path, size: int, chance: random.Random) -> Found:
    """Two pages at a time change places; or one is written over another, or zeroed."""

    def swap(data: bytearray) -> str:
        one, other = chance.sample(range(len(data) // _PAGE), 2)
        first, second = slice(one * _PAGE, (one + 1) * _PAGE), slice(other * _PAGE, (other + 1) * _PAGE)
        how = chance.choice(["swapped", "swapped", "written over", "zeroed"])
        kept = bytes(data[first])
        data[first] = bytes(_PAGE) if how == "zeroed" else data[second]
        if how == "swapped":
            data[second] = kept
        return f"pages {one} and {other} {how}"

    return _damage(folder, size, swap)


def _damage(folder: Path, size: int, change) -> Found:
    found = Found()
    with Repository.open(folder) as repository:
        refs = [repository.put(workflow.value(number)) for number in range(40)]
        workflow.run(repository, _CALLS)
    path = folder / ".valuestore/valuestore.db"
    assert not Path(f"{path}-wal").exists()
    whole = path.read_bytes()
    for number in range(size):
        data = bytearray(whole)
        label = change(data)
        for left in path.parent.glob("valuestore.db*"):
            left.unlink()
        path.write_bytes(data)
        found.done["damages"] += 1
        _look(folder, refs[number % len(refs)].value_hash, number % len(refs), label, found)
        for attempt in ("first", "second", "third"):
            try:
                with Repository.open(folder) as repository:
                    right = workflow.run(repository, _CALLS) == workflow.expected(_CALLS)
                    found.check(right, "wrong", f"{label} {attempt} run")
                break
            except ValuestoreError as error:
                if attempt == "third":
                    found.fault("cannot finish", f"{label} {type(error).__name__}: {str(error)[:200]}")
            except Exception as error:
                found.fault("no typed error", f"{label} {type(error).__name__}: {str(error)[:200]}")
                break
    return found


def _look(folder: Path, value_hash: str, number: int, label: str, found: Found) -> None:
    try:
        with Repository.open(folder) as repository:
            is_same = workflow.same(repository.get(value_hash), workflow.value(number))
            found.check(is_same, "wrong", f"{label} value {number}")
    except ValuestoreError:
        found.done["refused"] += 1
    except Exception as error:
        found.fault("no typed error", f"{label} get {type(error).__name__}: {str(error)[:200]}")
