"""valuestore: the memory of Python pipelines.

Every value is remembered by its content, so nothing is computed twice; every execution, job and call is
recorded in SQL, so every result can be asked where it came from. Names are loaded when first used:
importing this package loads no database driver.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from valuestore.errors import ValuestoreError as ValuestoreError
    from valuestore.repository import Repository as Repository
    from valuestore.scheduler.scheduler import Scheduler as Scheduler
    from valuestore.stores.base import open_store as open_store
    from valuestore.tasks.handles import merge_handles as merge_handles
    from valuestore.tasks.script import script as script
    from valuestore.tasks.tag import tag as tag
    from valuestore.tasks.task import task as task
    from valuestore.values.dir import Dir as Dir
    from valuestore.values.file import File as File
    from valuestore.values.fileset import FileSet as FileSet
    from valuestore.values.handle import Handle as Handle
    from valuestore.values.registry import TypeRegistry as TypeRegistry
    from valuestore.values.registry import get_type_registry as get_type_registry
    from valuestore.values.value import Value as Value

__version__ = "0.1.0"

_HOMES = {
    "Dir": "values.dir",
    "File": "values.file",
    "FileSet": "values.fileset",
    "Handle": "values.handle",
    "Repository": "repository",
    "Scheduler": "scheduler.scheduler",
    "TypeRegistry": "values.registry",
    "Value": "values.value",
    "ValuestoreError": "errors",
    "get_type_registry": "values.registry",
    "merge_handles": "tasks.handles",
    "open_store": "stores.base",
    "script": "tasks.script",
    "tag": "tasks.tag",
    "task": "tasks.task",
}

__all__ = [  # the table above, which a test compares with the imports above
    "Dir",
    "File",
    "FileSet",
    "Handle",
    "Repository",
    "Scheduler",
    "TypeRegistry",
    "Value",
    "ValuestoreError",
    "get_type_registry",
    "merge_handles",
    "open_store",
    "script",
    "tag",
    "task",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'valuestore' has no attribute {name!r}")
    found = getattr(import_module(f"valuestore.{home}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
