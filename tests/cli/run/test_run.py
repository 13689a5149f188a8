"""``valuestore run``: results on stdout, the summary on stderr, and what happens when it cannot run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_text_is_printed_as_it_is(cli: Cli) -> None:
    assert cli("run", "pipe.py", "greet", "--name", "[red]x").out == "hello [red]x\n"


def test_other_results_are_printed_as_python_shows_them(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares", "--count", "3")
    assert done.out == "{'squares': [0, 1, 4], 'scale': 1.0, 'verbose': False}\n"


def test_a_file_is_printed_as_its_path(cli: Cli) -> None:
    assert cli("run", "pipe.py", "write", "--path", "out/a.txt").out == "out/a.txt\n"


def test_json_result_is_json(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares", "--count", "2", "--json")
    assert json.loads(done.out) == {"squares": [0, 1], "scale": 1.0, "verbose": False}


def test_json_of_a_value_that_is_not_json_is_its_preview(cli: Cli) -> None:
    done = cli("run", "pipe.py", "write", "--path", "a.txt", "--json")
    assert json.loads(done.out)["path"] == "a.txt"


def test_a_long_result_is_printed_as_its_preview(cli: Cli, here: Path) -> None:
    (here / "long.py").write_text(
        "from valuestore import task\n@task\ndef numbers() -> list:\n    return list(range(100000))\n"
    )
    done = cli("run", "long.py", "numbers")
    assert done.code == 0
    assert len(done.out) < 1000
    assert "more" in done.out


def test_the_summary_counts_what_was_executed_and_what_was_cached(cli: Cli) -> None:
    first = cli("run", "pipe.py", "squares", "--count", "3")
    second = cli("run", "pipe.py", "squares", "--count", "4")
    assert "done: execution " in first.err
    assert "4 executed, 0 cached" in first.err
    assert "2 executed, 3 cached" in second.err
    assert first.err.count("\n") == 1


def test_tags_label_the_execution(cli: Cli) -> None:
    cli("run", "--tag", "who=me", "pipe.py", "greet", "--tag", "n=3")
    tags = json.loads(cli("show", "-", "--json").out)["tags"]
    assert (tags["who"], tags["n"]) == ("me", 3)
    assert {"valuestore.version", "user", "host"} <= set(tags)


def test_a_tag_that_is_no_pair_is_a_usage_error(cli: Cli) -> None:
    done = cli("run", "pipe.py", "greet", "--tag", "who")
    assert (done.code, done.err) == (2, "valuestore: --tag: tag 'who': it is not key=value\n")


def test_a_tag_value_that_json_cannot_hold_is_text(cli: Cli) -> None:
    assert cli("run", "pipe.py", "greet", "--tag", "x=NaN").code == 0
    assert '"NaN"' in cli("sql", "select value from tag", "--csv").out.replace('""', '"')


def test_repository_and_workers_may_stand_behind_the_task(cli: Cli, here: Path) -> None:
    done = cli("run", "pipe.py", "greet", "--repository", "elsewhere", "--workers", "1")
    assert done.code == 0
    assert (here / "elsewhere" / ".valuestore" / "valuestore.db").exists()


def test_workers_must_be_positive(cli: Cli) -> None:
    assert cli("run", "pipe.py", "greet", "--workers", "0").code == 2
    assert cli("run", "--workers", "0", "pipe.py", "greet").code == 2


def test_without_a_task_the_tasks_are_listed(cli: Cli) -> None:
    done = cli("run", "pipe.py")
    assert done.code == 0
    assert "squares  Square the first numbers." in done.out
    assert "--scale float = 1.0" in done.out


def test_help_of_a_task_shows_its_docstring_and_parameters(cli: Cli) -> None:
    done = cli("run", "pipe.py", "squares", "--help")
    assert done.code == 0
    assert "All of them." in done.out
    assert "--count int (required)" in done.out
    assert "--verbose/--no-verbose = False" in done.out


def test_an_unknown_task_names_those_there_are(cli: Cli) -> None:
    done = cli("run", "pipe.py", "cube")
    assert done.code == 2
    assert (
        done.err
        == "valuestore: no task named 'cube'; there are: divide, greet, outer, square, squares, write\n"
    )


def test_a_task_is_found_by_its_full_name(cli: Cli) -> None:
    assert cli("run", "pipe.py", "pipe.greet").out == "hello you\n"


def test_a_file_without_tasks_says_so(cli: Cli, here: Path) -> None:
    (here / "empty.py").write_text("def of_no_task(): pass\n")
    assert cli("run", "empty.py", "of_no_task").code == 2
    assert "@task" in cli("run", "empty.py", "of_no_task").err


@pytest.mark.parametrize("target", ["missing.py", "no/such/file", "missing_module", "..", ""])
def test_a_missing_file_or_module_is_a_usage_error(cli: Cli, target: str) -> None:
    done = cli("run", target, "x")
    assert done.code == 2
    assert done.err.startswith("valuestore: no file")


def test_a_module_is_found_from_the_working_folder(cli: Cli, here: Path) -> None:
    (here / "flows").mkdir()
    (here / "flows" / "first.py").write_text((here / "pipe.py").read_text())
    assert cli("run", "flows.first", "greet").out == "hello you\n"


def test_a_file_named_like_a_module_in_use_is_refused(cli: Cli, here: Path) -> None:
    (here / "queue.py").write_text((here / "pipe.py").read_text())
    done = cli("run", "queue.py", "greet")
    assert done.code == 2
    assert "rename the file" in done.err


def test_the_files_folder_comes_first_on_the_path(cli: Cli, here: Path) -> None:
    (here / "sub").mkdir()
    (here / "sub" / "aside_of_flow.py").write_text("NAME = 'aside'\n")
    (here / "sub" / "flow.py").write_text(
        "from valuestore import task\nfrom aside_of_flow import NAME\n"
        "@task\ndef name() -> str:\n    return NAME\n"
    )
    assert cli("run", "sub/flow.py", "name").out == "aside\n"


def test_the_rerun_in_a_fresh_process_is_cached_with_the_classes_of_the_file(
    cli: Cli, program: Cli, here: Path
) -> None:
    (here / "rows.py").write_text(
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "from valuestore import task\n"
        "@dataclass\nclass Row:\n    name: str\n"
        "@task\ndef row() -> Row:\n    return Row('a')\n"
    )
    cli("run", "rows.py", "row")
    again = program("run", "rows.py", "row")
    assert again.out == "Row(name='a')\n"
    assert "0 executed, 1 cached" in again.err


def test_a_file_that_does_not_load_shows_its_own_frames_alone(cli: Cli, here: Path) -> None:
    (here / "broken.py").write_text("import not_a_module_anywhere\n")
    done = cli("run", "broken.py", "x")
    assert done.code == 1
    assert "No module named 'not_a_module_anywhere'" in done.err
    assert "importlib" not in done.err
    assert 'broken.py", line 1' in done.err


def test_a_module_that_raises_while_it_loads_is_not_a_missing_one(cli: Cli, here: Path) -> None:
    (here / "raising.py").write_text("raise ValueError('of its own')\n")
    done = cli("run", "raising", "x")
    assert done.code == 1
    assert "ValueError: of its own" in done.err


def test_a_file_that_exits_while_it_loads_is_a_failure(cli: Cli, here: Path) -> None:
    (here / "leaves.py").write_text("import sys\nsys.exit(0)\n")
    assert cli("run", "leaves.py", "x").code == 1


def test_a_task_that_raises_shows_the_users_frames_and_the_job(cli: Cli) -> None:
    done = cli("run", "pipe.py", "outer", "--n", "3")
    assert done.code == 1
    assert done.out == ""
    assert "ZeroDivisionError: division by zero" in done.err
    assert "return n / 0" in done.err
    assert "`valuestore show " in done.err
    assert "scheduler" not in done.err
    assert "failed: execution " in done.err


def test_what_finished_before_the_failure_is_kept(cli: Cli) -> None:
    cli("run", "pipe.py", "outer", "--n", "3", "--workers", "1")
    assert "0 executed, 1 cached" in cli("run", "pipe.py", "square", "--n", "3").err


def test_a_task_that_calls_exit_is_a_failure(cli: Cli, here: Path) -> None:
    (here / "quits.py").write_text(
        "import sys\nfrom valuestore import task\n@task\ndef leave() -> None:\n    sys.exit(0)\n"
    )
    done = cli("run", "quits.py", "leave")
    assert done.code == 1
    assert "SystemExit: 0" in done.err


def test_an_error_text_with_control_characters_is_shown_escaped(cli: Cli, here: Path) -> None:
    (here / "bell.py").write_text(
        "from valuestore import task\n@task\ndef ring() -> None:\n"
        "    raise ValueError('[red]\\x1b[31m\\x07')\n"
    )
    done = cli("run", "bell.py", "ring")
    assert "ValueError: [red]\\x1b[31m\\x07" in done.err
    assert "\x1b" not in done.err


def test_an_argument_without_identity_is_one_line(cli: Cli, here: Path) -> None:
    (here / "locks.py").write_text(
        "import threading\nfrom valuestore import task\n"
        "@task\ndef take(x: object) -> int:\n    return 1\n"
        "@task(version='1')\ndef give() -> int:\n    return take({'lock': threading.Lock()})\n"
    )
    with pytest.warns(UserWarning, match="not cached"):
        done = cli("run", "locks.py", "give")
    assert done.code == 1
    assert "cannot hash" in done.err
    assert "'lock'" in done.err
    assert "Traceback" not in done.err


def test_a_result_that_cannot_be_stored_gives_one_warning_of_one_line(program: Cli, here: Path) -> None:
    (here / "lock.py").write_text(
        "import threading\nfrom valuestore import task\n@task\ndef lock() -> object:\n"
        "    return threading.Lock()\n"
    )
    done = program("run", "lock.py", "lock")
    assert done.code == 0
    assert [line[:41] for line in done.err.splitlines()] == [
        "valuestore: the result of lock.lock is no",
        "valuestore: done: execution " + done.err.splitlines()[1][28:41],
    ]


def test_a_lone_surrogate_in_the_result_does_not_break_the_output(program: Cli, here: Path) -> None:
    (here / "text.py").write_text(
        "from valuestore import task\n@task\ndef odd() -> str:\n    return 'a\\udc80b'\n"
    )
    assert program("run", "text.py", "odd").out == "a\\udc80b\n"


def test_what_a_task_prints_goes_to_stdout(program: Cli, here: Path) -> None:
    (here / "talks.py").write_text(
        "from valuestore import task\n@task\ndef talk() -> str:\n    print('said')\n    return 'result'\n"
    )
    assert program("run", "talks.py", "talk").out == "said\nresult\n"
