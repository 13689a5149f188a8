"""StatMemory and StatRecord: read once, also by the next process; damage and races are never a digest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from valuestore.config import cache_folder
from valuestore.hashing import hash_bytes
from valuestore.values.files import stat_memory as memory_module
from valuestore.values.files import stat_memory as record_module
from valuestore.values.files.stat_memory import RECORD_BYTES, SLOTS, StatMemory, StatRecord, fingerprint_of

XXH3, BLAKE3 = "xxh3-128", "blake3-256"
STATUS = (1, 2, 3, 4, -5)
DIGEST = hash_bytes(b"x")


@pytest.fixture
def record(tmp_path):
    return StatRecord(str(tmp_path / "cache"))


def test_next_process_need_not_read_again(tmp_path, record, reads, later):
    path = str(tmp_path / "a")
    with open(path, "w") as stream:
        stream.write("x")
    assert StatMemory(record).digest(path) == DIGEST
    assert StatMemory(StatRecord(str(tmp_path / "cache"))).digest(path) == DIGEST
    assert reads == [path]
    assert os.stat(record.path).st_mode & 0o777 == 0o600
    assert os.stat(tmp_path / "cache").st_mode & 0o777 == 0o700


def test_fresh_file_is_not_recorded(tmp_path, record, reads):
    path = str(tmp_path / "a")
    with open(path, "w") as stream:
        stream.write("x")
    for _ in range(2):
        StatMemory(record).digest(path)
    assert reads == [path, path]


def test_file_older_than_the_read_but_not_by_enough_is_not_trusted_after_a_long_read(tmp_path, monkeypatch):
    """What counts is when the read began: a change just before may share the time stamp of one during it."""
    path = str(tmp_path / "a")
    with open(path, "w") as stream:
        stream.write("x")
    clock = iter([0, 10_000_000_000])
    start = time.time_ns()
    monkeypatch.setattr(memory_module.time, "time_ns", lambda: start + next(clock))
    memory = StatMemory()
    memory.digest(path)
    assert memory.known(XXH3, fingerprint_of(os.stat(path))) is None


statuses = st.tuples(*[st.integers(0, 2**64 - 1)] * 3, *[st.integers(-(2**63), 2**63 - 1)] * 2)


@given(statuses, st.sampled_from([XXH3, BLAKE3]), st.integers(0, 4), st.binary(max_size=5))
def test_any_difference_in_status_is_another_file(tmp_path_factory, status, algorithm, part, content):
    record = StatRecord(str(tmp_path_factory.getbasetemp() / "records"))
    digest = hash_bytes(content, algorithm=algorithm)
    record.keep([(algorithm, status, digest)])
    assert record.find(algorithm, status) == digest
    other = (*status[:part], (status[part] + 1) % 2**63, *status[part + 1 :])
    record.keep([(algorithm, other, hash_bytes(b"other", algorithm=algorithm))])
    assert record.find(algorithm, other) == hash_bytes(b"other", algorithm=algorithm)
    assert record.find(algorithm, status) in (None, digest)
    assert record.find(BLAKE3 if algorithm == XXH3 else XXH3, status) is None


def test_every_flipped_bit_is_noticed(record):
    record.keep([(XXH3, STATUS, DIGEST)])
    at = os.path.getsize(record.path) - RECORD_BYTES
    with open(record.path, "r+b", buffering=0) as stream:
        whole = os.pread(stream.fileno(), RECORD_BYTES, at)
        for bit in range(RECORD_BYTES * 8):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            os.pwrite(stream.fileno(), damaged, at)
            assert record.find(XXH3, STATUS) is None
        os.pwrite(stream.fileno(), whole, at)
        assert record.find(XXH3, STATUS) == DIGEST
        for length in range(RECORD_BYTES):
            stream.truncate(at + length)
            assert record.find(XXH3, STATUS) is None


def test_record_of_another_host_is_none(tmp_path):
    here, there = (StatRecord(str(tmp_path), host) for host in ("here", "there"))
    here.keep([(XXH3, STATUS, DIGEST)])
    os.rename(here.path, there.path)
    assert there.find(XXH3, STATUS) is None


def test_table_is_bounded(tmp_path):
    record = StatRecord(str(tmp_path))
    record.keep((XXH3, (1, inode * 7919, 0, 0, 0), DIGEST) for inode in range(2000))
    assert os.path.getsize(record.path) <= SLOTS * RECORD_BYTES
    assert os.stat(record.path).st_blocks * 512 < 20 << 20


def test_table_that_others_can_write_to_or_that_is_a_link_is_not_used(tmp_path):
    record = StatRecord(str(tmp_path))
    record.keep([(XXH3, STATUS, DIGEST)])
    os.chmod(record.path, 0o666)
    assert StatRecord(str(tmp_path)).find(XXH3, STATUS) is None
    os.chmod(record.path, 0o600)
    assert StatRecord(str(tmp_path)).find(XXH3, STATUS) == DIGEST
    os.rename(record.path, tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", record.path)
    assert StatRecord(str(tmp_path)).find(XXH3, STATUS) is None
    os.unlink(record.path)
    os.mkfifo(record.path)
    other = StatRecord(str(tmp_path))
    other.keep([(XXH3, STATUS, DIGEST)])
    assert other.find(XXH3, STATUS) is None


@pytest.mark.parametrize("folder", ["/proc/nowhere", "/dev/null/x", "/dev/full"])
def test_where_nothing_can_be_kept_nothing_is_missed(tmp_path, folder):
    path = str(tmp_path / "a")
    with open(path, "w") as stream:
        stream.write("x")
    assert StatMemory(StatRecord(folder)).digest(path) == DIGEST


def test_many_writers_leave_right_digests_or_none(tmp_path):
    folder = str(tmp_path)
    program = """
import sys
from valuestore.hashing import hash_bytes
from valuestore.values.files.stat_memory import StatRecord
record, me = StatRecord(sys.argv[1]), int(sys.argv[2])
for turn in range(30):
    digests = [hash_bytes(b"%d %d %d" % (inode, turn, me)) for inode in range(50)]
    record.keep([("xxh3-128", (1, inode, 0, turn, me), digest) for inode, digest in enumerate(digests)])
"""
    writers = [subprocess.Popen([sys.executable, "-c", program, folder, str(n)]) for n in range(3)]
    try:
        while any(writer.poll() is None for writer in writers):
            check(StatRecord(folder))
    finally:
        assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert check(StatRecord(folder)) == 50


def check(record):
    """How many digests are there; each is that of its status."""
    count = 0
    for inode in range(50):
        for writer in range(3):
            for turn in (0, 15, 29):
                digest = record.find(XXH3, (1, inode, 0, turn, writer))
                count += digest is not None
                assert digest in (None, hash_bytes(b"%d %d %d" % (inode, turn, writer)))
    return count


def test_threads_share_one_memory(tmp_path, later):
    for number in range(50):
        (tmp_path / str(number)).write_text(str(number))
    memory = StatMemory(StatRecord(str(tmp_path / "cache")))
    wrong = []

    def look():
        found = [memory.digest(str(tmp_path / str(number))) for number in range(50)]
        wrong.extend(n for n, digest in enumerate(found) if digest != hash_bytes(str(n).encode()))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_fork_in_the_midst_of_a_look_leaves_a_child_that_can_look(tmp_path, monkeypatch):
    """A lock that a thread of the parent holds would never be given up in the child."""
    record, parent = StatRecord(str(tmp_path)), os.getpid()
    within, go_on = threading.Event(), threading.Event()

    def host_id():
        if os.getpid() == parent:
            within.set()
            go_on.wait(20)
        return "host"

    monkeypatch.setattr(record_module, "_host_id", host_id)
    thread = threading.Thread(target=record.find, args=(XXH3, STATUS))
    thread.start()
    assert within.wait(20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of 3.12 on: this is what it warns of
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        record.keep([(XXH3, STATUS, DIGEST)])
        os._exit(0 if record.find(XXH3, STATUS) == DIGEST else 1)
    status = os.waitpid(child, 0)[1]
    go_on.set()
    thread.join()
    assert status == 0


def test_memory_is_bounded(tmp_path, monkeypatch, later):
    monkeypatch.setattr(memory_module, "_REMEMBERED", 10)
    memory = StatMemory()
    for number in range(30):
        (tmp_path / str(number)).write_text("x")
        memory.digest(str(tmp_path / str(number)))
    assert len(memory._digests) <= 10


def test_cache_folder_follows_the_convention(monkeypatch):
    monkeypatch.delenv("VALUESTORE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == "/somewhere/valuestore"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/user")
    assert cache_folder() in ("/home/user/.cache/valuestore", "/home/user/Library/Caches/valuestore")
    monkeypatch.setenv("VALUESTORE_CACHE", "/mine")
    assert cache_folder() == "/mine"
    monkeypatch.setenv("VALUESTORE_CACHE", "off")
    assert cache_folder() is None


def test_table_that_is_made_later_by_this_process_is_read(tmp_path):
    record = StatRecord(str(tmp_path / "cache"))
    assert record.find(XXH3, STATUS) is None
    record.keep([(XXH3, STATUS, DIGEST)])
    assert record.find(XXH3, STATUS) == DIGEST
