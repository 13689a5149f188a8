"""A killed run leaves a repository that opens, and the next run gives the right result (invariant I5)."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from valuestore import Repository

CENSUS = Path(__file__).parents[2] / "examples" / "census.py"
PACKAGES = ("json", "email", "logging", "importlib", "unittest", "http", "xml")
SHARDS = 5
KILLS_EACH = 10
KILLS_OF_A_FOLDER = 3


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A hundred real source files."""
    root = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        source = Path(sysconfig.get_path("stdlib")) / package
        shutil.copytree(source, root / package, ignore=shutil.ignore_patterns("__pycache__", "test*"))
    return root


@pytest.fixture(scope="module")
def undisturbed(tree, tmp_path_factory):
    """What a run gives that nobody kills, where it was, and how long it took."""
    folder = tmp_path_factory.mktemp("undisturbed")
    started = time.monotonic()
    report = finish(tree, folder)
    return report, folder, time.monotonic() - started


def census(tree, folder):
    command = [str(Path(sys.executable).parent / "valuestore"), "run", str(CENSUS), "census"]
    options = ["--tree", str(tree), "--destination", str(folder / "report.html"), "--repository", str(folder)]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(tree, folder):
    process = census(tree, folder)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors.decode()
    return (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("shard", "kills"),
    [
        ("few", KILLS_OF_A_FOLDER),
        *(pytest.param(shard, KILLS_EACH, marks=pytest.mark.thorough) for shard in range(SHARDS)),
    ],
)
def test_kills_at_random_moments_lose_nothing_that_matters(tree, undisturbed, tmp_path, shard, kills):
    random.seed(shard)
    expected, expected_in, longest = undisturbed
    for round_ in range(kills):
        folder = tmp_path / str(round_ // KILLS_OF_A_FOLDER)  # most kills hit one that was killed before
        folder.mkdir(exist_ok=True)
        process = census(tree, folder)
        time.sleep(random.uniform(0.3, 1.0) * longest)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        with Repository.open(folder) as repository:
            hashes = [row[0] for row in repository.history.query("select value_hash from value").rows]
            for value_hash in hashes:
                repository.archive.read(repository.find_value(value_hash))
    for folder in sorted(tmp_path.glob("[0-9]*")):
        assert finish(tree, folder).replace(str(folder), str(expected_in)) == expected
