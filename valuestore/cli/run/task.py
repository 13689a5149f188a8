"""Pipeline: the user's file or module, loaded, and the tasks in it. Called by ``run``."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from valuestore.cli.failure import Usage
from valuestore.errors import TaskNotFound
from valuestore.tasks.task import Task, find_task


class Pipeline:
    """A module with tasks in it."""

    def __init__(self, target: str, module: ModuleType) -> None:
        self.target = target
        self.module = module
        self.tasks: dict[str, Task[..., Any]] = {
            name: member for name, member in [*vars(module).items()] if isinstance(member, Task)
        }
        """By the name they have in the module, in the order of the file; imported ones included."""

    def task(self, name: str) -> Task[..., Any]:
        """The task of that name in the module, or of that full name. Raises: TaskNotFound."""
        found = self.tasks.get(name) or find_task(name)
        if found is None:
            if not self.tasks:
                raise Usage(f"no task named {name!r}: {self.target} defines none; mark a function with @task")
            raise TaskNotFound(name, tuple(sorted(self.tasks)))
        return found


def load_pipeline(target: str) -> Pipeline:
    """The pipeline in a file such as ``census.py``, or in a module such as ``pipelines.census``.

    A file becomes the module named for its stem, with its folder first on ``sys.path``, as if it had been
    imported from there. Raises: Usage if there is no such file or module; whatever the file raises.
    """
    path = Path(target)
    if path.is_file():
        return Pipeline(target, _load_file(path))
    if path.suffix == ".py" or "/" in target:
        raise Usage(f"no file {target!r}")
    return Pipeline(target, _load_module(target))


def _load_file(path: Path) -> ModuleType:
    path = path.resolve()
    name = path.stem
    known = sys.modules.get(name)
    if known is not None and known.__dict__.get("__file__") == str(path):
        return known
    if known is not None or name in sys.stdlib_module_names:
        raise Usage(f"{path.name} has the name of the module {name!r}, which is in use; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Usage(f"{path} is no Python file: its name should end in .py")
    sys.path.insert(0, str(path.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: dataclasses and type hints look their module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _load_module(name: str) -> ModuleType:
    missing = Usage(f"no file and no module {name!r}")
    if not all(part.isidentifier() for part in name.split(".")):
        raise missing
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # the module is there, and what it imports is not
        raise missing from error
