"""valuestore: the memory of Python pipelines.

Every value is remembered by its content, so nothing is computed twice; every execution, job and call is
recorded in SQL, so every result can be asked where it came from. Names are loaded when first used:
importing this package loads no database driver.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from valuestore.lazy import lazy_names
from valuestore.version import __version__ as __version__

if TYPE_CHECKING:
    from valuestore.errors import ValuestoreError as ValuestoreError
    from valuestore.repository import Repository as Repository
    from valuestore.scheduler.scheduler import Scheduler as Scheduler
    from valuestore.stores.base import open_store as open_store
    from valuestore.tasks.script import script as script
    from valuestore.tasks.tag import merge_handles as merge_handles
    from valuestore.tasks.tag import tag as tag
    from valuestore.tasks.task import task as task
    from valuestore.values.files.dir import Dir as Dir
    from valuestore.values.files.file import File as File
    from valuestore.values.files.fileset import FileSet as FileSet
    from valuestore.values.handles.handle import Handle as Handle
    from valuestore.values.registry import TypeRegistry as TypeRegistry
    from valuestore.values.registry import get_type_registry as get_type_registry
    from valuestore.values.value import Value as Value

__getattr__, __dir__, __all__ = lazy_names(
    __name__,
    {
        "errors": "ValuestoreError",
        "repository": "Repository",
        "scheduler.scheduler": "Scheduler",
        "stores.base": "open_store",
        "tasks.script": "script",
        "tasks.tag": "merge_handles tag",
        "tasks.task": "task",
        "values.files.dir": "Dir",
        "values.files.file": "File",
        "values.files.fileset": "FileSet",
        "values.handles.handle": "Handle",
        "values.registry": "TypeRegistry get_type_registry",
        "values.value": "Value",
    },
)
