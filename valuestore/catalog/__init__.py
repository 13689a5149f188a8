"""Catalog: names with attributes for content that never changes; see ``Repository.catalog``."""

from __future__ import annotations

from valuestore.catalog.catalog import Catalog as Catalog
from valuestore.catalog.catalog import Mounted as Mounted
from valuestore.catalog.entry import Entry as Entry
from valuestore.catalog.entry import Found as Found
from valuestore.values.entry import EntryRef as EntryRef
