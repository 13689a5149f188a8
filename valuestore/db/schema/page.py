"""The page of tables in the documentation, made from the comments of the schema.

python -m valuestore.db.schema.page > docs/schema.md
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Column, Index, Table
from sqlalchemy.dialects import sqlite

from valuestore.db.schema import tables as schema

_HEAD = """# Tables

Made from `valuestore/db/schema/tables.py` by `python -m valuestore.db.schema.page`; a test keeps it so.

Most questions are answered by the views ([sql.md](sql.md)), which resolve the short numbers (`task_no`,
`execution_no`, `call_no`) that rows of jobs and calls are linked by. The numbers hold in one database alone;
hashes and ids hold everywhere. Times are microseconds since 1970-01-01 UTC. Digests are lower-case hex. The
tables are the same on SQLite and Postgres.
"""


def tables_page() -> str:
    """The whole page, as Markdown."""
    sections = (line for table in schema.metadata.tables.values() for line in _section(table))
    return "\n".join([_HEAD, *sections])


def _section(table: Table) -> Iterator[str]:
    yield f"## {table.name}\n\n{table.comment}\n"
    yield "| column | type | |\n|---|---|---|"
    for column in table.columns:
        kind = column.type.compile(sqlite.dialect()).lower()
        yield f"| `{column.name}` | {kind} | {_meaning(column)} |"
    yield ""
    if table.indexes:
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            yield f"- {_index(index)}"
        yield ""


def _meaning(column: Column[object]) -> str:
    marks = ["key"] if column.primary_key else []
    if column.nullable:
        marks.append("may be NULL")
    mark = f"**{', '.join(marks)}** " if marks else ""
    return f"{mark}{column.comment}".replace("|", "\\|")


def _index(index: Index) -> str:
    columns = ", ".join(f"`{getattr(each, 'name', each)}`" for each in index.expressions)
    kind = "unique index" if index.unique else "index"
    only = f" where `{where}`" if (where := index.info["where"]) else ""
    return f"{kind} `{index.name}` on {columns}{only}: {index.info['answers']}"


if __name__ == "__main__":
    print(tables_page())
