"""``valuestore run``: run a task of a file, show how it goes, print what it gave."""

from __future__ import annotations

import inspect
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from valuestore.cli.failure import INTERRUPTED, PIPELINE, Usage, leave, report_pipeline, say
from valuestore.cli.run.options import OWN, Texts, earlier_call, keywords, workers
from valuestore.cli.terminal import RepositoryOption, located, print_found, short, shown
from valuestore.errors import TaskError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

    from valuestore.cli.run.arguments import TaskOptions
    from valuestore.cli.run.task import Pipeline
    from valuestore.scheduler.plan import Plan
    from valuestore.scheduler.record import Execution

_LONGEST_REPR = 10_000

_Texts = list[str] | None


def run(
    context: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A Python file, or package.module.")],
    rest: Annotated[
        _Texts,
        typer.Argument(metavar="TASK", help="A task in it; then its arguments: --parameter value ..."),
    ] = None,
    tag: Annotated[
        _Texts, typer.Option(metavar="KEY=VALUE", help="Label the execution; may be repeated.")
    ] = None,
    label: Annotated[
        _Texts, typer.Option(metavar="TEXT", help="What the execution is called. Default: the call.")
    ] = None,
    only: Annotated[
        _Texts,
        typer.Option(metavar="TASK", help="Run this one again, all others from the cache; may be repeated."),
    ] = None,
    option: Annotated[
        _Texts, typer.Option(metavar="KEY=VALUE", help="For all tasks, such as retries=3; may be repeated.")
    ] = None,
    context_value: Annotated[
        _Texts,
        typer.Option("--context", metavar="KEY=VALUE", help="Context, a.b=1 inside a; may be repeated."),
    ] = None,
    context_file: Annotated[_Texts, typer.Option(metavar="FILE", help="Context in TOML or JSON.")] = None,
    on_error: Annotated[
        _Texts, typer.Option(metavar="finish|stop", help="Whether other calls go on after an error.")
    ] = None,
    rerun: Annotated[
        _Texts, typer.Option(metavar="EXECUTION", help="The call of this execution, instead of TASK.")
    ] = None,
    executor: Annotated[
        _Texts, typer.Option(metavar="NAME", help="Where bodies run: threads, processes, dask, ...")
    ] = None,
    workers: Annotated[
        _Texts, typer.Option(metavar="N", help="Bodies at once. Default: one per processor.")
    ] = None,
    repository: RepositoryOption = None,
    *,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Run everything again.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, and why; nothing is recorded.")
    ] = False,
    debugger: Annotated[bool, typer.Option("--pdb", help="Debug the error of a task where it rose.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line on stderr for each job.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Run a task. What ran before, with equal arguments and equal code, is not run again.

    Without TASK, lists the tasks of FILE; `valuestore run FILE TASK --help` shows a task's parameters.
    A list is --name 1 2 3, a repeated option or a JSON array; a bool is --name or --no-name. These options
    may also stand behind TASK, unless it has parameters of the same name.

    The result goes to stdout: text as it is, a File as its path, other values as Python shows them.

    \b
    Examples:
      valuestore run words.py                       its tasks
      valuestore run words.py count --book README.md --words the of and
      valuestore run words.py count --book README.md --dry-run
      valuestore run words.py --rerun ~1 --pdb      the call before the newest, once more
    """
    before: dict[str, _Texts] = {
        **{"tag": tag, "label": label, "only": only, "option": option, "context": context_value},
        **{"context-file": context_file, "on-error": on_error, "rerun": rerun},
        **{"executor": executor, "workers": workers},
        "repository": [str(repository)] if repository else None,
    }
    flags = {"no-cache": no_cache, "dry-run": dry_run, "pdb": debugger, "verbose": verbose, "json": as_json}
    before |= {name: ["true"] for name, is_given in flags.items() if is_given}
    debug = bool(context.obj and context.obj.debug)
    try:
        from valuestore.cli.run.task import load_pipeline

        pipeline = _loaded(load_pipeline, file, debug)
        name, *tokens = rest or ["" if rerun else "--help"]
        if name == "--help":
            _list_tasks(pipeline)
            return
        from valuestore.cli.run.arguments import TaskOptions

        if name.startswith("--"):
            name, tokens = "", [name, *tokens]
        options = TaskOptions(pipeline.task(name) if name else None, OWN)
        given = options.read(tokens)
        for each, texts in before.items():
            given.options[each] = [*(texts or ()), *given.options[each]]
        if given.options["help"]:
            _show_task(file, name, options) if name else _list_tasks(pipeline)
            return
        if bool(name) == bool(given.options["rerun"]):
            raise Usage("name a task, or give --rerun EXECUTION, which has one and its arguments")
        call = options.call(given.arguments) if name else None
        lines = _line_for_each_job() if given.options["verbose"] else nullcontext()
        with _output_for_readers_that_leave(), lines:
            _run(call, pipeline, given.options, debug=debug)
    except KeyboardInterrupt:
        say("interrupted; what finished is kept, and the next run uses it")
        raise typer.Exit(INTERRUPTED) from None


def _run(call: Any, pipeline: Pipeline, given: Texts, *, debug: bool) -> None:
    from valuestore.scheduler.scheduler import Scheduler

    repository = located(given["repository"][-1]) if given["repository"] else None
    how = keywords(given, pipeline)
    executor = next(reversed(given["executor"]), None)
    with Scheduler(repository, executor=executor, workers=workers(given["workers"])) as scheduler:
        if call is None:
            call, context = earlier_call(given["rerun"][-1], pipeline, scheduler.repository)
            how = {"context": context, **how} if context else how
        if given["dry-run"]:
            _print_plan(scheduler.plan(call, **how), as_json=bool(given["json"]))
            return
        try:
            value = scheduler.run(call, **how)
            print(_json(value) if given["json"] else _text(value))
        except (Exception, SystemExit) as error:
            if not _is_of_the_pipeline(error, scheduler.execution):
                raise
            report_pipeline(error, debug=debug)
            if given["pdb"] and sys.stdin is not None and not sys.stdin.closed:
                import pdb

                pdb.post_mortem(error.__traceback__)
            raise typer.Exit(PIPELINE) from None
        finally:
            if scheduler.execution is not None and _has_begun(scheduler.execution):
                sys.stdout.flush()
                _summarise(scheduler.execution)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    from collections import Counter
    from dataclasses import asdict

    rows = [(call.status, call.task, call.arguments, call.reason) for call in plan.calls]
    columns = "status", "task", "arguments", "reason"
    print_found([asdict(call) for call in plan.calls], columns, rows, as_json=as_json)
    counts = Counter(call.status for call in plan.calls)
    say(f"nothing was run: {counts['run']} to run, {counts['cached']} cached, {counts['unknown']} unknown")


def _is_of_the_pipeline(error: BaseException, execution: Execution | None) -> bool:
    """Whether a task raised it, or its calls cannot run; else what was asked, the repository or we failed."""
    if execution is None or not _has_begun(execution):
        return False
    return execution.counts.failed > 0 or isinstance(error, TaskError)


def _has_begun(execution: Execution) -> bool:
    """Whether anything of it is recorded; side branches may go on when its result is there."""
    return execution.status != "running" or any(vars(execution.counts).values())


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


def _list_tasks(pipeline: Pipeline) -> None:
    from valuestore.cli.run.arguments import TaskOptions

    if not pipeline.tasks:
        print(f"{pipeline.target} defines no tasks; mark a function with @task")
    for name, task in pipeline.tasks.items():
        summary = (inspect.getdoc(task.func) or "").partition("\n")[0]
        print(f"{name}  {shown(summary)}".rstrip())
        for text in TaskOptions(task, OWN).texts():
            print(f"    {shown(text)}")


def _show_task(file: str, name: str, options: TaskOptions) -> None:
    print(f"Usage: valuestore run {file} {name} [--PARAMETER VALUE]...")
    if options.task is not None and (documentation := inspect.getdoc(options.task.func)):
        print(f"\n{shown(documentation, lines=True)}")
    print("\nParameters:")
    for text in options.texts() or ["none"]:
        print(f"  {shown(text)}")
    own = [f"--{option} ..." if value else f"--{option}" for option, value in OWN.items()]
    print(f"\nOptions of run: {' '.join(own)} (see `valuestore run --help`)")


def _text(value: Any) -> str:
    """Text as it is, a path as its text, else the repr; the preview of what is too long or has none."""
    if isinstance(value, str):
        return value
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    shows: object = type(value).__repr__
    if shows is not object.__repr__:  # which tells a class and an address
        text = repr(value)
        if len(text) <= _LONGEST_REPR:
            return text
    return _preview(value)


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


# --- Where what bodies print goes meanwhile, and a line for each job.


class _Pipe(io.FileIO):
    def write(self, data: ReadableBuffer) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            leave(self)
            return memoryview(data).nbytes


@contextmanager
def _output_for_readers_that_leave() -> Iterator[None]:
    """Have bodies print into nothing when whoever read it is gone (``| head``): else each of them failed."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_lasting(stream) for stream in before)
    try:
        yield
    finally:
        lasting = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = before
        for stream in lasting:
            stream.flush()


def _lasting(stream: TextIO) -> TextIO:
    if type(stream) is not io.TextIOWrapper or stream.isatty():
        return stream
    stream.flush()
    raw = io.BufferedWriter(_Pipe(stream.fileno(), "wb", closefd=False))
    return io.TextIOWrapper(raw, stream.encoding, stream.errors, line_buffering=stream.line_buffering)


@contextmanager
def _line_for_each_job() -> Iterator[None]:
    """Have each job and execution say how it ended, on stderr."""
    import logging  # late: few runs are asked to

    logger, handler = logging.getLogger("valuestore.jobs"), logging.Handler()
    handler.emit = lambda record: say(record.getMessage())  # type: ignore[method-assign]  # all it is to do
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
