"""The documentation runs: Python blocks as scripts, SQL blocks as queries, and links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.scheduler import pipelines as p
from valuestore import Repository, Scheduler

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(language):
    found = []
    for page in PAGES:
        for number, block in enumerate(
            re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.S)
        ):
            found.append(pytest.param(block, id=f"{page.name}-{number}"))
    return found


@pytest.mark.parametrize("block", blocks("python"))
def test_python_block_runs(block, tmp_path, scripts):
    for name in ("README.md", "CHANGELOG.md"):
        (tmp_path / name).write_text("some words to count")
    (tmp_path / "block.py").write_text(block)
    ran = scripts.run(tmp_path / "block.py", strict=True)
    assert ran.code == 0, ran.err


@pytest.fixture(scope="module")
def queried(tmp_path_factory):
    folder = tmp_path_factory.mktemp("queried")
    with Scheduler(folder) as scheduler:
        scheduler.run(p.fan(4))
        with pytest.raises(KeyError):
            scheduler.run(p.fails(1))
    with Repository.open(folder) as repository:
        yield repository


@pytest.mark.parametrize("block", blocks("sql"))
def test_sql_block_runs(block, queried):
    assert queried.history.query(block).columns


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_documented_views_have_the_columns_of_the_real_ones(queried):
    text = (ROOT / "docs" / "sql.md").read_text("utf-8")
    for view in ("executions", "jobs", "task_counts"):
        section = text.partition(f"**`{view}`**")[2].partition("**`")[0]
        documented = {
            name
            for row in re.findall(r"^\| (`.*?) \|", section, re.M)
            for name in re.findall(r"`(\w+)`", row)
        }
        assert documented == set(queried.history.query(f"select * from {view}").columns)
