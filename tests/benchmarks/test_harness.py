"""The harness: its arithmetic, its checks, and one tiny round of the real thing."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from benchmarks import harness, report, work
from benchmarks.harness import Plan, Sample, Wrong, check, expected_answer


def sample(system, cpu, *, step="cold", jobs=10, round_=0, wall=1.0):
    return Sample(system, step, jobs, round_, cpu, wall, 20.0)


def printed(table):
    console = Console(width=120, file=io.StringIO())
    console.print(table)
    return console.file.getvalue()


# --- arithmetic -----------------------------------------------------------------------------------


def test_medians_are_taken_for_each_system_step_and_size():
    samples = [sample("valuestore", cpu) for cpu in (1.0, 9.0, 2.0)]
    samples += [sample("valuestore", 5.0, jobs=20), sample("redun", 4.0), sample("redun", 6.0)]
    found = {(each.system, each.jobs): each for each in report.medians(samples)}
    assert found["valuestore", 10].cpu_seconds == 2.0
    assert found["valuestore", 10].rounds == 3
    assert found["valuestore", 20].cpu_seconds == 5.0
    assert found["redun", 10].cpu_seconds == 5.0


def test_a_ratio_above_one_means_that_valuestore_is_cheaper():
    [ratio] = report.ratios(report.medians([sample("valuestore", 2.0, wall=4.0), sample("redun", 6.0)]))
    assert (ratio.system, ratio.cpu, ratio.wall) == ("redun", 3.0, 0.25)


def test_there_is_no_ratio_without_valuestore():
    assert report.ratios(report.medians([sample("redun", 6.0)])) == []


def test_the_table_has_the_ratios_and_what_is_missing():
    samples = [sample("valuestore", 2.0), sample("valuestore", 2.0, round_=1), sample("redun", 7.0)]
    samples += [sample("valuestore", 1.0, step="put"), sample("joblib", 1.0)]
    text = printed(report.table(report.medians(samples)))
    assert "7.000 (3.50, 1 round)" in text
    assert "put 10" in text
    assert any("has no put" in note for note in report.notes(report.medians(samples)))


def test_results_are_saved_whole(tmp_path):
    path = report.save(str(tmp_path), [sample("valuestore", 2.0), sample("python", 1.0)])
    with open(path) as stream:
        saved = json.load(stream)
    assert len(saved["samples"]) == 2
    assert saved["ratios"] == [
        {"system": "python", "step": "cold", "jobs": 10, "cpu": 0.5, "wall": 1.0},
    ]


# --- plan -----------------------------------------------------------------------------------------


def test_every_system_comes_first_in_turn():
    plan = Plan(systems=("a", "b", "c"))
    assert [plan.turn(round_) for round_ in range(4)] == [
        ["a", "b", "c"],
        ["b", "c", "a"],
        ["c", "a", "b"],
        ["a", "b", "c"],
    ]


def test_redun_takes_many_jobs_once_unless_asked():
    assert not Plan().takes_part("redun", "cold", 10_000, 1)
    assert Plan().takes_part("redun", "cold", 1_000, 1)
    assert Plan(rounds=2).takes_part("redun", "cold", 10_000, 1)
    assert Plan().takes_part("valuestore", "cold", 10_000, 1)


# --- checks ---------------------------------------------------------------------------------------


def test_the_changed_inputs_differ_in_one_leaf():
    before, after = work.inputs(9, changed=False), work.inputs(9, changed=True)
    assert sum(x != y for x, y in zip(before, after, strict=True)) == 1
    assert len(set(after)) == 9


def test_values_are_different_and_of_their_size():
    values = work.values(50)
    assert len(set(values)) == 50
    assert {len(value) for value in values} == {work.VALUE_BYTES}


def test_right_answers_from_the_right_bodies_pass():
    check("any", "cold", 3, 0 + 1 + 4, b"lltl")
    check("any", "rerun", 3, 0 + 1 + 4, b"")
    check("any", "changed", 3, 0 + 9 + 4, b"lt")
    check("any", "put", 3, 3, b"")
    check("any", "get", 3, work.checksum(work.values(3)), b"")


@pytest.mark.parametrize(
    ("step", "answer", "bodies"),
    [
        ("cold", 6, b"lllt"),
        ("cold", 5, b"llt"),
        ("rerun", 5, b"l"),
        ("changed", 13, b"lllt"),
        ("get", work.checksum(reversed(work.values(3))), b""),
    ],
)
def test_a_wrong_answer_or_a_body_too_many_is_refused(step, answer, bodies):
    with pytest.raises(Wrong, match=step):
        check("any", step, 3, answer, bodies)


def test_what_is_expected_is_computed_without_the_systems():
    assert expected_answer("changed", 4) == 0 + 1 + 16 + 9
    assert expected_answer("open", 0) is None


# --- the real thing -------------------------------------------------------------------------------


def test_one_round_of_valuestore_is_measured_and_right():
    plan = Plan(groups=("fan-out",), systems=("valuestore",), jobs=(20,), rounds=1)
    samples = list(harness.measure(plan))
    assert [(each.step, each.jobs) for each in samples] == [("cold", 20), ("rerun", 20), ("changed", 20)]
    assert all(each.cpu_seconds > 0 and each.wall_seconds > 0 for each in samples)


def test_a_step_that_fails_says_why(tmp_path):
    with pytest.raises(Wrong, match="No such file"):
        harness._step("valuestore", "get", 20, 0, str(tmp_path))


def test_importing_valuestore_loads_no_database_driver():
    harness.check_lean_import()
