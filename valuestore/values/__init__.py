"""Values: object -> identity, object <-> payload. Knows stores and digests, no SQL and no tasks."""
