"""Every table on one page: columns, keys and indexes, no behaviour. The views for people are in views.py.

Names are singular here; the documented views are plural. Times are microseconds since 1970-01-01 UTC.
Digests are lower-case hex. There are no foreign keys: rows arrive in content order, from many processes,
and ``verify`` checks what a constraint would. Jobs and calls name their task and run by a short number,
which the views resolve (docs/decisions/0003-schema.md). Behind each index is the question it answers, and
``where`` if it covers some rows alone: named here for each dialect, it would have all of them imported.
docs/schema.md is made from the comments (page.py).
"""

from __future__ import annotations

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

repository = Table(
    "repository",
    metadata,
    Column("name", String(64), primary_key=True, comment="id, digest, created, collection, verified up to"),
    Column("value", Text, nullable=False, comment="its value as text"),
    comment="What is known of a repository itself; collection counts the begins and ends of collections.",
)

# --- values -------------------------------------------------------------------------------------

value = Table(
    "value",
    metadata,
    Column("value_hash", _digest, primary_key=True, comment="what the value is"),
    Column("type_name", Text, nullable=False, comment="name of its type"),
    Column("codec", String(32), nullable=False, comment="how its payload is read"),
    Column(
        "payload_digest",
        _digest,
        comment="digest of the payload bytes; NULL: they are inline, and value_hash itself vouches for them",
    ),
    Column("size", BigInteger, nullable=False, comment="payload bytes"),
    Column("inline", LargeBinary, comment="the payload itself if small; NULL: see payload"),
    Column("preview", Text, nullable=False, comment="short JSON text of the value"),
    comment="Every value, by its content.",
)

signature = Table(
    "signature",
    metadata,
    Column("value_hash", _digest, primary_key=True, comment="the value"),
    Column("key_id", String(16), primary_key=True, comment="the key that vouches for it"),
    Column(
        "mac", LargeBinary, nullable=False, comment="over value, type, codec and bytes; empty: in the bytes"
    ),
    Column("payload_digest", _digest, nullable=False, comment="digest of the bytes that it signed"),
    Column("size", BigInteger, nullable=False, comment="their number"),
    Column("inline", LargeBinary, comment="the bytes if small and the value's row holds others by now"),
    comment="Which keys vouch for a value that loads with a signature alone: each for its own bytes.",
    sqlite_with_rowid=False,
)

payload = Table(
    "payload",
    metadata,
    Column("payload_digest", _digest, primary_key=True, comment="address in the payload store"),
    Column("size", BigInteger, nullable=False, comment="bytes"),
    comment="Bytes that lie in the payload store.",
    sqlite_with_rowid=False,
)

held = Table(
    "held",
    metadata,
    Column("value_hash", _digest, primary_key=True, comment="the value"),
    Column("since", BigInteger, nullable=False, comment="when somebody put it last, by the database's clock"),
    comment="Values that somebody put by hand: kept until they are deleted, whatever else leads to them.",
    sqlite_with_rowid=False,
)

subvalue = Table(
    "subvalue",
    metadata,
    Column("parent_hash", _digest, primary_key=True, comment="value_hash of the container"),
    Column("child_hash", _digest, primary_key=True, comment="value_hash of a value directly inside it"),
    Index(
        "subvalue_by_child",
        "child_hash",
        info={"answers": "in which containers is this value: downstream lineage"},
    ),
    comment="Which values contain which: files in a list, fields of an object.",
    sqlite_with_rowid=False,
)

file = Table(
    "file",
    metadata,
    Column("value_hash", _digest, primary_key=True, comment="the value that stands for it"),
    Column("path", _path, nullable=False, comment="path or URL as written, without credentials"),
    Column("kind", String(16), nullable=False, comment="File, FileSet or Dir; Entry: a name of the catalog"),
    Index("file_by_path", "path", info={"answers": "files at this path, below this folder"}),
    comment="Where values that stand for files were.",
    sqlite_with_rowid=False,
)

handle = Table(
    "handle",
    metadata,
    Column("value_hash", _digest, primary_key=True, comment="the value: one state of the handle"),
    Column("name", Text, nullable=False, comment="its name within its class"),
    Column("class_name", Text, nullable=False, comment="type name of its class"),
    Column("key", Text, nullable=False, comment="what led to this state, as a digest"),
    Column("is_valid", Boolean, nullable=False, comment="false once the outside state has moved on"),
    Column("created", BigInteger, nullable=False, comment="when it was first recorded"),
    Index(
        "handle_by_name",
        "name",
        "class_name",
        info={"answers": "the states of one handle, to find the valid one"},
    ),
    comment="States of handles: connections to outside state that tasks change.",
    sqlite_with_rowid=False,
)

handle_edge = Table(
    "handle_edge",
    metadata,
    Column("parent_hash", _digest, primary_key=True, comment="value_hash of the state before"),
    Column("child_hash", _digest, primary_key=True, comment="value_hash of the state after"),
    Index("handle_edge_by_child", "child_hash", info={"answers": "what a state came from"}),
    comment="Which state of a handle came from which.",
    sqlite_with_rowid=False,
)

# --- code ---------------------------------------------------------------------------------------

task = Table(
    "task",
    metadata,
    Column("task_no", _number, primary_key=True, comment="short number for rows in this database"),
    Column("task_hash", _digest, nullable=False, comment="name and code, or name and version"),
    Column("task_name", Text, nullable=False, comment="namespace and name"),
    Column("version", Text, comment="explicit version; NULL: identified by its code"),
    Column("source", Text, nullable=False, comment="source text of the function, for reading"),
    Column(
        "code_hash",
        _digest,
        comment="with a version: digest of the function's own code when it ran last; NULL: not known",
    ),
    Index("task_by_hash", "task_hash", unique=True, info={"answers": "its number, when jobs are recorded"}),
    Index("task_by_name", "task_name", info={"answers": "the versions of a task"}),
    comment="Every version of every task that ran.",
    sqlite_autoincrement=True,
)

dependency = Table(
    "dependency",
    metadata,
    Column(
        "task_hash",
        _digest,
        primary_key=True,
        comment="the version of the task, or other code behind jobs: job.classes_hash, job.trace_hash",
    ),
    Column("name", Text, primary_key=True, comment="function, class, constant or module it refers to"),
    Column("digest", _digest, nullable=False, comment="digest of that code or value"),
    Column("source", Text, comment="its source text, for reading; NULL if there is none"),
    comment="What code a version of a task depends on, itself included, and what else its jobs depended on.",
    sqlite_with_rowid=False,
)

# --- calls --------------------------------------------------------------------------------------

evaluation = Table(
    "evaluation",
    metadata,
    Column(
        "eval_hash",
        _digest,
        primary_key=True,
        comment="digest of task_hash, args_hash and classes_hash, if any",
    ),
    Column(
        "trace_hash",
        _digest,
        primary_key=True,
        comment="code that bodies reached and the task does not name: dependency.task_hash; empty: none",
    ),
    Column("value_hash", _digest, nullable=False, comment="what the body returned, calls unevaluated"),
    Column("checksum", String(16), comment="XXH3-64 of the hashes, in hex; NULL in rows of older versions"),
    comment="The cache: what one step of a call gave last, with the code that it reached.",
    sqlite_with_rowid=False,
)

call_node = Table(
    "call_node",
    metadata,
    Column("call_no", _number, primary_key=True, comment="short number for rows in this database"),
    Column("call_hash", _digest, nullable=False, comment="digest of task, arguments, result, children"),
    Column("task_no", _number, nullable=False, comment="the version of the task: task.task_no"),
    Column("args_hash", _digest, nullable=False, comment="its arguments: argument.args_hash"),
    Column("value_hash", _digest, nullable=False, comment="final result"),
    Column(
        "task_set_hash",
        _digest,
        comment="set of the task hashes in its subtree (set_member); NULL: its own task alone",
    ),
    Column(
        "external_set_hash",
        _digest,
        comment="set of the files and other externals in its subtree (set_member), or the value_hash of the "
        "only one; NULL: none",
    ),
    Column(
        "replayable",
        Boolean,
        nullable=False,
        comment="whether the sets tell all that its subtree depends on: "
        "false below uncached tasks and caught errors",
    ),
    Column("calls", BigInteger, comment="jobs of the run that recorded it, with those below; NULL: 1"),
    Column(
        "finished", BigInteger, comment="when it finished last, but not by a replay; NULL: no calls below"
    ),
    Column(
        "checksum",
        String(16),
        comment="XXH3-64 of what a replay goes by, in hex; NULL: no calls below, or of an older version",
    ),
    Index(
        "call_node_by_hash",
        "call_hash",
        unique=True,
        info={"answers": "its number, when what points to it is recorded"},
    ),
    Index("call_node_by_value", "value_hash", info={"answers": "what made this value: upstream lineage"}),
    Index(
        "call_node_by_args",
        "args_hash",
        "task_no",
        info={"answers": "which calls were given this: downstream lineage; what a call gave before: replay"},
    ),
    Index("call_node_by_task", "task_no", info={"answers": "calls of a task"}),
    comment="A finished call: provenance of its result.",
    sqlite_autoincrement=True,
)

call_edge = Table(
    "call_edge",
    metadata,
    Column("parent_no", _number, primary_key=True, autoincrement=False, comment="call_no of the caller"),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="order of the calls, from 0"),
    Column("child_no", _number, nullable=False, comment="call_no of the called"),
    Index(
        "call_edge_by_child",
        "child_no",
        info={"answers": "into whose result did this call's go: lineage"},
    ),
    comment="Which calls a call made.",
    sqlite_with_rowid=False,
)

argument = Table(
    "argument",
    metadata,
    Column("args_hash", _digest, primary_key=True, comment="all names and values, of any task"),
    Column(
        "position", Integer, primary_key=True, autoincrement=False, comment="order in the signature, from 0"
    ),
    Column("name", Text, nullable=False, comment="parameter name"),
    Column("value_hash", _digest, nullable=False, comment="what was given"),
    Index("argument_by_value", "value_hash", info={"answers": "what used this value: downstream lineage"}),
    comment="What calls were given, defaults included.",
    sqlite_with_rowid=False,
)

argument_source = Table(
    "argument_source",
    metadata,
    Column("call_no", _number, primary_key=True, autoincrement=False, comment="the call that was given it"),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="which argument, from 0"),
    Column(
        "source_no",
        _number,
        primary_key=True,
        autoincrement=False,
        comment="call_no of a call whose result is the argument, or in it",
    ),
    Index(
        "argument_source_by_source",
        "source_no",
        info={"answers": "where a call's result went: downstream lineage"},
    ),
    comment="Which calls produced an argument: dataflow between calls.",
    sqlite_with_rowid=False,
)

set_member = Table(
    "set_member",
    metadata,
    Column("set_hash", _digest, primary_key=True, comment="digest of the members"),
    Column("member_hash", _digest, primary_key=True, comment="task_hash, value_hash, or a set_hash"),
    Column("is_set", Boolean, nullable=False, comment="whether the member is a set whose members count"),
    comment="Sets of what subtrees of calls depend on, by content: a parent's set holds its children's.",
    sqlite_with_rowid=False,
)

# --- runs ---------------------------------------------------------------------------------------

execution = Table(
    "execution",
    metadata,
    Column("execution_no", _number, primary_key=True, comment="short number for rows in this database"),
    Column("execution_id", _id, nullable=False, comment="UUIDv7 in hex: sorts by time"),
    Column("label", Text, nullable=False, comment="the call that was run, as text"),
    Column("status", String(16), nullable=False, comment="running, done, failed or interrupted"),
    Column("started", BigInteger, nullable=False, comment="when it began"),
    Column("ended", BigInteger, comment="when it ended; NULL while it runs"),
    Column("updated", BigInteger, comment="last sign of life while running: older than 30 s is crashed"),
    Column("command", Text, comment="command line as a JSON list, secrets removed; NULL if not known"),
    Column("replayed", BigInteger, comment="calls that its replays stood for, beyond its jobs; NULL: none"),
    Index(
        "execution_by_id",
        "execution_id",
        unique=True,
        info={"answers": "by id or its prefix, newest first"},
    ),
    comment="One top-level run.",
    sqlite_autoincrement=True,
)

job = Table(
    "job",
    metadata,
    Column("job_id", _id, primary_key=True, comment="UUIDv7 in hex: sorts by time"),
    Column("execution_no", _number, nullable=False, comment="its run: execution.execution_no"),
    Column("parent_id", _id, comment="job that made the call; NULL at the top"),
    Column("task_no", _number, nullable=False, comment="the version of the task: task.task_no"),
    Column("call_hash", _digest, comment="finished call; NULL if it failed or has no storable result"),
    Column("args_hash", _digest, comment="what it was given, if there is no call to say so"),
    Column("status", String(16), nullable=False, comment="done, cached or failed"),
    Column("started", BigInteger, nullable=False, comment="when its body began"),
    Column("ended", BigInteger, nullable=False, comment="when its body ended"),
    Column("error", Text, comment="type and message of the exception"),
    Column("traceback", Text, comment="where it was raised"),
    Column(
        "classes_hash",
        _digest,
        comment="own classes of its arguments that the task does not name: dependency.task_hash; NULL: none",
    ),
    Column(
        "trace_hash",
        _digest,
        comment="code that its body reached and the task does not name: dependency.task_hash; NULL: none",
    ),
    Column(
        "calls",
        BigInteger,
        comment="how many calls it stands for, if all below it was replayed at once; NULL: itself alone",
    ),
    Index(
        "job_by_execution",
        "execution_no",
        "job_id",
        "status",
        info={"answers": "the jobs of a run, in order; their count"},
    ),
    Index("job_by_task", "task_no", "job_id", info={"answers": "the newest jobs of a task"}),
    Index(
        "job_by_call",
        "call_hash",
        info={
            "where": "status = 'done'",
            "answers": "which job ran this call; those that reused it are found by their task",
        },
    ),
    Index(
        "job_failed",
        "job_id",
        info={"where": "status = 'failed'", "answers": "the newest failures"},
    ),
    Index(
        "job_slow",
        text("((ended - started) / 1000000.0)"),
        info={
            "where": "(ended - started) / 1000000.0 >= 0.01",
            "answers": "the slowest jobs",
        },
    ),
    comment="One attempt to run a call.",
    sqlite_with_rowid=False,
)

task_count = Table(
    "task_count",
    metadata,
    Column(
        "task_no",
        _number,
        primary_key=True,
        autoincrement=False,
        comment="the version of the task: task.task_no",
    ),
    Column("status", String(16), primary_key=True, comment="of the jobs: done, cached or failed"),
    Column(
        "lane",
        Integer,
        primary_key=True,
        autoincrement=False,
        comment="execution_no modulo 16: runs rarely wait for each other. The count is the sum",
    ),
    Column("jobs", BigInteger, nullable=False, comment="how many were recorded"),
    Column("micros", BigInteger, nullable=False, comment="microseconds in their bodies, together"),
    comment="Jobs by task and status, counted in the transaction that records them.",
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    Column("tag_id", _id, primary_key=True, comment="UUIDv7 in hex: sorts by time"),
    Column("entity", String(16), nullable=False, comment="execution, job, call, task, value or entry"),
    Column("entity_id", _digest, nullable=False, comment="id or hash of the record"),
    Column("key", Text, nullable=False, comment="name of the tag, at most 255 characters"),
    Column("value", Text, nullable=False, comment="JSON"),
    Column("value_digest", _id, nullable=False, comment="XXH3-128 of value in hex: short enough to index"),
    Column("author", Text, comment="who set it"),
    Column("created", BigInteger, nullable=False, comment="when it was set"),
    Column("ended", BigInteger, comment="when it was replaced or removed; NULL while it is current"),
    Column("ended_by", Text, comment="who replaced or removed it"),
    Index(
        "tag_current",
        "entity_id",
        "entity",
        "key",
        "value_digest",
        unique=True,
        info={"where": "ended IS NULL", "answers": "the tags of a record; the same tag is current once"},
    ),
    Index("tag_by_entity", "entity_id", info={"answers": "the history of a record's tags"}),
    Index(
        "tag_by_key",
        "key",
        "value_digest",
        info={"answers": "records with this tag, or with any value of this key"},
    ),
    comment="Labels on records, with their history.",
    sqlite_with_rowid=False,
)

entry = Table(
    "entry",
    metadata,
    Column("entry_id", _digest, primary_key=True, comment="BLAKE3-256 of the name: what tags refer to"),
    Column("name", _path, nullable=False, comment="its name: a key, at most 1024 bytes"),
    Column("version", Integer, nullable=False, comment="the newest: entry_version.version; 0: none yet"),
    Column("created", BigInteger, nullable=False, comment="when the name was first put"),
    Column("deleted", BigInteger, comment="when it was deleted; NULL: it is there"),
    Index(
        "entry_by_name",
        "name",
        unique=True,
        info={"answers": "what stands under this name, and below this prefix, in order"},
    ),
    comment="Names of the catalog. A deleted one stays, so that its versions count on.",
    sqlite_with_rowid=False,
)

entry_version = Table(
    "entry_version",
    metadata,
    Column("entry_id", _digest, primary_key=True, comment="the name: entry.entry_id"),
    Column("version", Integer, primary_key=True, autoincrement=False, comment="from 1"),
    Column("payload_digest", _digest, nullable=False, comment="digest of the stored bytes"),
    Column("size", BigInteger, nullable=False, comment="how many they are"),
    Column("value_hash", _digest, comment="the value that the name was bound to; NULL: bare bytes"),
    Column("attrs", Text, nullable=False, comment="its attributes, as a JSON object"),
    Column("author", Text, nullable=False, comment="who made the version"),
    Column("modified", BigInteger, nullable=False, comment="when"),
    Column("execution_id", _id, comment="the run in whose body that was; NULL: in none"),
    Index(
        "entry_version_by_value",
        "value_hash",
        info={"where": "value_hash IS NOT NULL", "answers": "which names stood for this value"},
    ),
    comment="What a name of the catalog stood for, version by version.",
    sqlite_with_rowid=False,
)

entry_attribute = Table(
    "entry_attribute",
    metadata,
    Column("probe", _id, primary_key=True, comment="XXH3-128 of JSON: the attribute's name and value"),
    Column("name", _path, primary_key=True, comment="the entry's name: entry.name"),
    Column("key", Text, nullable=False, comment="the attribute's name, for reading"),
    comment="Which entries of the catalog have this value of this attribute now: one probe, at any type.",
    sqlite_with_rowid=False,
)

call_lease = Table(
    "call_lease",
    metadata,
    Column(
        "call_key",
        _digest,
        primary_key=True,
        comment="eval_hash of the call; job_id if nobody has to wait for it; of async tasks with the context",
    ),
    Column("job_id", _id, nullable=False, comment="the job that runs it"),
    Column("execution_id", _id, nullable=False, comment="the run that holds it, while that is alive"),
    Column("process", String, nullable=False, comment="where that is: host, PID namespace, process id"),
    Column("task_hash", _digest, nullable=False, comment="the version of the task"),
    Column("started", BigInteger, nullable=False, comment="when it was given to an executor"),
    comment="Calls that are being run: another run that wants one waits for its result.",
    sqlite_with_rowid=False,
)

lease = Table(
    "lease",
    metadata,
    Column("lease_id", _id, primary_key=True, comment="UUIDv7 in hex"),
    Column("purpose", String(32), nullable=False, comment="what it protects: write, collect, sync"),
    Column("owner", Text, nullable=False, comment="host and process that hold it, for people"),
    Column("started", BigInteger, nullable=False, comment="when it was taken"),
    Column("expires", BigInteger, nullable=False, comment="when it ends unless it is renewed"),
    comment="Who is at work on the stored bytes, so that nobody collects them meanwhile.",
    sqlite_with_rowid=False,
)
