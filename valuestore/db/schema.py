"""Every table on one page: columns, keys and indexes, no behaviour. The views for people are in views.py.

Names are singular here; the documented views are plural. Times are microseconds since 1970-01-01 UTC.
Digests are lower-case hex. There are no foreign keys: rows arrive in content order, from many processes,
and ``verify`` checks what a constraint would (docs/decisions/0003-schema.md).
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
)

metadata = MetaData()

repository = Table(
    "repository",
    metadata,
    Column("name", String(64), primary_key=True, comment="setting: id, digest, created"),
    Column("value", Text, nullable=False, comment="its value as text"),
    comment="What never changes about a repository.",
)

value = Table(
    "value",
    metadata,
    Column("value_hash", String(64), primary_key=True, comment="what the value is"),
    Column("type_name", Text, nullable=False, comment="name of its type"),
    Column("codec", String(32), nullable=False, comment="how its payload is read"),
    Column("payload_digest", String(64), nullable=False, comment="digest of the payload bytes"),
    Column("size", BigInteger, nullable=False, comment="payload bytes"),
    Column("inline", LargeBinary, comment="the payload itself if small; NULL: see payload"),
    Column("preview", Text, nullable=False, comment="short JSON text of the value"),
    comment="Every value, by its content.",
)

payload = Table(
    "payload",
    metadata,
    Column("payload_digest", String(64), primary_key=True, comment="address in the payload store"),
    Column("size", BigInteger, nullable=False, comment="bytes"),
    comment="Bytes that lie in the payload store.",
    sqlite_with_rowid=False,
)

task = Table(
    "task",
    metadata,
    Column("task_hash", String(64), primary_key=True, comment="name and code, or name and version"),
    Column("task_name", Text, nullable=False, comment="namespace and name"),
    Column("version", Text, comment="explicit version; NULL: identified by its code"),
    Column("source", Text, nullable=False, comment="source text of the function, for reading"),
    comment="Every version of every task that ran.",
)

evaluation = Table(
    "evaluation",
    metadata,
    Column("eval_hash", String(64), primary_key=True, comment="digest of task_hash and args_hash"),
    Column("task_hash", String(64), nullable=False),
    Column("args_hash", String(64), nullable=False),
    Column("value_hash", String(64), nullable=False, comment="what the body returned, calls unevaluated"),
    comment="The cache: what one step of a call gave.",
    sqlite_with_rowid=False,
)

call_node = Table(
    "call_node",
    metadata,
    Column("call_hash", String(64), primary_key=True, comment="digest of task, arguments, result, children"),
    Column("task_hash", String(64), nullable=False),
    Column("args_hash", String(64), nullable=False),
    Column("value_hash", String(64), nullable=False, comment="final result"),
    Index("call_node_by_value", "value_hash"),
    comment="A finished call: provenance of its result.",
    sqlite_with_rowid=False,
)

call_edge = Table(
    "call_edge",
    metadata,
    Column("parent_hash", String(64), primary_key=True, comment="call_hash of the caller"),
    Column("position", Integer, primary_key=True, autoincrement=False, comment="order of the calls, from 0"),
    Column("child_hash", String(64), nullable=False, comment="call_hash of the called"),
    comment="Which calls a call made.",
    sqlite_with_rowid=False,
)

argument = Table(
    "argument",
    metadata,
    Column("args_hash", String(64), primary_key=True, comment="all names and values, of any task"),
    Column(
        "position", Integer, primary_key=True, autoincrement=False, comment="order in the signature, from 0"
    ),
    Column("name", Text, nullable=False, comment="parameter name"),
    Column("value_hash", String(64), nullable=False),
    Index("argument_by_value", "value_hash"),
    comment="What calls were given, defaults included.",
    sqlite_with_rowid=False,
)

execution = Table(
    "execution",
    metadata,
    Column("execution_id", String(32), primary_key=True, comment="UUIDv7 in hex: sorts by time"),
    Column("label", Text, nullable=False, comment="the call that was run, as text"),
    Column("status", String(16), nullable=False, comment="running, done, failed or interrupted"),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger),
    comment="One top-level run.",
    sqlite_with_rowid=False,
)

job = Table(
    "job",
    metadata,
    Column("job_id", String(32), primary_key=True, comment="UUIDv7 in hex: sorts by time"),
    Column("execution_id", String(32), nullable=False),
    Column("parent_id", String(32), comment="job that made the call; NULL at the top"),
    Column("task_hash", String(64), nullable=False),
    Column("call_hash", String(64), comment="finished call; NULL if it failed or has no storable result"),
    Column("args_hash", String(64), comment="what it was given, if there is no call to say so"),
    Column("status", String(16), nullable=False, comment="done, cached, failed"),
    Column("started", BigInteger, nullable=False),
    Column("ended", BigInteger, nullable=False),
    Column("error", Text, comment="type and message of the exception"),
    Column("traceback", Text, comment="where it was raised"),
    Index("job_by_execution", "execution_id"),
    Index("job_by_call", "call_hash"),
    comment="One attempt to run a call.",
    sqlite_with_rowid=False,
)

tag = Table(
    "tag",
    metadata,
    Column("tag_id", String(32), primary_key=True, comment="UUIDv7 in hex: sorts by time"),
    Column("entity", String(16), nullable=False, comment="execution, job, call, task or value"),
    Column("entity_id", String(64), nullable=False),
    Column("key", Text, nullable=False),
    Column("value", Text, nullable=False, comment="JSON"),
    Column("is_current", Boolean, nullable=False, comment="false once replaced or removed"),
    Column("created", BigInteger, nullable=False),
    Index("tag_by_entity", "entity_id"),
    comment="Labels on records, with their history.",
    sqlite_with_rowid=False,
)
