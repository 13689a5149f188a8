"""A store that fails on demand, and counts what it is asked."""

from __future__ import annotations

from collections import Counter
from functools import wraps

from valuestore.errors import StoreUnavailable
from valuestore.stores.wrappers import Wrapper

_OPERATIONS = [
    *["get", "put", "stat", "delete", "list", "exists", "size", "open", "copy", "move"],
    *["exists_many", "get_many", "put_many", "delete_many"],
]


class FailingStore(Wrapper):
    """``fail("get", 2)`` makes the next two gets fail; ``after=True``, once they are done."""

    def __init__(self, store):
        super().__init__(store)
        self.calls = Counter()
        self.failures = Counter()
        self.after = set()
        self.error = StoreUnavailable(store.url, "no answer")

    def fail(self, *operations, times=10**9, after=False):
        for operation in operations or _OPERATIONS:
            self.failures[operation] = times
            if after:
                self.after.add(operation)

    def heal(self):
        self.failures.clear()
        self.after.clear()


def _failing(operation):
    method = getattr(Wrapper, operation)

    @wraps(method)
    def call(self, *args, **kwargs):
        self.calls[operation] += 1
        fails = self.failures[operation] > 0
        self.failures[operation] -= fails
        if fails and operation not in self.after:
            raise self.error
        answer = method(self, *args, **kwargs)
        if fails:
            raise self.error
        return answer

    return call


for _operation in _OPERATIONS:
    setattr(FailingStore, _operation, _failing(_operation))
