"""OpenedStore: the fixtures that every part of the contract begins with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from valuestore.stores.base import Store


class OpenedStore:
    """``make_store`` returns a callable that opens the one place of the test, again and again."""

    shared_between_processes = True
    """Whether a store opened in another process, from a pickle, sees the same keys."""

    @pytest.fixture
    def make_store(self, tmp_path: Any) -> Callable[[], Store]:
        raise NotImplementedError("override the fixture make_store")

    @pytest.fixture
    def store(self, make_store: Callable[[], Store]) -> Iterator[Store]:
        with make_store() as store:
            yield store

    def odd_keys(self) -> list[str]:
        """Keys that look like something else."""
        raise NotImplementedError
