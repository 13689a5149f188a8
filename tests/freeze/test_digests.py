"""Digests do not move: those of the golden files are pinned elsewhere (tests/golden), the others here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.freeze import digests

GOLDEN = Path(__file__).parents[1] / "golden"
GOLDEN_FILES = (
    "digests.json",
    "science.json",
    "families/attrs.json",
    "families/grid.json",
    "families/msgspec.json",
    "families/own_classes.json",
    "families/pydantic.json",
    "families/standard_library.json",
)


@pytest.mark.usefixtures("inputs")
@pytest.mark.parametrize("algorithm", digests.ALGORITHMS)
def test_tasks_calls_files_and_handles_have_the_digests_they_had(algorithm):
    assert digests.digests_by(algorithm) == digests.frozen()[algorithm]


@pytest.mark.parametrize("name", GOLDEN_FILES)
def test_each_golden_file_is_there_and_named_by_a_test(name):
    assert (GOLDEN / name).exists()
    tests = GOLDEN.parent.rglob("test_*.py")
    assert any(Path(name).name in test.read_text("utf-8") for test in tests if test != Path(__file__))
