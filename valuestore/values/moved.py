"""Moved: what is in valuestore itself and was in another module when values of it were first stored.

The name of a class is part of an identity, and a pickle finds its class by name. Both keep the first name
that it had, so that moving a file changes no digest and loses no value. A class of yours has ``aliases``.
"""

from __future__ import annotations

_MOVED = (  # module then, module now, names
    ("db.compare", "db.history.compare", "ComparedJob ComparedPair Comparison"),
    ("db.history.query", "db.history.records", "Page"),
    ("db.history.tags", "db.record.tag", "AnyValue"),
    ("db.lineage", "db.history.lineage", "Lineage LineageCall LineageEdge LineageInput"),
    ("db.names", "db.history.names", "Found"),
    (
        "db.records",
        "db.history.records",
        "CallRecord ExecutionRecord FileRecord JobRecord TagRecord TaskRecord ValueRecord",
    ),
    ("db.sql", "db.history.sql", "Rows"),
    ("db.why", "db.history.why", "Explanation Reason"),
    ("observe", "observe.adapters", "LogObserver ProgressObserver PrometheusObserver TraceObserver"),
    ("observe", "observe.events", "Change Event Watch is_failure notify watch"),
    ("scheduler.execution", "scheduler.record", "Counts Execution"),
    ("stores.answers", "stores.data", "Page SignedUrl Stat"),
    ("stores.content", "stores.content.store", "ContentStore PayloadRef"),
    ("stores.filesystem", "stores.files.store", "FileStore"),
    ("stores.fsspec", "stores.fsspec.store", "FsspecStore"),
    ("stores.redis", "stores.redis.store", "RedisStore"),
    ("stores.s3", "stores.s3.store", "S3Store"),
    ("stores.wrappers.prefixed", "stores.wrappers.renaming", "Prefixed"),
    ("stores.wrappers.tiered", "stores.wrappers.caching", "Tiered"),
    ("values.dir", "values.files.dir", "Dir"),
    ("values.file", "values.files.file", "File"),
    ("values.fileset", "values.files.fileset", "FileSet"),
    ("values.keys", "values.trust.keys", "KeyRing"),
    ("values.pickling", "values.trust.pickling", "main_member"),
    ("values.staging", "values.files.dir", "StagingDir"),
    ("values.staging", "values.files.file", "StagingFile"),
)

_then_by_now = {
    f"valuestore.{now}.{name}": f"valuestore.{then}.{name}"
    for then, now, names in _MOVED
    for name in names.split()
}
_now_by_then = {then: now for now, then in _then_by_now.items()}


def first_name(name: str) -> str:
    """The name that the thing with this module and qualified name is identified by."""
    return _then_by_now.get(name, name)


def present_name(name: str) -> str:
    """Module and qualified name, today, of what was stored under ``name``."""
    return _now_by_then.get(name, name)
