"""File: path as written and content, digests remembered by stat, stale when changed or missing."""

from __future__ import annotations

import os
import pickle
import subprocess
import tempfile
from contextlib import contextmanager

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from valuestore.errors import BadReference, DecodeError, NotHashableError, StoreUnavailable
from valuestore.hashing import encode_plain
from valuestore.values.files import stat_memory as memory_module
from valuestore.values.files.file import File
from valuestore.values.registry import Payload, TypeRegistry


@pytest.fixture
def unprivileged():
    """A block in which permissions count: root has none to respect."""

    @contextmanager
    def block():
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(user)

    return block


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
    real = memory_module._digest_of

    def growing(descriptor, size, algorithm):
        found = real(descriptor, size, algorithm)
        with open("a", "a") as other:
            other.write("more")
        return found

    monkeypatch.setattr(memory_module, "_digest_of", growing)
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


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a\0b",
        "nonsense://user:secret@host/x",
        "http://user:sec/ret@host/x",
        "zip://a::http://u:secret@h",
        b"b",
        5,
    ],
)
def test_what_is_no_path_is_refused_without_telling_secrets(path):
    with pytest.raises(BadReference) as caught:
        File(path)
    assert "sec" not in str(caught.value)


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
    assert len(file._recorded["digest"]) == 64
    assert file.is_valid()


# --- what of it counts --------------------------------------------------------------------------


def test_kinds_of_identity_are_different_values(here, registry):
    (here / "a").write_text("x")
    kinds = ("path+content", "content", "stat", "path")
    assert len({registry.hash(File("a", identity=kind)) for kind in kinds}) == 4
    assert registry.hash(File("a")) == registry.hash(File("a", identity="path+content"))
    assert len({File("a", identity=kind) for kind in kinds}) == 4
    with pytest.raises(ValueError, match="size"):
        File("a", identity="size")


def test_content_identity_leaves_the_path_out_and_comes_back_with_it(here, registry):
    (here / "a").write_text("x")
    (here / "b").write_text("x")
    assert registry.hash(File("a", identity="content")) == registry.hash(File("b", identity="content"))
    again = loaded(registry, File("b", identity="content"))
    assert (again.path, again.identity_kind, again.is_valid()) == ("b", "content", True)
    (here / "b").write_text("y")
    assert not again.is_valid()


def test_stat_identity_reads_nothing_and_sees_a_touch(here, registry, reads):
    (here / "a").write_text("x")
    before = registry.hash(File("a", identity="stat"))
    again = loaded(registry, File("a", identity="stat"))
    assert again.is_valid()
    os.utime("a", (1, 1))
    assert registry.hash(File("a", identity="stat")) != before
    assert not again.is_valid()
    assert reads == []
    os.unlink("a")
    assert not loaded(registry, File("a", identity="stat")).is_valid()


def test_path_identity_is_valid_while_the_file_is_there(here, registry, reads):
    (here / "a").write_text("x")
    again = loaded(registry, File("a", identity="path"))
    before = registry.hash(again)
    (here / "a").write_text("something else")
    assert again.is_valid()
    os.unlink("a")
    assert not again.is_valid()
    assert registry.hash(again) == before
    assert reads == []


def test_file_url_is_a_local_path(here, registry):
    (here / "a b").write_text("x")
    assert File(f"file://{here}/a b") == File(here / "a b")
    assert File(f"file://{here}//./a b").read_text() == "x"


# --- reading and writing ------------------------------------------------------------------------


def test_append_keeps_what_was_there_and_is_atomic(here):
    file = File("log")
    file.write("one\n", mode="a")
    file.write("two\n", mode="a")
    assert file.readlines() == ["one\n", "two\n"]
    with pytest.raises(RuntimeError), file.open("ab") as stream:
        stream.write(b"three")
        raise RuntimeError
    assert file.read("rb") == b"one\ntwo\n"
    assert os.listdir() == ["log"]


def test_writing_keeps_permissions_and_goes_through_links(here):
    (here / "a").write_text("x")
    os.chmod("a", 0o640)
    os.symlink("a", "link")
    File("link").write("y")
    assert os.readlink("link") == "a"
    assert (File("a").read_text(), os.stat("a").st_mode & 0o777) == ("y", 0o640)


def test_pipe_and_folder_are_not_written_over(here):
    os.mkfifo("pipe")
    os.mkdir("folder")
    for name in ("pipe", "folder"):
        with pytest.raises(OSError, match="Not a regular file"):
            File(name).write("x")
    assert sorted(os.listdir()) == ["folder", "pipe"]


def test_name_of_the_longest_kind_can_be_written(here):
    name = "é" * 127
    File(name).write("x")
    assert os.listdir() == [name]


def test_touch_remove_and_questions(here):
    file = File("sub/a.txt")
    file.remove()
    file.touch()
    assert (file.size, file.isfile(), file.isdir(), file.basename, file.dirname) == (
        0,
        True,
        False,
        "a.txt",
        "sub",
    )
    os.utime(file, (1, 1))
    file.touch()
    assert os.stat(file).st_mtime > 1
    file.remove()
    file.remove()
    assert not file.exists()
    assert File("sub").isdir()
    with pytest.raises(FileNotFoundError):
        file.size  # noqa: B018


def test_copy_is_another_file_of_the_same_content(here):
    source = File("a", identity="stat")
    source.write("x")
    copy = source.copy_to("sub/b")
    assert (copy.read_text(), copy.identity_kind) == ("x", "stat")
    source.write("y")
    assert source.copy_to("sub/b", skip_if_exists=True).read_text() == "x"
    assert source.copy_to(copy).read_text() == "y"
    assert source.copy_to("./a").read_text() == "y"
    with pytest.raises(FileNotFoundError):
        File("no").copy_to("c")
    assert sorted(os.listdir()) == ["a", "sub"]


@settings(max_examples=30)  # each runs a shell
@given(
    name=st.binary(min_size=1, max_size=60).filter(lambda name: not {0, 47} & set(name) and name.strip(b"."))
)
@example(b"\xff\xfe")
@example(b"run[1]*?")
@example(b"-rf")
@example(b"a\nb")
def test_any_name_works(name):
    with tempfile.TemporaryDirectory() as folder:
        file = File(os.path.join(folder, os.fsdecode(name)))
        file.write(b"x")
        assert os.listdir(os.fsencode(folder)) == [name]
        registry = TypeRegistry()
        again = registry.load(registry.dump(file))
        assert again.is_valid()
        assert registry.hash(again) == registry.hash(file)
        target = os.path.join(folder, "copy of it")
        subprocess.run(["sh", "-c", os.fsencode(file.shell_copy_to(target))], check=True)
        assert File(target).read_bytes() == b"x"
        file.remove()
        assert not again.is_valid()


# --- what goes wrong ------------------------------------------------------------------------------


def test_unreadable_file_is_a_typed_error_not_absence(here, registry, unprivileged):
    (here / "a").write_text("x")
    os.chmod("a", 0)
    with unprivileged(), pytest.raises(StoreUnavailable, match="Permission denied"):
        registry.hash(File("a"))


def test_read_error_is_typed(registry):
    with pytest.raises(StoreUnavailable, match="error"):
        registry.hash(File("/proc/self/mem"))


def test_file_without_end_is_not_begun(here, registry):
    with open("endless", "wb") as stream:
        stream.truncate(2 << 40)
    with pytest.raises(StoreUnavailable, match="size"):
        registry.hash(File("endless"))


def test_pipe_that_takes_a_file_s_place_is_not_waited_for(here, registry, monkeypatch):
    (here / "a").write_text("x")
    real = os.open

    def swapped(path, *rest, **named):
        if path == "a" and os.path.isfile("a"):
            os.unlink("a")
            os.mkfifo("a")
        return real(path, *rest, **named)

    monkeypatch.setattr(memory_module.os, "open", swapped)
    with pytest.raises(NotHashableError, match="keeps changing"):
        registry.hash(File("a"))


@pytest.mark.parametrize(
    "state",
    [
        None,
        [],
        {},
        {"path": 5, "digest": None},
        {"path": "", "digest": None},
        {"path": "a\0", "digest": None},
        {"path": "a", "identity": "size"},
        {"path": "a", "identity": []},
        {"path": "a", "algorithm": "md5"},
        {"path": "a", "algorithm": []},
        {"path": "zip://x::http://h"},
    ],
)
def test_forged_state_is_refused(registry, state):
    payload = registry.dump(File("a"))
    forged = encode_plain(("\0", "valuestore.File", state))
    with pytest.raises(DecodeError):
        registry.load(Payload(payload.type_name, payload.codec, forged))


@pytest.mark.parametrize("digest", [None, 5, "", "x" * 32, "0" * 64, ["a"], b"x"])
def test_state_with_another_s_digest_is_invalid(here, registry, digest):
    (here / "a").write_text("x")
    assert not File.from_state({"path": "a", "digest": digest}).is_valid()
    assert os.listdir() == ["a"]
    assert (here / "a").read_text() == "x"


def test_pickled_file_keeps_what_was_recorded(here, registry):
    (here / "a").write_text("x")
    file = pickle.loads(pickle.dumps(loaded(registry, File("a", identity="content"))))
    assert file.is_valid()
    (here / "a").write_text("y")
    assert not file.is_valid()
    assert file == File("a", identity="content")


def test_it_is_opened_without_a_with_too(here):
    File("a").write("one\ntwo\n")
    text, data = File("a").open(), File("a").open("rb")
    assert (text.read(), list(data)) == ("one\ntwo\n", [b"one\n", b"two\n"])
    text.close()
    data.close()
    stream = File("a").open("a")
    print("three", file=stream)
    assert not stream.closed
    assert File("a").read_text() == "one\ntwo\n"
    stream.close()
    stream.close()
    assert stream.closed
    assert File("a").read_text() == "one\ntwo\nthree\n"


def test_what_is_not_closed_is_not_written(here):
    File("a").write("old")
    with pytest.warns(ResourceWarning, match="a was opened for writing and not closed"):
        File("a").open("w").write("half")
    assert (File("a").read_text(), os.listdir()) == ("old", ["a"])
