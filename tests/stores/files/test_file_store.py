"""FileStore keeps the contract; what lies where on the disk, nothing outside (I13); what others may do."""

from __future__ import annotations

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings

from valuestore.errors import AlreadyExists, BadReference, ConfigError, NotFound, NotSupported, StoreError
from valuestore.stores import FileStore, open_store
from valuestore.stores.files import store as etags
from valuestore.testing import StoreContract, StoreMachine
from valuestore.testing.stores import ODD_KEYS

HOURS_AGO = time.time() - 7200


class TestFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FileStore, tmp_path / "store")


class TestDurableFileStore(StoreContract):
    @pytest.fixture
    def make_store(self, tmp_path):
        return partial(FileStore, tmp_path / "store", durability="full")


class FileMachine(StoreMachine):
    def open_store(self):
        return FileStore(self.place)


TestFileMachine = FileMachine.TestCase
TestFileMachine.settings = settings(stateful_step_count=30, deadline=None)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    with FileStore(root) as store:
        yield store


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# --- where things lie ---------------------------------------------------------------------------------


def test_a_key_is_a_path_and_its_file_holds_the_bytes_alone(store, root):
    store.put("runs/r1/model.bin", b"data", attrs={"x": 1})
    assert (root / "runs/r1/model.bin").read_bytes() == b"data"


def test_opening_leaves_no_trace_and_a_value_without_attributes_is_one_file(store, root):
    assert list(root.iterdir()) == []
    store.put("a/b", b"")
    store.put("a/b", b"again")
    assert files_below(root) == {"a/b"}


def test_nothing_is_left_of_what_was_deleted(store, root):
    for key in ("a/b/c", "a/b/d", "plain"):
        store.put(key, b"", attrs={"x": 1})
        store.put(key, b"", attrs={"x": 2})
    assert len(files_below(root / ".vs~/attrs")) == 3
    for key in ("a/b/c", "a/b/d", "plain"):
        store.delete(key)
    assert files_below(root) == set()
    assert [path.name for path in root.iterdir()] == [".vs~"]


def test_no_key_reaches_outside_the_root(store, root, tmp_path):
    for key in ODD_KEYS:
        store.put(key, b"", attrs={"x": 1})
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    real = os.path.realpath(root)
    assert all(os.path.realpath(path).startswith(real + "/") for path in root.rglob("*"))


def test_modes_are_what_the_umask_leaves(store, root):
    before = os.umask(0o027)
    try:
        store.put("a/b", b"", attrs={"x": 1})
    finally:
        os.umask(before)
    assert (root / "a/b").stat().st_mode & 0o777 == 0o640
    assert (root / "a").stat().st_mode & 0o777 == 0o750


def test_keys_that_cannot_be_paths_are_kept_apart(store, root):
    for key in ("x" * 256, "a/" + "y" * 256 + "/b", ".vs~/tmp/z"):
        store.put(key, key.encode(), attrs={"x": 1})
    assert {path.name for path in root.iterdir()} == {".vs~"}
    assert sorted(store.keys()) == sorted(["x" * 256, "a/" + "y" * 256 + "/b", ".vs~/tmp/z"])


def test_a_key_in_the_way_of_a_folder_stays_where_it_is(store, root):
    store.put("p", b"p")
    store.put("p/x", b"below")
    assert (root / "p").read_bytes() == b"p"
    store.delete("p")
    store.put("p/y", b"y")
    assert (root / "p/y").read_bytes() == b"y"
    assert [store.get(key) for key in store.keys()] == [b"below", b"y"]  # noqa: SIM118


def test_a_value_hidden_by_a_file_does_not_come_back(store, root):
    store.put("p/x", b"")
    store.put("p", b"odd")
    store.delete("p/x")
    (root / "p").write_bytes(b"by hand")
    assert store.get("p") == b"by hand"
    assert store.list().keys == ["p"]
    store.delete("p")
    assert not store.exists("p")


def test_a_value_hidden_by_a_file_that_moves_does_not_come_back(store, root):
    store.put("p/x", b"")
    store.put("p", b"odd")
    store.delete("p/x")
    (root / "p").write_bytes(b"by hand")
    store.move("p", "q/r")
    assert store.list().keys == ["q/r"]
    store.move("q/r", "s")
    assert {path.name for path in root.iterdir()} == {".vs~", "s"}


# --- other tools --------------------------------------------------------------------------------------


def test_files_of_other_tools_are_values(store, root):
    (root / "folder").mkdir()
    (root / "folder/file").write_bytes(b"by hand")
    assert store.list().keys == ["folder/file"]
    assert store.get("folder/file") == b"by hand"
    assert store.stat("folder/file").attrs == {}
    assert store.put("folder/file", b"new", attrs={"x": 1}).attrs == {"x": 1}


def test_names_that_are_no_keys_are_passed_over(store, root):
    for name in (b"\xff", b"a\xff/b", b"d" * 250 + b"/" + b"d" * 250):
        path = os.path.join(os.fsencode(root), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        Path(os.fsdecode(path)).write_bytes(b"")
    deep = os.fsencode(root)
    for _ in range(5):
        deep += b"/" + b"e" * 250
    os.makedirs(deep)
    Path(os.fsdecode(deep + b"/file")).write_bytes(b"")
    assert store.list().keys == ["d" * 250 + "/" + "d" * 250]


@pytest.fixture
def reads(monkeypatch):
    """The streams that were read to digest a file."""
    counted = []
    real = etags.hash_stream
    monkeypatch.setattr(etags, "hash_stream", lambda stream: counted.append(stream) or real(stream))
    return counted


def test_the_etag_of_a_file_that_settled_is_remembered(store, root, reads, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 10**9 + 10**10)
    store.put("k", b"one")
    first = store.stat("k").etag
    reads.clear()
    assert store.stat("k").etag == first
    assert reads == []


def test_the_etag_of_a_file_that_may_still_change_unseen_is_not(store, root, reads):
    store.put("k", b"one")
    for _ in range(2):
        reads.clear()
        store.stat("k")
        assert reads


def test_the_etag_follows_edits_in_place(store, root, monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: time.time() * 10**9 + 10**10)
    path = root / "k"
    path.write_bytes(b"one")
    os.utime(path, (HOURS_AGO, HOURS_AGO))
    first = store.stat("k").etag
    time.sleep(0.02)  # more than a tick of any kernel's clock
    path.write_bytes(b"two")  # same size
    os.utime(path, (HOURS_AGO, HOURS_AGO))  # and same time
    assert store.stat("k").etag != first


def test_a_put_that_keeps_the_attributes_waits_for_one_that_replaces_them(store, monkeypatch):
    store.put("k", b"1", attrs={"x": 1})
    real = store._sidecars.load_to_keep
    with ThreadPoolExecutor(1) as pool:

        def overtaken(*arguments):
            found = real(*arguments)
            other = pool.submit(store.put, "k", b"2", attrs={"x": 2})
            wait([other], timeout=0.1)
            return found

        monkeypatch.setattr(store._sidecars, "load_to_keep", overtaken)
        store.put("k", b"3")
    assert (store.get("k"), store.stat("k").attrs) == (b"2", {"x": 2})


def test_a_file_swapped_by_rename_has_no_attributes_of_its_predecessor(store, root):
    store.put("k", b"old", attrs={"x": 1})
    (root / "new").write_bytes(b"new")
    (root / "new").rename(root / "k")
    assert (store.stat("k").attrs, store.get("k")) == ({}, b"new")
    assert store.put("k", b"newer").attrs == {}


def test_folders_and_files_that_vanish_while_listing_are_left_out(store, root):
    for key in ("a/1", "b/1", "b/2", "c/1"):
        store.put(key, b"")
    keys = store.keys()
    assert next(keys) == "a/1"
    store.delete("b/1")
    store.delete("b/2")
    assert list(keys) == ["c/1"]


def test_damaged_attributes_are_told_and_healed_by_a_put(store, root):
    store.put("k", b"data", attrs={"x": 1})
    (sidecar,) = (root / ".vs~/attrs").iterdir()
    for damage in (b"", b"{", b"[]", b'{"key": "other", "attrs": {}}', b'{"key": "k", "attrs": 5}', b"\xff"):
        sidecar.write_bytes(damage)
        with pytest.raises(StoreError, match="attributes"):
            store.stat("k")
        assert store.get("k") == b"data"
    assert store.put("k", b"data").attrs == {}
    assert store.stat("k").attrs == {}


# --- strange things in the way ------------------------------------------------------------------------


def make_link(path, outside):
    path.symlink_to(outside / "secret")


def make_dangling_link(path, outside):
    path.symlink_to(outside / "nothing")


def make_fifo(path, outside):
    os.mkfifo(path)


def make_socket(path, outside):
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path has at most about 100 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_folder(path, outside):
    path.mkdir()


@pytest.fixture
def outside(tmp_path):
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_bytes(b"secret")
    (folder / "folder").mkdir()
    return folder


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [make_link, make_dangling_link, make_fifo, make_socket, make_folder])
@pytest.mark.parametrize("overwrite", [True, False])
def test_what_is_no_file_is_nothing_and_gives_way(store, root, outside, make, overwrite):
    make(root / "k", outside)
    for use in (store.get, store.open, store.stat, store.size, store.delete):
        with pytest.raises(NotFound):
            use("k")
    assert not store.exists("k")
    assert store.list().keys == []
    store.put("k", b"value", attrs={"x": 1}, overwrite=overwrite)
    assert (store.get("k"), store.stat("k").attrs, store.list().keys) == (b"value", {"x": 1}, ["k"])
    with pytest.raises(AlreadyExists):
        store.put("k", b"", overwrite=False)
    assert files_below(outside) == {"secret"}
    assert (outside / "secret").read_bytes() == b"secret"


def test_a_linked_folder_is_not_entered(store, root, outside):
    (root / "link").symlink_to(outside, target_is_directory=True)
    (root / "real").mkdir()
    (root / "real/loop").symlink_to(root, target_is_directory=True)
    for key in ("link/secret", "link/folder/x", "real/loop/real/y"):
        assert not store.exists(key)
        with pytest.raises(NotFound):
            store.get(key)
        store.put(key, b"mine", attrs={"x": 1})
        assert store.get(key) == b"mine"
    assert store.list().keys == ["link/folder/x", "link/secret", "real/loop/real/y"]
    assert store.list("link/s").keys == ["link/secret"]
    for key in store.list().keys:
        store.delete(key)
    assert files_below(outside) == {"secret"}


def test_the_root_itself_may_be_a_link(tmp_path, outside):
    (tmp_path / "root").symlink_to(outside / "folder", target_is_directory=True)
    with FileStore(tmp_path / "root") as store:
        store.put("a/b", b"data")
        assert store.get("a/b") == b"data"
    assert (outside / "folder/a/b").read_bytes() == b"data"


@pytest.mark.parametrize("folder", [".vs~", ".vs~/tmp", ".vs~/attrs", ".vs~/odd"])
def test_a_link_in_place_of_its_own_folders_is_refused(root, outside, folder):
    (root / folder).parent.mkdir(parents=True)
    (root / folder).symlink_to(outside, target_is_directory=True)
    with pytest.raises(BadReference, match=r"\.vs~"):
        FileStore(root)


# --- opening ------------------------------------------------------------------------------------------


def test_it_opens_by_url_and_by_path(root):
    with FileStore(root) as store:
        store.put("k", b"data")
    for name in (str(root), root, f"file://{root}", f"file://localhost{root}", f"FILE://{root}"):
        with open_store(name) as store:
            assert (store.get("k"), store.url) == (b"data", f"file://{root}")


def test_its_url_opens_the_same_folder_whatever_its_name(tmp_path):
    for name in ("a b", "50%", "q?x=1#y", "ä", os.fsdecode(b"\xff"), "new\nline"):
        with FileStore(tmp_path / name) as store:
            store.put("k", name.encode(errors="replace"))
            with open_store(store.url) as again:
                assert again.get("k") == name.encode(errors="replace")


@pytest.mark.parametrize(
    "url", ["file://relative/path", "file://", "file:///a?b", "file:///a#b", "file://u:p@/x"]
)
def test_a_url_that_is_no_absolute_path_is_refused(url):
    with pytest.raises(BadReference) as caught:
        open_store(url)
    assert "u:p" not in str(caught.value)


def test_settings_reach_the_constructor(root):
    assert open_store(f"file://{root}", durability="full").durability == "full"
    with pytest.raises(ConfigError, match="durability"):
        open_store(f"file://{root}", durability="maybe")


def test_a_missing_folder_is_made_or_told(root):
    with pytest.raises(NotFound, match="store"):
        FileStore(root / "deep", create=False)
    FileStore(root / "deep").close()
    FileStore(root / "deep", create=False).close()


def test_a_file_is_no_root(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(BadReference, match="not a folder"):
            FileStore(path)


def test_a_relative_root_stays_where_it_was(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = FileStore("store")
    monkeypatch.chdir("/")
    store.put("k", b"data")
    assert (tmp_path / "store/k").read_bytes() == b"data"


def test_a_time_beyond_any_datetime_does_not_stop_a_stat(store, root, monkeypatch):
    store.put("k", b"data")
    real = os.fstat

    def fstat(fd):
        found = real(fd)
        return os.stat_result(
            (*found[:8], 10**15, *found[9:]), {"st_mtime_ns": 10**24, "st_ctime_ns": 10**24}
        )

    monkeypatch.setattr(os, "fstat", fstat)
    assert store.stat("k").modified.year == 9999


def test_it_signs_no_urls_and_has_no_batches(store):
    with pytest.raises(NotSupported):
        store.sign("k", "GET", 60)
    with pytest.raises(NotSupported):
        store.batch()


# --- sweeping -----------------------------------------------------------------------------------------


def age(path: Path) -> None:
    os.utime(path, (HOURS_AGO, HOURS_AGO), follow_symlinks=False)


def test_opening_sweeps_temporary_files_of_an_hour_ago(store, root):
    store.put("k", b"")
    (root / ".vs~/tmp/old").write_bytes(b"")
    (root / ".vs~/tmp/new").write_bytes(b"")
    age(root / ".vs~/tmp/old")
    FileStore(root).close()
    assert files_below(root / ".vs~") == {"tmp/new"}


def test_sweeping_removes_what_nobody_refers_to_and_nothing_else(store, root):
    for key in ("a", "a/b", "x" * 300):
        store.put(key, b"", attrs={"x": 1})
    store.put("gone", b"", attrs={"x": 1})
    store.put("y" * 300, b"", attrs={"x": 1})
    store.delete("y" * 300)
    (root / "gone").unlink()
    (root / ".vs~/tmp/killed").write_bytes(b"")
    before = files_below(root)
    assert store.sweep() == 0
    assert files_below(root) == before
    assert store.sweep(older_than_seconds=0) == 3
    assert store.list().keys == ["a", "a/b", "x" * 300]
    assert all(store.stat(key).attrs == {"x": 1} for key in store.list().keys)
    assert store.sweep(older_than_seconds=0) == 0
