"""``init --payloads`` and ``payloads move``: large values go where the settings say."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Cli
from valuestore import Repository

BIG = b"x" * 50_000


def files(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file() and ".vs~" not in file.parts)


def test_init_takes_the_place_of_payloads_and_keeps_it(cli: Cli, here: Path) -> None:
    assert cli("init", "--payloads", "bytes").code == 0
    with Repository.open(here) as repository:
        ref = repository.put(BIG)
    assert ref.payload_digest in files(here / "bytes")
    assert not (here / ".valuestore" / "payloads").exists()


def test_payloads_move_is_verified_resumable_and_remembered(cli: Cli, here: Path) -> None:
    values = [bytes([number]) * 20_000 for number in range(5)]
    with Repository.open(here) as repository:
        refs = [repository.put(value) for value in values]
    (here / ".valuestore" / "valuestore.toml").write_text("# mine\nbusy_timeout_seconds = 5\n")
    for _ in range(2):
        assert cli("payloads", "move", "elsewhere").code == 0
    with Repository.open(here) as repository:
        assert repository.settings.payloads == str(here / "elsewhere")
        assert repository.settings.busy_timeout_seconds == 5
        assert [repository.get(ref.value_hash) for ref in refs] == values
    assert (here / ".valuestore" / "valuestore.toml").read_text().startswith("payloads")


def test_damaged_payload_stops_the_change_of_place_and_is_named(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        whole, harmed = repository.put(BIG), repository.put(BIG + b"y")
    [path] = (here / ".valuestore" / "payloads").rglob(harmed.payload_digest)
    path.write_bytes(b"z" * len(BIG))
    moved = cli("payloads", "move", "elsewhere")
    assert moved.code == 3
    assert harmed.payload_digest in moved.err
    assert whole.payload_digest in files(here / "elsewhere")
    with Repository.open(here) as repository:
        assert repository.settings.payloads == ""


def test_payloads_are_not_moved_to_where_nobody_answers(cli: Cli, here: Path) -> None:
    assert cli("init").code == 0
    assert cli("payloads", "move", "redis://127.0.0.1:1/0").code == 3
    assert not (here / ".valuestore" / "valuestore.toml").exists()


def test_existing_repository_is_not_given_other_payloads_by_init(cli: Cli, here: Path) -> None:
    assert cli("init").code == 0
    refused = cli("init", "--payloads", "bytes")
    assert refused.code == 2
    assert "payloads move" in refused.err


def test_password_is_not_written_down(cli: Cli, here: Path) -> None:
    refused = cli("init", "--payloads", "redis://:canary@127.0.0.1:1/0")
    assert refused.code == 2
    assert "VALUESTORE_PAYLOADS" in refused.err
    assert "canary" not in refused.err
    assert not (here / ".valuestore" / "valuestore.toml").exists()


def test_a_table_in_the_settings_is_left_to_its_author(cli: Cli, here: Path) -> None:
    with Repository.open(here) as repository:
        repository.put(BIG)
    file = here / ".valuestore" / "valuestore.toml"
    file.write_text("[payloads]\ntype = 'file'\npath = 'payloads'\n")
    for command in (["payloads", "move", "elsewhere"], ["init", "--payloads", "elsewhere"]):
        refused = cli(*command)
        assert refused.code == 2
        assert "payloads" in refused.err
    assert file.read_text().startswith("[payloads]")
    assert not (here / "elsewhere").exists()
