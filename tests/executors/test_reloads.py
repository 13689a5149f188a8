"""Modules that are reloaded between two runs of one scheduler: workers that live on have their old code."""

from __future__ import annotations

import importlib
import sys

import pytest

from valuestore import Scheduler

SHAPES = """
class Point:
    def __init__(self, x):
        self.x = x

    def size(self):
        return self.x * FACTOR

def scaled(x):
    return x * FACTOR
"""
PIPELINE = """
import {shapes} as shapes
from valuestore import task

@task
def size(point):
    return point.size()

@task
def applied(function, n):
    return function(n)

@task
def by_text(n):
    return getattr(shapes, "sca" + "led")(n)

@task
def by_name(n):
    return shapes.scaled(n)
"""


@pytest.fixture
def modules(tmp_path, monkeypatch, request):
    """Both, and what edits the first."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names = [f"{kind}_{abs(hash(request.node.nodeid)) % 10**8}" for kind in ("shapes", "pipeline")]

    def edit(factor):
        (tmp_path / f"{names[0]}.py").write_text(SHAPES.replace("FACTOR", factor))
        importlib.invalidate_caches()
        if names[0] in sys.modules:
            importlib.reload(sys.modules[names[0]])

    edit("1")
    (tmp_path / f"{names[1]}.py").write_text(PIPELINE.format(shapes=names[0]))
    yield *map(importlib.import_module, names), edit
    for name in names:
        del sys.modules[name]


@pytest.mark.parametrize(
    "call",
    [
        lambda shapes, pipeline: pipeline.size(shapes.Point(5)),
        lambda shapes, pipeline: pipeline.applied(shapes.scaled, 5),
        lambda _, pipeline: pipeline.by_name(5),
        pytest.param(
            lambda _, pipeline: pipeline.by_text(5),
            marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="Python cannot tell what runs"),
        ),
    ],
    ids=["a class of an argument", "a function", "by name", "by a text"],
)
def test_a_run_has_the_code_of_its_day(modules, tmp_path, call):
    shapes, pipeline, edit = modules
    with Scheduler(tmp_path / "repository", executor="processes", workers=1) as scheduler:
        assert scheduler.run(call(shapes, pipeline)) == 5
        edit("2000")
        assert scheduler.run(call(shapes, pipeline)) == 10_000
