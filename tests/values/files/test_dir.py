"""Dir: one manifest of everything in a folder; literal paths; links not followed; odd names; what changed."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tempfile
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from valuestore import Dir, File, FileSet
from valuestore.errors import BadReference, DecodeError, NotHashableError, StoreUnavailable
from valuestore.hashing import encode_plain
from valuestore.values.files import local_files
from valuestore.values.files import stat_memory as memory_module
from valuestore.values.files.manifest import compare, entries_of, folder_listing, join_listings
from valuestore.values.registry import Payload, TypeRegistry


@pytest.fixture
def reads(monkeypatch):
    """Names of the files whose content was read."""
    seen = []
    real = memory_module._read_once

    def read(path, algorithm):
        seen.append(os.path.basename(path))
        return real(path, algorithm)

    monkeypatch.setattr(memory_module, "_read_once", read)
    return seen


def loaded(registry, value):
    return registry.load(registry.dump(value))


def tree(**contents):
    for name, content in contents.items():
        File(f"d/{name.replace('__', '/')}").write(content)
    return Dir("d")


# --- what counts ------------------------------------------------------------------------------------


def test_contents_and_names_count_and_times_do_not(here, registry):
    folder = tree(a="1", sub__b="2")
    before = registry.hash(folder)
    os.utime("d/a", (1, 1))
    os.utime("d/sub", (1, 1))
    os.chmod("d/a", 0o600)
    assert registry.hash(folder) == before
    os.rename("d/a", "d/c")
    renamed = registry.hash(folder)
    assert renamed != before
    os.rename("d/c", "d/a")
    assert registry.hash(folder) == before
    (here / "d/sub/b").write_text("3")
    assert registry.hash(folder) != before


def test_recorded_folder_is_valid_until_something_in_it_changes(here, registry, later):
    again = loaded(registry, tree(a="1", sub__b="2"))
    assert again.is_valid()
    (here / "d/sub/new").write_text("")
    assert not again.is_valid()
    os.unlink("d/sub/new")
    assert again.is_valid()
    os.mkdir("d/empty")
    assert not again.is_valid()
    os.rmdir("d/empty")
    shutil.rmtree("d/sub")
    assert not again.is_valid()
    shutil.rmtree("d")
    assert not again.is_valid()


def test_dotfiles_and_empty_folders_count(here, registry):
    folder = tree(a="1")
    seen = {registry.hash(folder)}
    (here / "d/.hidden").write_text("x")
    seen.add(registry.hash(folder))
    os.mkdir("d/empty")
    seen.add(registry.hash(folder))
    os.mkdir("d/empty/deeper")
    seen.add(registry.hash(folder))
    assert len(seen) == 4
    assert [file.path for file in folder] == ["d/.hidden", "d/a"]


def test_path_is_literal(here, registry):
    for name in ("run[1]", "run1", "*", "a?"):
        os.mkdir(name)
        File(f"{name}/x").write(name)
    again = loaded(registry, Dir("run[1]"))
    assert [file.path for file in Dir("*")] == ["*/x"]
    File("run1/x").write("changed")
    assert again.is_valid()
    File("run[1]/x").write("changed")
    assert not again.is_valid()


def test_missing_folder_is_invalid_and_a_file_is_none(here, registry):
    assert registry.hash(Dir("no"))
    assert not Dir("no").is_valid()
    recorded = loaded(registry, Dir("no"))
    os.mkdir("no")
    assert not recorded.is_valid()
    assert loaded(registry, Dir("no")).is_valid()
    File("file").write("x")
    with pytest.raises(NotHashableError, match="not a folder"):
        registry.hash(Dir("file"))
    assert not Dir("file").is_valid()
    assert not Dir("file/sub").is_valid()


def test_kinds_of_identity(here, registry, reads):
    tree(a="1")
    shutil.copytree("d", "e")
    values = [Dir("d", identity=kind) for kind in ("path+content", "content", "stat", "path")]
    assert len({registry.hash(value) for value in values}) == 4
    assert registry.hash(Dir("e", identity="content")) == registry.hash(values[1])
    by_content, by_stat, by_path = (loaded(registry, value) for value in values[1:])
    reads.clear()
    assert by_stat.is_valid()
    assert by_path.is_valid()
    assert reads == []
    os.utime("d/a", (1, 1))
    assert not by_stat.is_valid()
    assert by_content.is_valid()
    (here / "d/a").write_text("2")
    assert not by_content.is_valid()
    assert by_path.is_valid()
    shutil.rmtree("d")
    assert not by_path.is_valid()


@pytest.mark.parametrize("algorithm", ["xxh3-128", "blake3-256"])
def test_either_algorithm_tells_validity_under_the_other(here, algorithm):
    tree(a="1")
    again = loaded(TypeRegistry(algorithm), Dir("d"))
    assert again.is_valid()
    assert not again.changes_since(again)


# --- links and special files ------------------------------------------------------------------------


def test_links_are_recorded_by_target_and_never_followed(here, registry):
    tree(a="1")
    os.symlink("nowhere", "d/dangling")
    os.symlink("..", "d/up")
    os.symlink(".", "d/self")
    os.symlink("/", "d/root")
    again = loaded(registry, Dir("d"))
    assert again.is_valid()
    assert [file.path for file in again] == ["d/a"]
    os.unlink("d/dangling")
    os.symlink("elsewhere", "d/dangling")
    assert not again.is_valid()
    assert again.changes_since(again).changed == ("dangling",)


def test_link_differs_from_the_file_that_it_points_to(here, registry):
    tree(a="1", b="1")
    before = registry.hash(Dir("d"))
    os.unlink("d/b")
    os.symlink("a", "d/b")
    assert registry.hash(Dir("d")) != before


def test_folder_given_by_a_link_is_looked_into(here, registry):
    tree(a="1")
    os.symlink("d", "link")
    assert [file.path for file in Dir("link")] == ["link/a"]
    assert Dir("link").digest() == Dir("d").digest()


def test_special_files_count_by_kind_and_are_never_opened(here, registry):
    tree(a="1")
    os.mkfifo("d/pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("d/socket")
        again = loaded(registry, Dir("d"))
        assert again.is_valid()
        assert [kind for kind, _, _ in entries_of(Dir("d").manifest())] == ["D", "f", "p", "s"]
        os.unlink("d/pipe")
        assert not again.is_valid()


# --- names and depths -------------------------------------------------------------------------------

names = st.binary(min_size=1, max_size=30).filter(
    lambda name: not {0, 47} & set(name) and name not in (b".", b"..")
)


@given(paths=st.sets(st.tuples(names, names), min_size=1, max_size=8))
@example(paths={(b"\xff", b"\xfe")})
@example(paths={(b"a\nb", b"*"), (b"D", b"f")})
def test_any_names_work(paths):
    with tempfile.TemporaryDirectory() as place:
        root = os.fsencode(place)
        written = set()
        for folder, name in paths:
            os.makedirs(root + b"/" + folder, exist_ok=True)
            with open(root + b"/" + folder + b"/" + name, "wb") as stream:
                stream.write(name)
            written.add(folder + b"/" + name)
        folder = Dir(place)
        assert {os.fsencode(folder.rel_path(file)) for file in folder} == written
        registry = TypeRegistry()
        again = loaded(registry, folder)
        assert again.is_valid()
        gone = min(written)
        os.unlink(root + b"/" + gone)
        assert [os.fsencode(path) for path in again.changes_since(again).removed] == [gone]


@given(
    st.dictionaries(
        st.binary(max_size=4).filter(lambda name: 0 not in name),
        st.lists(
            st.tuples(st.sampled_from("flpscb"), names, st.binary(max_size=4).filter(lambda m: 0 not in m))
        ),
    ).map(lambda folders: {b"": [], **folders})
)
def test_manifest_tells_all_folders_apart(folders):
    """Read back without the writer's code: equal manifests, equal folders."""
    manifest = join_listings({path: folder_listing(entries) for path, entries in folders.items()})
    expected = []
    for path, entries in sorted(folders.items()):
        expected.append(("D", path, b""))
        prefix = path + b"/" if path else b""
        expected += [
            (kind, prefix + name, mark) for name, kind, mark in sorted((n, k, m) for k, n, m in entries)
        ]
    assert list(entries_of(manifest)) == expected


@given(st.binary(max_size=40))
@example(b"D\0f\0")
@example(b"D\0fa\0")
@example(b"D\0Xa\0b\0")
@example(b"D\0\0\0")
def test_damaged_manifest_is_a_typed_error(manifest):
    try:
        list(entries_of(manifest))
    except DecodeError:
        return
    assert manifest.startswith(b"D\0")


def test_deep_and_wide_trees(here, registry):
    deep = "d/" + "/".join(["x"] * 1050)
    subprocess.run(["mkdir", "-p", deep], check=True)  # makedirs recurses
    File(f"{deep}/end").write("1")
    for number in range(300):
        os.mkdir(f"d/{number}")
    again = loaded(registry, Dir("d"))
    assert again.is_valid()
    File(f"{deep}/end").write("2")
    assert again.changes_since(again).changed == ("/".join(["x"] * 1050) + "/end",)
    subprocess.run(["rm", "-rf", "d"], check=True)  # rmtree recurses


def test_path_longer_than_the_system_takes_is_a_typed_error(here, registry):
    os.mkdir("d")
    descriptor = os.open("d", os.O_RDONLY)
    for _ in range(25):
        os.mkdir("y" * 200, dir_fd=descriptor)
        below = os.open("y" * 200, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    with pytest.raises(StoreUnavailable, match="too long"):
        registry.hash(Dir("d"))
    shutil.rmtree("d")


# --- memory ---------------------------------------------------------------------------------------


def test_unchanged_files_are_read_once(here, registry, reads, later):
    folder = tree(a="1", b="2", sub__c="3")
    registry.hash(folder)
    assert sorted(reads) == ["a", "b", "c"]
    registry.hash(folder)
    (here / "d/b").write_text("4")
    registry.hash(folder)
    assert sorted(reads) == ["a", "b", "b", "c"]


def test_fresh_files_are_not_trusted_by_their_status(here, registry, reads):
    folder = tree(a="1")
    registry.hash(folder)
    registry.hash(folder)
    assert reads == ["a", "a"]


def test_same_size_and_time_do_not_hide_a_change(here, registry, later):
    folder = tree(a="one", sub__b="one")
    os.utime("d/sub/b", ns=(5, 5))
    before = registry.hash(folder)
    (here / "d/sub/b").write_text("two")
    os.utime("d/sub/b", ns=(5, 5))
    assert registry.hash(folder) != before


def test_random_changes_are_seen_as_a_fresh_look_sees_them(here, monkeypatch, later):
    """The memory against none: after any change both say the same."""
    rng = random.Random(7)
    folder = tree(a="1", b="2", sub__c="3", sub__d="4", sub__deep__e="5")
    for step in range(60):
        name = rng.choice(["a", "b", "sub/c", "sub/d", "sub/deep/e", "sub/new", "link"])
        action = rng.choice(["write", "remove", "touch", "link", "replace"])
        path = f"d/{name}"
        if action == "remove" or (action == "link" and os.path.lexists(path)):
            if os.path.lexists(path):
                os.unlink(path)
        elif action == "link":
            os.symlink(str(step), path)
        elif action == "replace":
            File("other").write(str(step))
            os.rename("other", path)
        elif not os.path.islink(path):
            File(path).touch() if action == "touch" else File(path).write(rng.choice("xy"))
        remembered = folder.manifest()
        with monkeypatch.context() as patch:
            patch.setattr(local_files, "_memory", local_files._Memory())
            patch.setattr(local_files, "stat_memory", lambda: memory_module.StatMemory())
            assert folder.manifest() == remembered, (step, action, name)


def test_large_files_are_read_in_threads_and_give_the_same(here, monkeypatch):
    for number in range(12):
        File(f"d/{number}").write(bytes([number]) * 300_000)
    threads = set()
    real = memory_module._digest_of

    def noted(*arguments):
        threads.add(threading.current_thread().name)
        return real(*arguments)

    monkeypatch.setattr(memory_module, "_digest_of", noted)
    manifest = Dir("d").manifest()
    assert any(name.startswith("valuestore-digest") for name in threads)
    marks = {path: mark.decode() for kind, path, mark in entries_of(manifest) if kind == "f"}
    assert marks == {str(n).encode(): File(f"d/{n}").digest() for n in range(12)}


# --- changes while it is read -----------------------------------------------------------------------


def test_file_that_vanishes_while_it_is_read_is_left_out(here, monkeypatch):
    folder = tree(a="1", b="2")
    real = os.open

    def vanishing(path, *rest, **named):
        if os.path.basename(path) in ("b", b"b") and os.path.exists("d/b"):
            os.unlink("d/b")
        return real(path, *rest, **named)

    monkeypatch.setattr(memory_module.os, "open", vanishing)
    assert [path for _, path, _ in entries_of(folder.manifest())] == [b"", b"a"]


def test_file_replaced_by_a_link_is_not_read_through_it(here, monkeypatch):
    folder = tree(a="1")
    File("secret").write("2")
    real = os.open

    def replacing(path, *rest, **named):
        if os.path.basename(path) in ("a", b"a") and not os.path.islink("d/a"):
            os.unlink("d/a")
            os.symlink("../secret", "d/a")
        return real(path, *rest, **named)

    monkeypatch.setattr(memory_module.os, "open", replacing)
    assert list(entries_of(folder.manifest()))[1:] == [("l", b"a", b"../secret")]


def test_folder_that_never_rests_is_a_typed_error(here, registry, monkeypatch):
    tree(a="1")
    real = memory_module._read_once

    def growing(path, algorithm):
        found = real(path, algorithm)
        os.rename(path, f"{path}x")
        raise FileNotFoundError(2, "gone", path) if found else AssertionError

    monkeypatch.setattr(memory_module, "_read_once", growing)
    with pytest.raises(NotHashableError, match="keeps changing"):
        registry.hash(Dir("d"))
    assert not Dir.from_state({"path": "d", "manifest": b"D\0"}).is_valid()


def test_writers_and_lookers_at_once(here):
    """No look ends in anything but a manifest or the one typed error, and the last sees what is there."""
    folder = tree(a="1")
    stop = threading.Event()

    def write(number):
        for step in range(10_000):
            if stop.is_set():
                return
            File(f"d/{number}/{step % 5}").write(str(step))
            if step % 7 == 0:
                shutil.rmtree(f"d/{number}", ignore_errors=True)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    try:
        for _ in range(40):
            try:
                list(entries_of(folder.manifest()))
            except NotHashableError as error:
                assert "keeps changing" in str(error)
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    found = {os.fsencode(file.path[2:]) for file in folder}
    assert found == {
        os.fsencode(os.path.relpath(os.path.join(at, name), "d"))
        for at, _, all_ in os.walk("d")
        for name in all_
    }


def test_unreadable_file_or_folder_is_a_typed_error(here, registry):
    user = os.geteuid()
    tree(a="1", sub__b="2")
    os.chmod("d/sub", 0)
    os.chmod(here, 0o755)
    try:
        if user == 0:
            os.chmod("d/a", 0)
            os.seteuid(65534)
        with pytest.raises(StoreUnavailable, match="Permission denied"):
            registry.hash(Dir("d"))
    finally:
        os.seteuid(user)
        os.chmod("d/sub", 0o700)


# --- what it can do -----------------------------------------------------------------------------------


def test_making_asking_and_deleting(here):
    folder = Dir("new/deep")
    assert not folder.exists()
    folder.mkdir()
    folder.mkdir()
    assert folder.exists()
    file = folder.file("sub/a")
    file.write("x")
    assert "sub/a" in folder
    assert file in folder
    assert "sub" not in folder
    assert File("elsewhere") not in folder
    assert 5 not in folder
    with pytest.raises(OSError, match="not empty"):
        folder.rmdir()
    folder.rmdir(recursive=True)
    folder.rmdir()
    assert not folder.exists()


@pytest.mark.parametrize("relative", ["", "/a", "../a", "a/../../b", "s3://b/a"])
def test_file_of_a_folder_is_below_it(relative):
    with pytest.raises(BadReference):
        Dir("d").file(relative)


@pytest.mark.parametrize("root", ["d", ".", "/", "memory://bucket", "memory://bucket/a"])
def test_relative_path_is_the_way_back(root):
    assert Dir(root).rel_path(Dir(root).file("x/y")) == "x/y"
    with pytest.raises(ValueError, match="not below"):
        Dir(root).rel_path("s3://elsewhere" if root in (".", "/") else "elsewhere/y")


def test_copy_has_the_same_content(here):
    folder = tree(a="1", sub__b="2")
    os.mkdir("d/empty")
    os.symlink("a", "d/link")
    os.mkfifo("d/pipe")
    copy = folder.copy_to("e")
    os.unlink("d/pipe")
    assert copy.digest() == folder.digest()
    File("d/a").write("changed")
    assert folder.copy_to("e", skip_if_exists=True).digest() != folder.digest()
    assert folder.copy_to(copy).digest() == folder.digest()


def test_shell_copy_has_the_same_content(here):
    tree(a="1", sub__b="2")
    os.symlink("a", "d/link")
    for name in ("-rf", "two words", "quote'd", "$HOME", "a\nb"):
        os.rename("d", name) if os.path.exists("d") else None
        subprocess.run(["sh", "-c", Dir(name).shell_copy_to(f"{name} copy")], check=True)
        assert Dir(f"{name} copy").digest() == Dir(name).digest()
        os.rename(name, "d")


def test_changes_name_what_changed(here, registry):
    folder = tree(a="1", b="2", sub__c="3")
    before = loaded(registry, folder)
    assert not folder.changes_since(before)
    (here / "d/b").write_text("x")
    os.unlink("d/a")
    shutil.rmtree("d/sub")
    (here / "d/new").write_text("")
    changes = folder.changes_since(before)
    assert (changes.added, changes.removed, changes.changed) == (("new",), ("a", "sub", "sub/c"), ("b",))
    assert folder.changes_since(before.state_recorded()) == changes
    assert compare(None, None) == compare(b"D\0", None)
    with pytest.raises(ValueError, match="one identity"):
        Dir("d", identity="path").changes_since(before)


@pytest.mark.parametrize(
    "state", [None, {"path": "d", "manifest": "text"}, {"path": "d", "algorithm": "md5"}, {"manifest": b""}]
)
def test_forged_state_is_refused(here, registry, state):
    payload = registry.dump(tree(a="1"))
    with pytest.raises(DecodeError):
        registry.load(
            Payload(payload.type_name, payload.codec, encode_plain(("\0", "valuestore.Dir", state)))
        )


def test_recorded_folder_is_not_read_beyond_what_was_recorded(here, registry, reads):
    tree(a="1", sub__b="2")
    again = loaded(registry, Dir("d"))
    reads.clear()
    File("d/sub/more").write("3")
    File("d/more/c").write("4")
    assert not again.is_valid()
    assert not Dir.from_state({"path": "/", "algorithm": "xxh3-128", "manifest": b"D\0"}).is_valid()
    assert not {"c", "more"} & set(reads)


def test_state_is_of_one_look_with_identity(here):
    folder = tree(a="1")
    said = folder.identity()
    File("d/a").write("2")
    assert folder.state() == said
    assert folder.state_recorded() != said
    assert folder.changes_since(said).changed == ("a",)


def test_forged_manifest_is_compared_and_leads_nowhere(here, registry):
    tree(a="1")
    forged = Dir.from_state(
        {"path": "d", "algorithm": "xxh3-128", "manifest": b"D\0D../../etc\0fpasswd\0x\0"}
    )
    assert not forged.is_valid()
    assert [file.path for file in forged] == ["d/a"]
    assert sorted(os.listdir()) == ["d"]


def test_the_folder_of_a_repository_is_no_part_of_it(here, recwarn):
    (here / "a" / ".valuestore").mkdir(parents=True)
    (here / "a" / "data").write_text("x")
    before = Dir(".").manifest()
    (here / "a" / ".valuestore" / "valuestore.db").write_text("1")
    folder = Dir(".")
    assert folder.manifest() == before
    assert [file.path for file in folder] == ["a/data"]
    assert not (folder.copy_to("copy").dir("a/.valuestore")).exists()
    told = [str(each.message) for each in recwarn if "left out" in str(each.message)]
    assert told == ["the repository ./a/.valuestore is left out of the Dir around it"]
    assert FileSet("a/.*/*").paths() == []
    assert [file.path for file in FileSet("a/.valuestore/*")] == ["a/.valuestore/valuestore.db"]
    assert [file.path for file in Dir("a/.valuestore")] == ["a/.valuestore/valuestore.db"]


def test_what_changed_is_named(here, registry):
    for name in ("a.csv", "b.csv"):
        (here / name).write_text("1")
    kept = [registry.load(registry.dump(value)) for value in (Dir("."), FileSet("*.csv"), File("b.csv"))]
    (here / "b.csv").write_text("22")
    assert [value.changed_place() for value in kept] == ["b.csv"] * 3
    (here / "b.csv").write_text("1")
    (here / "c.csv").write_text("1")
    assert [value.changed_place() for value in kept[:2]] == ["c.csv"] * 2
    assert Dir(".", "path").changed_place() == "."
