"""FileLock: one process, one thread, however they end."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time

import pytest

from valuestore.locks import FileLock


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lock"


def is_free(path):
    """Whether somebody else could have it."""
    try:
        with FileLock(path, 0o600).held(0):
            return True
    except TimeoutError:
        return False


def in_child(work):
    """The exit code of a forked child that does ``work``."""
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if work() else 2
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_others_wait_until_it_is_given_back_and_then_no_longer(path):
    lock = FileLock(path, 0o600)
    with lock.held(1):
        assert in_child(lambda: not is_free(path)) == 0
        started = time.monotonic()
        with pytest.raises(TimeoutError), FileLock(path, 0o600).held(0.2):
            pass
        assert 0.2 <= time.monotonic() - started < 5
    assert in_child(lambda: is_free(path)) == 0


def test_a_thread_takes_it_again_and_another_thread_waits(path):
    lock = FileLock(path, 0o600)
    order = []

    def wait():
        with lock.held(20):
            order.append("other")

    other = threading.Thread(target=wait)
    with lock.held(1):
        other.start()
        with lock.held(0):
            order.append("again")
        assert not is_free(path)
        time.sleep(0.1)
        order.append("last")
    other.join(timeout=20)
    assert order == ["again", "last", "other"]


def test_an_error_gives_it_back(path):
    lock = FileLock(path, 0o600)
    with pytest.raises(KeyError), lock.held(1):
        raise KeyError
    assert is_free(path)


def test_a_child_that_was_forked_meanwhile_does_not_give_back_what_is_its_parents(path):
    lock = FileLock(path, 0o600)
    with lock.held(1):
        child = os.fork()
        if not child:
            os._exit(0)  # as if it left the block
        os.waitpid(child, 0)
        assert not is_free(path)
    held = lock.held(1)
    held.__enter__()
    assert in_child(lambda: held.__exit__(None, None, None) is None or True) == 0
    assert not is_free(path)
    held.__exit__(None, None, None)


def test_what_a_child_inherits_does_not_outlast_the_parents_block(path):
    here, there = os.pipe()
    with FileLock(path, 0o600).held(1):
        child = os.fork()
        if not child:
            os.close(there)
            os.read(here, 1)  # until the parent has looked
            os._exit(0)
    try:
        assert is_free(path)
    finally:
        os.close(there)
        os.close(here)
        os.waitpid(child, 0)


def test_it_ends_with_a_process_that_is_killed(path):
    here, there = os.pipe()
    child = os.fork()
    if not child:
        with FileLock(path, 0o600).held(1):
            os.write(there, b"x")
            time.sleep(60)
        os._exit(0)
    assert os.read(here, 1) == b"x"
    assert not is_free(path)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert is_free(path)


def test_its_file_has_the_mode_whatever_the_umask(path):
    before = os.umask(0o077)
    try:
        with FileLock(path, 0o660).held(1):
            assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
    finally:
        os.umask(before)


def test_a_folder_that_is_not_there_is_an_error_of_the_system(tmp_path):
    with pytest.raises(FileNotFoundError), FileLock(tmp_path / "no" / "lock", 0o600).held(1):
        pass
