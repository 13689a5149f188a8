"""The census four times: cold, again, after touching a file, after changing one. Run by ``make demo``.

Each run is the real command line in a process of its own, in the folder ``demo/`` with a copy of the
standard library. Prints times and job counts of the four, then asks in SQL who measured what. Exits with
1 if anything ran that should not have.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from dataclasses import dataclass
from typing import Any

from census import STANDARD_LIBRARY, python_files
from rich.console import Console
from rich.markup import escape
from rich.table import Table

HERE = os.path.dirname(os.path.abspath(__file__))
VALUESTORE = os.path.join(sysconfig.get_path("scripts"), "valuestore")

CENSUS = os.path.join(HERE, "census.py")
TREE = "tree"
PAGE = "census.html"
REPOSITORY = ".valuestore"

NEW_FUNCTION = "the_longest_of_all"
NEW_LINES = 1000

PATH_TO_THE_ROOT = {"census.census": 1, "census.join": 1, "census.measure": 1, "census.report": 1}

COUNTS = """
select task, status, count(*) as jobs
  from jobs
 where execution_id = (select max(execution_id) from executions)
 group by task, status
"""

QUESTION = """
select json_extract(result, '$.longest_lines') as lines,
       json_extract(result, '$.longest_function') as function,
       json_extract(result, '$.path') as file,
       execution_id as measured_by
  from jobs
 where task = 'census.measure' and status = 'done'
 order by lines desc
 limit 8
"""


@dataclass(frozen=True)
class Run:
    """One run of the census: how long it took, and which tasks' bodies ran how often."""

    title: str
    wall_seconds: float
    cpu_seconds: float
    executed: dict[str, int]
    cached: int


class Demo:
    """A folder with a copied tree, and the command line in it."""

    def __init__(self, folder: str, console: Console) -> None:
        self.folder = folder
        self.console = console
        self.tree = os.path.join(folder, TREE)
        self.environment = {**os.environ, "VALUESTORE_REPOSITORY": os.path.join(folder, REPOSITORY)}

    def prepare(self, source: str) -> int:
        """Start from nothing: an empty repository and a fresh copy of ``source``; how many files it has."""
        for name in (TREE, REPOSITORY):
            shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)
        os.makedirs(os.path.join(self.folder, REPOSITORY))
        paths = sorted(python_files(source))
        for path in paths:
            copy = os.path.join(self.tree, os.path.relpath(path, source))
            os.makedirs(os.path.dirname(copy), exist_ok=True)
            shutil.copyfile(path, copy)
        return len(paths)

    def census(self, title: str) -> Run:
        """Run it, and look up what ran."""
        command = [VALUESTORE, "run", CENSUS, "census", "--tree", TREE, "--destination", PAGE]
        self.say(f"[bold]{title}[/]\n$ {shown(command)}")
        started = time.monotonic()
        process = subprocess.Popen(command, cwd=self.folder, env=self.environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall_seconds = time.monotonic() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"the census ended with exit code {process.returncode}")
        counts = self.ask("sql", "--json", COUNTS)
        return Run(
            title,
            wall_seconds,
            usage.ru_utime + usage.ru_stime,
            executed={row["task"]: row["jobs"] for row in counts if row["status"] == "done"},
            cached=sum(row["jobs"] for row in counts if row["status"] == "cached"),
        )

    def ask(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON that a command prints."""
        command = [VALUESTORE, *arguments]
        text = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, check=True
        ).stdout
        answer: list[dict[str, Any]] = json.loads(text)
        return answer

    def show(self, *arguments: str) -> None:
        """Run a command whose output is for the reader."""
        self.say(f"$ {shown([VALUESTORE, *arguments])}")
        subprocess.run([VALUESTORE, *arguments], cwd=self.folder, env=self.environment, check=True)

    def say(self, text: str) -> None:
        """Print at once: commands print to the same terminal."""
        self.console.print(text, highlight=False, soft_wrap=True)
        self.console.file.flush()


def shown(command: list[str]) -> str:
    """A command as one would type it in the demo's folder."""
    names = {VALUESTORE: "valuestore", CENSUS: "../examples/census.py"}
    words = [f'"{word}"' if "\n" in word else shlex.quote(names.get(word, word)) for word in command]
    return escape(" ".join(words))


def touch(path: str) -> None:
    """A new time stamp, the same content."""
    os.utime(path)


def change(path: str) -> None:
    """Add a function of ``NEW_LINES`` lines at the end."""
    body = "".join(f"    step_{number} = {number}\n" for number in range(1, NEW_LINES))
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(f"\n\ndef {NEW_FUNCTION}():\n{body}")


def broken_promises(runs: list[Run], files: int, page: str) -> list[str]:
    """What did not go as the README says; empty if all is well."""
    cold, again, touched, changed = runs
    promises = {
        f"the cold run measures all {files} files": cold.executed.get("census.measure") == files,
        "the cold run finds nothing in the cache": cold.cached == 0,
        "the second run executes nothing": not again.executed,
        "a new time stamp executes nothing": not touched.executed,
        "one changed file executes its path to the root alone": changed.executed == PATH_TO_THE_ROOT,
        "the new page names the new function": NEW_FUNCTION in page,
    }
    return [promise for promise, kept in promises.items() if not kept]


def table_of(runs: list[Run]) -> Table:
    """Times and counts, a row for each run."""
    table = Table("Run", title="The census four times, each in a fresh process", title_justify="left")
    for name in ("Wall s", "CPU s", "Executed", "Cached"):
        table.add_column(name, justify="right")
    for run in runs:
        table.add_row(
            run.title,
            f"{run.wall_seconds:.2f}",
            f"{run.cpu_seconds:.2f}",
            str(sum(run.executed.values())),
            str(run.cached),
        )
    return table


def main() -> int:
    """Run the demo; 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--source", default=STANDARD_LIBRARY.root, help="folder of Python files to copy")
    parser.add_argument("--folder", default=os.path.join(HERE, os.pardir, "demo"), help="where to work")
    arguments = parser.parse_args()
    demo = Demo(os.path.abspath(arguments.folder), Console())
    files = demo.prepare(arguments.source)
    demo.say(escape(f"Copied {files} Python files of {arguments.source} to {demo.tree}\n"))

    first = min(python_files(demo.tree))
    runs = [demo.census("cold"), demo.census("again")]
    touch(first)
    runs.append(demo.census("one file touched"))
    change(first)
    runs.append(demo.census("one file changed"))
    with open(os.path.join(demo.folder, PAGE), encoding="utf-8") as stream:
        page = stream.read()

    demo.console.print()
    demo.console.print(table_of(runs))
    demo.say(f"\nExecuted in the last run: {', '.join(runs[-1].executed) or 'nothing'}")
    demo.say("\n[bold]Which files have the longest functions, and which execution measured them?[/]")
    demo.show("sql", QUESTION)
    demo.say(escape(f"\nThe page: {os.path.join(demo.folder, PAGE)}"))
    broken = broken_promises(runs, files, page)
    for promise in broken:
        demo.say(f"[red]broken promise:[/] {promise}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
