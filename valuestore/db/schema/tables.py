"""Every table on one page: columns, keys and indexes, no behaviour. The views for people are in views.py.

Names are singular here; the documented views are plural. Times are microseconds since 1970-01-01 UTC.
Digests are lower-case hex. There are no foreign keys: rows arrive in content order, from many processes,
and ``verify`` checks what a constraint would. Jobs and calls name their task and run by a short number,
which the views resolve (docs/decisions/0003-schema.md). Behind each index is the question it answers, and
``where`` if it covers some rows alone: named here for each dialect, it would have all of them imported.
docs/schema.md is made from the comments (page.py).
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    text,
)

metadata = MetaData()

_digest = String(64)
_id = String(32)
_number = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers the rows of INTEGER primary keys alone."""
_path = Text().with_variant(Text(collation="C"), "postgresql")
"""Sorted by its bytes on every database, so that one index serves equality, prefixes and ranges."""


def _table(name: str, comment: str, *parts: Column[Any] | Index, has_rowid: bool = False) -> Table:
    """On SQLite a tree of its primary key, unless its rows are numbered or large."""
    is_numbered = any(isinstance(part, Column) and part.autoincrement is True for part in parts)
    on_sqlite: Any = {"sqlite_autoincrement": True} if is_numbered else {"sqlite_with_rowid": has_rowid}
    return Table(name, metadata, *parts, comment=comment, **on_sqlite)


def _own_number(name: str) -> Column[Any]:
    comment = "short number for rows in this database"
    return Column(name, _number, primary_key=True, autoincrement=True, comment=comment)


def _key(name: str, kind: Any, comment: str) -> Column[Any]:
    """The primary key, or a part of it, in this order."""
    return Column(name, kind, primary_key=True, autoincrement=False, comment=comment)


def _column(name: str, kind: Any, comment: str) -> Column[Any]:
    return Column(name, kind, nullable=False, comment=comment)


def _optional(name: str, kind: Any, comment: str) -> Column[Any]:
    return Column(name, kind, comment=comment)


def _index(name: str, on: str, answers: str, *, where: str = "", unique: bool = False) -> Index:
    columns: list[Any] = [text(on)] if on.startswith("(") else on.split(", ")
    return Index(name, *columns, unique=unique, info={"answers": answers, "where": where})


repository = _table(
    "repository",
    "What is known of a repository itself; collection counts the begins and ends of collections.",
    _key("name", String(64), "id, digest, created, collection, verified up to"),
    _column("value", Text, "its value as text"),
    has_rowid=True,
)

# --- values -------------------------------------------------------------------------------------

value = _table(
    "value",
    "Every value, by its content.",
    _key("value_hash", _digest, "what the value is"),
    _column("type_name", Text, "name of its type"),
    _column("codec", String(32), "how its payload is read"),
    _optional(
        "payload_digest",
        _digest,
        "digest of the payload bytes; NULL: they are inline, and value_hash itself vouches for them",
    ),
    _column("size", BigInteger, "payload bytes"),
    _optional("inline", LargeBinary, "the payload itself if small; NULL: see payload"),
    _column("preview", Text, "short JSON text of the value"),
    has_rowid=True,
)

signature = _table(
    "signature",
    "Which keys vouch for a value that loads with a signature alone: each for its own bytes.",
    _key("value_hash", _digest, "the value"),
    _key("key_id", String(16), "the key that vouches for it"),
    _column("mac", LargeBinary, "over value, type, codec and bytes; empty: in the bytes"),
    _column("payload_digest", _digest, "digest of the bytes that it signed"),
    _column("size", BigInteger, "their number"),
    _optional("inline", LargeBinary, "the bytes if small and the value's row holds others by now"),
)

payload = _table(
    "payload",
    "Bytes that lie in the payload store.",
    _key("payload_digest", _digest, "address in the payload store"),
    _column("size", BigInteger, "bytes"),
)

held = _table(
    "held",
    "Values that somebody put by hand: kept until they are deleted, whatever else leads to them.",
    _key("value_hash", _digest, "the value"),
    _column("since", BigInteger, "when somebody put it last, by the database's clock"),
)

subvalue = _table(
    "subvalue",
    "Which values contain which: files in a list, fields of an object.",
    _key("parent_hash", _digest, "value_hash of the container"),
    _key("child_hash", _digest, "value_hash of a value directly inside it"),
    _index("subvalue_by_child", "child_hash", "in which containers is this value: downstream lineage"),
)

file = _table(
    "file",
    "Where values that stand for files were.",
    _key("value_hash", _digest, "the value that stands for it"),
    _column("path", _path, "path or URL as written, without credentials"),
    _column("kind", String(16), "File, FileSet or Dir; Entry: a name of the catalog"),
    _index("file_by_path", "path", "files at this path, below this folder"),
)

handle = _table(
    "handle",
    "States of handles: connections to outside state that tasks change.",
    _key("value_hash", _digest, "the value: one state of the handle"),
    _column("name", Text, "its name within its class"),
    _column("class_name", Text, "type name of its class"),
    _column("key", Text, "what led to this state, as a digest"),
    _column("is_valid", Boolean, "false once the outside state has moved on"),
    _column("created", BigInteger, "when it was first recorded"),
    _index("handle_by_name", "name, class_name", "the states of one handle, to find the valid one"),
)

handle_edge = _table(
    "handle_edge",
    "Which state of a handle came from which.",
    _key("parent_hash", _digest, "value_hash of the state before"),
    _key("child_hash", _digest, "value_hash of the state after"),
    _index("handle_edge_by_child", "child_hash", "what a state came from"),
)

# --- code ---------------------------------------------------------------------------------------

task = _table(
    "task",
    "Every version of every task that ran.",
    _own_number("task_no"),
    _column("task_hash", _digest, "name and code, or name and version"),
    _column("task_name", Text, "namespace and name"),
    _optional("version", Text, "explicit version; NULL: identified by its code"),
    _column("source", Text, "source text of the function, for reading"),
    _optional(
        "code_hash",
        _digest,
        "with a version: digest of the function's own code when it ran last; NULL: not known",
    ),
    _index("task_by_hash", "task_hash", "its number, when jobs are recorded", unique=True),
    _index("task_by_name", "task_name", "the versions of a task"),
)

dependency = _table(
    "dependency",
    "What code a version of a task depends on, itself included, and what else its jobs depended on.",
    _key(
        "task_hash",
        _digest,
        "the version of the task, or other code behind jobs: job.classes_hash, job.trace_hash",
    ),
    _key("name", Text, "function, class, constant or module it refers to"),
    _column("digest", _digest, "digest of that code or value"),
    _optional("source", Text, "its source text, for reading; NULL if there is none"),
)

# --- calls --------------------------------------------------------------------------------------

evaluation = _table(
    "evaluation",
    "The cache: what one step of a call gave last, with the code that it reached.",
    _key("eval_hash", _digest, "digest of task_hash, args_hash and classes_hash, if any"),
    _key(
        "trace_hash",
        _digest,
        "code that bodies reached and the task does not name: dependency.task_hash; empty: none",
    ),
    _column("value_hash", _digest, "what the body returned, calls unevaluated"),
    _optional("checksum", String(16), "XXH3-64 of the hashes, in hex; NULL in rows of older versions"),
)

call_node = _table(
    "call_node",
    "A finished call: provenance of its result.",
    _own_number("call_no"),
    _column("call_hash", _digest, "digest of task, arguments, result, children"),
    _column("task_no", _number, "the version of the task: task.task_no"),
    _column("args_hash", _digest, "its arguments: argument.args_hash"),
    _column("value_hash", _digest, "final result"),
    _optional(
        "task_set_hash",
        _digest,
        "set of the task hashes in its subtree (set_member); NULL: its own task alone",
    ),
    _optional(
        "external_set_hash",
        _digest,
        "set of the files and other externals in its subtree (set_member), or the value_hash of the "
        "only one; NULL: none",
    ),
    _column(
        "replayable",
        Boolean,
        "whether the sets tell all that its subtree depends on: false below uncached tasks and caught errors",
    ),
    _optional("calls", BigInteger, "jobs of the run that recorded it, with those below; NULL: 1"),
    _optional("finished", BigInteger, "when it finished last, but not by a replay; NULL: no calls below"),
    _optional(
        "checksum",
        String(16),
        "XXH3-64 of what a replay goes by, in hex; NULL: no calls below, or of an older version",
    ),
    _index("call_node_by_hash", "call_hash", "its number, when what points to it is recorded", unique=True),
    _index("call_node_by_value", "value_hash", "what made this value: upstream lineage"),
    _index(
        "call_node_by_args",
        "args_hash, task_no",
        "which calls were given this: downstream lineage; what a call gave before: replay",
    ),
    _index("call_node_by_task", "task_no", "calls of a task"),
)

call_edge = _table(
    "call_edge",
    "Which calls a call made.",
    _key("parent_no", _number, "call_no of the caller"),
    _key("position", Integer, "order of the calls, from 0"),
    _column("child_no", _number, "call_no of the called"),
    _index("call_edge_by_child", "child_no", "into whose result did this call's go: lineage"),
)

argument = _table(
    "argument",
    "What calls were given, defaults included.",
    _key("args_hash", _digest, "all names and values, of any task"),
    _key("position", Integer, "order in the signature, from 0"),
    _column("name", Text, "parameter name"),
    _column("value_hash", _digest, "what was given"),
    _index("argument_by_value", "value_hash", "what used this value: downstream lineage"),
)

argument_source = _table(
    "argument_source",
    "Which calls produced an argument: dataflow between calls.",
    _key("call_no", _number, "the call that was given it"),
    _key("position", Integer, "which argument, from 0"),
    _key("source_no", _number, "call_no of a call whose result is the argument, or in it"),
    _index("argument_source_by_source", "source_no", "where a call's result went: downstream lineage"),
)

set_member = _table(
    "set_member",
    "Sets of what subtrees of calls depend on, by content: a parent's set holds its children's.",
    _key("set_hash", _digest, "digest of the members"),
    _key("member_hash", _digest, "task_hash, value_hash, or a set_hash"),
    _column("is_set", Boolean, "whether the member is a set whose members count"),
)

# --- runs ---------------------------------------------------------------------------------------

execution = _table(
    "execution",
    "One top-level run.",
    _own_number("execution_no"),
    _column("execution_id", _id, "UUIDv7 in hex: sorts by time"),
    _column("label", Text, "the call that was run, as text"),
    _column("status", String(16), "running, done, failed or interrupted"),
    _column("started", BigInteger, "when it began"),
    _optional("ended", BigInteger, "when it ended; NULL while it runs"),
    _optional("updated", BigInteger, "last sign of life while running: older than 30 s is crashed"),
    _optional("command", Text, "command line as a JSON list, secrets removed; NULL if not known"),
    _optional("replayed", BigInteger, "calls that its replays stood for, beyond its jobs; NULL: none"),
    _index("execution_by_id", "execution_id", "by id or its prefix, newest first", unique=True),
)

job = _table(
    "job",
    "One attempt to run a call.",
    _key("job_id", _id, "UUIDv7 in hex: sorts by time"),
    _column("execution_no", _number, "its run: execution.execution_no"),
    _optional("parent_id", _id, "job that made the call; NULL at the top"),
    _column("task_no", _number, "the version of the task: task.task_no"),
    _optional("call_hash", _digest, "finished call; NULL if it failed or has no storable result"),
    _optional("args_hash", _digest, "what it was given, if there is no call to say so"),
    _column("status", String(16), "done, cached or failed"),
    _column("started", BigInteger, "when its body began"),
    _column("ended", BigInteger, "when its body ended"),
    _optional("error", Text, "type and message of the exception"),
    _optional("traceback", Text, "where it was raised"),
    _optional(
        "classes_hash",
        _digest,
        "own classes of its arguments that the task does not name: dependency.task_hash; NULL: none",
    ),
    _optional(
        "trace_hash",
        _digest,
        "code that its body reached and the task does not name: dependency.task_hash; NULL: none",
    ),
    _optional(
        "calls",
        BigInteger,
        "how many calls it stands for, if all below it was replayed at once; NULL: itself alone",
    ),
    _index("job_by_execution", "execution_no, job_id, status", "the jobs of a run, in order; their count"),
    _index("job_by_task", "task_no, job_id", "the newest jobs of a task"),
    _index(
        "job_by_call",
        "call_hash",
        "which job ran this call; those that reused it are found by their task",
        where="status = 'done'",
    ),
    _index("job_failed", "job_id", "the newest failures", where="status = 'failed'"),
    _index(
        "job_slow",
        "((ended - started) / 1000000.0)",
        "the slowest jobs",
        where="(ended - started) / 1000000.0 >= 0.01",
    ),
)

task_count = _table(
    "task_count",
    "Jobs by task and status, counted in the transaction that records them.",
    _key("task_no", _number, "the version of the task: task.task_no"),
    _key("status", String(16), "of the jobs: done, cached or failed"),
    _key("lane", Integer, "execution_no modulo 16: runs rarely wait for each other. The count is the sum"),
    _column("jobs", BigInteger, "how many were recorded"),
    _column("micros", BigInteger, "microseconds in their bodies, together"),
)

tag = _table(
    "tag",
    "Labels on records, with their history.",
    _key("tag_id", _id, "UUIDv7 in hex: sorts by time"),
    _column("entity", String(16), "execution, job, call, task, value or entry"),
    _column("entity_id", _digest, "id or hash of the record"),
    _column("key", Text, "name of the tag, at most 255 characters"),
    _column("value", Text, "JSON"),
    _column("value_digest", _id, "XXH3-128 of value in hex: short enough to index"),
    _optional("author", Text, "who set it"),
    _column("created", BigInteger, "when it was set"),
    _optional("ended", BigInteger, "when it was replaced or removed; NULL while it is current"),
    _optional("ended_by", Text, "who replaced or removed it"),
    _index(
        "tag_current",
        "entity_id, entity, key, value_digest",
        "the tags of a record; the same tag is current once",
        where="ended IS NULL",
        unique=True,
    ),
    _index("tag_by_entity", "entity_id", "the history of a record's tags"),
    _index("tag_by_key", "key, value_digest", "records with this tag, or with any value of this key"),
)

entry = _table(
    "entry",
    "Names of the catalog. A deleted one stays, so that its versions count on.",
    _key("entry_id", _digest, "BLAKE3-256 of the name: what tags refer to"),
    _column("name", _path, "its name: a key, at most 1024 bytes"),
    _column("version", Integer, "the newest: entry_version.version; 0: none yet"),
    _column("created", BigInteger, "when the name was first put"),
    _optional("deleted", BigInteger, "when it was deleted; NULL: it is there"),
    _index(
        "entry_by_name", "name", "what stands under this name, and below this prefix, in order", unique=True
    ),
)

entry_version = _table(
    "entry_version",
    "What a name of the catalog stood for, version by version.",
    _key("entry_id", _digest, "the name: entry.entry_id"),
    _key("version", Integer, "from 1"),
    _column("payload_digest", _digest, "digest of the stored bytes"),
    _column("size", BigInteger, "how many they are"),
    _optional("value_hash", _digest, "the value that the name was bound to; NULL: bare bytes"),
    _column("attrs", Text, "its attributes, as a JSON object"),
    _column("author", Text, "who made the version"),
    _column("modified", BigInteger, "when"),
    _optional("execution_id", _id, "the run in whose body that was; NULL: in none"),
    _index(
        "entry_version_by_value",
        "value_hash",
        "which names stood for this value",
        where="value_hash IS NOT NULL",
    ),
)

entry_attribute = _table(
    "entry_attribute",
    "Which entries of the catalog have this value of this attribute now: one probe, at any type.",
    _key("probe", _id, "XXH3-128 of JSON: the attribute's name and value"),
    _key("name", _path, "the entry's name: entry.name"),
    _column("key", Text, "the attribute's name, for reading"),
)

call_lease = _table(
    "call_lease",
    "Calls that are being run: another run that wants one waits for its result.",
    _key(
        "call_key",
        _digest,
        "eval_hash of the call; job_id if nobody has to wait for it; of async tasks with the context",
    ),
    _column("job_id", _id, "the job that runs it"),
    _column("execution_id", _id, "the run that holds it, while that is alive"),
    _column("process", String, "where that is: host, PID namespace, process id"),
    _column("task_hash", _digest, "the version of the task"),
    _column("started", BigInteger, "when it was given to an executor"),
)

lease = _table(
    "lease",
    "Who is at work on the stored bytes, so that nobody collects them meanwhile.",
    _key("lease_id", _id, "UUIDv7 in hex"),
    _column("purpose", String(32), "what it protects: write, collect, sync"),
    _column("owner", Text, "host and process that hold it, for people"),
    _column("started", BigInteger, "when it was taken"),
    _column("expires", BigInteger, "when it ends unless it is renewed"),
)
