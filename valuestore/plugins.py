"""Plug-ins: how a name becomes a store, a value type or an executor.

One rule behind every seam: the built-in table first, entry points second (group ``valuestore.<kind>``), and
nothing is imported before it is asked for. So a plug-in cannot take the place of a built-in part, and a
broken one costs a warning, not the program. Called by ``stores.open_store``, the type registry and the
scheduler; it knows what none of the parts does.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from valuestore.errors import ConfigError
from valuestore.lazy import package_missing

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

BUILTIN: Mapping[str, Mapping[str, str]] = {
    "stores": {
        **dict.fromkeys(
            ("abfs", "az", "fsspec+file", "fsspec+memory", "fsspec+s3", "gs", "http", "https"),
            "valuestore.stores.fsspec.store:FsspecStore",
        ),
        **dict.fromkeys(
            ("redis", "redis+unix", "rediss", "unix"), "valuestore.stores.redis.store:RedisStore"
        ),
        "file": "valuestore.stores.files.store:FileStore",
        "memory": "valuestore.stores.memory:MemoryStore",
        "s3": "valuestore.stores.s3.store:S3Store",
    },
    "types": {
        "PIL": "valuestore.values.codecs.pillow:RULES",
        "numpy": "valuestore.values.codecs.numpy:RULES",
        "pandas": "valuestore.values.codecs.pandas:RULES",
        "polars": "valuestore.values.codecs.polars:RULES",
        "pyarrow": "valuestore.values.codecs.arrow:RULES",
        "scipy": "valuestore.values.codecs.scipy:RULES",
        "torch": "valuestore.values.codecs.torch:RULES",
        **dict.fromkeys(
            ("array", "decimal", "fractions", "ipaddress", "uuid", "zoneinfo"),
            "valuestore.values.identity.standard:RULES",
        ),
        "builtins": "valuestore.values.code.callables:BUILTINS_RULES",
        "functools": "valuestore.values.code.callables:FUNCTOOLS_RULES",
        "operator": "valuestore.values.code.callables:OPERATOR_RULES",
        "valuestore": "valuestore.tasks.stored:RULES",
    },
    "executors": {
        "async": "valuestore.executors.threads:open_own_threads",
        "dask": "valuestore.executors.dask:open_dask",
        "processes": "valuestore.executors.processes:Processes",
        "ray": "valuestore.executors.ray:open_ray",
        "threads": "valuestore.executors.threads:open_threads",
    },
    "repository": {"memoize": "valuestore.scheduler.memoize:memoize"},  # from the floor above
}
"""By kind: name -> ``module:attribute``. The name of a store is its URL scheme."""

_BROKEN = object()
_loaded: dict[tuple[str, str], Any] = {}


def names(kind: str) -> list[str]:
    """The names of all parts of that kind, sorted; built-in or found, loadable or not. Imports none of them.

    Raises: ConfigError for an unknown kind.
    """
    return sorted({*_builtin(kind), *_entry_points(kind)})


def is_built_in(kind: str, name: str) -> bool:
    return name in _builtin(kind)


def find(kind: str, name: str) -> Any:
    """The part of that kind and name, imported on first use.

    Raises: ConfigError if there is none, or a package that it needs is missing. A plug-in that fails to
    import gives one RuntimeWarning and then counts as not there.
    """
    if (target := _builtin(kind).get(name)) is not None:
        module, _, attribute = target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except ModuleNotFoundError as error:
            raise ConfigError(name, package_missing(error)) from error
    plugin = _entry_points(kind).get(name)
    part = _BROKEN if plugin is None else _load_plugin(kind, name, plugin)
    if part is _BROKEN:
        raise ConfigError(kind, f"no {name!r}; there are {', '.join(names(kind)) or 'none'}")
    return part


def _builtin(kind: str) -> Mapping[str, str]:
    try:
        return BUILTIN[kind]
    except KeyError:
        raise ConfigError("plug-in kind", f"no {kind!r}; there are {', '.join(BUILTIN)}") from None


@cache
def _entry_points(kind: str) -> Mapping[str, EntryPoint]:
    # Imported late: it pulls in email, csv and zipfile, and only a name that is not built in needs it.
    from importlib.metadata import entry_points

    return {plugin.name: plugin for plugin in entry_points(group=f"valuestore.{kind}")}


def _load_plugin(kind: str, name: str, plugin: EntryPoint) -> Any:
    if (kind, name) not in _loaded:
        try:
            _loaded[kind, name] = plugin.load()
        except Exception as error:  # noqa: BLE001 - foreign code: whatever it raises is its own affair
            _loaded[kind, name] = _BROKEN
            reason = f"{type(error).__name__}: {error}"
            warnings.warn(
                f"plug-in {name!r} ({plugin.value}) of valuestore.{kind} is left out: {reason}",
                RuntimeWarning,
                stacklevel=3,
            )
    return _loaded[kind, name]
