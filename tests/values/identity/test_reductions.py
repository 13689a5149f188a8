"""Objects that say by a way of their own what they are rebuilt from: what of it counts."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pytest

from valuestore import Repository
from valuestore.errors import NotHashableError


@pytest.fixture
def registry(here):
    with Repository.open() as repository:
        yield repository.archive.registry


class Base:
    __slots__ = ("close", "name")


class Again(Base):
    __slots__ = ("close", "size")


def test_a_slot_that_a_subclass_has_once_more_is_one_slot(registry):
    one, other = Again(), Again()
    one.close, one.name, other.close, other.name = 1, "n", 2, "n"
    back = registry.load(registry.dump(one))
    assert (back.close, back.name, registry.hash(back)) == (1, "n", registry.hash(one))
    assert registry.hash(one) != registry.hash(other)
    Base.close.__set__(one, 3)
    with pytest.raises(NotHashableError, match="the slot close of Base is hidden by another"):
        registry.hash(one)


class Term:
    __slots__ = ("args",)

    def __new__(cls, *args):
        made = object.__new__(cls)
        made.args = args
        return made

    def __reduce__(self):
        return type(self), self.args


class Product(Term):
    __slots__ = ("commutes",)

    def __new__(cls, *args):
        made = Term.__new__(cls, *args)
        made.commutes = True
        return made


def test_what_a_reduction_leaves_out_counts_unless_it_comes_back_by_itself(registry):
    product = Product(1, Product(2))
    assert registry.hash(registry.load(registry.dump(product))) == registry.hash(product)
    product.commutes = False
    with pytest.raises(NotHashableError, match="leaves out its attribute commutes"):
        registry.hash(product)


class Lazy:
    def __init__(self, size):
        self.size = size

    @cached_property
    def doubled(self):
        return self.size * 2

    def __getstate__(self):
        return dict(vars(self))


def test_what_was_computed_on_the_way_does_not_count(registry):
    lazy = Lazy(2)
    before = registry.hash(lazy)
    assert lazy.doubled == 4
    assert registry.hash(lazy) == before != registry.hash(Lazy(3))
    assert registry.hash(registry.load(registry.dump(lazy))) == before


def test_a_distribution_does_not_hold_the_random_generator_of_all(registry):
    from scipy import stats

    normal = stats.norm(0, 2)
    before = registry.hash(normal)
    normal.rvs(3)
    assert registry.hash(normal) == before
    back = registry.load(registry.dump(normal))
    assert registry.hash(back) == before
    assert back.random_state is np.random.mtrand._rand
    normal.random_state = 1
    seeded = registry.hash(normal)
    normal.rvs()
    assert len({before, seeded, registry.hash(normal)}) == 3


def test_the_random_generator_of_all_is_its_state_where_it_is_given(registry):
    state = registry.hash([np.random.mtrand._rand])
    np.random.mtrand._rand.random()
    assert registry.hash([np.random.mtrand._rand]) != state


class Measured(np.ndarray):
    unit = "m"

    def __reduce__(self):
        function, arguments, state = super().__reduce__()
        return function, arguments, (state, self.unit)

    def __setstate__(self, state):
        super().__setstate__(state[0])
        self.unit = state[1]


class Noted(Measured):
    """Adds what the reduction that it inherits may not know of."""


def test_a_subclass_of_an_array_is_told_by_its_own_reduction(registry):
    metres, feet = np.arange(3.0).view(Measured), np.arange(3.0).view(Measured)
    feet.unit = "ft"
    assert len({registry.hash(each) for each in (metres, feet, np.arange(3.0))}) == 3
    back = registry.load(registry.dump(feet))
    assert (type(back), back.unit, back.tolist()) == (Measured, "ft", [0.0, 1.0, 2.0])
    assert registry.hash(back) == registry.hash(feet)
    with pytest.raises(NotHashableError, match="register a TypeRule"):
        registry.hash(np.arange(3.0).view(Noted))
