"""ExecutorContract, passed by Ray, which takes long to start."""

from __future__ import annotations

import pytest

from valuestore.testing import ExecutorContract

pytestmark = [pytest.mark.thorough, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def ray():
    from valuestore.executors.ray import open_ray

    with open_ray(workers=2) as executor:
        yield executor


class TestRay(ExecutorContract):
    @pytest.fixture
    def make_executor(self, ray):
        from valuestore.executors.ray import RayExecutor

        return RayExecutor

    @pytest.fixture
    def executor(self, ray):
        return ray
