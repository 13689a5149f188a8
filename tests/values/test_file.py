"""File: path as written and content, digests remembered by stat, stale when changed or missing."""

from __future__ import annotations

import os
import time

import pytest

from valuestore.errors import BadReference, NotHashableError
from valuestore.values import file as file_module
from valuestore.values.file import File
from valuestore.values.registry import TypeRegistry


@pytest.fixture
def registry():
    return TypeRegistry()


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def age(path, seconds=10):
    """Make a file old enough for its stat to be trusted. Its ctime cannot be set, so the clock is moved."""
    past = time.time() - seconds
    os.utime(path, (past, past))


@pytest.fixture
def later(monkeypatch):
    """A clock a minute ahead: files written just now count as settled."""
    real = time.time_ns
    monkeypatch.setattr(file_module.time, "time_ns", lambda: real() + 60_000_000_000)


@pytest.fixture
def reads(monkeypatch):
    """Paths whose content was read, in order."""
    seen = []
    real = file_module.StatMemory._read

    def read(self, path, algorithm):
        seen.append(path)
        return real(self, path, algorithm)

    monkeypatch.setattr(file_module.StatMemory, "_read", read)
    return seen


def loaded(registry, file):
    return registry.load(registry.dump(file))


def test_touching_a_file_changes_nothing(here, registry):
    (here / "a").write_text("x")
    before = registry.hash(File("a"))
    os.utime("a", (1, 1))
    assert registry.hash(File("a")) == before


def test_content_and_path_as_written_both_count(here, registry):
    (here / "a").write_text("x")
    (here / "b").write_text("x")
    first = registry.hash(File("a"))
    assert registry.hash(File("b")) != first
    assert registry.hash(File("./a")) == first
    assert registry.hash(File(here / "a")) != first
    (here / "a").write_text("y")
    assert registry.hash(File("a")) != first


def test_same_size_and_time_stamp_do_not_hide_a_change(here, registry, later):
    (here / "a").write_text("one")
    os.utime("a", ns=(5, 5))
    before = registry.hash(File("a"))
    (here / "a").write_text("two")
    os.utime("a", ns=(5, 5))
    assert registry.hash(File("a")) != before


def test_unchanged_file_is_read_once(here, registry, reads, later):
    (here / "a").write_text("x")
    assert registry.hash(File("a")) == registry.hash(File("a"))
    assert reads == ["a"]


def test_fresh_file_is_not_trusted_by_its_stat(here, registry, reads):
    (here / "a").write_text("x")
    registry.hash(File("a"))
    registry.hash(File("a"))
    assert reads == ["a", "a"]


def test_recorded_file_is_valid_until_its_content_changes(here, registry):
    (here / "a").write_text("x")
    file = loaded(registry, File("a"))
    assert file.is_valid()
    os.utime("a", (1, 1))
    assert file.is_valid()
    (here / "a").write_text("y")
    assert not file.is_valid()
    (here / "a").write_text("x")
    assert file.is_valid()
    os.unlink("a")
    assert not file.is_valid()


def test_file_recorded_while_missing_stays_invalid_once_it_appears(here, registry):
    file = loaded(registry, File("a"))
    (here / "a").write_text("x")
    assert not file.is_valid()
    assert File("a").is_valid()


def test_missing_file_has_an_identity_and_is_invalid(here, registry):
    assert registry.hash(File("a"))
    assert not File("a").is_valid()


def test_folder_and_pipe_are_refused_and_never_opened(here, registry):
    os.mkdir("folder")
    os.mkfifo("pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(NotHashableError, match=name):
            registry.hash(File(name))
        assert not File(name).is_valid()


def test_file_that_keeps_changing_is_refused(here, registry, monkeypatch):
    (here / "a").write_text("x")
    real = file_module.hash_stream

    def growing(stream, **options):
        digest = real(stream, **options)
        with open("a", "a") as other:
            other.write("more")
        return digest

    monkeypatch.setattr(file_module, "hash_stream", growing)
    with pytest.raises(NotHashableError, match="keeps changing"):
        registry.hash(File("a"))


def test_failed_write_leaves_the_old_content_and_no_litter(here):
    (here / "a").write_text("old")
    with pytest.raises(RuntimeError), File("a").open("w") as stream:
        stream.write("half")
        raise RuntimeError
    assert os.listdir() == ["a"]
    assert File("a").read_text() == "old"


def test_write_makes_folders_and_reads_back(here):
    file = File("deep/er/a.txt")
    file.write("naïve")
    assert file.read_text() == "naïve"
    assert file.read_bytes() == "naïve".encode()
    assert file.size == 6
    assert file.exists()
    assert os.path.getsize(file) == 6


@pytest.mark.parametrize("path", ["", "a\0b", "s3://bucket/key", "http://user:secret@host/x", b"bytes"])
def test_what_is_no_local_path_is_refused_without_telling_secrets(path):
    with pytest.raises(BadReference) as caught:
        File(path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("written", "kept"),
    [("./a//b/./c", "a/b/c"), ("/", "/"), ("//a", "/a"), (".", "."), ("a/../b", "a/../b")],
)
def test_path_is_normalised_lexically(written, kept):
    assert File(written).path == kept


def test_unknown_mode_is_refused(here):
    with pytest.raises(ValueError, match="a\\+"), File("a").open("a+"):
        pass


def test_digest_follows_the_registry_s_algorithm(here):
    (here / "a").write_text("x")
    file = TypeRegistry("blake3-256").load(TypeRegistry("blake3-256").dump(File("a")))
    assert len(file._expected) == 64
    assert file.is_valid()
