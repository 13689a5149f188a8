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
    from valuestore.scheduler.bodies.subrun import subrun as subrun
    from valuestore.scheduler.memoize import memoize as memoize
    from valuestore.scheduler.scheduler import Scheduler as Scheduler
    from valuestore.stores.base import open_store as open_store
    from valuestore.tasks.context import JobInfo as JobInfo
    from valuestore.tasks.context import get_context as get_context
    from valuestore.tasks.control import as_task as as_task
    from valuestore.tasks.control import catch as catch
    from valuestore.tasks.control import catch_all as catch_all
    from valuestore.tasks.control import cond as cond
    from valuestore.tasks.control import const as const
    from valuestore.tasks.control import fork as fork
    from valuestore.tasks.control import identity as identity
    from valuestore.tasks.control import join as join
    from valuestore.tasks.control import seq as seq
    from valuestore.tasks.control import throw as throw
    from valuestore.tasks.lists import compose as compose
    from valuestore.tasks.lists import flat_map as flat_map
    from valuestore.tasks.lists import flatten as flatten
    from valuestore.tasks.lists import map_ as map_
    from valuestore.tasks.lists import starmap as starmap
    from valuestore.tasks.lists import zip_ as zip_
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
        "scheduler.bodies.subrun": "subrun",
        "scheduler.memoize": "memoize",
        "scheduler.scheduler": "Scheduler",
        "stores.base": "open_store",
        "tasks.context": "JobInfo get_context",
        "tasks.control": "as_task catch catch_all cond const fork identity join seq throw",
        "tasks.lists": "compose flat_map flatten map_ starmap zip_",
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
