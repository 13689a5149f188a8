"""The console script: puts the commands together, calls one, and makes an exit code of what is raised."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

import valuestore
from valuestore.cli.ask.lineage import lineage
from valuestore.cli.ask.log import log
from valuestore.cli.ask.show import show
from valuestore.cli.ask.sql import sql
from valuestore.cli.ask.tag import tag
from valuestore.cli.ask.task import task
from valuestore.cli.ask.why import diff, why
from valuestore.cli.failure import CLOSED_PIPE, INTERRUPTED, report, show_warning
from valuestore.cli.keep.db import db
from valuestore.cli.keep.doctor import doctor
from valuestore.cli.keep.init import init, stats
from valuestore.cli.keep.keys import keys
from valuestore.cli.keep.payloads import payloads
from valuestore.cli.run.run import run

app = typer.Typer(
    name="valuestore",
    add_completion=False,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # docstrings of users' tasks and of ours are text, not markup
)
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command()(log)
app.command()(show)
app.add_typer(tag, name="tag")
app.command()(why)
app.command()(task)
app.command()(diff)
app.command()(lineage)
app.command()(sql)
app.add_typer(db, name="db")
app.add_typer(payloads, name="payloads")
app.add_typer(keys, name="keys")
app.command()(init)
app.command()(stats)
app.command()(doctor)


@dataclass
class Options:
    """What was given before the command."""

    debug: bool = False


def _print_version(asked: bool) -> None:
    if asked:
        print(f"valuestore {valuestore.__version__}")
        raise typer.Exit


@app.callback()
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
    Exit codes: 0 done; 1 the pipeline's own code raised, there is no such record, or executions differ;
    2 wrong command line, arguments or settings;
    3 the repository, its database or its store cannot be used; 130 interrupted.
    """
    context.obj.debug = debug
    if context.invoked_subcommand is None:
        print(context.get_help())


def invoke(arguments: Sequence[str]) -> int:
    """Run one command line; its exit code. Raises: only what is a defect of this program."""
    chosen = Options()
    try:
        code = app(list(arguments), prog_name="valuestore", standalone_mode=False, obj=chosen)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except SystemExit:  # typer's, for a reader that went away
        return CLOSED_PIPE
    except Exception as error:  # noqa: BLE001  # reported, or raised again
        return report(error, debug=chosen.debug)
    return code if isinstance(code, int) else 0


def main() -> int:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a lone surrogate, or a terminal without UTF-8
    warnings.showwarning = show_warning
    code = invoke(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:  # the reader has seen enough, as in `valuestore log | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED_PIPE
    if code == INTERRUPTED:  # everything is written; do not wait for task bodies that still run in threads
        sys.stderr.flush()
        os._exit(code)
    return code
