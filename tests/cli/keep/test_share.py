"""``push``, ``pull``, ``export``, ``import``, ``backup`` and ``repo``: what a colleague would type."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from valuestore import Repository
from valuestore.errors import NotARepository

BIG = b"x" * 50_000


@pytest.fixture(autouse=True)
def own_names(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("names")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder / "valuestore" / "config.toml"


def test_backup_of_a_repository_is_restored_in_one_command(cli: Cli, here: Path) -> None:
    assert cli("run", "pipe.py", "squares", "--count", "3").code == 0
    saved = cli("backup", "all.vsb")
    assert saved.code == 0
    assert saved.out.startswith("wrote all.vsb: ")
    restored = cli("import", "all.vsb", "-r", "restored")
    assert restored.out == saved.out.replace("wrote all.vsb:", "imported").replace(
        "\n", " into restored/.valuestore\n"
    )
    assert cli("log", "--json", "-r", "restored").out == cli("log", "--json").out
    assert cli("get", "-", "-r", "restored").out == cli("get", "-").out
    again = cli("backup", "all.vsb")
    assert (again.code, again.err) == (3, "valuestore: all.vsb is there already; --overwrite replaces it\n")
    assert cli("backup", "all.vsb", "--overwrite").code == 0


def test_push_and_pull_by_name_and_rerun_there(cli: Cli, here: Path) -> None:
    cli("run", "pipe.py", "squares", "--count", "2")
    cli("run", "pipe.py", "greet")
    assert cli("repo", "add", "team", "shared").code == 0
    assert cli("push", "team", "-").out.startswith("sent ")
    assert len(json.loads(cli("log", "--json", "-r", "team").out)) == 1
    assert cli("push", "team").code == 0
    place = here / "shared" / ".valuestore"
    assert cli("push", "team").out == f"sent 0 records and 0 payloads (0 bytes) to {place}\n"
    assert cli("pull", "team", "--tag", "nothing=1", "-r", "mine").code == 1
    assert cli("pull", "team", "-r", "mine").out.startswith("received ")
    again = cli("run", "-r", "mine", "--dry-run", "--json", "pipe.py", "squares", "--count", "2")
    assert [job["status"] for job in json.loads(again.out)] == ["cached"]


def test_names_are_listed_replaced_and_forgotten_and_the_file_keeps_the_rest(
    cli: Cli, here: Path, own_names: Path
) -> None:
    own_names.parent.mkdir()
    own_names.write_text(
        '# mine\n[other]\nkey = "value"\n\n[repositories] # and these\nold = "/old"\n\n[last]\nx = 1\n'
    )
    assert cli("repo", "add", "team", "one").code == 0
    assert cli("repo", "add", "team", "two").code == 0
    assert json.loads(cli("repo", "list", "--json").out) == {
        "old": "/old",
        "team": str(here / "two" / ".valuestore"),
    }
    assert "two" in cli("repo", "list").out
    assert cli("repo", "remove", "old").code == 0
    text = own_names.read_text()
    assert "# mine" in text
    assert 'key = "value"' in text
    assert "x = 1" in text
    assert "/old" not in text
    assert cli("repo", "remove", "old").code == 2
    assert cli("repo", "add", "../x", "one").code == 2
    assert cli("repo", "add", "url", "postgresql://u:canary@host/db").code == 2
    assert "canary" not in own_names.read_text()


def test_file_of_names_that_cannot_be_changed_is_left_as_it_is(cli: Cli, here: Path, own_names: Path) -> None:
    own_names.parent.mkdir()
    for text in ("repositories = {a = '/a'}\n", "repositories = 5\n", "not toml"):
        own_names.write_text(text)
        assert cli("repo", "add", "team", "one").code == 2
        assert own_names.read_text() == text


def test_name_wins_over_a_folder_and_a_path_is_the_folder(cli: Cli, here: Path) -> None:
    for folder in ("team", "elsewhere"):
        with Repository.open(here / folder) as repository:
            repository.put(folder)
    cli("repo", "add", "team", "elsewhere")
    found = [
        json.loads(cli("sql", "select preview from value", "--json", "-r", where).out)
        for where in ("team", "./team")
    ]
    assert found == [[{"preview": '"elsewhere"'}], [{"preview": '"team"'}]]
    assert cli("run", "-r", "team", "pipe.py", "greet").code == 0
    assert "greet" in cli("log", "-r", "elsewhere").out


def test_new_repository_gets_the_digest_of_what_it_is_given(cli: Cli, here: Path) -> None:
    cli("init", "--digest", "blake3-256")
    with Repository.open(here) as repository:
        repository.put(BIG)
    cli("backup", "all.vsb")
    assert cli("import", "all.vsb", "-r", "one").code == 0
    assert cli("push", "two").code == 0
    assert cli("pull", "two", "-r", "three").code == 0
    assert cli("init", "four", "--digest", "xxh3-128").code == 0
    for command in (("import", "all.vsb", "-r", "four"), ("push", "four"), ("pull", "four")):
        refused = cli(*command)
        assert refused.code == 2
        assert "digest" in refused.err
        assert refused.err.count("\n") == 1


def test_what_is_lost_is_named_and_the_exit_code_tells(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        ref = repository.put(BIG)
        repository.flush()
        repository.payloads.delete(str(ref.payload_digest))
    saved = cli("backup", "all.vsb")
    assert saved.code == 3
    assert str(ref.payload_digest) in saved.err
    assert os.path.exists("all.vsb")


@pytest.mark.parametrize(
    ("command", "code"),
    [(("import", "nothing.vsb"), 2), (("pull", "nowhere"), 3), (("import", "pipe.py"), 3)],
)
def test_what_is_not_there_makes_no_repository(
    cli: Cli, here: Path, command: tuple[str, ...], code: int
) -> None:
    refused = cli(*command)
    assert refused.code == code
    assert refused.err.count("\n") == 1
    assert not (here / ".valuestore").exists()


def test_nothing_is_sent_into_memory(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        repository.put(1)
    told = cli("push", ":memory:")
    assert told.code != 0
    assert "ends with the program" in told.err


def test_push_says_where_it_sent_and_whether_that_is_new(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        ref = repository.put(BIG)
    assert cli("export", "all.vsb").out == "wrote all.vsb: 3 records and 1 payloads (50,000 bytes)\n"
    place = os.path.join("taem", ".valuestore")
    sent = cli("push", "taem", ref.value_hash).out
    assert sent == f"sent 3 records and 1 payloads (50,000 bytes) to {place}, which is new\n"


def test_names_that_are_nobody_s_make_no_repository(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        repository.put(BIG)
        with pytest.raises(NotARepository, match="nowhere"):
            repository.pull("nowhere")
    assert cli("push", "other", "no-such-record").code == 1
    told = cli("push", "other", "--tag", "nobody=1")
    assert (told.code, "`valuestore log tags`" in told.err) == (1, True)
    assert not (here / "other").exists()
    assert not (here / "nowhere").exists()


def test_itself_is_no_other_repository_however_it_is_spelt(cli: Cli, here: Path) -> None:
    cli("init")
    os.symlink(here, "link")
    for spelt in (".", "./", str(here), "link"):
        refused = cli("push", spelt)
        assert (refused.code, "both source and target" in refused.err) == (2, True), spelt


def test_folders_whose_names_are_not_utf8_are_folders(cli: Cli, here: Path) -> None:
    odd = os.fsdecode(b"odd\xff")
    cli("put", "pipe.py")
    assert cli("push", odd).code == 0
    assert (
        cli("sql", "select count(*) as n from value", "--json", "-r", odd).out
        == '[\n  {\n    "n": 1\n  }\n]\n'
    )
    for command in ("verify", "doctor", "stats", "gc"):
        assert cli(command, "-r", odd).code == 0
    for command in (("repo", "add", "x", odd), ("init", "new", "--payloads", odd), ("payloads", "move", odd)):
        refused = cli(*command)
        assert (refused.code, "is not UTF-8" in refused.err) == (2, True), command


def test_names_are_taken_wherever_a_repository_is_named(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        ref = repository.put(BIG)
    cli("push", "elsewhere")
    cli("repo", "add", "team", "elsewhere")
    [path] = (here / ".valuestore" / "payloads").rglob(str(ref.payload_digest))
    path.write_bytes(b"broken")
    assert "restored" in cli("repair", "--from", "team").out
    assert cli("gc", "--with", "team").code == 0
