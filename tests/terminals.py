"""Terminals: programs on a pseudo-terminal, and what a person would see there (pyte emulates a VT100)."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from pathlib import Path

import pyte

_SECONDS = 60


class OnTerminal:
    """A program whose stdin and stderr are a terminal, as is its stdout unless that is given.

    ``frames`` are the texts that were on the screen one after the other, ``raw`` is all that was written.
    """

    def __init__(self, command, folder, *, columns=80, rows=24, stdout=None, **environment):
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        known = {name: text for name, text in os.environ.items() if name != "NO_COLOR"}
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs if stdout is None else stdout,
            stderr=theirs,
            cwd=folder,
            env={**known, "TERM": "xterm", **environment},
            start_new_session=True,
        )
        os.close(theirs)
        self.screen = pyte.Screen(columns or 80, rows or 24)
        self._stream = pyte.ByteStream(self.screen)
        self.raw, self.frames = b"", []

    @property
    def text(self) -> str:
        """What is on the screen, without empty lines and what is empty at the end of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display if line.strip())

    def read(self) -> bool:
        """Take in what the program has written: whether it may write more."""
        if select.select([self._ours], [], [], 1.0)[0]:
            try:
                data = os.read(self._ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                data = b""
            if not data:
                return False
            self.raw += data
            self._stream.feed(data)
            self.frames.append(self.text)
        return True

    def read_until(self, what) -> None:
        """Until the frames are such that ``what(text)`` is true."""
        end = time.monotonic() + _SECONDS
        while not what(self.text):
            assert self.read(), self.text
            assert time.monotonic() < end, self.text

    def ended(self) -> int:
        """The exit code, when all is read."""
        end = time.monotonic() + _SECONDS
        while self.read():
            assert time.monotonic() < end, self.text
        self.hang_up()
        return self.process.wait(_SECONDS)

    def hang_up(self) -> None:
        """Close the terminal."""
        if self._ours >= 0:
            os.close(self._ours)
            self._ours = -1


def script(folder: Path, text: str) -> Path:
    """A Python file there."""
    file = folder / "script.py"
    file.write_text(text)
    return file
