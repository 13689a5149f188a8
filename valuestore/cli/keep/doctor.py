"""``valuestore doctor``: who vouches for the values of a repository, and whether all it needs is there.

It reads and counts. No pickle is loaded: signatures are verified, and whatever cannot be is counted.
"""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from valuestore.cli.terminal import JsonOption, RepositoryOption, open_existing, print_facts, print_json
from valuestore.errors import (
    ConfigError,
    KeyUnusable,
    PayloadError,
    StoreError,
    UntrustedPayload,
    ValuestoreError,
)
from valuestore.version import __version__

if TYPE_CHECKING:
    from valuestore.repository import Repository
    from valuestore.values.archive import ValueRef
    from valuestore.values.trust.keys import KeyRing

PROBLEMS = 1


def doctor(repository: RepositoryOption = None, *, as_json: JsonOption = False) -> int:
    """Examine a repository: its values by who vouches for them, the keys, the payload store, the database.

    \b
    Values are counted as
      plain       read without executing anything, whoever wrote them
      signed      vouched for by one of your keys (`valuestore keys list`)
      foreign     signed by none of your keys, though it has to be: computed anew, never loaded
      unreadable  of a codec or class that this program does not have, or damaged
      lost        holding pickles perhaps, but the payload is gone or was not reached

    Exit code 0: nothing is wrong; 1: something is, and is named. Advice is no problem yet.
    """
    with open_existing(repository) as opened:
        facts, problems = examine(opened)
        advice = [*_advice(opened)]
    if as_json:
        print_json({**facts, "problems": problems, "advice": advice})
    else:
        print_facts([(name.replace("_", " "), value) for name, value in facts.items()])
        both = (("problems", problems), ("advice", advice))
        print_facts([(name, "\n".join(told) if told else "none") for name, told in both])
    return PROBLEMS if problems else 0


def examine(repository: Repository) -> tuple[dict[str, object], list[str]]:
    """What is there, by name, and what is wrong, as sentences. Raises: DatabaseError."""
    from valuestore.db.schema import migrate

    keys, key_state, problems = _open_keys()
    store_state, store_problems = _store_state(repository)
    counts, value_problems = _count(repository, keys)
    facts: dict[str, object] = {
        "repository": str(repository.folder),
        "versions": f"valuestore {__version__}, Python {platform.python_version()}, "
        f"schema {migrate.current(repository.database)}",
        **{f"values_{name}": counts[name] for name in ("plain", "signed", "foreign", "unreadable", "lost")},
        "signing_key": key_state,
        "signatures": _signers(repository, keys),
        "payload_store": store_state,
        "durability": repository.settings.durability,
        "traces": _trace_state(repository),
        "sizes": _sizes(repository),
        repository.database.dialect_name: _database_state(repository),
    }
    return facts, problems + store_problems + value_problems


def _sizes(repository: Repository) -> str:
    rows, inline, stored = repository.history.sizes()
    values = f"{inline / 1e6:,.1f} MB of values in the database, {stored / 1e6:,.1f} MB of payloads"
    told = f"{sum(rows.values()):,} rows, {values}"
    if (path := repository.database.path) is None:
        return told
    own = [os.stat(name).st_size for name in (path, f"{path}-wal") if os.path.exists(name)]
    free = shutil.disk_usage(repository.folder).free
    return f"{told}; a file of {sum(own) / 1e6:,.1f} MB, and {free / 1e9:,.1f} GB left on its disk"


def _advice(repository: Repository) -> Iterator[str]:
    """What might be better, as sentences."""
    with suppress(StoreError):  # a problem, told by now
        for loss in repository.payloads.losses():
            yield f"{repository.payloads.url} may lose values, which are then computed again: {loss}"
        if aside := repository.payloads.set_aside():
            yield f"{aside} damaged payloads are put aside, below quarantine/; they may be deleted"
    if not repository.settings.keep:
        yield "no rule says what may go ([keep]); `valuestore gc --older-than 30d` tells what one would free"
    database = repository.database
    if database.is_sqlite:
        return
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        [(found,)] = database.rows(f"SELECT current_setting('{setting}')")
        if found == "off":
            yield f"{setting} is off: when its machine dies, {database.name} may lose what was written"


def _trace_state(repository: Repository) -> str:
    from valuestore.values.code.trace import trace_refused

    if not repository.settings.trace:
        return "off, by the setting trace"
    refused = trace_refused()
    return f"off: {refused}" if refused else "on"


def _count(repository: Repository, keys: KeyRing | None) -> tuple[Counter[str], list[str]]:
    from valuestore.db.history.things import find_by_codec, find_kinds
    from valuestore.values.codecs.plain import DROPPED, PLAIN_CODECS, SIGNED, TAGGED
    from valuestore.values.codecs.signed import PICKLED

    counts: Counter[str] = Counter()
    problems: list[str] = []
    for kind in find_kinds(repository.database):
        if kind.codec in (TAGGED, SIGNED, PICKLED.name):
            continue
        if kind.codec == DROPPED:
            counts["lost"] += kind.count
            continue
        is_known = kind.codec in PLAIN_CODECS or _is_readable(repository, kind.type_name, kind.codec)
        counts["plain" if is_known else "unreadable"] += kind.count
        if not is_known:
            problems.append(f"{kind.count} values of type {kind.type_name}: no codec {kind.codec} here")
    found: Counter[tuple[str, str]] = Counter()
    for codec in (TAGGED, SIGNED, PICKLED.name):
        for page in find_by_codec(repository.database, codec):
            for ref in repository.lookup.values(page).values():
                found[_judge(repository, ref, keys)] += 1
    for (verdict, _), count in found.items():
        counts[verdict] += count
    return counts, problems + list(_sentences(found))


def _judge(repository: Repository, ref: ValueRef, keys: KeyRing | None) -> tuple[str, str]:
    """What a value counts as, and the reason if that is a problem."""
    from valuestore.values.codecs.plain import TAGGED
    from valuestore.values.codecs.signed import opened, sealed_signature

    told = ref.codec, ref.type_name
    try:
        data = repository.archive.read(ref)
        if ref.codec == TAGGED:
            return "plain", ""
        signature = ref.signature or sealed_signature(*told, data, ref.value_hash)
        if keys is None or keys.find(signature.key_id) is None:
            return "foreign", f"signed by the unknown key {signature.key_id}"
        opened(*told, data, ref.value_hash, ref.signature, repository.archive.registry.signer)
    except KeyUnusable:
        return "foreign", "signed by a key that cannot be used"
    except UntrustedPayload:
        return "foreign", "wrongly signed, so not what was stored"
    except StoreError:
        return "lost", "in a payload store that did not give them"
    except PayloadError as error:
        return ("lost", "gone or damaged") if isinstance(error, KeyError) else ("unreadable", "damaged")
    return "signed", ""


def _signers(repository: Repository, keys: KeyRing | None) -> str:
    """How many values each key vouches for, and whether it is one of this user's."""
    from valuestore.db.history.things import find_signers

    known: set[str] = set()
    with suppress(KeyUnusable):
        known |= {key.key_id for key in keys.find_all()} if keys else set()
    counts = find_signers(repository.database)
    told = [f"{key}{'' if key in known else ' (not accepted here)'} {n}" for key, n in counts.items()]
    return ", ".join(told) or "none"


def _sentences(found: Counter[tuple[str, str]]) -> Iterator[str]:
    fixes = {
        "foreign": "run the pipeline again, or `valuestore keys add FILE` with a key whose owner you trust",
        "unreadable": "run the pipeline again",
        "lost": "run the pipeline again",
    }
    for (verdict, reason), count in sorted(found.items()):
        if verdict in fixes:
            yield f"{count} values are {reason}; {fixes[verdict]}"


def _is_readable(repository: Repository, type_name: str, codec: str) -> bool:
    try:
        found = repository.archive.registry.rule_named(type_name).codec
    except ValuestoreError:
        return False
    return found is not None and found.name == codec


def _open_keys() -> tuple[KeyRing | None, str, list[str]]:
    """The keys, if there is a place for them; what they are; what is wrong with them."""
    from valuestore.values.trust.keys import KeyRing

    try:
        ring = KeyRing.open()
    except ConfigError as error:
        return None, "no home folder", [str(error)]
    try:
        count = len(ring.find_all())
        signing = ring.find_signing()
    except KeyUnusable as error:
        return ring, "unusable", [str(error)]
    if signing is None:
        others = f"; {count} verify" if count else ""
        return ring, f"none yet: made when a value is pickled{others}", []
    return ring, f"{signing.key_id}, {count - 1} others verify", []


def _store_state(repository: Repository) -> tuple[str, list[str]]:
    """Asks for a digest that nothing has: any answer will do."""
    from valuestore.hashing import hash_bytes

    place = repository.payloads.url
    try:
        repository.payloads.has_many([hash_bytes(b"doctor", "doctor", algorithm=repository.algorithm)])
    except StoreError as error:
        return f"{place} does not answer", [str(error)]
    return f"{place} answers", []


def _database_state(repository: Repository) -> str:
    from valuestore.db.engine.sqlite import NEEDS_LOCKED_CHECKPOINT

    if not repository.database.is_sqlite:
        question = "SELECT current_setting('server_version'), current_setting('server_encoding')"
        [(version, encoding)] = repository.database.rows(question)
        return f"{version}, {encoding}, at {repository.database.name}"
    if not NEEDS_LOCKED_CHECKPOINT:
        return sqlite3.sqlite_version
    return f"{sqlite3.sqlite_version}: checkpoints are taken under a lock, since 3.51.3 alone is safe without"
