"""A third party's store, the one of docs/stores.md: found by its scheme, it passes the suite."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from valuestore import plugins
from valuestore.errors import BadReference
from valuestore.stores import open_store

GUIDE = Path(__file__).parents[2] / "docs" / "stores.md"
ENTRY_POINTS = """
[valuestore.stores]
toy = toystore:ToyStore
broken = brokenstore:BrokenStore
"""
FEW_EXAMPLES = """
from hypothesis import settings
settings.register_profile("few", max_examples=10)
settings.load_profile("few")
"""


def block_of(name):
    """The block of the guide that begins with that file name."""
    return re.search(rf"```python\n(# {re.escape(name)}\n.*?)```", GUIDE.read_text("utf-8"), re.S).group(1)


@pytest.fixture
def site(tmp_path):
    """A folder with the package, as an installer leaves it."""
    folder = tmp_path / "site"
    metadata = folder / "toystore-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toystore\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "toystore.py").write_text(block_of("toystore.py"))
    (folder / "brokenstore.py").write_text("import a_package_that_is_nowhere\n")
    return folder


@pytest.fixture
def installed(site, monkeypatch):
    """The package on the path for the length of a test."""
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(plugins, "_loaded", {})
    plugins._entry_points.cache_clear()
    yield
    plugins._entry_points.cache_clear()
    sys.modules.pop("toystore", None)


def test_its_scheme_opens_it(installed):
    with open_store("toy://here") as store:
        store.put("k", b"data", attrs={"n": 1})
    with open_store("TOY://here") as again:
        assert type(again).__name__ == "ToyStore"
        assert (again.get("k"), again.stat("k").attrs) == (b"data", {"n": 1})


def test_it_passes_the_suite(site, tmp_path):
    test = tmp_path / "test_toystore.py"
    test.write_text(block_of("test_toystore.py"))
    (tmp_path / "conftest.py").write_text(FEW_EXAMPLES)
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", test.name]
    ran = subprocess.run(
        [*command, f"--rootdir={tmp_path}", f"--basetemp={tmp_path / 'runs'}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert int(re.search(r"(\d+) passed", ran.stdout).group(1)) > 100
    assert "failed" not in ran.stdout


def test_a_broken_one_beside_it_only_warns(installed):
    with (
        pytest.warns(RuntimeWarning, match="'broken' .*a_package_that_is_nowhere") as caught,
        pytest.raises(BadReference, match="broken://x"),
    ):
        open_store("broken://x")
    assert len(caught) == 1
    assert open_store("toy://x").url == "toy://x"
    assert open_store("memory://").url == "memory://"
