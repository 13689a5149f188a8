"""Lookups: what is known of these calls, what is this value. Batched; no payload is touched."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, NamedTuple

from valuestore.db.engine.database import Database
from valuestore.db.record.rows import checksum, ref_of, replay_checksum, signed_ref
from valuestore.db.schema.kept import kept, key_lists
from valuestore.hashing import Digest
from valuestore.values.archive import ValueRef
from valuestore.values.codecs.plain import SIGNED_CODECS


class Miss:
    """The type of ``MISS``: nothing is known. None would not do, since None is a value."""

    def __repr__(self) -> str:
        return "MISS"

    def __bool__(self) -> bool:
        return False


MISS: Final = Miss()


class Finished(NamedTuple):
    """A finished call as it was recorded: its result, and what its subtree of ``calls`` calls depended on.

    Without ``task_set_hash``, that is its own task alone.
    """

    task_hash: Digest
    args_hash: Digest
    call_hash: Digest
    task_set_hash: Digest | None
    external_set_hash: Digest | None
    calls: int
    value_hash: Digest


class Lookup:
    """Reads of the cache, one query per 500 keys, and one for the signatures of the values that need one.

    Of several keys that vouch for a value, one is told that ``knows`` its id.
    """

    def __init__(self, database: Database, knows: Callable[[str], bool] = lambda _key_id: False) -> None:
        self.database = database
        self._knows = knows
        self._statements = kept(database.dialect_name)

    def evaluations(self, eval_hashes: Collection[Digest]) -> list[tuple[Digest, Digest, ValueRef]]:
        """What one step of each call gave, by ``eval_hash`` and ``trace_hash``: one row for each trace.

        Unknown calls are absent, and rows that are not what they were written as.
        """
        found = [
            (row[0], row[1], ref_of(row[3:]))
            for row in self.rows("evaluations", eval_hashes)
            if row[2] is None or row[2] == checksum((row[0] + row[1] + row[3]).encode())
        ]
        signed = self._signed([ref for _, _, ref in found])
        return [(*key, signed.get(ref.value_hash, ref)) for *key, ref in found] if signed else found

    def values(self, value_hashes: Collection[Digest]) -> dict[Digest, ValueRef]:
        """The refs of these values; unknown ones are absent."""
        found = {row[0]: ref_of(row) for row in self.rows("values", value_hashes)}
        return found | self._signed(found.values())

    def finished(self, calls: Collection[tuple[Digest, Digest]]) -> list[Finished]:
        """Of each of these tasks with these arguments, the finished call that is the newest, if replayable.

        It has made others. Rows that are not what they were written as are absent.
        """
        asked = set(calls)
        tasks = json.dumps(sorted({task_hash for task_hash, _ in asked}))
        sql = self._statements["finished"]
        rows = [
            row
            for keys in key_lists({args_hash for _, args_hash in asked})
            for row in self.database.rows(sql, {"keys": keys, "tasks": tasks})
        ]
        found = [Finished(*row[:-1]) for row in rows if row[-1] == replay_checksum(*row[:-1])]
        return [one for one in found if (one.task_hash, one.args_hash) in asked]

    def set_members(self, set_hashes: Collection[Digest]) -> dict[Digest, list[tuple[Digest, bool]]]:
        """The members of these sets, and of those in them; of an unknown one, none. They may be damaged."""
        found: dict[Digest, list[tuple[Digest, bool]]] = {}
        wanted = set(set_hashes)
        while wanted:
            found.update((one, []) for one in wanted)
            for set_hash, member, is_set in self.rows("set members", wanted):
                found.setdefault(set_hash, []).append((Digest(str(member)), bool(is_set)))
            wanted = {
                member for one in wanted for member, is_set in found[one] if is_set and member not in found
            }
        return found

    def task_names(self, task_hashes: Collection[Digest]) -> dict[Digest, str]:
        """The names of those that are hashes of tasks."""
        return {key: name for key, name in self.rows("task names", task_hashes) if isinstance(name, str)}

    def code_sets(self, hashes: Collection[str]) -> dict[str, dict[str, Digest]]:
        """Names and digests of these sets of code; of one that is not whole, whatever there is."""
        found: dict[str, dict[str, Digest]] = {}
        for code_hash, name, digest in self.rows("code sets", hashes):
            found.setdefault(code_hash, {})[name] = digest
        return found

    def value(self, value_hash: Digest) -> ValueRef | Miss:
        """The ref of one value, or ``MISS``."""
        rows = self.database.rows(self._statements["value"], {"value_hash": value_hash})
        if not rows:
            return MISS
        ref = ref_of(rows[0])
        return self._signed([ref]).get(value_hash, ref)

    def code_beside(self, task_hash: Digest) -> str | Miss | None:
        """The digest of the code of this version of a task when it ran last; None if that is not known."""
        rows = self.database.rows(self._statements["code beside"], {"task_hash": task_hash})
        return rows[0][0] if rows else MISS

    def _signed(self, refs: Iterable[ValueRef]) -> dict[Digest, ValueRef]:
        """Those for which a key vouches beside their bytes; of several, one that is known here."""
        bare = {ref.value_hash: ref for ref in refs if ref.codec in SIGNED_CODECS}
        signed: dict[Digest, ValueRef] = {}
        for row in self.rows("signatures", bare) if bare else ():
            if row[0] not in signed or self._knows(row[1]):
                signed[row[0]] = signed_ref(bare[row[0]], row)
        return signed

    def rows(self, name: str, keys: Collection[str]) -> list[Any]:
        """The rows that a kept statement gives for these keys."""
        sql = self._statements[name]
        return [row for some in key_lists(keys) for row in self.database.rows(sql, {"keys": some})]
