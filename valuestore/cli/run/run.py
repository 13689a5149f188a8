"""``valuestore run``: run a task of a file, show how it goes, print what it gave."""

from __future__ import annotations

import inspect
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from valuestore.cli.failure import INTERRUPTED, PIPELINE, Usage, report_pipeline, say
from valuestore.cli.terminal import RepositoryOption, short, shown
from valuestore.errors import TaskError

if TYPE_CHECKING:
    from valuestore.cli.run.arguments import TaskOptions
    from valuestore.cli.run.task import Pipeline
    from valuestore.scheduler.record import Execution
    from valuestore.tasks.task import Task

_OWN = {"tag": True, "repository": True, "workers": True, "json": False, "help": False}
"""Options of ``run`` that may stand behind TASK, and whether they take a value."""

_LONGEST_REPR = 10_000


def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file, or package.module.")],
    rest: Annotated[
        list[str] | None,
        typer.Argument(metavar="TASK", help="A task in it; then its arguments: --parameter value ..."),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Label the execution; may be repeated.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Threads. Default: one per processor.")
    ] = None,
    repository: RepositoryOption = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a task. What ran before, with equal arguments and equal code, is not run again.

    Without TASK, lists the tasks of FILE; `valuestore run FILE TASK --help` shows a task's parameters.
    A list is --name 1 2 3, a repeated option or a JSON array; a bool is --name or --no-name. These options
    may also stand behind TASK, unless it has parameters of the same name.

    The result goes to stdout: text as it is, a File as its path, other values as Python shows them.
    """
    debug = bool(context.obj and context.obj.debug)
    try:
        from valuestore.cli.run.task import load_pipeline

        pipeline = _loaded(load_pipeline, file, debug)
        name, *tokens = rest or ["--help"]
        if name == "--help":
            _list_tasks(pipeline)
            return
        from valuestore.cli.run.arguments import TaskOptions

        options = TaskOptions(pipeline.task(name), _OWN)
        given = options.read(tokens)
        if given.options["help"]:
            _show_task(file, name, options)
            return
        call = options.call(given.arguments)
        _run(
            call,
            tags=_tags([*(tag or ()), *given.options["tag"]]),
            workers=_workers(given.options["workers"]) or workers,
            repository=Path(given.options["repository"][-1]) if given.options["repository"] else repository,
            as_json=as_json or bool(given.options["json"]),
            debug=debug,
        )
    except KeyboardInterrupt:
        say("interrupted; what finished is kept, and the next run uses it")
        raise typer.Exit(INTERRUPTED) from None


def _run(
    call: Any,
    *,
    tags: dict[str, Any],
    workers: int | None,
    repository: Path | None,
    as_json: bool,
    debug: bool,
) -> None:
    from valuestore.cli.run.progress import progress_line
    from valuestore.scheduler.scheduler import Scheduler

    with Scheduler(repository, workers=workers) as scheduler:
        try:
            with progress_line(scheduler):
                value = scheduler.run(call, tags=tags)
            print(_json(value) if as_json else _text(value))
        except (Exception, SystemExit) as error:
            if not _is_of_the_pipeline(error, scheduler.execution):
                raise
            report_pipeline(error, debug=debug)
            raise typer.Exit(PIPELINE) from None
        finally:
            if scheduler.execution is not None:
                sys.stdout.flush()
                _summarise(scheduler.execution)


def _is_of_the_pipeline(error: BaseException, execution: Execution | None) -> bool:
    """Whether a task raised it, or its calls cannot run; else the repository failed, or we."""
    return execution is not None and (execution.counts.failed > 0 or isinstance(error, TaskError))


def _loaded(load: Any, file: str, debug: bool) -> Pipeline:
    try:
        pipeline: Pipeline = load(file)
        return pipeline
    except Usage:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever the user's module raises
        report_pipeline(error, debug=debug)
        say(f"{file} could not be loaded")
        raise typer.Exit(PIPELINE) from None


def _summarise(execution: Execution) -> None:
    counts = execution.counts
    failed = f", {counts.failed} failed" if counts.failed else ""
    say(
        f"{execution.status}: execution {short(execution.execution_id)}, "
        f"{counts.done} executed, {counts.cached} cached{failed}, {execution.seconds:.2f} s"
    )


# --- what was asked --------------------------------------------------------------------------------


def _tags(texts: list[str]) -> dict[str, Any]:
    from valuestore.db.history.tags import parse_tag

    tags = {}
    for text in texts:
        try:
            key, value = parse_tag(text)
            json.dumps(value, allow_nan=False)
        except ValueError as error:
            raise Usage(f"--tag: {error}") from error
        tags[key] = value
    return tags


def _workers(texts: list[str]) -> int | None:
    if texts and not (texts[-1].isdecimal() and int(texts[-1])):
        raise Usage(f"--workers: expected a positive int, got {texts[-1]!r}")
    return int(texts[-1]) if texts else None


def _list_tasks(pipeline: Pipeline) -> None:
    from valuestore.cli.run.arguments import TaskOptions

    if not pipeline.tasks:
        print(f"{pipeline.target} defines no tasks; mark a function with @task")
    for name, task in pipeline.tasks.items():
        print(f"{name}  {shown(_summary(task))}".rstrip())
        for text in TaskOptions(task, _OWN).texts():
            print(f"    {shown(text)}")


def _show_task(file: str, name: str, options: TaskOptions) -> None:
    print(f"Usage: valuestore run {file} {name} [--PARAMETER VALUE]...")
    documentation = inspect.getdoc(options.task.func)
    if documentation:
        print(f"\n{shown(documentation, lines=True)}")
    print("\nParameters:")
    for text in options.texts() or ["none"]:
        print(f"  {shown(text)}")
    own = [f"--{option} ..." if value else f"--{option}" for option, value in _OWN.items()]
    print(f"\nOptions of run: {' '.join(own)} (see `valuestore run --help`)")


def _summary(task: Task[..., Any]) -> str:
    return (inspect.getdoc(task.func) or "").partition("\n")[0]


# --- what came of it -------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """Text as it is, a path as its text, else the repr; the preview of what is too long or has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if not _has_plain_repr(value):
        text = repr(value)
        if len(text) <= _LONGEST_REPR:
            return text
    return _preview(value)


def _has_plain_repr(value: object) -> bool:
    """Whether its repr is a class and an address."""
    method: object = type(value).__repr__
    return method is object.__repr__


def _json(value: Any) -> str:
    """The whole value if it is JSON by nature, else its preview."""
    try:
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _preview(value)


def _preview(value: Any) -> str:
    from valuestore.errors import NotHashableError
    from valuestore.values.registry import get_type_registry

    try:
        return get_type_registry().encode(value).preview
    except NotHashableError:
        return json.dumps(repr(value)[:_LONGEST_REPR])
