"""The package as a whole: light to import, public names in step, layers and gates kept."""

from __future__ import annotations

import ast
import inspect
import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from valuestore import errors

ROOT = Path(__file__).parents[1]
HEAVY = ("sqlalchemy", "alembic", "redis", "fsspec", "numpy", "pandas", "pyarrow", "dask", "rich", "typer")


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "module", ["valuestore", "valuestore.stores", "valuestore.values.registry", "valuestore.testing"]
)
def test_importing_loads_nothing_heavy(module):
    loaded = run(f"import sys, {module}; print([m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.strip() == "[]"


def test_task_decorator_loads_no_database():
    code = "import sys\nfrom valuestore import task\n@task\ndef f(x): return x\nf(1)\n"
    assert run(code + "print('sqlalchemy' in sys.modules)").strip() == "False"


def lazy_packages():
    return sorted(
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "valuestore").rglob("__init__.py")
        if "lazy_names(" in file.read_text("utf-8")
    )


@pytest.mark.parametrize("package", lazy_packages())
def test_lazy_names_are_those_that_type_checkers_are_told(package):
    module = import_module(package)
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    told = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    imported = {name.name: each.module for block in told for each in block.body for name in each.names}
    assert module.__all__ == sorted(imported)
    for name, home in imported.items():
        assert getattr(module, name) is getattr(import_module(home), name)
    with pytest.raises(AttributeError, match="nonsense"):
        module.nonsense  # noqa: B018


def facts_of(cls):
    """Facts of the types that the class asks for; the first is a text that its sentence has to hold."""
    of_type = {"str": "fact", "int": 3, "float": 1.5, "tuple[str, ...]": ("known",), "tuple[int, ...]": (7,)}
    if cls.__init__ is Exception.__init__:
        return ["fact0"]
    parameters = list(inspect.signature(cls).parameters.values())
    return ["fact0", *(of_type.get(one.annotation, "fact") for one in parameters[1:])]


def error_classes():
    found = [errors.ValuestoreError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__ == "valuestore.errors"]


@pytest.mark.parametrize("cls", error_classes())
def test_errors_survive_pickling_and_are_drawn_in_the_tree(cls):
    error = cls(*facts_of(cls))
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error)
    assert "fact0" in str(error)
    assert cls.__name__ in (errors.__doc__ or "")


def test_only_the_config_reads_the_environment():
    readers = {
        str(file.relative_to(ROOT / "valuestore"))
        for file in (ROOT / "valuestore").rglob("*.py")
        if "os.environ" in file.read_text("utf-8").replace("``os.environ``", "")
        or "os.getenv" in file.read_text("utf-8")
    }
    hears_of_it = "values/code/reads.py"  # which variables bodies ask for
    assert {name for name in readers if not name.startswith("testing/")} == {"config.py", hears_of_it}


@pytest.mark.timeout(600)  # the first time, or after changes: twenty seconds of CPU
def test_calls_type_check_as_their_results(tmp_path):
    (tmp_path / "typed.py").write_text(
        "from concurrent.futures import Future\n"
        "from valuestore import File, Repository, Scheduler, memoize, task\n"
        "@task\n"
        "def double(x: int) -> int:\n    return 2 * x\n"
        "@task(version='1')\n"
        "def name(file: File) -> str:\n    return file.path\n"
        "def pipeline(scheduler: Scheduler) -> int:\n"
        "    text: str = scheduler.run(name(File('a')))\n"
        "    return scheduler.run(double(double(2) + len(text)))\n"
        "@memoize\n"
        "def half(x: int) -> float:\n    return x / 2\n"
        "@memoize(version='1')\n"
        "def third(x: int) -> float:\n    return x / 3\n"
        "def at_once(repository: Repository, scheduler: Scheduler) -> Future[int]:\n"
        "    found: float = half(2) + third(x=3) + repository.memoize(half)(2)\n"
        "    return scheduler.submit(double(round(found)))\n"
    )
    (tmp_path / "wrong.py").write_text(
        "from valuestore import task\n@task\ndef double(x: int) -> int:\n    return 2 * x\ndouble('two')\n"
    )
    kept = ROOT / ".mypy_cache" / "calls"  # what mypy found out of the package, which is most of its work
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", str(kept)]
    checked = subprocess.run([*command, "typed.py", "wrong.py"], cwd=tmp_path, capture_output=True, text=True)
    assert checked.returncode == 1, checked.stdout + checked.stderr
    *found, summary = checked.stdout.splitlines()
    assert [line.partition(":")[0] for line in found] == ["wrong.py"]
    assert summary == "Found 1 error in 1 file (checked 2 source files)"
