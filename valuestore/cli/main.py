"""The console script: puts the commands together, calls one, and makes an exit code of what is raised."""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from types import SimpleNamespace
from typing import Annotated

import typer

import valuestore
from valuestore.cli.failure import CLOSED_PIPE, INTERRUPTED, REPOSITORY, leave, report, say, show_warning

_COMMANDS = {
    "run": "run.run",
    "log": "ask.log",
    "show": "ask.show",
    "get": "keep.value",
    "put": "keep.value",
    "tag": "ask.tag",
    "catalog": "keep.catalog",
    "why": "ask.why",
    "task": "ask.task",
    "diff": "ask.why",
    "lineage": "ask.lineage",
    "runs": "ask.runs",
    "sql": "ask.sql",
    "db": "keep.db",
    "payloads": "keep.payloads",
    "keys": "keep.keys",
    "init": "keep.init",
    "stats": "keep.init",
    "doctor": "keep.doctor",
    "gc": "keep.gc",
    "delete": "keep.gc",
    "pin": "keep.gc",
    "unpin": "keep.gc",
    "verify": "keep.verify",
    "repair": "keep.verify",
    "push": "keep.share",
    "pull": "keep.share",
    "export": "keep.share",
    "import": "keep.share",
    "backup": "keep.share",
    "repo": "keep.repo",
}
"""Each is a function or a group of that name in a module of a room. In the order of the help."""

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EPIPE}
"""Of an error without a file: the standard output cannot be written. Those of files are typed elsewhere."""


def _app(arguments: Sequence[str]) -> typer.Typer:
    """The command that is named, or all of them: to make and to import all takes as long as most commands."""
    app = typer.Typer(
        name="valuestore",
        add_completion=False,
        invoke_without_command=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # docstrings of users' tasks and of ours are text, not markup
    )
    app.callback()(options)
    named = next((each for each in arguments if not each.startswith("-")), "")
    for name in [named] if named in _COMMANDS else _COMMANDS:
        module = import_module(f"valuestore.cli.{_COMMANDS[name]}")
        command = getattr(module, "import_" if name == "import" else name)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, context_settings={"allow_interspersed_args": name != "run"})(command)
    return app


def _print_version(asked: bool) -> None:
    if asked:
        print(f"valuestore {valuestore.__version__}")
        raise typer.Exit


def options(
    context: typer.Context,
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks; also VALUESTORE_DEBUG=1.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version.")
    ] = False,
) -> None:
    """Pipelines that remember: nothing is computed twice, and every result can be asked where it came from.

    \b
    Examples:
      valuestore run words.py count --book README.md
      valuestore run words.py count --book README.md --dry-run    what would run, and why
      valuestore log                what ran; `valuestore show -` has the jobs of the newest execution
      valuestore why count          why the newest job of a task ran; `valuestore diff ~1` what else is new
      valuestore runs fit --sort loss         parameters and metrics of all runs of a task
      valuestore get - > result     what the newest execution gave

    \b
    Exit codes: 0 done; 1 the pipeline's own code raised, there is no such record, or executions differ;
    2 wrong command line, arguments or settings;
    3 the repository, its database, its store or the output cannot be used; 130 interrupted.
    """
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        print(context.get_help())


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Raises: only what is a defect of this program."""
    chosen = SimpleNamespace(debug=False)  # what is given before the command
    try:
        code = _app(arguments)(list(arguments), prog_name="valuestore", standalone_mode=False, obj=chosen)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit:  # typer's, for a reader that went away
        return CLOSED_PIPE
    except Exception as error:  # noqa: BLE001  # reported, or raised again
        if isinstance(error, OSError) and error.filename is None and error.errno in _FULL:
            return _say_unwritten(error)
        return report(error, debug=chosen.debug)
    return code if isinstance(code, int) else 0


def _say_unwritten(error: OSError) -> int:
    """The exit code when the standard output takes no more: its reader has left, or a disk is full."""
    leave(sys.stdout)
    if isinstance(error, BrokenPipeError):
        return CLOSED_PIPE
    say(f"the output could not be written: {error.strerror}")
    return REPOSITORY


def main() -> int:
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed before (`>&-`)
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  # to the end of the process
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a lone surrogate, or a terminal without UTF-8
    warnings.showwarning = show_warning
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except OSError as error:
        return _say_unwritten(error)
    if code == INTERRUPTED:  # everything is written; do not wait for task bodies that still run in threads
        sys.stderr.flush()
        os._exit(code)
    return code
