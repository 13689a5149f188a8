"""Undeclared reads: what a body opens, lists, starts or takes from its surroundings, and nothing else."""

from __future__ import annotations

import linecache
import os
import subprocess
import sys
import time
import warnings
from importlib import import_module, invalidate_caches
from pathlib import Path

import pytest

from valuestore.errors import UndeclaredRead, ValuestoreWarning
from valuestore.values.code.members import Body, Version
from valuestore.values.code.reads import leave_out, warn_of
from valuestore.values.code.trace import nobodys, trace_refused
from valuestore.values.files.dir import Dir
from valuestore.values.files.file import File
from valuestore.values.files.fileset import FileSet
from valuestore.values.registry import TypeRegistry

REGISTRY = TypeRegistry()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder: a file, a folder, a script and a package with data, all older than any body."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "config.txt").write_text("2")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.csv").write_text("a")
    (tmp_path / "tool.py").write_text("print(1)")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("")
    (tmp_path / "package" / "total.sql").write_text("select 1")
    (tmp_path / ".valuestore").mkdir()
    (tmp_path / ".valuestore" / "valuestore.db").write_text("")
    time.sleep(0.05)
    yield tmp_path
    for name in ("package", "late", "steps"):
        sys.modules.pop(name, None)


def read_by(function, *args, **kwargs):
    """What one call reads undeclared; its warnings are shown, and caught here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndeclaredRead)
        with nobodys():
            with Body(function, Version(), REGISTRY) as body:
                function(*args, **kwargs)
            return list(body.seen((args, kwargs))[1])


def opening(path, mode="r", **options):
    with open(path, mode, **options) as stream:
        return stream.read() if "r" in mode else None


# --- what is said -------------------------------------------------------------------------------

IN_THREADS = (
    [("file", "config.txt")] if sys.version_info >= (3, 12) else []
)  # 3.11 does not say who starts one

READS = {
    "open('config.txt').close()": [("file", "config.txt")],
    "open(os.path.abspath('data/a.csv'), 'rb').close()": [("file", "data/a.csv")],
    "open('config.txt', 'r+').close()": [("file", "config.txt")],
    "os.close(os.open('config.txt', os.O_RDONLY))": [("file", "config.txt")],
    "pathlib.Path('config.txt').read_text()": [("file", "config.txt")],
    "runpy.run_path('tool.py')": [("file", "tool.py")],
    "exec(open('tool.py').read(), {})": [("file", "tool.py")],
    "importlib.resources.files('package').joinpath('total.sql').read_text()": [("file", "package/total.sql")],
    "sqlite3.connect('config.txt').close()": [("file", "config.txt")],
    "sqlite3.connect('file:config.txt?mode=ro', uri=True).close()": [("file", "config.txt")],
    "os.listdir('data')": [("folder", "data")],
    "os.listdir()": [("folder", ".")],
    "list(os.scandir('data'))": [("folder", "data")],
    "glob.glob('data/*.csv')": [("folder", "data")],
    "subprocess.run([sys.executable, 'tool.py', '3'])": [
        ("program", f"{os.path.basename(sys.executable)} tool.py")
    ],
    "subprocess.run('cat config.txt', shell=True)": [("program", "cat config.txt")],
    "os.system('cat config.txt')": [("program", "cat config.txt")],
    "(t := threading.Thread(target=open('config.txt').read)).start(), t.join()": [("file", "config.txt")],
    "in_thread(lambda: open('config.txt').close())": IN_THREADS,
    "ThreadPoolExecutor(1).submit(lambda: open('config.txt').close()).result()": IN_THREADS,
}

PREAMBLE = """
import glob, importlib.resources, os, pathlib, runpy, sqlite3, subprocess, sys, threading, warnings
from concurrent.futures import ThreadPoolExecutor

def in_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
"""


@pytest.fixture
def body(folder):
    """A function of that one expression, in a module of its own."""

    def make(expression, before=""):
        source = f"{PREAMBLE}{before}\ndef load(*args, **kwargs):\n    return {expression}\n"
        (folder / "steps.py").write_text(source)
        time.sleep(0.02)
        sys.modules.pop("steps", None)
        invalidate_caches()
        linecache.clearcache()
        return import_module("steps").load

    return make


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("expression", READS)
def test_what_a_body_reads(body, expression, capfd):
    assert read_by(body(expression)) == READS[expression]


NO_READS = (
    "open('new.txt', 'w').write('1') and open('new.txt').close()",
    "open('config.txt', 'a').close()",
    "pathlib.Path('made').mkdir() or os.listdir('made')",
    "os.path.exists('nowhere') and open('nowhere')",
    "__import__('package')",
    "open('.valuestore/valuestore.db').close()",
    "open(os.__file__).close()",
    "open('/etc/hostname', 'rb').close() if os.path.exists('/etc/hostname') else None",
    "open(os.pipe()[0]).close()",
    "sqlite3.connect(':memory:').close()",
    "warnings.warn('a line of source is shown')",
    "open('a.tmp', 'w').write('1') and (os.rename('a.tmp', 'a.txt'), open('a.txt').close())",
)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:a line")
@pytest.mark.parametrize("expression", NO_READS)
def test_what_is_no_read(body, expression):
    assert read_by(body(expression)) == []


@pytest.mark.parametrize(
    "argument",
    [
        lambda: File("data/a.csv"),
        lambda: Dir("data"),
        lambda: FileSet("data/*.csv"),
        lambda: {"deep": [(File("data/a.csv"),)]},
    ],
)
def test_arguments_are_declared(body, argument):
    load = body("open('data/a.csv').close()")
    assert read_by(load, argument()) == []
    assert read_by(load, table=argument()) == []
    assert read_by(load, File("config.txt")) == [("file", "data/a.csv")]


@pytest.mark.parametrize("kind", [str, Path, os.path.abspath])
def test_a_path_among_the_arguments_says_nothing_of_the_content(body, kind):
    load = body("open('data/a.csv').close()")
    assert read_by(load, kind("data/a.csv")) == [("file", "data/a.csv")]


def test_a_file_among_the_arguments_is_opened_through_itself(folder):
    assert read_by(lambda file: file.read(), File("config.txt")) == []
    assert read_by(lambda: File("config.txt").read()) == [("file", "config.txt")]


def test_a_folder_that_is_left_out(body, folder):
    load = body("open('data/a.csv').close()")
    leave_out("data")
    try:
        assert read_by(load) == []
    finally:
        from valuestore.values.code import reads

        reads._left_out.clear()
        reads._outside.cache_clear()


def test_nothing_is_heard_outside_a_body(body):
    load = body("open('config.txt').close()")
    assert read_by(load)
    load()
    assert read_by(lambda: None) == []


def test_a_body_that_fails_hears_no_more(body):
    from valuestore.values.code import reads

    load = body("1 / 0")
    with pytest.raises(ZeroDivisionError):
        read_by(load)
    assert not reads._bodies


def test_a_body_inside_a_body_has_its_own_reads(body):
    inner = body("open('data/a.csv').close()")
    inside = []

    def outer():
        inside.extend(read_by(inner))
        opening("config.txt")

    assert read_by(outer) == [("file", "config.txt")]
    assert inside == [("file", "data/a.csv")]


def test_a_fork_under_the_hook(body):
    load = body(
        "[os._exit(len(open('config.txt').read())) if not child else os.waitpid(child, 0) "
        "for child in [os.fork()]][0][1]"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from the fork itself
        assert read_by(load) == []


# --- surroundings -------------------------------------------------------------------------------

VARIABLES = {
    "os.environ['RATE']": ["RATE"],
    "os.environ.get('RATE', 1)": ["RATE"],
    "os.getenv('RATE')": ["RATE"],
    "[os.environ.get(name) for name in ('A', 'B')]": ["A", "B"],
    "os.getenv(f'RA{chr(84)}E')": ["RATE"],
    "os.path.expandvars('$RATE')": ["RATE"],
    "os.environ.copy()": [],
    "helper()": ["DEEP"],
    "os.environ.setdefault": [],
}


@pytest.mark.parametrize("expression", VARIABLES)
def test_environment_variables(body, expression):
    load = body(expression, "def helper():\n    return os.environ.get('DEEP')\n")
    os.environ["RATE"] = "1"
    try:
        found = read_by(load)
    finally:
        del os.environ["RATE"]
    assert found == [("variable", name) for name in VARIABLES[expression]]


SETTINGS = {
    "decimal.getcontext().prec = 6": ["decimal.getcontext().prec"],
    "decimal.DefaultContext.prec = 4": ["decimal.DefaultContext.prec"],
    "if True:\n    decimal.setcontext(decimal.Context())": ["decimal.setcontext(decimal.Context())"],
    "from decimal import setcontext, Context\nsetcontext(Context())": ["setcontext(Context())"],
    "decimal.Decimal('1')": [],
    "import colorsys\ncolorsys.unused_by_the_task = 1": [],
    "def late():\n    decimal.getcontext().prec = 2": [],
    "sys.dont_write_bytecode = True": [],
    "def to_text(self):\n    return 'x'\nclass decimals: pass\ndecimals.x = 1": [],
}


@pytest.mark.parametrize("statement", SETTINGS)
def test_settings_of_libraries_that_the_task_uses(body, statement):
    import decimal

    before, default = decimal.getcontext().copy(), decimal.DefaultContext.prec
    try:
        found = read_by(body("str(decimal.Decimal(1) / 3)", f"import decimal\n{statement}\n"))
    finally:
        decimal.setcontext(before)
        decimal.DefaultContext.prec = default
    assert found == [("setting", name) for name in SETTINGS[statement]]


@pytest.mark.parametrize("code", ["", "imports by name"])
def test_modules_imported_by_name_where_nothing_is_traced(body, folder, code):
    (folder / "late.py").write_text("def scale(x): return x\n")
    load = body("importlib.import_module('late').scale(1)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndeclaredRead)
        with nobodys(), Body(load, Version("load", code), REGISTRY) as running:
            load()
        found = running.seen(())[1]
    is_traced = code and not trace_refused()
    assert found == (() if is_traced else (("import", "importlib.import_module"),))


# --- warnings -----------------------------------------------------------------------------------


def test_the_warning_names_task_and_file_and_what_to_do():
    with pytest.warns(ValuestoreWarning) as caught:
        warn_of("load", [("file", "config.yaml")])
    assert str(caught[0].message) == (
        "load read config.yaml, which is not among its arguments: it will not run again when that file "
        "changes; pass File('config.yaml')"
    )
    assert caught[0].category.__name__ == "UndeclaredReadWarning"


def test_names_with_braces_are_said_as_they_are():
    with pytest.warns(UndeclaredRead, match=r"a\{0\}\.txt"):
        warn_of("{load}", [("file", "a{0}.txt")])


def test_said_once_in_a_run(body):
    load = body("open('config.txt').close()")
    for run, count in (("1", 1), ("1", 0), ("2", 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with Body(load, Version("load", "", run), REGISTRY) as running:
                load()
            running.seen(())
        assert len(caught) == count


def test_where_warnings_are_errors_they_are_shown(monkeypatch):
    shown = []
    monkeypatch.setattr(warnings, "showwarning", lambda message, *_: shown.append(str(message)))
    warn_of("load", [("file", "config.txt"), ("folder", "data")])
    assert [message.partition(",")[0] for message in shown] == ["load read config.txt", "load listed data"]


SCRIPT = """
from valuestore import Scheduler, task

@task
def load(x):
    return int(open("config.txt").read()) * x

with Scheduler() as scheduler:
    print(scheduler.run(load(3)))
"""


def test_a_run_under_an_error_filter_finishes_and_is_recorded(folder):
    (folder / "main.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error", "-W", "ignore::ResourceWarning", "main.py"]
    for warned in (True, False):  # the second time from the cache
        ran = subprocess.run(command, capture_output=True, text=True, cwd=folder)
        assert (ran.stdout, ran.returncode) == ("6\n", 0)
        assert ("load read config.txt" in ran.stderr) is warned
