"""Reruns: processor time of whole processes that run a pipeline again, over that of joblib.Memory's.

    python -m benchmarks.rerun [--calls 10000] [--files 1790] [--rounds 3]

Each process is measured from its first instruction to its last, in turns with the same work under joblib,
if that is installed, which records nothing. Repositories are in the temporary folder: name a tmpfs by TMPDIR.
Times are the lowest of all rounds; only ratios carry over to another machine.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys
from valuestore import File, Scheduler, task

@task(version="1")
def part(i: int) -> int:
    return 2 * i

@task(version="1")
def total(parts: list[int]) -> int:
    return sum(parts)

@task(version="1")
def flat(calls: int, odd: int) -> int:
    return total([part(-odd if i == 7 else i) for i in range(calls)])

@task(version="1")
def add(x: int, y: int) -> int:
    return x + y

@task(version="1")
def chain(calls: int) -> int:
    last = 0
    for _ in range(calls):
        last = add(last, 1)
    return last

@task(version="1")
def size(file: File) -> int:
    return len(file.read_bytes())

@task(version="1")
def census(folder: str, files: int) -> int:
    return total([size(File(f"{folder}/{i}")) for i in range(files)])

def given(calls: int):
    return [part(i) for i in range(calls)]

name, *arguments = sys.argv[1:]
with Scheduler(".") as scheduler:
    scheduler.run(globals()[name](*[int(one) if one.isdigit() else one for one in arguments]))
"""
JOBLIB = """
import sys
from joblib import Memory

cache = Memory("joblib", verbose=0).cache

@cache
def part(i):
    return 2 * i

@cache
def add(x, y):
    return x + y

@cache
def size(path, stamp):
    with open(path, "rb") as file:
        return len(file.read())

def flat(calls, odd):
    return sum([part(-odd if i == 7 else i) for i in range(calls)])

def given(calls):
    return [part(i) for i in range(calls)]

def chain(calls):
    last = 0
    for _ in range(calls):
        last = add(last, 1)
    return last

def census(folder, files):
    import os
    return sum(size(f"{folder}/{i}", os.stat(f"{folder}/{i}").st_mtime_ns) for i in range(files))

name, *arguments = sys.argv[1:]
globals()[name](*[int(one) if one.isdigit() else one for one in arguments])
"""


def cpu_of(program: str, folder: str, arguments: list[str]) -> float:
    """Seconds of processor time of one process, children included."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, program, *arguments], cwd=folder, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def work(calls: int, files: int, folder: str) -> list[tuple[str, list[str]]]:
    """What is run, in this order in each folder, and how it is called."""
    size, many = str(calls), str(files)
    return [
        ("hello, cached", ["flat", "1", "1"]),
        (f"{calls:,} calls, cold", ["flat", size, "1"]),
        ("unchanged", ["flat", size, "1"]),
        ("one of them changed", ["flat", size, "2"]),
        (f"{calls:,} calls that run is given, unchanged", ["given", size]),
        (f"chain of {calls:,}, cold", ["chain", size]),
        ("unchanged", ["chain", size]),
        (f"{files:,} files, cold", ["census", folder, many]),
        ("unchanged", ["census", folder, many]),
    ]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What reruns cost.")
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--files", type=int, default=1_790)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    programs = {"valuestore": PROGRAM}
    if importlib.util.find_spec("joblib"):
        programs["joblib"] = JOBLIB
    lowest: dict[tuple[int, str], float] = {}
    titles: list[str] = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for i in range(options.files):
                Path(folder, str(i)).write_text("x" * i)
            for name, text in programs.items():
                Path(folder, f"run_{name}.py").write_text(text)
            rows = work(options.calls, options.files, folder)
            titles = [title for title, _ in rows]
            for name in programs:  # hello is cached from its second run on
                cpu_of(f"{folder}/run_{name}.py", folder, rows[0][1])
            for number, (_, arguments) in enumerate(rows):
                for name in programs:
                    took = cpu_of(f"{folder}/run_{name}.py", folder, arguments)
                    lowest[number, name] = min(took, lowest.get((number, name), took))
    print(f"{'':42}", *[f"{name:>12}" for name in programs], f"{'ratio':>8}")
    for number, title in enumerate(titles):
        times = [lowest[number, name] for name in programs]
        ratio = f"{times[0] / times[-1]:8.2f}" if len(times) > 1 else ""
        print(f"{title:42}", *[f"{one:10.3f} s" for one in times], ratio)
    return os.EX_OK


if __name__ == "__main__":
    sys.exit(main())
