"""``log`` with filters, ``tag``, ``why``, ``diff`` and ``lineage``: tables, JSON, exit codes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Outcome


@pytest.fixture
def ran(cli: Cli) -> Cli:
    """A repository with three executions, one of which failed."""
    cli("run", "pipe.py", "squares", "--count", "3", "--tag", "project=a")
    cli("run", "pipe.py", "write", "--path", "made.txt")
    cli("run", "pipe.py", "divide", "--n", "3")
    return cli


@pytest.fixture(scope="module")
def place() -> dict[str, Path]:
    """Where the repository is that all who only read ask."""
    return {}


@pytest.fixture
def asked(request: pytest.FixtureRequest, place: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """The repository that ``ran`` gave to the first who asked: for those who change nothing."""
    if "ran" in place:
        cli: Cli = request.getfixturevalue("cli")
        monkeypatch.chdir(place["ran"])
        return cli
    place["ran"] = request.getfixturevalue("here")
    ran: Cli = request.getfixturevalue("ran")
    return ran


def answer(done: Outcome) -> list:
    assert done.code == 0, done.err
    return json.loads(done.out)


@pytest.mark.parametrize(
    ("arguments", "count"),
    [
        ("executions", 3),
        ("executions --status failed", 1),
        ("executions --tag project=a", 1),
        ("executions --tag project --status done", 1),
        ("executions --label divide", 1),
        ("executions --task square", 1),
        ("executions --since 1h", 3),
        ("executions --until 2020-01-01", 0),
        ("executions --error division", 1),
        ("executions --longer 1000", 0),
        ("executions --file made.txt", 1),
        ("jobs", 6),
        ("jobs --task square", 3),
        ("jobs --task pipe.*", 6),
        ("jobs --execution ~2", 4),
        ("jobs --arg 2", 1),
        ("jobs --arg n=2", 1),
        ("jobs --result 4", 1),
        ("jobs --execution-tag project=a", 4),
        ("jobs --status failed --status done", 6),
        ("calls --type *.int", 3),
        ("tasks", 4),
        ("files --file made*", 2),
        ("files --file nothing", 0),
        ("values --type valuestore.File", 2),
        ("tags --tag x", None),
    ],
)
def test_log_counts_and_lists_what_meets_all_filters(asked: Cli, arguments: str, count: int | None) -> None:
    words = arguments.split()
    if count is None:
        assert asked("log", *words).code == 2
        return
    assert asked("log", *words, "--count").out == f"{count}\n"
    assert len(answer(asked("log", *words, "--json"))) == count
    assert len(list(csv.reader(io.StringIO(asked("log", *words, "--csv").out)))) == count + 1
    assert len(asked("log", *words).out.splitlines()) == count + 1


def test_log_goes_on_where_a_page_ended(asked: Cli) -> None:
    seen, more = [], []
    while True:
        done = asked("log", "jobs", "-n", "4", *more)
        seen += [line.split()[0] for line in done.out.splitlines()[1:]]
        if "--page " not in done.err:
            break
        more = ["--page", done.err.split("--page ")[1].strip()]
    assert len(seen) == len(set(seen)) == 6


@pytest.mark.parametrize(
    "arguments",
    ["nonsense", "--since yesterday", "jobs --status crashed", "jobs --order x", "jobs --page x", "--tag =1"],
)
def test_log_refuses_what_cannot_be_asked(asked: Cli, arguments: str) -> None:
    done = asked("log", *arguments.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1


def test_tags_are_listed_changed_and_remembered(ran: Cli) -> None:
    assert ran("tag", "add", "-", "stage=trial", "n=3", "--author", "ada").code == 0
    assert ran("tag", "update", "-", "stage=final").code == 0
    listed = {tag["key"]: tag["value"] for tag in answer(ran("tag", "list", "-", "--json"))}
    assert (listed["stage"], listed["n"]) == ("final", 3)
    assert "stage=final" in ran("show", "-").out or '"final"' in ran("show", "-").out
    assert "stage=final" in ran("tag", "list", "--key", "sta*").out
    history = [tag for tag in answer(ran("tag", "history", "-", "--json")) if tag["key"] == "stage"]
    assert [(tag["value"], tag["ended"] is None) for tag in history] == [("trial", False), ("final", True)]
    assert history[0]["author"] == "ada"
    assert "trial" in ran("tag", "history", "-").out
    assert ran("tag", "rm", "-", "stage=other").code == 1
    assert ran("tag", "rm", "-", "stage", "n=3").out == "2 removed\n"
    assert ran("tag", "list", "-", "--key", "stage").out == "no tags\n"


@pytest.mark.parametrize("arguments", ["add -", "update -", "rm -", "add - =1", "add - key", "rm - =1"])
def test_a_tag_command_that_names_nothing_is_a_usage_error(ran: Cli, arguments: str) -> None:
    before = ran("tag", "list", "--json").out
    assert ran("tag", *arguments.split()).code == 2
    assert ran("tag", "list", "--json").out == before


def test_records_that_are_not_there_exit_1(asked: Cli) -> None:
    for command in ("show", "why", "lineage", "diff"):
        done = asked(command, "deadbeefdeadbeef")
        assert (done.code, done.out) == (1, ""), command
        assert done.err.count("\n") == 1
    assert asked("tag", "add", "deadbeefdeadbeef", "a=1").code == 1


def test_why_names_the_argument(ran: Cli) -> None:
    ran("run", "pipe.py", "squares", "--count", "4")
    [job] = answer(ran("log", "jobs", "--task", "squares", "-n", "1", "--json"))
    found = answer(ran("why", job["job_id"], "--json"))
    assert [(reason["kind"], reason["subject"]) for reason in found["reasons"]] == [("argument", "count")]
    assert "value: 3 -> 4" in ran("why", job["job_id"]).out


def test_diff_tells_what_was_added_and_exits_1(ran: Cli) -> None:
    ran("run", "pipe.py", "squares", "--count", "4")
    done = ran("diff", "~3", "-", "--json")
    assert done.code == 1
    assert [job["result"] for job in json.loads(done.out)["added"]] == ["9"]
    assert "added" in ran("diff", "~3").out
    assert ran("diff", "-", "-").code == 0


def test_diff_sums_up_by_task_first(ran: Cli) -> None:
    ran("run", "pipe.py", "squares", "--count", "5")
    out = ran("diff", "~3", "-").out.splitlines()
    assert out[0].endswith(": 3 equal")
    assert [line.split()[0] for line in out[2:5]] == ["task", "pipe.square", "pipe.squares"]
    assert out[3].split("  ")[1].strip() == "3 executed"
    assert "2 added, 3 equal" in out[3]
    assert "1 changed" in out[4]
    told = json.loads(ran("diff", "~3", "-", "--json").out)["tasks"]
    assert told[0]["after"] == {"cached": 3, "done": 2}


def test_diff_of_one_task_with_a_limit(ran: Cli) -> None:
    ran("run", "pipe.py", "squares", "--count", "6")
    out = ran("diff", "~3", "-", "--task", "square", "--limit", "1").out
    assert "pipe.squares" not in out
    assert "... and 2 more added (--limit 3 shows all)" in out
    done = ran("diff", "~3", "-", "--task", "greet")
    assert (done.code, done.out) == (1, "")


def test_diff_names_the_code_that_changed(program: Cli, here: Path) -> None:
    program("run", "pipe.py", "squares", "--count", "2")
    (here / "pipe.py").write_text((here / "pipe.py").read_text().replace("return n * n", "return n**2"))
    program("run", "pipe.py", "squares", "--count", "2")
    [square, squares] = json.loads(program("diff", "~1", "--json").out)["tasks"]
    assert (square["code"], squares["code"]) == (["pipe.square"], [])
    assert square["calls"] == {"rerun": 2, "equal": 2}


def test_lineage_is_a_tree_json_or_events(asked: Cli) -> None:
    tree = asked("lineage", "made.txt").out
    assert "pipe.write = made.txt" in tree
    assert answer(asked("lineage", "made.txt", "--json"))["files"] == ["made.txt"]
    events = [json.loads(line) for line in asked("lineage", "made.txt", "--openlineage").out.splitlines()]
    assert [event["eventType"] for event in events] == ["START", "COMPLETE"]
    square = answer(asked("log", "jobs", "--task", "square", "-n", "1", "--json"))[0]["job_id"]
    assert "called by: pipe.squares" in asked("lineage", square, "--down").out
    assert asked("lineage", "made.txt", "--json", "--openlineage").code == 2
    assert "path of pipe.write" in asked("lineage", "--down", "made.txt").out


def test_show_knows_files_tasks_and_tags(asked: Cli) -> None:
    assert "made by" in asked("show", "made.txt").out
    assert answer(asked("show", "made.txt", "--json"))["kind"] == "file"
    assert 'return f"hello' not in asked("show", "pipe.square").out
    assert "return n * n" in asked("show", "pipe.square").out
    [tag, *_] = answer(asked("log", "tags", "--json"))
    assert answer(asked("show", tag["tag_id"], "--json"))["key"] == tag["key"]


def test_hostile_text_is_shown_escaped(ran: Cli, here: Path) -> None:
    hostile = "[red]\x1b]0;title\x07\u202e"
    ran("run", "pipe.py", "greet", "--name", hostile, "--tag", f"note={hostile}")
    [job] = answer(ran("log", "jobs", "-n", "1", "--json"))
    for command in (
        ("log", "jobs"),
        ("log", "tags"),
        ("tag", "list"),
        ("why", job["job_id"]),
        ("lineage", job["job_id"]),
    ):
        done = ran(*command)
        assert all(char.isprintable() or char in "\n\t" for char in done.out), command


def test_every_option_that_is_given_counts(asked: Cli) -> None:
    assert asked("log", "jobs", "--arg", "1", "--arg", "2", "--count").out == "0\n"
    assert asked("log", "jobs", "--arg", "n=1", "--arg", "n=2", "--count").out == "0\n"
    assert asked("log", "jobs", "--task", "", "--count").out == "0\n"
    assert asked("log", "jobs", "--longer", "0", "--count").code == 0
    assert asked("log", "--csv", "--json").code == 2
    assert asked("log", "--csv", "--page", "x").code == 2
    assert asked("log", "--since", "999999w", "--count").out == "3\n"
    assert asked("log", "jobs", "--arg", "[" * 100_000, "--count").code in (0, 2)


def test_a_key_may_be_tagged_with_several_values_in_one_command(ran: Cli) -> None:
    assert len(answer(ran("tag", "add", "-", "c=1", "c=2", "--json"))) >= 2
    assert ran("log", "--tag", "c=1", "--tag", "c=2", "--count").out == "1\n"
    assert ran("tag", "rm", "-", "c=1", "c=2").out == "2 removed\n"


def test_json_lists_are_lists_however_long(asked: Cli) -> None:
    assert answer(asked("log", "jobs", "--tag", "nothing", "--json")) == []
    assert len(answer(asked("log", "jobs", "--limit", "1", "--json"))) == 1
    assert len(answer(asked("log", "jobs", "--limit", "2000", "--json"))) == 6


def test_columns_line_up_where_characters_are_wide(ran: Cli) -> None:
    ran("tag", "add", "-", "名前=値", "n=1")
    lines = ran("tag", "list", "-").out.splitlines()
    assert any("名前=値" in line for line in lines)
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("command", ["log -r", "sql select/**/1 -r", "init"])
def test_a_url_in_the_place_of_the_folder_is_refused_and_not_quoted(cli: Cli, command: str) -> None:
    done = cli(*command.split(), "postgresql://me:canary@127.0.0.1:1/db")
    assert done.code == 2
    assert "VALUESTORE_DATABASE" in done.err
    assert "canary" not in done.out + done.err
    assert not Path("postgresql:").exists()


def test_a_status_that_is_none_is_named_beside_those_there_are(asked: Cli) -> None:
    said = asked("log", "--status", "done", "--status", "dnoe").err
    assert said.endswith("done, failed, interrupted, crashed, not 'dnoe'\n")
