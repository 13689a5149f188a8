"""Classes of the user's in arguments: a task may call their methods, so their code counts with the call."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap

import pytest

from valuestore import Scheduler
from valuestore.errors import ValuestoreWarning

MODELS = {
    "plain": """
        FACTOR = 2
        def scale(x): return x * FACTOR
        class Model:
            def __init__(self): self.x = 3
            def score(self): return scale(self.x)
        """,
    "dataclass": """
        from dataclasses import dataclass
        FACTOR = 2
        @dataclass
        class Model:
            x: int = 3
            def score(self): return self.x * FACTOR
        """,
    "base": """
        FACTOR = 2
        class Base:
            def score(self): return self.x * FACTOR
        class Model(Base):
            def __init__(self): self.x = 3
        """,
    "enum": """
        import enum
        FACTOR = 2
        class Model(enum.Enum):
            x = 3
            def score(self): return self.value * FACTOR
        def make(): return Model.x
        """,
    "named tuple": """
        from typing import NamedTuple
        FACTOR = 2
        class Model(NamedTuple):
            x: int = 3
            def score(self): return self.x * FACTOR
        """,
    "value": """
        from valuestore import Value
        FACTOR = 2
        class Model(Value):
            type_name = "models.Model"
            def __init__(self, x=3): self.x = x
            def score(self): return self.x * FACTOR
        """,
    "dict": """
        FACTOR = 2
        class Model(dict):
            def __init__(self): super().__init__(x=3)
            def score(self): return self["x"] * FACTOR
        """,
    "class attribute": """
        class Model:
            FACTOR = 2
            def __init__(self): self.x = 3
            def score(self): return self.x * self.FACTOR
        """,
    "slots": """
        FACTOR = 2
        class Model:
            __slots__ = ("x",)
            def __init__(self): self.x = 3
            def score(self): return self.x * FACTOR
        """,
    "metaclass": """
        FACTOR = 2
        class Meta(type):
            def score_of(cls, x): return x * FACTOR
        class Model(metaclass=Meta):
            def __init__(self): self.x = 3
            def score(self): return type(self).score_of(self.x)
        """,
}
GIVEN = {
    "itself": ("model", "given.score()"),
    "in a list": ("[model]", "given[0].score()"),
    "in a dict": ("{'m': (1, model)}", "given['m'][1].score()"),
    "in another": ("Holder(model)", "given.held.score()"),
    "from a task": ("made()", "given.score()"),
    "from a task, in a list": ("[made(), 1]", "given[0].score()"),
    "from a task that passes it on": ("passed(made())", "given.score()"),
}
PIPELINE = """
from valuestore import task
import models_of_arguments as models

class Holder:
    def __init__(self, held): self.held = held

@task(namespace="a")
def made(): return make()

@task(namespace="a")
def passed(given): return given

@task(namespace="a")
def use(given): return {body}

def make():
    return vars(models).get("make", vars(models)["Model"])()

def call():
    model = make()
    return use({given})
"""


@pytest.fixture
def again(tmp_path, monkeypatch):
    """Write the modules, import them as another process would, run; the value and how many bodies ran."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def go(model, given, body):
        (tmp_path / "models_of_arguments.py").write_text(textwrap.dedent(model))
        (tmp_path / "pipeline_of_arguments.py").write_text(PIPELINE.format(given=given, body=body))
        for name in ("models_of_arguments", "pipeline_of_arguments"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        pipeline = importlib.import_module("pipeline_of_arguments")
        with Scheduler(tmp_path / "repository") as scheduler:
            value = scheduler.run(pipeline.call())
            reasons = [
                reason
                for job in scheduler.repository.history.jobs("-").all()
                if job.task == "a.use"
                for reason in scheduler.repository.history.why(job).reasons
            ]
            return value, scheduler.execution.counts.done, reasons

    yield go
    for name in ("models_of_arguments", "pipeline_of_arguments"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("model", "given"),
    [(name, "itself") for name in MODELS] + [("plain", name) for name in GIVEN],
)
def test_a_method_that_changed_runs_the_task_again(again, model, given):
    text, (written, body) = MODELS[model], GIVEN[given]
    assert again(text, written, body)[0] == 6
    assert again(text, written, body)[:2] == (6, 0)
    changed = text.replace("FACTOR = 2", "FACTOR = 5")
    assert changed != text
    value, _, reasons = again(changed, written, body)
    assert value == 15
    assert any("FACTOR" in (reason.subject or "") for reason in reasons)
    assert again(text, written, body)[:2] == (6, 0)  # what it was is still known


def test_why_shows_the_method(again):
    again(MODELS["plain"], *GIVEN["itself"])
    text = MODELS["plain"].replace("return scale(self.x)", "return scale(self.x) + 1")
    value, _, reasons = again(text, *GIVEN["itself"])
    assert value == 7
    assert [reason.sentence for reason in reasons] == [
        "models_of_arguments.Model has changed; the class of an argument brings it",
        "models_of_arguments.Model.score has changed; the class of an argument brings it",
    ]
    assert "+    def score(self): return scale(self.x) + 1" in reasons[0].diff


def test_code_beside_the_class_does_not_count(again):
    again(MODELS["plain"], *GIVEN["itself"])
    other = textwrap.dedent(MODELS["plain"]) + "def unused(): return 1\n"
    assert again(other, *GIVEN["itself"])[:2] == (6, 0)


def test_a_class_that_the_task_names_adds_nothing(tmp_path, again):
    again(MODELS["plain"], "model", "models.Model and given.score()")
    with Scheduler(tmp_path / "repository") as scheduler:
        query = "SELECT count(*) FROM job WHERE classes_hash IS NOT NULL"
        assert scheduler.repository.history.query(query).rows == [(0,)]


def test_a_version_speaks_for_the_classes_too(again, monkeypatch):
    monkeypatch.setitem(
        globals(), "PIPELINE", PIPELINE.replace('"a")\ndef use', '"a", version="1")\ndef use')
    )
    assert again(MODELS["plain"], *GIVEN["itself"])[0] == 6
    changed = MODELS["plain"].replace("FACTOR = 2", "FACTOR = 5")
    assert again(changed, *GIVEN["itself"])[:2] == (6, 0)


def test_a_class_whose_code_has_no_identity_is_said_and_never_stale(again):
    text = (
        MODELS["plain"]
        + """
        import threading
        class Guard:
            def __init__(self): self.lock = threading.Lock()
            def __reduce__(self): raise TypeError("no")
        GUARD = Guard()
        Model.guarded = lambda self: GUARD
        """
    )
    for _ in range(2):
        with pytest.warns(ValuestoreWarning, match=r"results of a.use are not found again.*GUARD"):
            assert again(text, *GIVEN["itself"])[:2] == (6, 1)


def test_another_process_with_another_hash_seed_finds_it(tmp_path):
    (tmp_path / "models_of_arguments.py").write_text(textwrap.dedent(MODELS["plain"]))
    given = "[models.Model(), Holder(models.Model())]"
    (tmp_path / "pipeline_of_arguments.py").write_text(PIPELINE.format(given=given, body="given[0].score()"))
    program = (
        "import pipeline_of_arguments as p; from valuestore import Scheduler\n"
        "with Scheduler('repository') as s: print(s.run(p.call()), s.execution.counts.done)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "123"
    ]
    assert said == ["6 1\n", "6 0\n", "6 0\n"]
