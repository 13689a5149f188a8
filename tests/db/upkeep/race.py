"""One writer of the race: puts values of a few contents again and again, and lets go of some of them.

python -m tests.db.upkeep.race FOLDER DATABASE PAYLOADS PUTS SEED careful|naive
"""

from __future__ import annotations

import random
import sys
import time

from valuestore import Repository
from valuestore.errors import NotFound, PayloadError, StoreError

CONTENTS = 40


def main(folder, database, payloads, puts, seed, how):
    if how == "naive":
        from valuestore.db.record.guard import Guard

        Guard.write = lambda self, batch, writer: batch.write(writer)
    chance = random.Random(int(seed))
    with Repository.open(
        folder, database=database or None, payloads=payloads or None, inline_max_bytes=0
    ) as repository:
        print("ready", flush=True)
        done = lost = 0
        while done < int(puts):
            numbers = [chance.randrange(CONTENTS) for _ in range(chance.randrange(1, 20))]
            refs = [repository.archive.pack(f"content {number} " * 20) for number in numbers]
            if chance.random() < 0.3:
                time.sleep(chance.random() / 50)
            try:
                repository.recorder.record_values(refs, by_hand=True)
                repository.flush()
            except StoreError as error:
                if "put them again" not in str(error):
                    raise
            done += len(refs)
            hashes = {ref.value_hash for ref in refs}
            lost += sum(is_lost(repository, value_hash) for value_hash in hashes)
            for value_hash in hashes:
                if chance.random() < 0.7:
                    let_go(repository, value_hash)
        print(f"done {done} {lost}", flush=True)


def is_lost(repository, value_hash):
    """Whether a value is held and cannot be read."""
    before = since(repository, value_hash)
    try:
        repository.get(value_hash)
    except (NotFound, PayloadError) as error:
        if how_it_is_held := before and before == since(repository, value_hash):
            print(f"lost {value_hash} {how_it_is_held} {error}", file=sys.stderr, flush=True)
        return bool(how_it_is_held)
    return False


def since(repository, value_hash):
    found = repository.database.rows(f"SELECT since FROM held WHERE value_hash = '{value_hash}'")
    return found[0][0] if found else None


def let_go(repository, value_hash):
    sql = f"DELETE FROM held WHERE value_hash = '{value_hash}'"
    repository.database.change(lambda driver: driver.change(sql))


if __name__ == "__main__":
    main(*sys.argv[1:])
