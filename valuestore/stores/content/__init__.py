"""Content: payload digest -> verified bytes, on any store."""

from valuestore.stores.content.store import ContentStore as ContentStore
from valuestore.stores.content.store import PayloadRef as PayloadRef
