"""Children of a process with one thread, killed or waited for, and the lines that they say.

Lines go by ``writev``, which nobody else uses: other calls are made to fail in children.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable


def fork(work: Callable[[], object]) -> int:
    """Do ``work`` in a child, which ends with 0, with 1 and a traceback if it raises."""
    give_up = time.monotonic() + 10
    while threading.active_count() > 1:  # those of a scheduler end soon after it is closed
        assert time.monotonic() < give_up, threading.enumerate()
        time.sleep(0.001)
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def lines_until_killed(work: Callable[[Callable[[str], None]], object], seconds: float) -> list[str]:
    """The whole lines that a child said before it was killed, so long after its first."""
    reader, writer = os.pipe()
    pid = fork(lambda: work(lambda line: os.writev(writer, [f"{line}\n".encode()])))
    os.close(writer)
    select.select([reader], [], [], 30)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    with os.fdopen(reader) as lines:
        said = [line[:-1] for line in lines if line.endswith("\n")]
    code = exit_code(pid)
    if code != -signal.SIGKILL:
        raise AssertionError(f"the child ended by itself with {code}")
    return said


def lines_of(work: Callable[[Callable[[str], None]], object]) -> tuple[int, list[str]]:
    """The exit code of a child that is let end, and the lines that it said."""
    reader, writer = os.pipe()
    pid = fork(lambda: work(lambda line: os.writev(writer, [f"{line}\n".encode()])))
    os.close(writer)
    with os.fdopen(reader) as lines:
        said = [line[:-1] for line in lines]
    return exit_code(pid), said
