"""A second module with a function and a type variable of the same names as in test_told_apart.py."""

import functools
import typing


@functools.lru_cache
def doubled(x):
    return 2 * x


T = typing.TypeVar("T", bound=int)
