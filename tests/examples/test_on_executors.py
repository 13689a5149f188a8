"""The census and the examples on other executors: the same results, digests and history as on threads."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
PROGRAM = "import sys\nfrom valuestore.cli.main import invoke\nsys.exit(invoke(sys.argv[1:]))\n"
ALONE = {"scraping.py"}
"""Needs a site; tests/examples/test_redun.py has one."""
ARGUMENTS = {
    "census.py": ("census", "--tree", "tree", "--destination", "page.html"),
    "allele_frequency.py": ("main", "--samples", "samples"),
    "staged_script.py": ("main", "--text", "words.txt"),
    "shared_calls.py": ("main", "--n", "24"),
    "many_jobs.py": ("main", "--jobs", "60"),
}
HISTORY = {
    "jobs": "select task, status, error, value_hash from jobs where status <> 'cached'",
    "results": "select call_hash, task, args_hash, value_hash, path from results",
    "lineage": "select call_hash, via, argument, value_hash from lineage",
    "sets": "select hex(call_hash), hex(task_set_hash), hex(external_set_hash), replayable from call_node",
    "evaluations": "select hex(eval_hash), hex(trace_hash), hex(value_hash) from evaluation",
    "arguments": "select args_hash, name, value_hash, path from arguments",
    "values": "select hex(value_hash), type_name, codec, size from value",
    "code": "select name, hex(digest) from dependency",
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=50
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture
def environment(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.callspec.params["executor"] == "dask":
        address = request.getfixturevalue("cluster")
        monkeypatch.setenv("VALUESTORE_EXECUTORS", f'{{dask = {{address = "{address}"}}}}')


def prepare(folder: Path, file: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "samples").mkdir(parents=True)
    (folder / "tree" / "package").mkdir(parents=True)
    shutil.copy(file, folder)
    (folder / "program.py").write_text(PROGRAM)
    (folder / "words.txt").write_text("one two two three three three\n")
    for number, text in enumerate(("rs1 A\nrs2 C\n", "rs1 A\nrs2 G\n")):
        (folder / "samples" / f"{number}.txt").write_text(text)
    for name in ("one", "two", "package/three"):
        (folder / "tree" / f"{name}.py").write_text(f"def {name[-3:]}():\n    return {len(name)}\n")


def history(folder: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """What is recorded, but for ids, times, and what depends on them: which of equal calls was the first."""
    with closing(sqlite3.connect(folder / ".valuestore" / "valuestore.db")) as database:
        return {name: Counter(database.execute(query).fetchall()) for name, query in HISTORY.items()}


ON_DASK = {"census", "control_flow", "side_branches", "staged_script"}
EVERY = sorted([EXAMPLES / "census.py", *(EXAMPLES / "redun").glob("*.py")])
THOROUGH = [
    pytest.param(file, executor, id=f"{file.stem}-{executor}", marks=pytest.mark.thorough)
    for file in EVERY
    for executor in ("processes", "dask")
    if file.name not in ALONE and (executor == "processes" or file.stem in ON_DASK)
]
QUICK = [
    pytest.param(file, "processes", id=f"{file.stem}-quick") for file in EVERY if file.stem == "control_flow"
]


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("file", "executor"), [*QUICK, *THOROUGH])
def test_it_is_the_same_there(file, executor, tmp_path, scripts):
    folder = tmp_path / "here"
    given = ARGUMENTS.get(file.name, ("main",))
    found = {}
    for where in ("threads", executor):
        prepare(folder, file)
        for _ in range(2):
            command = ("run", file.name, *given, "--json", "--executor", where, "--workers", "2")
            ran = scripts.run(folder / "program.py", *command)
            assert ran.code == 0, ran.err
            found.setdefault(where, []).append((json.loads(ran.out), history(folder)))
    assert [result for result, _ in found[executor]] == [result for result, _ in found["threads"]]
    for theirs, ours in zip(found["threads"], found[executor], strict=True):
        for name in HISTORY:
            assert ours[1][name] == theirs[1][name], name
