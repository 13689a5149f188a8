"""FileStore when the system under it fails: typed errors, nothing half done, nothing left behind."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
import textwrap
from contextlib import suppress
from pathlib import Path

import pytest

from valuestore.errors import NotFound, StoreError, StoreReadOnly, StoreUnavailable
from valuestore.stores import FileStore

WRITING = ["open", "write", "fstat", "close", "replace", "utime"]


def run(script: str, *arguments: object) -> str:
    """Run a script in a process of its own, which may change user or limits; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def root(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(root):
    with FileStore(root) as store:
        store.put("old", b"old", attrs={"x": 1})
        yield store


def left_behind(root: Path) -> list[str]:
    kept = {"tmp": 0, "attrs": 1, "odd": 0}
    return [name for name, n in kept.items() if len(list((root / ".vs~" / name).glob("*"))) != n]


def fail(monkeypatch, name: str, error: BaseException, *, after: int = 0) -> None:
    real, calls = getattr(os, name), iter(range(10**9))

    def failing(*arguments, **options):
        if name == "open" and not arguments[1] & os.O_CREAT:
            return real(*arguments, **options)
        if next(calls) < after:
            return real(*arguments, **options)
        if name == "close":
            real(*arguments, **options)
        raise error

    monkeypatch.setattr(os, name, failing)


# --- writing ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ESTALE, errno.EMFILE])
@pytest.mark.parametrize("name", WRITING)
def test_a_failing_call_is_told_with_its_reason_and_changes_nothing(store, root, name, code):
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, name, OSError(code, os.strerror(code)))
        for key in ("old", "new"):
            with pytest.raises(StoreUnavailable, match=os.strerror(code)) as caught:
                store.put(key, b"x" * 100, attrs={"x": 2})
            assert isinstance(caught.value.__cause__, OSError)
    assert left_behind(root) == []
    assert (store.list().keys, store.get("old"), store.stat("old").attrs) == (["old"], b"old", {"x": 1})
    store.put("new", b"later", attrs={"x": 2})
    assert store.get("new") == b"later"


@pytest.mark.parametrize("name", [*WRITING, "unlink", "lstat"])
def test_an_interruption_changes_nothing_and_passes(store, root, name):
    for after in range(4):
        with pytest.MonkeyPatch.context() as patch:
            fail(patch, name, KeyboardInterrupt(), after=after)
            with suppress(KeyboardInterrupt):
                store.put("old", b"old", attrs={"x": 1})
    assert (store.list().keys, store.get("old"), store.stat("old").attrs) == (["old"], b"old", {"x": 1})
    store.put("old", b"new", attrs={"x": 2})
    assert (store.get("old"), store.stat("old").attrs) == (b"new", {"x": 2})


def test_an_interrupted_stream_leaves_nothing_behind(store, root):
    def interrupted():
        yield b"x"
        raise KeyboardInterrupt

    for key in ("old", "new"):
        with pytest.raises(KeyboardInterrupt):
            store.put(key, interrupted(), attrs={"x": 2})
    assert left_behind(root) == []


def test_an_interruption_just_after_the_commit_keeps_data_and_attributes_together(store, root, monkeypatch):
    real = os.replace

    def interrupted(source, target):
        real(source, target)
        if target.endswith(b"/old"):
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.put("old", b"new", attrs={"x": 2})
    assert (store.get("old"), store.stat("old").attrs) == (b"new", {"x": 2})


def test_short_writes_are_continued(store, monkeypatch):
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, bytes(data[:7])))
    store.put("k", bytes(range(256)))
    assert store.get("k") == bytes(range(256))


def test_short_reads_are_continued(store, monkeypatch):
    store.put("k", bytes(range(256)))
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, size, start: real(fd, min(size, 7), start))
    assert store.get("k") == bytes(range(256))
    assert store.get("k", 10, 100) == bytes(range(10, 100))


def test_a_full_disk_stores_nothing_and_works_again_with_space(tmp_path):
    output = run(
        """
        import resource, sys
        from valuestore.errors import StoreUnavailable
        from valuestore.stores import FileStore
        store = FileStore(sys.argv[1])
        store.put("k", b"old")
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
        for data in (b"x" * 200_000, (b"x" * 1000 for _ in range(200))):
            try:
                store.put("k", data)
            except StoreUnavailable as error:
                print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert store.get("k") == b"old"
        store.put("k", b"x" * 200_000)
        """,
        tmp_path,
    )
    assert output.count("File too large") == 2
    assert list((tmp_path / ".vs~/tmp").iterdir()) == []


def test_a_temporary_file_taken_away_is_told(store, root, monkeypatch):
    real = os.replace

    def replace(source, target):
        os.unlink(source)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(StoreUnavailable, match="removed while in use"):
        store.put("k", b"")


def test_no_open_files_are_left_after_errors(store):
    def attempt(n: int) -> None:
        for use in (store.get, store.stat, store.open):
            with pytest.raises(NotFound):
                use("missing")
        with pytest.raises(RuntimeError):
            store.put("k", (_ for _ in iter(lambda: 1 / n, 0)) if n else raising())

    def raising():
        yield b"x"
        raise RuntimeError

    before = len(os.listdir("/dev/fd"))
    for _ in range(50):
        attempt(0)
    assert len(os.listdir("/dev/fd")) == before


# --- reading ------------------------------------------------------------------------------------------


def test_a_medium_that_cannot_be_read_is_not_absence(store, monkeypatch):
    def broken(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "pread", broken)
    monkeypatch.setattr(os, "read", broken)
    for use in (store.get, store.stat):
        with pytest.raises(StoreUnavailable, match=os.strerror(errno.EIO)):
            use("old")


def test_a_volume_that_was_unmounted_is_not_empty(store, monkeypatch):
    store._root._device += 1  # what a changed st_dev looks like
    for use in (store.get, store.stat, store.size, store.delete):
        with pytest.raises(StoreUnavailable, match="device"):
            use("missing")
    assert store.get("old") == b"old"


def test_a_medium_that_cannot_be_opened_is_told(root, store):
    with pytest.MonkeyPatch.context() as patch:
        fail(patch, "lstat", OSError(errno.EIO, os.strerror(errno.EIO)))
        uses = [lambda: FileStore(root), lambda: store.get("a/b"), lambda: store.exists("old")]
        for use in uses:
            with pytest.raises(StoreUnavailable, match=os.strerror(errno.EIO)):
                use()


def test_a_root_that_is_gone_is_empty_or_unavailable_as_it_was_opened(tmp_path):
    made, found = FileStore(tmp_path / "a"), FileStore(tmp_path / "a", create=False)
    (tmp_path / "a").rmdir()
    with pytest.raises(NotFound):
        made.get("k")
    for use in (found.get, lambda key: found.put(key, b"")):
        with pytest.raises(StoreUnavailable, match="gone"):
            use("k")
    made.put("k", b"data")
    assert found.get("k") == b"data"


# --- permissions --------------------------------------------------------------------------------------


@pytest.fixture
def shared():
    """A folder that other users reach, unlike those of pytest."""
    with tempfile.TemporaryDirectory(prefix="valuestore-") as folder:
        os.chmod(folder, 0o755)
        try:
            yield Path(folder)
        finally:
            for path in Path(folder).rglob("*"):
                path.chmod(0o755)


AS_NOBODY = """
import os, sys
from pathlib import Path
from valuestore.errors import *
from valuestore.stores import ContentStore, FileStore
if os.geteuid() == 0:
    os.setegid(65534); os.seteuid(65534)

def outcome(use):
    try:
        return use()
    except StoreError as error:
        return f"{type(error).__name__}: {error}"
"""


def as_nobody(script: str, *arguments: object) -> str:
    return run(AS_NOBODY + textwrap.dedent(script), *arguments)


def test_a_read_only_store_reads_and_refuses_to_write(shared):
    with FileStore(shared / "s") as store:
        store.put("a/k", b"data", attrs={"x": 1})
    for path in (shared / "s", *(shared / "s").rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    output = as_nobody(
        """
        store = FileStore(sys.argv[1])
        print(store.get("a/k"), store.stat("a/k").attrs, store.list().keys, store.exists("b"))
        for use in (lambda: store.put("a/k", b""), lambda: store.put("new/k", b""),
                    lambda: store.delete("a/k"), lambda: store.put("a/k", b"", overwrite=False),
                    lambda: FileStore(sys.argv[1] + "/new")):
            print(outcome(use))
        """,
        shared / "s",
    )
    assert output.splitlines()[0] == "b'data' {'x': 1} ['a/k'] False"
    assert [line.split(":")[0] for line in output.splitlines()[1:]] == [
        "StoreReadOnly",
        "StoreReadOnly",
        "StoreReadOnly",
        "AlreadyExists",
        "StoreReadOnly",
    ]
    assert "Permission denied" in output


def test_what_may_not_be_read_is_unavailable_and_named(shared):
    with FileStore(shared / "s") as store:
        for key in ("file", "folder/k", "other"):
            store.put(key, b"data")
    (shared / "s/file").chmod(0)
    (shared / "s/folder").chmod(0)
    output = as_nobody(
        """
        store = FileStore(sys.argv[1])
        for use in (lambda: store.get("file"), lambda: store.stat("file"), lambda: store.get("folder/k"),
                    lambda: store.exists("folder/k"), lambda: store.list(), lambda: store.size("file"),
                    lambda: store.get("other")):
            print(outcome(use))
        """,
        shared / "s",
    ).splitlines()
    assert [line.split(":")[0] for line in output[:5]] == ["StoreUnavailable"] * 5
    assert all(str(shared / "s") in line and "Permission denied" in line for line in output[:5])
    assert output[5:] == ["4", "b'data'"]


def test_content_that_may_not_be_read_is_replaced_by_a_put(shared):
    os.chmod(shared, 0o777)
    output = as_nobody(
        """
        content = ContentStore(FileStore(sys.argv[1] + "/s"))
        digest = content.put(b"data").digest
        os.chmod(f"{sys.argv[1]}/s/{digest[:2]}/{digest}", 0)
        print(outcome(lambda: content.get(digest)))
        print(content.put(b"data").digest == digest, content.get(digest))
        """,
        shared,
    ).splitlines()
    assert output[0].startswith("StoreUnavailable")
    assert output[1] == "True b'data'"


def test_damage_in_a_read_only_store_is_told_all_the_same(shared):
    os.chmod(shared, 0o777)
    output = as_nobody(
        """
        os.makedirs(sys.argv[1])
        content = ContentStore(FileStore(sys.argv[1]))
        digest = content.put(b"data").digest
        Path(sys.argv[1], digest[:2], digest).write_bytes(b"dame")
        for folder, _, _ in list(os.walk(sys.argv[1])):
            os.chmod(folder, 0o555)
        for _ in range(2):
            try:
                content.get(digest)
            except PayloadCorrupt as error:
                print("corrupt", error)
        print(outcome(lambda: content.put(b"data")))
        """,
        shared / "s",
    ).splitlines()
    assert [line.split()[0] for line in output] == ["corrupt", "corrupt", "StoreReadOnly:"]


# --- durability ---------------------------------------------------------------------------------------


@pytest.fixture
def synced(monkeypatch):
    """The paths that were synced, in order."""
    paths: list[str] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        paths.append(os.readlink(f"/proc/self/fd/{fd}"))
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    return paths


def test_flush_syncs_files_before_folders_once_per_batch(root, synced):
    with FileStore(root, durability="full") as store:
        for key in ("a/b/1", "a/b/2", "c"):
            store.put(key, b"x")
        store.put("c/odd", b"", attrs={"x": 1})
        assert synced == []
        store.flush()
        names = [os.path.relpath(path, root) for path in synced]
        assert {"a/b/1", "a/b/2", "c", "a/b", "a", ".", "..", ".vs~", ".vs~/odd", ".vs~/attrs"} <= set(names)
        assert len(names) == len(set(names)) == 13
        kinds = ["folder" if os.path.isdir(path) else "file" for path in synced]
        assert kinds == sorted(kinds)
        synced.clear()
        store.flush()
        assert synced == []
        store.delete("a/b/1")
        store.flush()
        assert [os.path.relpath(path, root) for path in synced] == ["a/b"]


def test_a_value_is_replaced_by_one_that_is_on_the_disk(root, synced):
    with FileStore(root, durability="full") as store:
        store.put("k", b"old")
        store.flush()
        synced.clear()
        store.put("k", b"new", attrs={"x": 1})
        assert [os.path.relpath(path, root).split("/")[1] for path in synced] == ["tmp", "attrs"]


def test_closing_flushes_and_fast_stores_sync_nothing(root, synced):
    with FileStore(root) as store:
        store.put("k", b"")
        store.flush()
    assert synced == []
    with FileStore(root, durability="full") as store:
        store.put("l", b"")
    assert [os.path.relpath(path, root) for path in synced] == ["l", "."]


def test_a_file_whose_sync_failed_is_not_trusted_again(root):
    store = FileStore(root, durability="full")
    for key in ("a", "b", "c"):
        store.put(key, b"x")
    real, calls = os.fsync, []

    def fsync(fd):
        calls.append(fd)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(fd)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(StoreUnavailable, match=r"/b is unavailable: Input/output error"):
            store.flush()
    assert len(calls) > 3
    assert store.list().keys == ["a", "c"]
    store.put("b", b"x")
    store.flush()
    store.close()


def test_what_could_not_be_opened_is_synced_by_the_next_flush(root, synced):
    store = FileStore(root, durability="full")
    store.put("k", b"x")
    real = os.open

    def full(path, flags, *mode, **options):
        if not flags & os.O_CREAT:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE), path)
        return real(path, flags, *mode, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(StoreUnavailable, match="Too many open files"):
            store.flush()
    assert (store.get("k"), synced) == (b"x", [])
    store.flush()
    assert synced[0] == f"{root}/k"


def test_a_failed_sync_leaves_the_old_value(root, monkeypatch):
    store = FileStore(root, durability="full")
    store.put("k", b"old", attrs={"x": 1})
    store.flush()

    def fsync(fd):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StoreUnavailable):
        store.put("k", b"new", attrs={"x": 2})
    assert (store.get("k"), store.stat("k").attrs) == (b"old", {"x": 1})
    assert left_behind(root) == []


def test_errors_survive_pickling():
    import pickle

    for error in (StoreUnavailable("/place", "reason"), StoreReadOnly("/place", "reason")):
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, StoreError)
        assert str(again) == str(error)
