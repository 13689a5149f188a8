"""Marks: which rows are kept, worked out by the database in temporary tables; memory stays flat.

Of each kind of thing there is a table ``keep_...`` of what is kept, and ``new_...`` of what is to be. What is
put into the latter spreads: from executions to their jobs' calls, from calls to the calls in them, to
arguments, results, cache entries, sets, code, from values to what is in them and to their payloads, and from
names of the catalog to all of their versions.
"""

from __future__ import annotations

import json

from valuestore.db.record.rows import eval_hash
from valuestore.db.upkeep.session import Session
from valuestore.hashing import Digest

KINDS = {
    "run": "BIGINT",
    "call": "BIGINT",
    "args": "VARCHAR(64)",
    "eval": "VARCHAR(64)",
    "sets": "VARCHAR(64)",
    "value": "VARCHAR(64)",
    "code": "VARCHAR(64)",
    "entry": "VARCHAR(64)",
    "payload": "VARCHAR(64)",
}
"""With the type of their keys, which are called ``k``: ``execution_no``, ``call_no``, hashes."""
TREES = "call", "value"
"""Kinds of which one holds others."""

_PAGE = 10_000

_SPREAD = (
    ("call", "SELECT c.call_no FROM new_run n JOIN job j ON j.execution_no = n.k "
             "JOIN call_node c ON c.call_hash = j.call_hash"),
    ("call", "WITH RECURSIVE below(k) AS (SELECT k FROM new_call UNION SELECT e.child_no FROM below b "
             "JOIN call_edge e ON e.parent_no = b.k "
             "WHERE NOT EXISTS (SELECT 1 FROM keep_call o WHERE o.k = e.child_no)) SELECT k FROM below"),
    ("args", "SELECT c.args_hash FROM new_call n JOIN call_node c ON c.call_no = n.k"),
    ("args", "SELECT j.args_hash FROM new_run n JOIN job j ON j.execution_no = n.k "
             "WHERE j.args_hash IS NOT NULL"),
    ("sets", "SELECT c.task_set_hash FROM new_call n JOIN call_node c ON c.call_no = n.k "
             "WHERE c.task_set_hash IS NOT NULL"),
    ("sets", "SELECT c.external_set_hash FROM new_call n JOIN call_node c ON c.call_no = n.k "
             "WHERE c.external_set_hash IS NOT NULL"),
    ("sets", "WITH RECURSIVE below(k) AS (SELECT k FROM new_sets UNION SELECT m.member_hash FROM below b "
             "JOIN set_member m ON m.set_hash = b.k) SELECT k FROM below"),
    ("value", "SELECT k FROM new_sets"),
    ("value", "SELECT v.value_hash FROM new_entry n JOIN entry_version v ON v.entry_id = n.k "
              "WHERE v.value_hash IS NOT NULL"),
    ("value", "SELECT c.value_hash FROM new_call n JOIN call_node c ON c.call_no = n.k"),
    ("value", "SELECT a.value_hash FROM new_args n JOIN argument a ON a.args_hash = n.k"),
    ("value", "SELECT e.value_hash FROM new_eval n JOIN evaluation e ON e.eval_hash = n.k"),
    ("value", "WITH RECURSIVE inside(k) AS (SELECT k FROM new_value UNION SELECT s.child_hash FROM inside i "
              "JOIN subvalue s ON s.parent_hash = i.k "
              "WHERE NOT EXISTS (SELECT 1 FROM keep_value o WHERE o.k = s.child_hash)) SELECT k FROM inside"),
    ("code", "SELECT k FROM new_sets"),
    ("code", "SELECT DISTINCT t.task_hash FROM new_call n JOIN call_node c ON c.call_no = n.k "
             "JOIN task t ON t.task_no = c.task_no"),
    ("code", "SELECT t.task_hash FROM task t WHERE t.task_no IN "
             "(SELECT j.task_no FROM new_run n JOIN job j ON j.execution_no = n.k)"),
    ("code", "SELECT DISTINCT j.classes_hash FROM new_run n JOIN job j ON j.execution_no = n.k "
             "WHERE j.classes_hash IS NOT NULL"),
    ("code", "SELECT DISTINCT j.trace_hash FROM new_run n JOIN job j ON j.execution_no = n.k "
             "WHERE j.trace_hash IS NOT NULL"),
    ("code", "SELECT DISTINCT e.trace_hash FROM new_eval n JOIN evaluation e ON e.eval_hash = n.k "
             "WHERE e.trace_hash <> ''"),
    ("payload", "SELECT v.payload_digest FROM new_entry n JOIN entry_version v ON v.entry_id = n.k "
                "WHERE v.value_hash IS NULL"),
    ("payload", "SELECT v.payload_digest FROM new_value n JOIN value v ON v.value_hash = n.k "
                "WHERE v.inline IS NULL AND v.payload_digest IS NOT NULL"),
    ("payload", "SELECT s.payload_digest FROM new_value n JOIN signature s ON s.value_hash = n.k "
                "JOIN payload p ON p.payload_digest = s.payload_digest WHERE s.inline IS NULL"),
)  # fmt: skip
"""What is kept because of what, in this order; each is added to what there is."""

_OF_CALLS = (
    "SELECT n.k, t.task_hash, c.args_hash, j.classes_hash "
    "FROM new_call n JOIN call_node c ON c.call_no = n.k JOIN task t ON t.task_no = c.task_no "
    "LEFT JOIN job j ON j.call_hash = c.call_hash AND j.status = 'done' AND j.classes_hash IS NOT NULL "
    "WHERE n.k > :after ORDER BY n.k"
)
_OF_JOBS = (
    "SELECT j.job_id, t.task_hash, COALESCE(j.args_hash, c.args_hash), j.classes_hash "
    "FROM job j JOIN {runs} n ON n.k = j.execution_no JOIN task t ON t.task_no = j.task_no "
    "LEFT JOIN call_node c ON c.call_hash = j.call_hash WHERE j.job_id > :after AND {which} ORDER BY j.job_id"
)
_WITHOUT_CALLS = "(j.classes_hash IS NOT NULL OR c.call_no IS NULL)"


class Marks:
    """The tables of one session."""

    def __init__(self, session: Session, algorithm: str) -> None:
        self._session = session
        self._algorithm = algorithm
        for kind, type_ in KINDS.items():
            for state in ("keep", "new", "gone", "part", *(("free", "below") if kind in TREES else ())):
                session.make(f"{state}_{kind}", f"k {type_} PRIMARY KEY")

    def add(self, kind: str, select: str, **parameters: object) -> int:
        """Have what is selected be kept from the next ``spread`` on; how many that were not to be."""
        return self.put(f"new_{kind}", select, **parameters)

    def put(self, table: str, select: str, **parameters: object) -> int:
        """Put what is selected into a table, each key once."""
        into = f"INSERT INTO {table} SELECT * FROM ({select}) found WHERE true ON CONFLICT DO NOTHING"
        return self._session.change(into, **parameters)

    def spread(self) -> None:
        """Keep what was added, and all that it points to."""
        for kind in KINDS:
            is_kept = f"EXISTS (SELECT 1 FROM keep_{kind} o WHERE o.k = new_{kind}.k)"
            self._session.change(f"DELETE FROM new_{kind} WHERE {is_kept}")
        is_named = False
        for kind, select in _SPREAD:
            if kind == "value" and not is_named:  # cache entries follow from calls, and lead to values
                self._put_evaluations("new_eval", _OF_CALLS, after=-1)
                self._put_evaluations("new_eval", _OF_JOBS.format(runs="new_run", which=_WITHOUT_CALLS))
                is_named = True
            self.add(kind, select)
        for kind in KINDS:
            self.put(f"keep_{kind}", f"SELECT k FROM new_{kind}")
            self._session.change(f"DELETE FROM new_{kind}")

    def put_evaluations_of_gone_jobs(self) -> None:
        """Into ``gone_eval``, the cache entries that jobs of executions that go have left."""
        self._put_evaluations("gone_eval", _OF_JOBS.format(runs="gone_run", which="1 = 1"))

    def _put_evaluations(self, table: str, sql: str, after: object = "") -> None:
        """The keys of the cache are digests, which no database makes: they are made here, page by page."""
        while page := self._session.rows(f"{sql} LIMIT {_PAGE}", after=after):
            hashes = set()
            for _, task, args, classes in page:
                if args is not None:
                    hashes.add(eval_hash(Digest(task), Digest(args), self._algorithm))
                    if classes is not None:
                        hashes.add(eval_hash(Digest(task), Digest(args), self._algorithm, classes))
            self.put(table, self._session.listed("keys"), keys=json.dumps(sorted(hashes)))
            if len(page) < _PAGE:
                return
            last = page[-1][0]  # of which a row may be left: all of its rows come again
            after = next((row[0] for row in reversed(page) if row[0] != last), last)
