"""Popular objects are values: the same in every process, after use and after a round trip; or refused."""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, distribution

import pytest

from tests.values.popular import table

MOST_REFUSED = 5


def is_here(package):
    try:
        distribution(package)
    except PackageNotFoundError:
        return False
    return True


def check(rows):
    for row in rows:
        if "refused" in row:
            assert "; pass " in row["refused"], row
        else:
            assert (row.get("stable"), row.get("trip")) == (True, True), row


def test_objects_of_the_packages_that_are_here():
    rows = table.rows(sys.executable, [package for package in table.packages() if is_here(package)])
    assert len(rows) >= 8
    check(rows)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_the_table_of_the_docs_is_what_is_so(tmp_path):
    assert len(table.packages()) >= 40
    rows = table.rows(table.installed(tmp_path), [])
    check(rows)
    assert sum("refused" in row for row in rows) <= MOST_REFUSED
    assert table.table(rows) == table.in_docs()
