"""script: a task that runs a shell command in a folder of its own, on copies of files.

Inputs are copied into a new temporary folder, the command runs there, and if it ends well its outputs are
copied to where they belong. The command's text and the inputs' content are arguments, so a command runs again
when one of them changes; the environment is passed on and does not count.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from valuestore.errors import ArgumentError, ScriptFailed
from valuestore.tasks.call import Expression
from valuestore.tasks.task import task
from valuestore.values.files.dir import Dir
from valuestore.values.files.fence import check_writable
from valuestore.values.files.file import File
from valuestore.values.files.staging import Staging

Place = File | Dir
_STDERR_KEPT = 4096
_KINDS: dict[str, type[Place]] = {"File": File, "Dir": Dir}


def script(
    command: str, inputs: Any = (), outputs: Any = None, *, timeout_seconds: float | None = None
) -> Any:
    """A call that runs ``command`` with bash (``-eu -o pipefail``; without bash, with ``sh -eu``).

    ``inputs`` and ``outputs`` are a File or Dir, a list or tuple of them, or a dict of local name -> File or
    Dir; a local name is by default the last part of the path, or the local side of a ``stage()``. Inputs may
    be calls. The result is ``outputs`` as they are then; without outputs, what the command wrote to stdout.

    Raises: ArgumentError; BadReference for an output that only a stored value names. When it runs:
    ScriptFailed, and then no output was written.
    """
    if not _is_text(command) or not command.strip():
        raise ArgumentError("script", "the command is a non-empty str without NUL")
    wanted = None if outputs is None else [_spec(name, place) for name, place in _named(outputs)]
    _check_names([name for name, *_ in wanted or ()])
    given = [list(pair) for pair in _named(inputs)]
    shape = "dict" if isinstance(outputs, Mapping) else type(outputs).__name__
    return _script(textwrap.dedent(command).strip() + "\n", given, wanted, shape, timeout_seconds)


@task(name="script", namespace="valuestore", version="1")
def _script(
    command: str,
    inputs: list[list[Any]],
    outputs: list[list[str]] | None,
    shape: str,
    timeout_seconds: float | None,
) -> Any:
    with tempfile.TemporaryDirectory(prefix="valuestore-script-") as folder:
        work = os.path.join(folder, "work")
        os.mkdir(work)
        _stage(work, inputs)
        _run(command, folder, timeout_seconds)
        if outputs is None:
            with open(os.path.join(folder, "stdout"), encoding="utf-8", errors="replace") as stream:
                return stream.read()
        made = _unstage(command, work, outputs)
    if shape == "dict":
        return {name: place for (name, *_), place in zip(outputs, made, strict=True)}
    return tuple(made) if shape == "tuple" else made if shape == "list" else made[0]


def _named(places: Any) -> list[tuple[str | None, Any]]:
    """Local name, or None for the default, and place of each."""
    if isinstance(places, Mapping):
        pairs: Iterable[tuple[str | None, Any]] = places.items()
    else:
        many = places if isinstance(places, list | tuple) else [places]
        pairs = [(None, place) for place in many]
    return [_pair(name, place) for name, place in pairs]


def _pair(name: str | None, place: Any) -> tuple[str | None, Any]:
    if isinstance(place, Staging):
        return (place.local.path if name is None else name), place.remote
    if isinstance(place, Place | Expression):
        return name, place
    raise ArgumentError(
        "script", f"a File, a Dir or what stage() gives is needed, not a {type(place).__name__}"
    )


def _spec(name: str | None, place: Any) -> list[str]:
    """An output as text: where it goes counts, not what is there before."""
    if not isinstance(place, Place):
        raise ArgumentError(
            "script", "an output is a place that is known before the command runs, not a call"
        )
    check_writable(place.path)
    kind = "File" if isinstance(place, File) else "Dir"
    return [place.basename if name is None else name, kind, place.path, place.identity_kind]


def _is_text(text: object) -> bool:
    return isinstance(text, str) and "\0" not in text


def _check_names(names: list[str]) -> None:
    for name in names:
        parts = name.split("/") if _is_text(name) else [""]
        if not all(parts) or ".." in parts or parts == ["."]:
            raise ArgumentError("script", f"{name!r} is no path inside the script's folder; use stage(local)")
        if names.count(name) > 1:
            raise ArgumentError(
                "script", f"two of the files are called {name!r}; use stage(local) to rename one"
            )


def _stage(work: str, inputs: list[list[Any]]) -> None:
    for pair in inputs:
        if not isinstance(pair[1], Place):
            raise ArgumentError("script", f"an input is a File or Dir, not a {type(pair[1]).__name__}")
    named = [(place.basename if name is None else name, place) for name, place in inputs]
    _check_names([name for name, _ in named])
    for name, place in named:
        place.copy_to(type(place)(os.path.join(work, name)))


def _run(command: str, folder: str, timeout_seconds: float | None) -> None:
    path = os.path.join(folder, "command")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(command)
    bash = shutil.which("bash")
    shell = [bash, "-eu", "-o", "pipefail", path] if bash else ["sh", "-eu", path]
    with (
        open(os.path.join(folder, "stdout"), "wb") as stdout,
        open(os.path.join(folder, "stderr"), "wb") as stderr,
    ):
        process = subprocess.Popen(  # noqa: S603  # running the user's command is what it is for
            shell,
            cwd=os.path.join(folder, "work"),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(timeout_seconds)
        except BaseException as error:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                problem = f"it was stopped after {timeout_seconds:g} s"
                raise ScriptFailed(_label(command), problem, _end_of_stderr(folder)) from None
            raise
    if code:
        problem = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        raise ScriptFailed(_label(command), problem, _end_of_stderr(folder), code)


def _unstage(command: str, work: str, outputs: list[list[str]]) -> list[Place]:
    """Copy the outputs to their places, once all are found to be there."""
    pairs = []
    for name, kind, path, identity in outputs:
        place = _KINDS[kind]
        local = place(os.path.join(work, name))
        if not (local.isfile() if isinstance(local, File) else local.exists()):
            raise ScriptFailed(_label(command), f"it ended well, but made no {kind} {name!r}")
        pairs.append((local, place(path, cast(Any, identity))))
    for local, target in pairs:
        local.copy_to(cast(Any, target))
    return [target for _, target in pairs]


def _label(command: str) -> str:
    first = command.strip().partition("\n")[0]
    return first if len(first) <= 80 else first[:77] + "..."


def _end_of_stderr(folder: str) -> str:
    with open(os.path.join(folder, "stderr"), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _STDERR_KEPT))
        return stream.read().decode("utf-8", "replace").strip()
