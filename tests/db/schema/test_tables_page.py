"""The page of tables: complete, and up to date with the schema."""

from __future__ import annotations

from pathlib import Path

import pytest

from valuestore.db.schema.page import tables_page
from valuestore.db.schema.tables import metadata

PAGE = Path(__file__).parents[3] / "docs" / "schema.md"


def test_page_in_the_documentation_is_up_to_date():
    remedy = "python -m valuestore.db.schema.page > docs/schema.md"
    assert PAGE.read_text("utf-8") == tables_page() + "\n", remedy


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_every_table_column_and_index_says_what_it_is_for(table):
    assert table.comment
    assert [column.name for column in table.columns if not column.comment] == []
    assert [index.name for index in table.indexes if not index.info.get("answers")] == []
