"""The complete schema: subvalues, files, handles, dependencies, subtree sets, dataflow, leases, tag history.

Why: lineage, history and replay ask what 0001 did not record. Jobs and calls name their task and run by a
short number, and evaluations keep their key alone, so that a job takes half the space.
"""

# ruff: noqa: S608 -- the names in the statements are written here

from __future__ import annotations

import sqlalchemy as sa
import xxhash
from alembic import op

revision = "0002"
down_revision = "0001"

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_path = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_CURRENT = sa.text("ended IS NULL")
_DONE = sa.text("status = 'done'")
_FAILED = sa.text("status = 'failed'")


def upgrade() -> None:
    _create_new_tables()
    _upgrade_values()
    _upgrade_tasks()
    _upgrade_evaluations()
    _upgrade_executions()
    _upgrade_calls()
    _upgrade_edges()
    _upgrade_jobs()
    _upgrade_tags()


def downgrade() -> None:
    _downgrade_tags()
    _downgrade_jobs()
    _downgrade_edges()
    _downgrade_calls()
    _downgrade_executions()
    _downgrade_evaluations()
    _downgrade_tasks()
    _downgrade_values()
    for index, table in _NEW_INDEXES:
        op.drop_index(index, table_name=table)
    for table in _NEW_TABLES:
        op.drop_table(table)


# --- tables that are new ------------------------------------------------------------------------

_NEW_TABLES = (
    "argument_source",
    "dependency",
    "file",
    "handle",
    "handle_edge",
    "lease",
    "set_member",
    "subvalue",
)
_NEW_INDEXES = (
    ("argument_source_by_source", "argument_source"),
    ("file_by_path", "file"),
    ("handle_by_name", "handle"),
    ("handle_edge_by_child", "handle_edge"),
    ("subvalue_by_child", "subvalue"),
)


def _create_new_tables() -> None:
    op.create_table(
        "subvalue",
        sa.Column("parent_hash", sa.String(64), nullable=False),
        sa.Column("child_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("parent_hash", "child_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("subvalue_by_child", "subvalue", ["child_hash"])
    op.create_table(
        "file",
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.Column("path", _path, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("value_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("file_by_path", "file", ["path"])
    op.create_table(
        "handle",
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("is_valid", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("value_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("handle_by_name", "handle", ["name", "class_name"])
    op.create_table(
        "handle_edge",
        sa.Column("parent_hash", sa.String(64), nullable=False),
        sa.Column("child_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("parent_hash", "child_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("handle_edge_by_child", "handle_edge", ["child_hash"])
    op.create_table(
        "dependency",
        sa.Column("task_hash", sa.String(64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("source", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("task_hash", "name"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "argument_source",
        sa.Column("call_no", _number, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source_no", _number, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("call_no", "position", "source_no"),
        sqlite_with_rowid=False,
    )
    op.create_index("argument_source_by_source", "argument_source", ["source_no"])
    op.create_table(
        "set_member",
        sa.Column("set_hash", sa.String(64), nullable=False),
        sa.Column("member_hash", sa.String(64), nullable=False),
        sa.Column("is_set", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("set_hash", "member_hash"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lease",
        sa.Column("lease_id", sa.String(32), nullable=False),
        sa.Column("purpose", sa.String(32), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lease_id"),
        sqlite_with_rowid=False,
    )


# --- tables that change -------------------------------------------------------------------------


def _set_aside(table: str, *indexes: str) -> None:
    """Rename a table to ``old_...``, so that its next form can be made under its name and filled from it."""
    for index in indexes:
        op.drop_index(index, table_name=table)
    op.rename_table(table, f"old_{table}")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(f"ALTER INDEX {table}_pkey RENAME TO old_{table}_pkey")


def _fill(table: str, columns: str, select: str) -> None:
    """Copy what was set aside, and drop it."""
    op.execute(f"INSERT INTO {table} ({columns}) {select}")
    op.drop_table(f"old_{table}")


def _create_value(*, digest_required: bool) -> None:
    op.create_table(
        "value",
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.Column("type_name", sa.Text(), nullable=False),
        sa.Column("codec", sa.String(32), nullable=False),
        sa.Column("payload_digest", sa.String(64), nullable=not digest_required),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.Column("preview", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("value_hash"),
    )


_VALUE = "value_hash, type_name, codec, payload_digest, size, inline, preview"


def _upgrade_values() -> None:
    _set_aside("value")
    _create_value(digest_required=False)
    _fill("value", _VALUE, f"SELECT {_VALUE} FROM old_value")


def _downgrade_values() -> None:
    """Values that vouch for themselves get the digest of their bytes, as far as this can tell it."""
    _fill_payload_digests()
    _set_aside("value")
    _create_value(digest_required=True)
    _fill("value", _VALUE, f"SELECT {_VALUE} FROM old_value")


def _fill_payload_digests() -> None:
    import blake3

    bind = op.get_bind()
    missing = sa.text(
        "SELECT value_hash, inline FROM value "
        "WHERE payload_digest IS NULL AND value_hash > :after ORDER BY value_hash LIMIT 1000"
    )
    update = sa.text("UPDATE value SET payload_digest = :digest WHERE value_hash = :value_hash")
    after = ""
    while rows := bind.execute(missing, {"after": after}).all():
        filled = []
        for value_hash, inline in rows:
            data = bytes(inline or b"")
            digest = (
                xxhash.xxh3_128_hexdigest(data) if len(value_hash) == 32 else blake3.blake3(data).hexdigest()
            )
            filled.append({"value_hash": value_hash, "digest": digest})
        bind.execute(update, filled)
        after = rows[-1][0]


def _upgrade_tasks() -> None:
    _set_aside("task")
    op.create_table(
        "task",
        sa.Column("task_no", _number, nullable=False),
        sa.Column("task_hash", sa.String(64), nullable=False),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_no"),
        sqlite_autoincrement=True,
    )
    _fill(
        "task",
        "task_hash, task_name, version, source",
        "SELECT task_hash, task_name, version, source FROM old_task",
    )
    op.create_index("task_by_hash", "task", ["task_hash"], unique=True)
    op.create_index("task_by_name", "task", ["task_name"])
    op.execute(
        "INSERT INTO task (task_hash, task_name, source) SELECT DISTINCT task_hash, '(unknown)', '' FROM "
        "(SELECT task_hash FROM job UNION SELECT task_hash FROM call_node) AS used "
        "WHERE task_hash NOT IN (SELECT task_hash FROM task)"
    )


def _downgrade_tasks() -> None:
    _set_aside("task", "task_by_hash", "task_by_name")
    op.create_table(
        "task",
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_hash"),
    )
    _fill(
        "task",
        "task_hash, task_name, version, source",
        "SELECT task_hash, task_name, version, source FROM old_task",
    )


def _upgrade_evaluations() -> None:
    _set_aside("evaluation")
    op.create_table(
        "evaluation",
        sa.Column("eval_hash", sa.String(64), nullable=False),
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("eval_hash"),
        sqlite_with_rowid=False,
    )
    _fill("evaluation", "eval_hash, value_hash", "SELECT eval_hash, value_hash FROM old_evaluation")


def _downgrade_evaluations() -> None:
    """The parts of the key cannot be told from it; nothing reads them."""
    _set_aside("evaluation")
    op.create_table(
        "evaluation",
        sa.Column("eval_hash", sa.String(length=64), nullable=False),
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("eval_hash"),
        sqlite_with_rowid=False,
    )
    _fill(
        "evaluation",
        "eval_hash, task_hash, args_hash, value_hash",
        "SELECT eval_hash, '', '', value_hash FROM old_evaluation",
    )


def _upgrade_executions() -> None:
    _set_aside("execution")
    op.create_table(
        "execution",
        sa.Column("execution_no", _number, nullable=False),
        sa.Column("execution_id", sa.String(32), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("updated", sa.BigInteger(), nullable=True),
        sa.Column("command", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("execution_no"),
        sqlite_autoincrement=True,
    )
    columns = "execution_id, label, status, started, ended"
    _fill(
        "execution",
        f"{columns}, updated",
        f"SELECT {columns}, started FROM old_execution ORDER BY execution_id",
    )
    op.create_index("execution_by_id", "execution", ["execution_id"], unique=True)
    op.execute(
        "INSERT INTO execution (execution_id, label, status, started, ended) "
        "SELECT execution_id, '(unknown)', 'interrupted', min(started), max(ended) FROM job "
        "WHERE execution_id NOT IN (SELECT execution_id FROM execution) GROUP BY execution_id"
    )


def _downgrade_executions() -> None:
    _set_aside("execution", "execution_by_id")
    op.create_table(
        "execution",
        sa.Column("execution_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("execution_id"),
        sqlite_with_rowid=False,
    )
    columns = "execution_id, label, status, started, ended"
    _fill("execution", columns, f"SELECT {columns} FROM old_execution")


def _upgrade_calls() -> None:
    """Calls of before have no sets, so they are not replayable."""
    _set_aside("call_node", "call_node_by_value")
    op.create_table(
        "call_node",
        sa.Column("call_no", _number, nullable=False),
        sa.Column("call_hash", sa.String(64), nullable=False),
        sa.Column("task_no", _number, nullable=False),
        sa.Column("args_hash", sa.String(64), nullable=False),
        sa.Column("value_hash", sa.String(64), nullable=False),
        sa.Column("task_set_hash", sa.String(64), nullable=True),
        sa.Column("external_set_hash", sa.String(64), nullable=True),
        sa.Column("replayable", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("call_no"),
        sqlite_autoincrement=True,
    )
    _fill(
        "call_node",
        "call_hash, task_no, args_hash, value_hash, replayable",
        "SELECT c.call_hash, t.task_no, c.args_hash, c.value_hash, false "
        "FROM old_call_node c JOIN task t ON t.task_hash = c.task_hash",
    )
    op.create_index("call_node_by_hash", "call_node", ["call_hash"], unique=True)
    op.create_index("call_node_by_value", "call_node", ["value_hash"])
    op.create_index("call_node_by_args", "call_node", ["args_hash"])
    op.create_index("call_node_by_task", "call_node", ["task_no"])


def _upgrade_edges() -> None:
    _set_aside("call_edge")
    op.create_table(
        "call_edge",
        sa.Column("parent_no", _number, autoincrement=False, nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_no", _number, nullable=False),
        sa.PrimaryKeyConstraint("parent_no", "position"),
        sqlite_with_rowid=False,
    )
    _fill(
        "call_edge",
        "parent_no, position, child_no",
        "SELECT p.call_no, o.position, c.call_no FROM old_call_edge o "
        "JOIN call_node p ON p.call_hash = o.parent_hash JOIN call_node c ON c.call_hash = o.child_hash",
    )
    op.create_index("call_edge_by_child", "call_edge", ["child_no"])


def _downgrade_edges() -> None:
    _set_aside("call_edge", "call_edge_by_child")
    op.create_table(
        "call_edge",
        sa.Column("parent_hash", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("parent_hash", "position"),
        sqlite_with_rowid=False,
    )
    _fill(
        "call_edge",
        "parent_hash, position, child_hash",
        "SELECT p.call_hash, o.position, c.call_hash FROM old_call_edge o "
        "JOIN call_node p ON p.call_no = o.parent_no JOIN call_node c ON c.call_no = o.child_no",
    )


def _downgrade_calls() -> None:
    _set_aside("call_node", *_CALL_INDEXES)
    op.create_table(
        "call_node",
        sa.Column("call_hash", sa.String(length=64), nullable=False),
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("call_hash"),
        sqlite_with_rowid=False,
    )
    _fill(
        "call_node",
        "call_hash, task_hash, args_hash, value_hash",
        "SELECT c.call_hash, t.task_hash, c.args_hash, c.value_hash "
        "FROM old_call_node c JOIN task t ON t.task_no = c.task_no",
    )
    op.create_index("call_node_by_value", "call_node", ["value_hash"], unique=False)


_CALL_INDEXES = ("call_node_by_hash", "call_node_by_value", "call_node_by_args", "call_node_by_task")

_JOB = "parent_id, call_hash, args_hash, status, started, ended, error, traceback"
_JOB_OF = ", ".join(f"j.{name}" for name in _JOB.split(", "))


def _upgrade_jobs() -> None:
    _set_aside("job", "job_by_execution", "job_by_call")
    op.create_table(
        "job",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("execution_no", _number, nullable=False),
        sa.Column("parent_id", sa.String(32), nullable=True),
        sa.Column("task_no", _number, nullable=False),
        sa.Column("call_hash", sa.String(64), nullable=True),
        sa.Column("args_hash", sa.String(64), nullable=True),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
        sqlite_with_rowid=False,
    )
    _fill(
        "job",
        f"job_id, execution_no, task_no, {_JOB}",
        f"SELECT j.job_id, e.execution_no, t.task_no, {_JOB_OF} FROM old_job j "
        "JOIN execution e ON e.execution_id = j.execution_id JOIN task t ON t.task_hash = j.task_hash",
    )
    op.create_index("job_by_execution", "job", ["execution_no", "job_id", "status"])
    op.create_index("job_by_task", "job", ["task_no", "job_id"])
    op.create_index("job_by_call", "job", ["call_hash"], sqlite_where=_DONE, postgresql_where=_DONE)
    op.create_index("job_failed", "job", ["job_id"], sqlite_where=_FAILED, postgresql_where=_FAILED)


def _downgrade_jobs() -> None:
    _set_aside("job", "job_by_execution", "job_by_task", "job_by_call", "job_failed")
    op.create_table(
        "job",
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("execution_id", sa.String(length=32), nullable=False),
        sa.Column("parent_id", sa.String(length=32), nullable=True),
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("call_hash", sa.String(length=64), nullable=True),
        sa.Column("args_hash", sa.String(length=64), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("started", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("job_id"),
        sqlite_with_rowid=False,
    )
    _fill(
        "job",
        f"job_id, execution_id, task_hash, {_JOB}",
        f"SELECT j.job_id, e.execution_id, t.task_hash, {_JOB_OF} FROM old_job j "
        "JOIN execution e ON e.execution_no = j.execution_no JOIN task t ON t.task_no = j.task_no",
    )
    op.create_index("job_by_call", "job", ["call_hash"], unique=False)
    op.create_index("job_by_execution", "job", ["execution_id"], unique=False)


def _upgrade_tags() -> None:
    """Of equal current tags, which every run of a tagged task added, the first stays current."""
    _set_aside("tag", "tag_by_entity")
    op.create_table(
        "tag",
        sa.Column("tag_id", sa.String(32), nullable=False),
        sa.Column("entity", sa.String(16), nullable=False),
        sa.Column("entity_id", sa.String(64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("value_digest", sa.String(32), nullable=False),
        sa.Column("author", sa.Text(), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("tag_id"),
        sqlite_with_rowid=False,
    )
    _fill(
        "tag",
        "tag_id, entity, entity_id, key, value, value_digest, created, ended",
        "SELECT tag_id, entity, entity_id, key, value, '', created, "
        "CASE WHEN is_current AND tag_id IN (SELECT min(tag_id) FROM old_tag WHERE is_current "
        "GROUP BY entity, entity_id, key, value) THEN NULL ELSE created END FROM old_tag",
    )
    bind = op.get_bind()
    update = sa.text("UPDATE tag SET value_digest = :digest WHERE tag_id = :tag_id")
    tags = bind.execute(sa.text("SELECT tag_id, value FROM tag")).all()
    if digests := [
        {"tag_id": one, "digest": xxhash.xxh3_128_hexdigest(value.encode())} for one, value in tags
    ]:
        bind.execute(update, digests)
    op.create_index(
        "tag_current",
        "tag",
        ["entity_id", "entity", "key", "value_digest"],
        unique=True,
        sqlite_where=_CURRENT,
        postgresql_where=_CURRENT,
    )
    op.create_index("tag_by_entity", "tag", ["entity_id"])
    op.create_index("tag_by_key", "tag", ["key", "value_digest"])


def _downgrade_tags() -> None:
    _set_aside("tag", "tag_current", "tag_by_entity", "tag_by_key")
    op.create_table(
        "tag",
        sa.Column("tag_id", sa.String(length=32), nullable=False),
        sa.Column("entity", sa.String(length=16), nullable=False),
        sa.Column("entity_id", sa.String(length=64), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("tag_id"),
        sqlite_with_rowid=False,
    )
    _fill(
        "tag",
        "tag_id, entity, entity_id, key, value, is_current, created",
        "SELECT tag_id, entity, entity_id, key, value, ended IS NULL, created FROM old_tag",
    )
    op.create_index("tag_by_entity", "tag", ["entity_id"], unique=False)
