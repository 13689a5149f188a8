"""The first schema: repository, values, tasks, calls, jobs, executions, tags.

Why: everything that a pipeline run records has its place from the first release on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "argument",
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("args_hash", "position"),
        sqlite_with_rowid=False,
    )
    op.create_index("argument_by_value", "argument", ["value_hash"], unique=False)
    op.create_table(
        "call_edge",
        sa.Column("parent_hash", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("child_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("parent_hash", "position"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "call_node",
        sa.Column("call_hash", sa.String(length=64), nullable=False),
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("call_hash"),
        sqlite_with_rowid=False,
    )
    op.create_index("call_node_by_value", "call_node", ["value_hash"], unique=False)
    op.create_table(
        "evaluation",
        sa.Column("eval_hash", sa.String(length=64), nullable=False),
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("args_hash", sa.String(length=64), nullable=False),
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("eval_hash"),
        sqlite_with_rowid=False,
    )
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
    op.create_index("job_by_call", "job", ["call_hash"], unique=False)
    op.create_index("job_by_execution", "job", ["execution_id"], unique=False)
    op.create_table(
        "payload",
        sa.Column("payload_digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("payload_digest"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "repository",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
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
    op.create_index("tag_by_entity", "tag", ["entity_id"], unique=False)
    op.create_table(
        "task",
        sa.Column("task_hash", sa.String(length=64), nullable=False),
        sa.Column("task_name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("task_hash"),
    )
    op.create_table(
        "value",
        sa.Column("value_hash", sa.String(length=64), nullable=False),
        sa.Column("type_name", sa.Text(), nullable=False),
        sa.Column("codec", sa.String(length=32), nullable=False),
        sa.Column("payload_digest", sa.String(length=64), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("inline", sa.LargeBinary(), nullable=True),
        sa.Column("preview", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("value_hash"),
    )


def downgrade() -> None:
    op.drop_table("value")
    op.drop_table("task")
    op.drop_index("tag_by_entity", table_name="tag")
    op.drop_table("tag")
    op.drop_table("repository")
    op.drop_table("payload")
    op.drop_index("job_by_execution", table_name="job")
    op.drop_index("job_by_call", table_name="job")
    op.drop_table("job")
    op.drop_table("execution")
    op.drop_table("evaluation")
    op.drop_index("call_node_by_value", table_name="call_node")
    op.drop_table("call_node")
    op.drop_table("call_edge")
    op.drop_index("argument_by_value", table_name="argument")
    op.drop_table("argument")
