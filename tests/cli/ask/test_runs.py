"""``valuestore runs``: parameters, metrics and tags of a task's runs as columns."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

FITS = """
from valuestore import File, tag, task

@task
def fit(rate: float, config: dict, data: File = File("data.csv"), steps: list = []) -> dict:
    if rate > 9:
        raise ValueError("diverged")
    found = {"loss": 1 / rate, "rate": -rate, "curve": [1, 2]}
    return tag(found, stage="final", job_tags={"good": rate > 1})

@task
def plain(n: int) -> float:
    return n / 4
"""


@pytest.fixture
def ran(cli: Cli, here: Path) -> Cli:
    (here / "fits.py").write_text(FITS)
    (here / "data.csv").write_text("1,2")
    for rate, depth in (("0.5", 3), ("4", 10), ("2", 5), ("99", 1)):
        config = json.dumps({"depth": depth, "kind": "tree"})
        cli("run", "fits.py", "fit", "--rate", rate, "--config", config, "--tag", f"trial={depth}")
    return cli


def test_a_row_for_each_run_with_parameters_metrics_and_tags(ran: Cli) -> None:
    failed, *rows = json.loads(ran("runs", "fit", "--json").out)
    assert [row["rate"] for row in rows] == [2.0, 4.0, 0.5]
    first = {
        key: value for key, value in rows[0].items() if key not in ("job", "execution", "started", "seconds")
    }
    assert first == {
        **{"status": "done", "rate": 2.0, "config.depth": 5, "config.kind": "tree", "data": "data.csv"},
        **{"loss": 0.5, "result.rate": -2.0, "trial": 5, "stage": "final", "good": True},
    }
    assert (failed["status"], failed["rate"], "loss" in failed) == ("failed", 99.0, False)


@pytest.mark.parametrize(
    ("sort", "rates"),
    [
        ("loss", [4.0, 2.0, 0.5, 99.0]),
        ("-loss", [0.5, 2.0, 4.0, 99.0]),
        ("config.depth", [99.0, 0.5, 2.0, 4.0]),
        ("-status", [99.0, 2.0, 4.0, 0.5]),
    ],
)
def test_rows_are_sorted_by_a_column(ran: Cli, sort: str, rates: list[float]) -> None:
    assert [row["rate"] for row in json.loads(ran("runs", "fit", "--sort", sort, "--json").out)] == rates


def test_a_table_and_csv(ran: Cli) -> None:
    header, *lines = ran("runs", "fits.fit", "--sort", "loss").out.splitlines()
    assert header.split()[:4] == ["id", "started", "(UTC)", "status"]
    assert "config.depth" in header
    assert len(lines) == 4
    rows = list(csv.DictReader(io.StringIO(ran("runs", "fit", "--csv").out)))
    assert [row["loss"] for row in rows] == ["", "0.5", "0.25", "2.0"]


def test_a_result_that_is_a_number_is_the_metric(ran: Cli) -> None:
    ran("run", "fits.py", "plain", "--n", "3")
    ran("run", "fits.py", "plain", "--n", "3")  # cached: its body did not run
    [row] = json.loads(ran("runs", "plain", "--json").out)
    assert (row["n"], row["result"]) == (3, 0.75)


def test_what_cannot_be_listed_is_said(ran: Cli) -> None:
    assert ran("runs", "nothing").code == 1
    done = ran("runs", "fit", "--sort", "size")
    assert (done.code, done.out) == (2, "")
    assert "there is no column 'size'; there are job, execution" in done.err
    assert ran("runs", "fit", "--json", "--csv").code == 2
    assert "--limit" in ran("runs", "fit", "--limit", "1").err
    assert len(json.loads(ran("runs", "fit", "--execution", "~1", "--json").out)) == 1
