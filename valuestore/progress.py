"""Progress: how a run goes, for people: some lines at the foot of the terminal, or below a notebook's cell.

A thread asks how it goes a few times a second, and draws it. Of a run it hears which jobs have ended, and no
more, so it costs a job next to nothing. A line of a log for each job is an observer's (observe/adapters.py).
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from threading import Event, RLock, Thread
from typing import Any
from unicodedata import combining, east_asian_width

from valuestore.config import may_colour, may_draw
from valuestore.lazy import renew_after_fork

_DELAY_SECONDS = 1.0
"""Most runs are over by then."""
_PAUSE_SECONDS = 0.25
_SHARE_OF_TIME = 0.01
"""What asking may take of it: a run with very many calls is asked less often."""
_MOST_TASKS = 8
_NOTEBOOK_WIDTH = 100
_MOMENTS = 40
"""How many the rate is taken from: those of ten seconds."""
_OUTCOMES = {"done": "32", "cached": "36", "failed": "1;31"}
_RUNNING, _DIM = "33", "2"
_WIPE, _DOWN, _SAVE, _RESTORE = "\x1b[J", "\x1bD", "\x1b7", "\x1b8"
"""What a terminal does: clear all from the cursor on, move down, and keep where the cursor is."""

Parts = list[tuple[str, str]]
"""Texts with their styles."""


def is_watched() -> bool:
    """Whether there is somebody who would see it: stderr is a terminal, or this is a notebook."""
    return _is_notebook() or (may_draw() and _is_terminal(sys.stderr))


@contextmanager
def shown(progress: Progress, *, at_once: bool) -> Iterator[None]:
    """Show it while the block runs, unless another run is shown; ``at_once``, or if the run is no short one.

    For the main thread alone.
    """
    if _watcher.screen is not None:
        yield
        return
    screen = Notebook(progress) if _is_notebook() else Terminal(progress)
    try:
        _watcher.show(screen, _PAUSE_SECONDS if at_once else _DELAY_SECONDS)
        yield
    finally:
        _watcher.screen = None
        screen.close()


class _Watcher:
    """Draws what is to be shown, in one thread for all runs: to start one takes as long as a small run."""

    def __init__(self) -> None:
        self.screen: Notebook | Terminal | None = None
        self._due, self._context = 0.0, copy_context()
        self._forget()
        renew_after_fork(self._forget)

    def _forget(self) -> None:
        """In a child process, which has no thread of its parent's."""
        self._has_thread, self._is_needed = False, Event()
        if self.screen is not None:
            self.screen.is_over, self.screen = True, None

    def show(self, screen: Notebook | Terminal, delay: float) -> None:
        """Draw it now and then, after a while."""
        self._context = copy_context()  # by which a notebook knows the cell
        self._due, self.screen = time.monotonic() + delay, screen
        if not self._has_thread:
            self._has_thread = True
            Thread(target=self._go, name="valuestore-progress", daemon=True).start()
        if not self._is_needed.is_set():
            self._is_needed.set()

    def _go(self) -> None:
        pause = _PAUSE_SECONDS
        while self._is_needed.wait():
            time.sleep(pause)
            began, screen = time.thread_time(), self.screen
            if screen is None:
                self._is_needed.clear()
                if self.screen is not None:  # meanwhile
                    self._is_needed.set()
            elif time.monotonic() >= self._due:
                try:
                    self._context.run(screen.draw)
                except Exception:  # noqa: BLE001  # mostly the terminal is gone; the run is not to hear of it
                    self._due = float("inf")
            pause = max(_PAUSE_SECONDS, (time.thread_time() - began) / _SHARE_OF_TIME)


_watcher = _Watcher()


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream is not None and stream.isatty())
    except (OSError, ValueError, AttributeError):  # it is closed, or not even a stream
        return False


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


# --- What is said


class Progress:
    """How one run goes. The run adds what has ended; another thread asks for lines.

    ``execution`` has the counts of all jobs. ``ask`` gives, by task, the bodies that run and the calls that
    are to end, and the tasks that make calls: which they will make is not known.
    """

    def __init__(
        self, execution: Any, ask: Callable[[], tuple[Counter[str], Counter[str], set[str]]]
    ) -> None:
        self._execution, self._ask = execution, ask
        self.names: dict[str, str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        self.took: Counter[str] = Counter()
        self._recent: deque[tuple[float, int]] = deque(maxlen=_MOMENTS)
        self._most_at_once = 1

    def ended(self, rows: Iterable[Any]) -> None:
        """Count these rows of jobs, of tasks that are among ``names`` by their hashes."""
        for row in rows:
            task = self.names.get(row.task_hash, row.task_hash)
            self.counts[task, row.status] += 1
            if row.status == "done":
                self.took[task] += row.ended - row.started

    def lines(self, width: int, most: int, *, colour: bool = False) -> list[str]:
        """A line of the whole run, and ``most`` of its tasks, the busiest first, or fewer and the rest."""
        (running, unfinished, callers), counts, took = self._ask(), self.counts.copy(), self.took.copy()
        tasks = {task for task, _ in counts} | running.keys()
        busiest = sorted(tasks, key=lambda task: (-running[task], -took[task], task))
        named = busiest if len(busiest) <= most else busiest[: max(0, most - 1)]
        groups = {task: [task] for task in named}
        if (rest := busiest[len(named) :]) and most:
            groups[f"{len(rest)} more"] = rest
        room = min(max(map(len, groups), default=0), max(8, width // 3))
        known = {task: took[task] / counts[task, "done"] / 1e6 for task in tasks if counts[task, "done"]}
        left = {task: number - running[task] / 2 for task, number in unfinished.items()}
        seconds = sum(left[task] * known[task] for task in left.keys() & known.keys() - callers)
        is_all = left.keys() <= known.keys() - callers
        found = [self._whole(running.total(), unfinished.total(), seconds, is_all=is_all)]
        for name, those in groups.items():
            ended = {how: sum(counts[task, how] for task in those) for how in _OUTCOMES}
            parts = _counts(sum(running[task] for task in those), ended)
            if ended["done"]:
                parts.append((f"{sum(took[task] for task in those) / ended['done'] / 1e6:.3g} s each", _DIM))
            found.append([((name if len(name) <= room else f"{name[: room - 1]}…").ljust(room), ""), *parts])
        return [_fitted(parts, width, colour=colour) for parts in found]

    def _whole(self, running: int, unfinished: int, left: float, *, is_all: bool) -> Parts:
        """Of all tasks; ``left`` is how long the calls that are known would take one by one."""
        numbers, now = self._execution.counts, self._execution.seconds
        ended = {how: getattr(numbers, how) for how in _OUTCOMES}
        self._recent.append((now, sum(ended.values())))
        (since, before), (_, after) = self._recent[0], self._recent[-1]
        self._most_at_once = max(self._most_at_once, running)
        left /= self._most_at_once
        dim = [f"{unfinished - running} waiting"] if unfinished > running else []
        dim.append(_length(now))
        dim += [f"{(after - before) / (now - since):.3g}/s"] if after > before and now > since else []
        dim += [f"{'' if is_all else 'at least '}{_length(left)} left"] if left >= 1 else []
        return [*_counts(running, ended), *((text, _DIM) for text in dim)]


def _counts(running: int, ended: dict[str, int]) -> Parts:
    numbers = [("running", running, _RUNNING), *((how, ended[how], _OUTCOMES[how]) for how in _OUTCOMES)]
    return [(f"{number} {how}", style) for how, number, style in numbers if number]


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _fitted(parts: Parts, width: int, *, colour: bool) -> str:
    """The parts as a line that takes at most so many columns; what is not printable, as a question mark."""
    line = ""
    for text, style in parts:
        fitting = ""
        for char in f"  {text}" if line else text:
            width -= 0 if combining(char) else 2 if east_asian_width(char) in "WF" else 1
            if width < 0:
                break
            fitting += char if char.isprintable() else "?"
        line += f"\x1b[{style}m{fitting}\x1b[m" if colour and style and fitting else fitting
    return line


# --- Where it is shown


class Notebook:
    """What is below a cell, replaced each time; the last of it stays."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._shown: Any = None
        self.is_over = False

    def draw(self) -> None:
        text = {"text/plain": "\n".join(self._progress.lines(_NOTEBOOK_WIDTH, _MOST_TASKS))}
        if self._shown is None:
            self._shown = sys.modules["IPython"].display.display(text, raw=True, display_id=True)
        else:
            self._shown.update(text, raw=True)

    def close(self) -> None:
        """Show how it went, if it was shown at all."""
        if self._shown is not None:
            self.draw()


class Terminal:
    """Lines below the one where the cursor is. That stays where it was, and is never hidden.

    So what others write goes on where it would, and a process that is killed leaves nothing in the way. What
    Python writes wipes the lines away before; they are drawn again when their time comes.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress, self._stream = progress, sys.stderr
        self._lock = RLock()
        self._is_drawn = self.is_over = False

    def draw(self) -> None:
        """Draw how it goes. Raises: OSError or ValueError if the terminal is gone."""
        size = os.get_terminal_size(self._stream.fileno())
        most = min(_MOST_TASKS, max(0, (size.lines or 24) - 3))
        lines = self._progress.lines((size.columns or 80) - 1, most, colour=may_colour())
        room = _DOWN * len(lines) + f"\x1b[{len(lines)}A"  # which may scroll, and keeps the column
        with self._lock:
            if self.is_over:
                return
            for name in ("stdout", "stderr"):
                stream = getattr(sys, name)
                if _is_terminal(stream):
                    stream.flush()
                    if type(stream) is not Passing:
                        setattr(sys, name, Passing(stream, self))
            self._stream.write(_WIPE + room + _SAVE + "".join(f"\r\n{line}" for line in lines) + _RESTORE)
            self._stream.flush()
            self._is_drawn = True

    @contextmanager
    def wiped(self) -> Iterator[None]:
        """Have nothing drawn while the block runs."""
        if self.is_over:
            yield
            return
        with self._lock:
            self._wipe()
            yield

    def _wipe(self) -> None:
        if self._is_drawn:
            self._is_drawn = False
            with suppress(OSError, ValueError):
                self._stream.write(_WIPE)
                self._stream.flush()

    def close(self) -> None:
        """Wipe it away, and give the streams back; not if the terminal takes nothing at the moment."""
        is_free = self._lock.acquire(timeout=1.0)
        if is_free:
            self._wipe()
        self.is_over = True
        if is_free:
            self._lock.release()
        for name in ("stdout", "stderr"):
            if type(stream := getattr(sys, name)) is Passing:
                setattr(sys, name, stream.stream)


class Passing:
    """A stream to the terminal, as long as there is something drawn."""

    def __init__(self, stream: Any, terminal: Terminal) -> None:
        self.stream, self._terminal = stream, terminal

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self._terminal.wiped():
            return self.stream.write(text)  # type: ignore[no-any-return]  # as the stream does

    def writelines(self, lines: Iterable[str]) -> None:
        with self._terminal.wiped():
            self.stream.writelines(lines)
