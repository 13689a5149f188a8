"""Kept statements: they are what SQLAlchemy makes of their constructs, and databases take each of them."""

from __future__ import annotations

import re

import pytest

from valuestore.db.record.lookup import Finished
from valuestore.db.schema.kept import as_text, file_of, kept, key_lists
from valuestore.db.schema.tables import metadata
from valuestore.db.statements import compiled
from valuestore.db.upkeep.leases import Holder

NAMED = {"sqlite": r"(?<!:):([a-z_]+)", "postgresql": r"%\(([a-z_]+)\)s"}
NUMBERS = {"most", "steps", "at", "number", "since"}


@pytest.mark.parametrize("dialect_name", ["sqlite", "postgresql"])
def test_kept_text_is_what_the_constructs_compile_to(dialect_name):
    with open(file_of(dialect_name), encoding="utf-8") as file:
        assert file.read() == as_text(compiled(dialect_name)), (
            "python -m valuestore.db.statements writes it anew"
        )
    assert kept(dialect_name) == compiled(dialect_name)


def test_every_table_has_an_insert_of_all_its_columns_but_its_number(repository):
    for table in metadata.tables.values():
        given = [column.name for column in table.columns if column is not table.autoincrement_column]
        sql = kept(repository.database.dialect_name)[f"insert {table.name}"]
        listed = re.search(r"\((.*?)\) VALUES", sql)[1].replace('"', "").split(", ")
        assert listed == given


def test_columns_come_in_the_order_in_which_they_are_read(repository):
    def columns(name, **given):
        return repository.database.table(kept(repository.database.dialect_name)[name], given)[0]

    def declared(table):
        return tuple(column.name for column in metadata.tables[table].columns)

    assert columns("finished", keys="[]", tasks="[]") == (*Finished._fields, "checksum")
    assert columns("values", keys="[]") == columns("value", value_hash="") == declared("value")
    assert columns("evaluations", keys="[]") == ("eval_hash", "trace_hash", "checksum", *declared("value"))
    assert columns("signatures", keys="[]") == declared("signature")
    assert columns("tags of", id="", entity="") == declared("tag")
    assert columns("lease holders", keys="[]")[:6] == Holder._fields[:6]


def test_the_database_takes_every_statement(repository):
    database = repository.database
    statements = kept(database.dialect_name)
    for name, sql in statements.items():
        if name.startswith("insert "):
            continue
        given = {key: 1 if key in NUMBERS else "[]" for key in re.findall(NAMED[database.dialect_name], sql)}
        if "UPDATE" in sql or sql.startswith("DELETE"):
            assert database.change(lambda driver, sql=sql, given=given: driver.change(sql, given)) <= 0
        else:
            names, rows = database.table(sql, given)
            assert names
            assert all(len(row) == len(names) for row in rows)


def test_keys_come_in_lists_of_at_most_five_hundred():
    lists = list(key_lists({f"{number:04}" for number in range(1001)}))
    assert [each.count(",") + 1 for each in lists] == [500, 500, 1]
    assert list(key_lists([])) == []
