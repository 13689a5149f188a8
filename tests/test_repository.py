"""Repository: where it lives, what it keeps, how it refuses."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest

from valuestore import Dir, File, Repository
from valuestore.errors import BadKey, ConfigError, NotARepository, PayloadCorrupt, PayloadMissing
from valuestore.repository import find_folder


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.delenv("VALUESTORE_REPOSITORY", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_values_come_back_in_a_fresh_repository(tmp_path):
    values = [None, 1, "text", b"x" * 50_000, {"a": {1, 2}}, list(range(10_000))]
    with Repository.open(tmp_path) as repository:
        refs = [repository.put(value) for value in values]
    with Repository.open(tmp_path) as repository:
        assert [repository.get(ref.value_hash) for ref in refs] == values
        assert [ref.inline is None for ref in refs] == [False, False, False, True, False, True]


def test_inline_limit_decides_where_bytes_live(tmp_path):
    with Repository.open(tmp_path, inline_max_bytes=10) as repository:
        assert repository.put("x" * 10).inline is not None
        assert repository.put("x" * 11).inline is None
        stats = repository.stats()
        assert (stats.inline_bytes, stats.stored_bytes) == (10, 11)
        assert stats.rows["value"] == 2


def test_folder_is_found_here_or_above(here, monkeypatch):
    assert find_folder() == here / ".valuestore"
    Repository.open().close()
    (here / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(here / "deep" / "er")
    assert find_folder() == here / ".valuestore"
    monkeypatch.setenv("VALUESTORE_REPOSITORY", str(here / "elsewhere"))
    assert find_folder() == here / "elsewhere" / ".valuestore"
    assert find_folder(here / "given") == here / "given" / ".valuestore"
    assert find_folder(here / ".valuestore") == here / ".valuestore"


def test_digest_is_chosen_once(tmp_path):
    with Repository.open(tmp_path, digest="blake3-256") as repository:
        ref = repository.put("x" * 100_000)
        assert len(ref.value_hash) == len(ref.payload_digest) == 64
    with Repository.open(tmp_path) as repository:
        assert repository.algorithm == "blake3-256"
        assert repository.get(ref.value_hash) == "x" * 100_000


def test_another_digest_for_a_repository_that_exists_is_refused(tmp_path):
    Repository.open(tmp_path, digest="blake3-256").close()
    with pytest.raises(ConfigError, match="keeps its blake3-256"):
        Repository.open(tmp_path, digest="xxh3-128")
    payloads = tmp_path / ".valuestore" / "payloads"
    with Repository.open(tmp_path, digest="blake3-256") as repository:
        repository.put(b"x" * 100_000)
    other = Repository.open(tmp_path / "other", payloads=str(payloads))
    with other, pytest.raises(ConfigError, match="was made with 'blake3-256'"):
        other.put(b"y" * 100_000)


class Odd:
    """Has no rule of its own and cannot be stored by its attributes alone."""

    def __init__(self, parts):
        self.parts = parts

    def __reduce__(self):
        return Odd, (self.parts,)


@pytest.mark.parametrize("digest", ["xxh3-128", "blake3-256"])
def test_every_kind_of_value_works_with_every_digest(tmp_path, monkeypatch, digest):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a").write_text("a")
    array = np.arange(50_000.0)
    values = [1, "text", {"set": {1, 2}}, array, {"array": array}, Odd([1]), File("folder/a"), Dir("folder")]
    with Repository.open(tmp_path, digest=digest) as repository:
        hashes = [repository.put(value).value_hash for value in values]
    with Repository.open(tmp_path) as repository:
        back = [repository.get(value_hash) for value_hash in hashes]
        assert [repository.put(value).value_hash for value in back] == hashes
        assert {len(value_hash) for value_hash in hashes} == {32 if digest == "xxh3-128" else 64}
        assert back[6].is_valid()
        assert back[7].is_valid()
        assert back[5].parts == [1]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"digest": "md5"}, "md5"),
        ({"durability": "eternal"}, "durability"),
        ({"inline_max_bytes": "many"}, "inline_max_bytes"),
        ({"inline_max_bytes": -1}, "inline_max_bytes"),
        ({"colour": "red"}, "colour"),
        ({"database": "not a url"}, "database"),
    ],
)
def test_bad_setting_is_named(tmp_path, settings, named):
    with pytest.raises(ConfigError, match=named):
        Repository.open(tmp_path, **settings)


def test_settings_come_from_file_environment_and_arguments_in_that_order(tmp_path, monkeypatch):
    folder = tmp_path / ".valuestore"
    folder.mkdir()
    (folder / "valuestore.toml").write_text(
        "inline_max_bytes = 1\nbusy_timeout_seconds = 2\ndurability = 'full'\n"
    )
    monkeypatch.setenv("VALUESTORE_BUSY_TIMEOUT_SECONDS", "3")
    monkeypatch.setenv("VALUESTORE_DURABILITY", "fast")
    with Repository.open(tmp_path, durability="full") as repository:
        settings = repository.settings
    assert (settings.inline_max_bytes, settings.busy_timeout_seconds, settings.durability) == (1, 3.0, "full")


def test_file_of_settings_that_is_no_toml_is_named(tmp_path):
    folder = tmp_path / ".valuestore"
    folder.mkdir()
    (folder / "valuestore.toml").write_text("= nonsense")
    with pytest.raises(ConfigError, match="valuestore.toml"):
        Repository.open(tmp_path)


def test_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / ".valuestore").write_text("mine")
    with pytest.raises(NotARepository):
        Repository.open(tmp_path)
    assert (tmp_path / ".valuestore").read_text() == "mine"


@pytest.mark.parametrize("value_hash", ["", "zz", "../../etc/passwd", "A" * 32, "0" * 31, "0" * 33])
def test_what_is_no_digest_is_refused(tmp_path, value_hash):
    with Repository.open(tmp_path) as repository, pytest.raises(BadKey):
        repository.get(value_hash)


def test_flipped_bit_in_an_inline_value_is_never_returned(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put("precious")
    with sqlite3.connect(tmp_path / ".valuestore" / "valuestore.db") as other:
        other.execute("UPDATE value SET inline = ?", (b"precioux",))
    other.close()
    with (
        Repository.open(tmp_path) as repository,
        pytest.raises(PayloadCorrupt, match="run the pipeline again"),
    ):
        repository.get(ref.value_hash)


def test_lost_payload_is_missing_until_it_is_put_again(tmp_path):
    with Repository.open(tmp_path) as repository:
        ref = repository.put(b"x" * 50_000)
        repository.payloads.delete(ref.payload_digest)
        with pytest.raises(PayloadMissing):
            repository.get(ref.value_hash)
        repository.put(b"x" * 50_000)
        assert repository.get(ref.value_hash) == b"x" * 50_000


def test_read_only_folder_is_a_typed_error_that_names_it():
    with tempfile.TemporaryDirectory(prefix="locked") as folder:
        os.chmod(folder, 0o555)
        check_read_only(folder)


def check_read_only(folder):
    code = textwrap.dedent(
        """
        import os, sys
        from valuestore.errors import StoreReadOnly
        from valuestore.repository import Repository
        if os.getuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        try:
            Repository.open(sys.argv[1])
        except StoreReadOnly as error:
            print(error)
        """
    )
    command = [sys.executable, "-B", "-c", code, folder]
    printed = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd())
    assert "locked" in printed.stdout, printed.stderr
    assert "make it writable" in printed.stdout


def test_closing_twice_is_fine(tmp_path):
    repository = Repository.open(tmp_path)
    repository.close()
    repository.close()
