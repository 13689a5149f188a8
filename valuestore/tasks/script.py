"""script: a task that runs a shell command in a folder of its own, on copies of files.

Inputs are copied into a new temporary folder, the command runs there, and if it ends well its outputs are
copied to where they belong. The command's text and the inputs' content are arguments, so a command runs again
when one of them changes; the environment is passed on and does not count. In a folder of the user's only
what has a local name is copied. ``@task(script=True)`` is made here as well: its body writes the command.
"""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any, ParamSpec, cast

from valuestore.errors import ArgumentError, ScriptFailed, TaskError
from valuestore.hashing import Digest
from valuestore.tasks.call import Expression
from valuestore.tasks.task import Task, task
from valuestore.values.files.dir import Dir
from valuestore.values.files.fence import check_writable
from valuestore.values.files.file import File
from valuestore.values.files.location import scheme_of
from valuestore.values.files.staging import Staging
from valuestore.values.registry import TypeRegistry

P = ParamSpec("P")
Place = File | Dir
_STDERR_KEPT = 4096
_STDOUT = "-"
_KINDS: dict[str, type[Place]] = {"File": File, "Dir": Dir}


def script(
    command: str,
    inputs: Any = (),
    outputs: Any = None,
    *,
    timeout_seconds: float | None = None,
    folder: str | Dir | None = None,
    tempdir: bool = True,
) -> Any:
    """A call that runs ``command``: with what its first line says after ``#!``, else with bash.

    That is ``bash -eu -o pipefail``, or ``sh -eu`` where there is none. ``inputs`` and ``outputs`` are a File
    or Dir, or lists, tuples and dicts of them. The local name is that of a ``stage()``, or else the key in a
    dict, or else the last part of the path. Inputs may be calls. The result is ``outputs`` as they are then,
    with what the command wrote to stdout in the place of ``File("-")``; without outputs, that alone.

    ``folder``: run there, not in a temporary folder; it is made if need be. What has no local name is then
    used where it is, and not copied. ``tempdir=False`` is short for the working folder.

    Raises: ArgumentError; BadReference for an output that only a stored value names. When it runs:
    ScriptFailed, and then no output was copied.
    """
    text = _text(command, "script")
    place = _folder(folder, tempdir)
    wanted = None if outputs is None else [_spec(name, one, place) for name, one in _named(outputs)]
    _check_outputs(wanted or [])
    given = [list(pair) for pair in _named(inputs)]
    shape = None if outputs is None else _shape(outputs, [spec[0] for spec in wanted or ()])
    if place is None:
        return _script(text, given, wanted, shape or "NoneType", timeout_seconds)
    return _script_in_folder(place, text, given, wanted, shape, timeout_seconds)


@task(name="script", namespace="valuestore", version="1")
def _script(
    command: str,
    inputs: list[list[Any]],
    outputs: list[list[str | None]] | None,
    shape: Any,
    timeout_seconds: float | None,
) -> Any:
    return _scripted(None, command, inputs, outputs, shape, timeout_seconds)


@task(name="script_in_folder", namespace="valuestore", version="1")
def _script_in_folder(
    folder: str,
    command: str,
    inputs: list[list[Any]],
    outputs: list[list[str | None]] | None,
    shape: Any,
    timeout_seconds: float | None,
) -> Any:
    return _scripted(folder, command, inputs, outputs, shape, timeout_seconds)


def _scripted(
    folder: str | None, command: str, inputs: Any, outputs: Any, shape: Any, timeout_seconds: float | None
) -> Any:
    with tempfile.TemporaryDirectory(prefix="valuestore-script-") as own:
        work = os.path.join(own, "work") if folder is None else folder
        os.makedirs(work, exist_ok=True)
        _stage(work, inputs, is_own=folder is None)
        stdout = _run(command, own, work, timeout_seconds)
        return (
            stdout if outputs is None else _filled(shape, _unstage(command, work, outputs, stdout), outputs)
        )


# --- @task(script=True) ---------------------------------------------------------------------------


class ScriptTask(Task[P, str]):
    """A task whose body gives the text of a command. The result is what that writes to stdout."""

    def __init__(self, func: Callable[P, str], /, **options: Any) -> None:
        super().__init__(func, **options)

        @functools.wraps(self.func)
        def body(*args: P.args, **kwargs: P.kwargs) -> str:
            command = _text(self.func(*args, **kwargs), self.name)
            with tempfile.TemporaryDirectory(prefix="valuestore-script-") as own:
                return _run(command, own, ".", None)

        self._body = body

    @property
    def body(self) -> Callable[..., Any]:
        """Runs the text that the function gives."""
        return self._body

    def identity(self, registry: TypeRegistry) -> tuple[Digest, frozenset[type]]:
        """Another one than that of the task that gives the text."""
        digest, classes = super().identity(registry)
        return registry.hash(["script", digest]), classes


def script_task(func: Any, is_script: Any, **options: Any) -> Any:
    """``@task(script=True)``: of a function the task, of none a decorator. Raises: TaskError."""
    if is_script is not True:
        raise TaskError(f"script={is_script!r}: it is True or False")
    return ScriptTask(func, **options) if func else functools.partial(ScriptTask, **options)


# --- what is given ----------------------------------------------------------------------------------


def _text(command: object, asked_by: str) -> str:
    if not _is_text(command) or not str(command).strip():
        raise ArgumentError(asked_by, "the command is a non-empty str without NUL")
    return textwrap.dedent(str(command)).strip() + "\n"


def _folder(folder: str | Dir | None, tempdir: bool) -> str | None:
    """The folder to run in, None for a temporary one."""
    if folder is None:
        return None if tempdir else "."
    place = folder if isinstance(folder, Dir) else Dir(folder)
    if scheme_of(place.path):
        raise ArgumentError("script", f"folder={place.path!r}: it is a local folder")
    check_writable(place.path)
    return place.path


def _named(places: Any, name: str | None = None) -> Iterator[tuple[str | None, Any]]:
    """Local name, or None for the default, and place of each."""
    if isinstance(places, Mapping):
        for key, place in places.items():
            yield from _named(place, key)
    elif isinstance(places, list | tuple):
        for place in places:
            yield from _named(place)
    elif isinstance(places, Staging):
        yield places.local.path, places.remote
    elif isinstance(places, Place | Expression):
        yield name, places
    else:
        kind = type(places).__name__
        raise ArgumentError("script", f"a File, a Dir or what stage() gives is needed, not a {kind}")


def _spec(name: str | None, place: Any, folder: str | None) -> list[str | None]:
    """An output as text: where it goes counts, not what is there before."""
    if not isinstance(place, Place):
        raise ArgumentError(
            "script", "an output is a place that is known before the command runs, not a call"
        )
    if isinstance(place, File) and place.path == _STDOUT:
        return [None, _STDOUT, _STDOUT, ""]
    check_writable(place.path)
    kind = "File" if isinstance(place, File) else "Dir"
    local = place.basename if name is None and folder is None else name
    return [local, kind, place.path, place.identity_kind]


def _shape(outputs: Any, names: list[str | None]) -> Any:
    """How to give them back: what they are in, or with numbers in their places what they are in and how."""
    is_dict = isinstance(outputs, Mapping)
    many = outputs.values() if is_dict else outputs if isinstance(outputs, list | tuple) else [outputs]
    is_nested = any(isinstance(one, Mapping | list | tuple) for one in many)
    if is_nested or (is_dict and names != list(outputs)):
        return _numbered(outputs, itertools.count())
    return "dict" if is_dict else "tuple" if isinstance(outputs, tuple) else type(outputs).__name__


def _numbered(outputs: Any, numbers: Iterator[int]) -> Any:
    if isinstance(outputs, Mapping):
        return {key: _numbered(one, numbers) for key, one in outputs.items()}
    if isinstance(outputs, list | tuple):
        made = [_numbered(one, numbers) for one in outputs]
        return tuple(made) if isinstance(outputs, tuple) else made
    return next(numbers)


def _filled(shape: Any, made: list[Any], outputs: list[list[str | None]]) -> Any:
    if isinstance(shape, int):
        return made[shape]
    if isinstance(shape, dict):
        return {key: _filled(one, made, outputs) for key, one in shape.items()}
    if isinstance(shape, list | tuple):
        return type(shape)(_filled(one, made, outputs) for one in shape)
    if shape == "dict":
        return {name: place for (name, *_), place in zip(outputs, made, strict=True)}
    return tuple(made) if shape == "tuple" else made if shape == "list" else made[0]


def _is_text(text: object) -> bool:
    return isinstance(text, str) and "\0" not in text


def _shown(kind: object, path: object) -> str:
    return f"{kind}({path!r})"


def _check_names(named: list[tuple[str, str]]) -> None:
    """``named``: the local name of each, and what it is. Raises: ArgumentError."""
    known: dict[str, str] = {}
    for name, shown in named:
        parts = name.split("/") if _is_text(name) else [""]
        if not all(parts) or ".." in parts or parts == ["."]:
            raise ArgumentError("script", f"{name!r} is no path inside the script's folder; use stage(local)")
        if name in known:
            both = f"{known[name]} and {shown} are both called {name!r} in the script's folder"
            raise ArgumentError("script", f"{both}; name one of them by stage(local)")
        known[name] = shown


def _check_outputs(outputs: list[list[Any]]) -> None:
    files = [(name, _shown(kind, path)) for name, kind, path, _ in outputs if kind != _STDOUT]
    _check_names([(name, shown) for name, shown in files if name is not None])
    for _, shown in files:
        if [each for _, each in files].count(shown) > 1:
            raise ArgumentError("script", f"two of the outputs are {shown}")


def _stage(work: str, inputs: list[list[Any]], *, is_own: bool) -> None:
    for pair in inputs:
        if not isinstance(pair[1], Place):
            raise ArgumentError("script", f"an input is a File or Dir, not a {type(pair[1]).__name__}")
    named = [(place.basename if name is None and is_own else name, place) for name, place in inputs]
    copied = [(name, place) for name, place in named if name is not None]
    _check_names([(name, _shown(type(place).__name__, place.path)) for name, place in copied])
    for name, place in copied:
        place.copy_to(type(place)(os.path.join(work, name)))


def _interpreter(command: str) -> list[str]:
    """What the first line says, as Linux reads it: a program and at most one argument; else a shell."""
    said = command[2:].partition("\n")[0].strip().split(None, 1) if command.startswith("#!") else []
    bash = shutil.which("bash")
    return said or ([bash, "-eu", "-o", "pipefail"] if bash else ["sh", "-eu"])


_running: set[subprocess.Popen[bytes]] = set()


def stop_all() -> None:
    """Stop the scripts that run in this process, and all that they have started."""
    for process in list(_running):
        _kill(process)


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _run(command: str, folder: str, work: str, timeout_seconds: float | None) -> str:
    """Run it in ``work``, with all else that it takes in ``folder``; what it wrote to stdout."""
    path = os.path.join(folder, "command")
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(command)
    words = [*_interpreter(command), path]
    with (
        open(os.path.join(folder, "stdout"), "wb") as stdout,
        open(os.path.join(folder, "stderr"), "wb") as stderr,
    ):
        try:
            process = subprocess.Popen(  # noqa: S603  # running the user's command is what it is for
                words,
                cwd=work,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        except OSError as error:
            problem = f"{words[0]} cannot be started: {error.strerror}"
            raise ScriptFailed(_label(command), problem) from None
        _running.add(process)
        try:
            code = process.wait(timeout_seconds)
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                problem = f"it was stopped after {timeout_seconds:g} s"
                raise ScriptFailed(_label(command), problem, _end_of_stderr(folder)) from None
            raise
        finally:
            _running.discard(process)
    if code:
        problem = f"exit code {code}" if code > 0 else f"killed by signal {-code}"
        raise ScriptFailed(_label(command), problem, _end_of_stderr(folder), code)
    with open(os.path.join(folder, "stdout"), encoding="utf-8", errors="replace") as written:
        return written.read()


def _unstage(command: str, work: str, outputs: list[list[Any]], stdout: str) -> list[Any]:
    """Copy the outputs to their places, once all are found to be there."""
    made: list[Any] = []
    pairs = []
    for name, kind, path, identity in outputs:
        if kind == _STDOUT:
            made.append(stdout)
            continue
        place = _KINDS[kind]
        target = place(path, cast(Any, identity))
        local = target if name is None else place(os.path.join(work, name))
        if not (local.isfile() if isinstance(local, File) else local.exists()):
            raise ScriptFailed(_label(command), f"it ended well, but made no {kind} {name or path!r}")
        pairs.append((local, target))
        made.append(target)
    for local, target in pairs:
        local.copy_to(cast(Any, target))
    return made


def _label(command: str) -> str:
    lines = command.strip().split("\n")
    first = next((line for line in lines if not line.startswith("#!")), lines[0])
    return first if len(first) <= 80 else first[:77] + "..."


def _end_of_stderr(folder: str) -> str:
    with open(os.path.join(folder, "stderr"), "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - _STDERR_KEPT))
        return stream.read().decode("utf-8", "replace").strip()
