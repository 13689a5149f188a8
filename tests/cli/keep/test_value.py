"""``valuestore get`` and ``put``: bytes out of a repository and into one, and nothing else."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.cli.conftest import Cli
from tests.scripts import Ended
from valuestore import Repository


@pytest.fixture
def out(piped: Callable[..., Ended]) -> Callable[..., bytes]:
    def run(*arguments: str, given: bytes = b"") -> bytes:
        ended = piped(*arguments, given=given)
        assert ended.code == 0, ended.err
        return ended.written

    return run


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    return lambda: monkeypatch.setattr(sys.stdout, "isatty", lambda: True)


def test_bytes_come_back_as_they_were(here: Path, out: Callable[..., bytes]) -> None:
    data = bytes(range(256)) * 100 + b"\r\n"
    (here / "data.bin").write_bytes(data)
    value_hash = out("put", "data.bin").decode().strip()
    assert out("get", value_hash[:8]) == data
    with Repository.open(here) as repository:
        assert repository.get(value_hash) == data


def test_stdin_is_kept_too_and_may_be_empty(here: Path, out: Callable[..., bytes]) -> None:
    for data in (b"", b"\0piped"):
        assert out("get", out("put", "-", given=data).decode().strip()) == data


def test_text_is_kept_as_str(here: Path, out: Callable[..., bytes]) -> None:
    (here / "note.txt").write_text("h\u00e9llo\n", "utf-8")
    value_hash = out("put", "--text", "note.txt").decode().strip()
    assert out("get", value_hash) == "h\u00e9llo\n".encode()
    with Repository.open(here) as repository:
        assert repository.get(value_hash) == "h\u00e9llo\n"


def test_arrays_and_tables_come_in_formats_of_others(here: Path, cli: Cli, out: Callable[..., bytes]) -> None:
    with Repository.open(here) as repository:
        array = repository.put(np.arange(6.0).reshape(2, 3)).value_hash
        table = repository.put(pa.table({"a": [1, 2]})).value_hash
    assert cli("get", array, "-o", "a.npy").code == 0
    assert np.load(here / "a.npy").tolist() == [[0, 1, 2], [3, 4, 5]]
    assert pa.ipc.open_file(io.BytesIO(out("get", table))).read_all()["a"].to_pylist() == [1, 2]


def test_the_result_of_a_job_and_of_the_newest_execution(
    here: Path, cli: Cli, out: Callable[..., bytes]
) -> None:
    cli("run", "pipe.py", "greet", "--name", "Ada")
    with Repository.open(here) as repository:
        job = repository.history.jobs().first()
    for name in ("-", job.job_id[:20], job.call_hash[:12], job.execution_id):
        assert out("get", name) == b"hello Ada", name


def test_binary_is_not_written_to_a_terminal(here: Path, cli: Cli, terminal: Callable[[], None]) -> None:
    terminal()
    (here / "data.bin").write_bytes(b"\x1b[2J")
    done = cli("get", cli("put", "data.bin").out.strip())
    assert (done.code, done.out) == (2, "")
    assert "builtins.bytes" in done.err
    assert "-o FILE" in done.err


def test_text_on_a_terminal_is_escaped(here: Path, cli: Cli, terminal: Callable[[], None]) -> None:
    terminal()
    (here / "evil.txt").write_text("a\x1b[2Jb\nc")
    assert cli("get", cli("put", "--text", "evil.txt").out.strip()).out == "a\\x1b[2Jb\nc\n"


def test_nothing_stored_is_executed(here: Path, cli: Cli) -> None:
    code = "class P:\n    def __reduce__(self):\n        return print, ('executed',)\n"
    (here / "evil.py").write_text(code + "def __getattr__(name): print('executed')\n")
    make = (
        "from valuestore import Repository; import evil; r = Repository.open(); "
        "print(r.put([evil.P]).value_hash); r.close()"
    )
    value_hash = subprocess.run(
        [sys.executable, "-c", make], capture_output=True, text=True, check=True, cwd=here
    ).stdout.split()[-1]
    (here / "evil.py").unlink()
    done = cli("get", value_hash, "-o", "out")
    assert (done.code, done.out) == (0, "")
    assert (here / "out").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["get", "abc"], 1, "stands for no value"),
        (["get", "-"], 1, "stands for no value"),
        (["get", "no such thing"], 1, "stands for no value"),
        (["put", "gone.txt"], 2, "cannot read gone.txt"),
        (["put", "."], 2, "cannot read ."),
        (["put", "--text", "data.bin"], 2, "is not UTF-8"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    here: Path, cli: Cli, arguments: list[str], code: int, said: str
) -> None:
    (here / "data.bin").write_bytes(b"\xff\xfe")
    cli("init")
    done = cli(*arguments)
    assert done.code == code
    assert said in done.err
    assert done.err.count("\n") == 1


def test_a_file_that_cannot_be_written_is_named(here: Path, cli: Cli) -> None:
    value_hash = cli("put", "pipe.py").out.strip()
    done = cli("get", value_hash, "-o", "no/such/folder")
    assert (done.code, "no/such/folder" in done.err) == (2, True)


def test_damaged_bytes_are_not_written(here: Path, cli: Cli) -> None:
    (here / "big.bin").write_bytes(b"x" * 50_000)
    value_hash = cli("put", "big.bin").out.strip()
    with Repository.open(here) as repository:
        digest = repository.find_value(value_hash).payload_digest
    payload = here / ".valuestore" / "payloads" / digest[:2] / digest
    payload.chmod(0o600)
    payload.write_bytes(b"y" * 50_000)
    done = cli("get", value_hash, "-o", "out")
    assert done.code == 3
    assert not (here / "out").exists()


@pytest.mark.parametrize("command", [(), ("get",), ("put",), ("show",)])
def test_help_has_examples(cli: Cli, command: tuple[str, ...]) -> None:
    shown = cli(*command, "--help").out
    assert f"  valuestore {command[0] if command else 'run'} " in shown.partition("Examples:")[2]


@pytest.mark.parametrize(
    "command",
    [
        ("get", "{}"),
        ("show", "{}"),
        ("lineage", "{}"),
        ("tag", "list", "{}"),
        ("tag", "add", "{}", "seen=1"),
        ("log", "jobs", "--result", "@{}"),
        ("log", "calls", "--result", "@{}"),
    ],
)
def test_every_command_takes_the_beginning_of_a_hash(here: Path, cli: Cli, command: tuple[str, ...]) -> None:
    cli("run", "pipe.py", "greet", "--name", "Ada")
    with Repository.open(here) as repository:
        value_hash = repository.history.result("-")
    whole, part = (cli(*[word.format(value_hash[:length]) for word in command]) for length in (32, 10))
    assert (whole.code, part.code) == (0, 0), part.err
    assert whole.out == part.out


def test_numbers_lists_and_dicts_are_json_as_long_as_that_has_them(
    here: Path, cli: Cli, out: Callable[..., bytes]
) -> None:
    with Repository.open(here) as repository:
        told = {"a": [1, 2.5, None], "b": True}
        hashes = [repository.put(value).value_hash for value in (told, 7, {1: 2})]
    assert [out("get", one) for one in hashes[:2]] == [b'{"a": [1, 2.5, null], "b": true}\n', b"7\n"]
    assert out("get", hashes[2]).startswith(b"\x80")


def test_what_gave_nothing_is_said_to_have_failed_by_show(here: Path, cli: Cli) -> None:
    assert cli("run", "pipe.py", "divide", "--n", "1").code == 1
    done = cli("get", "-")
    assert (done.code, done.err[:49]) == (1, "valuestore: '-' stands for no execution with a re")
    assert "`valuestore show -` tells why" in done.err
