"""A store that fails on demand, and counts what it is asked."""

from __future__ import annotations

from collections import Counter
from typing import get_args

from valuestore.errors import StoreUnavailable
from valuestore.stores.wrappers import Wrapper
from valuestore.stores.wrappers.base import Changing, Reading


class FailingStore(Wrapper):
    """``fail("get", times=2)`` makes the next two gets fail; ``after=True``, once they are done."""

    def __init__(self, store):
        super().__init__(store)
        self.calls = Counter()
        self.failures = Counter()
        self.after = set()
        self.error = StoreUnavailable(store.url, "no answer")

    def fail(self, *operations, times=10**9, after=False):
        for operation in operations or (*get_args(Reading), *get_args(Changing)):
            self.failures[operation] = times
            if after:
                self.after.add(operation)

    def heal(self):
        self.failures.clear()
        self.after.clear()

    def _through(self, verb, keys, ask):
        self.calls[verb] += 1
        fails = self.failures[verb] > 0
        self.failures[verb] -= fails
        if fails and verb not in self.after:
            raise self.error
        answer = ask(self._store, keys)
        if fails:
            raise self.error
        return answer
