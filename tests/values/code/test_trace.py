"""Traces: what a body reached without naming it is found, named and verified; nothing else is."""

from __future__ import annotations

import importlib
import linecache
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from valuestore.errors import UndeclaredRead
from valuestore.executors.worker import run_body
from valuestore.repository import Repository
from valuestore.values.code import trace
from valuestore.values.code.function import Dependency, code_identity, walked
from valuestore.values.code.members import Body, Version, verify
from valuestore.values.code.trace import Reach, nobodys, trace_refused
from valuestore.values.registry import TypeRegistry

REGISTRY = TypeRegistry()
needs_monitoring = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="Python 3.11 cannot tell what runs: test_without_monitoring has it"
)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """A module of the given source in a folder of its own, which is the working folder; loaded anew."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = set()

    def load(source, name="traced"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        for other in written | {name}:
            sys.modules.pop(other, None)
        written.add(name)
        importlib.invalidate_caches()
        linecache.clearcache()
        return importlib.import_module(name)

    yield load
    for name in written:
        sys.modules.pop(name, None)


def reached(function, *args, code="", run=""):
    """The members of one call's trace."""
    with nobodys():
        with Body(function, Version("t", code or uuid.uuid4().hex, run), REGISTRY) as body:
            function(*args)
        return body.seen(args)[0]


def names(members):
    return [member.name for member in members]


# --- where nothing is traced --------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python can tell what runs")
def test_without_monitoring(program):
    module = program("def hidden(): pass\ndef f(): globals()['hidden']()")
    assert "3.11" in trace_refused()
    assert reached(module.f) == ()


TAKEN = """
import sys, warnings
for tool in (3, 4, 5):
    sys.monitoring.use_tool_id(tool, f"profiler {tool}")
from valuestore.values.code.members import Body, Version
from valuestore.values.code.trace import trace_refused
from valuestore.values.registry import TypeRegistry
def hidden(): pass
def f(): globals()["hidden"]()
with Body(f, Version("t", "code"), TypeRegistry()) as body:
    f()
print(body.seen(())[0], trace_refused())
"""


@needs_monitoring
def test_tools_that_others_hold_are_left_to_them():
    ran = subprocess.run([sys.executable, "-c", TAKEN], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("() the tools of sys.monitoring are taken, by profiler 3, profiler 4")


@needs_monitoring
def test_a_debugger_and_coverage_may_come_before_and_after(program):
    module = program("def hidden(): pass\ndef f(): globals()['hidden']()")
    sys.monitoring.use_tool_id(sys.monitoring.DEBUGGER_ID, "debugger")
    try:
        assert trace_refused() == ""
        assert names(reached(module.f)) == ["traced.hidden"]
        sys.monitoring.restart_events()
        assert names(reached(module.f)) == ["traced.hidden"]
    finally:
        sys.monitoring.free_tool_id(sys.monitoring.DEBUGGER_ID)


# --- what is reached ----------------------------------------------------------------------------

HIDDEN = """
import functools, threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

RATE = 2
class Model:
    def score(self, x): return x * RATE
    @property
    def size(self): return 1
    @size.setter
    def size(self, value): pass
    @classmethod
    def make(cls): return cls()
    @staticmethod
    def plain(): return 1
class Base: pass
class Sub(Base):
    def go(self): return 1
@dataclass
class Point:
    x: int = 1
class Pair(NamedTuple):
    a: int = 1
    def total(self): return self.a
def hidden(*_): return 1
def other(*_): return hidden()
def numbers():
    while True:
        yield 1
running = numbers()
next(running)
@functools.lru_cache
def cached(x): return x
def deco(function):
    @functools.wraps(function)
    def wrapper(*args): return function(*args)
    return wrapper
@deco
def decorated(x): return x
def make(rate):
    def step(x): return x * rate
    return step
TABLE = {"lambda": lambda x: x, "hidden": hidden, "step": make(2)}
POOL = ThreadPoolExecutor(1)
POOL.submit(hidden).result()
"""

BODIES = {
    "m.score(1)": ["traced.Model.score"],
    "m.size": ["traced.Model.size"],
    "setattr(m, 'size', 2)": ["traced.Model.size"],
    "type(m).make()": ["traced.Model.make"],
    "m.plain()": ["traced.Model.plain"],
    "names['TABLE']['lambda'](1)": ["code traced.<lambda>"],
    "names['TABLE']['hidden'](1)": ["traced.hidden"],
    "names['TABLE']['step'](1)": ["code traced.make.<locals>.step"],
    "functools.reduce(names['other'], [1, 2])": ["traced.other"],
    "list(map(names['hidden'], [1]))": ["traced.hidden"],
    "sorted([2, 1], key=names['hidden'])": ["traced.hidden"],
    "[cls().go() for cls in names['Base'].__subclasses__()]": ["traced.Sub.go"],
    "names['Point'](2)": ["traced.Point"],
    "names['Pair'](2).total()": ["traced.Pair.total"],
    "next(names['running'])": ["traced.numbers"],
    "next(names['numbers']())": ["traced.numbers"],
    "names['cached'](1)": ["traced.cached"],
    "names['decorated'](1)": ["code traced.deco.<locals>.wrapper", "traced.decorated"],
    "(t := threading.Thread(target=names['hidden'])).start(), t.join()": ["traced.hidden"],
    "names['POOL'].submit(names['hidden']).result()": ["traced.hidden"],
    "exec('def made(): return 1\\nmade()', {})": [],
    "(lambda: 1)()": [],
    "None": [],
}


@needs_monitoring
@pytest.mark.parametrize("body", BODIES)
def test_what_a_body_reaches(program, body):
    module = program(HIDDEN + f"def f(m):\n    names = globals()\n    return {body}\n")
    assert names(found := reached(module.f, module.Model())) == BODIES[body]
    assert verify(found, REGISTRY)
    module.POOL.shutdown()


@needs_monitoring
def test_code_that_no_file_holds_is_never_the_same(program):
    module = program(
        """
        made = {}
        exec("def rule(x): return x", made)
        TABLE = [made["rule"]]
        def f(): return eval("TABLE")[0](1)
        """
    )
    with pytest.warns(UndeclaredRead, match="rule"):
        found = reached(module.f)
    assert names(found) == ["made rule"]
    assert not verify(found, REGISTRY)


@needs_monitoring
def test_recursion_and_a_generator_that_is_thrown_into(program):
    module = program(
        """
        import contextlib
        def down(n): return n and globals()["down"](n - 1)
        @contextlib.contextmanager
        def scope(): yield
        def f():
            with contextlib.suppress(ValueError), globals()["scope"]():
                globals()["down"](500)
                raise ValueError
        """
    )
    assert names(reached(module.f)) == ["traced.down", "traced.scope"]


@needs_monitoring
def test_what_the_identity_has_is_no_member(program):
    module = program(
        """
        class Named:
            def go(self): return [x for x in (lambda: (1, 2))()]
        def named(): return Named().go()
        def f(): return named()
        """
    )
    assert reached(module.f) == ()


@needs_monitoring
def test_two_tasks_share_a_helper(program):
    source = "def hidden(): pass\ndef f(): globals()['hidden']()\ndef g(): globals()['hidden']()"
    module = program(source)
    assert names(reached(module.f)) == names(reached(module.g)) == ["traced.hidden"]


@needs_monitoring
def test_equal_code_of_two_files_is_told_apart(program):
    source = "def scale(x):\n    return x * 2\n"
    program(source, "one")
    program(source, "two")
    importlib.import_module("one")
    module = program("import sys\ndef f(name): sys.modules[name].scale(1)")
    for name in ("one", "two"):
        importlib.import_module(name)
        assert names(reached(module.f, name)) == [f"{name}.scale"]


@needs_monitoring
def test_one_growing_set_for_a_version_and_the_same_object_while_it_does_not_grow(program):
    module = program("def a(): pass\ndef b(): pass\ndef f(name): globals()[name]()")
    first = reached(module.f, "a", code="growing")
    assert names(first) == ["traced.a"]
    assert reached(module.f, "a", code="growing") is first
    assert names(reached(module.f, "b", code="growing")) == ["traced.a", "traced.b"]


@needs_monitoring
def test_hot_code_is_heard_by_bodies_that_begin_later(program):
    module = program(
        """
        def hidden(): return 1
        def f(n): return sum(globals()["hidden"]() for _ in range(n))
        """
    )
    for _ in range(3):
        assert names(reached(module.f, 5000)) == ["traced.hidden"]
    assert names(reached(module.f, 1)) == ["traced.hidden"]
    assert reached(module.f, 0) == ()


@needs_monitoring
def test_reached_only_after_a_thousand_calls(program):
    module = program(
        """
        def hidden(): return 1
        def late(): return 1
        def f(n):
            for _ in range(n): globals()["hidden"]()
            globals()["late"]()
        """
    )
    assert names(reached(module.f, 1500)) == ["traced.hidden", "traced.late"]


@needs_monitoring
def test_a_body_that_exits_its_thread_ends_all_the_same(program):
    module = program("import sys\ndef f(): sys.exit(3)")
    with pytest.raises(SystemExit):
        reached(module.f)
    assert threading.get_ident() not in trace._tracer.running


@needs_monitoring
def test_a_body_inside_a_body_keeps_what_it_reaches(program):
    module = program(
        """
        def a(): pass
        def b(): pass
        def f(inner):
            inner()
            globals()["a"]()
        def g(): globals()["b"]()
        """
    )
    inside = []
    outer = reached(module.f, lambda: inside.append(reached(module.g)))
    assert names(inside[0]) == ["traced.b"]
    assert "traced.b" not in names(outer)
    assert "traced.a" in names(outer)


@needs_monitoring
def test_a_fork_inside_a_body(program):
    module = program(
        """
        import os, time
        def hidden(): pass
        def f():
            child = os.fork()
            globals()["hidden"]()
            if not child:
                os._exit(0)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        """
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, from the fork itself
        assert names(reached(module.f)) == ["traced.hidden"]


@needs_monitoring
def test_an_outcome_carries_it_home(program, tmp_path):
    module = program("def hidden(): return os.environ['HOME']\nimport os\ndef f(): return eval('hidden')()")
    with Repository.open(tmp_path / "repository") as repository, pytest.warns(UndeclaredRead, match="a task"):
        outcome = run_body(module.f, (), {}, repository.archive, version=Version("a task", uuid.uuid4().hex))
    again = pickle.loads(pickle.dumps(outcome))
    assert names(again.reached) == ["traced.hidden"]
    assert again.reads == (("variable", "HOME"),)
    assert verify(again.reached, REGISTRY)


# --- verified -----------------------------------------------------------------------------------

EDITED = """
RATE = 2
def far(x): return x * RATE
class Model:
    def score(self, x): return far(x)
TABLE = {"a": lambda x: x + RATE}
def unrelated(): return 1
def f(m):
    return m.score(1) + eval("TABLE")["a"](1)
"""


@needs_monitoring
@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("RATE = 2", "RATE = 3", False),
        ("return x * RATE", "return x + RATE", False),
        ("return far(x)", "return far(x) + 1", False),
        ("lambda x: x + RATE", "lambda x: x - RATE", False),
        ("def unrelated(): return 1", "def unrelated(): return 2", True),
        ("\nRATE = 2", "# a comment\n\n\nRATE   =   2", True),
    ],
)
def test_an_edit_of_what_ran_is_noticed(program, old, new, same):
    module = program(EDITED)
    found = reached(module.f, module.Model())
    assert names(found) == ["code traced.<lambda>", "traced.Model.score"]
    program(EDITED.replace(old, new))
    assert verify(found, REGISTRY) is same
    program(EDITED)
    assert verify(found, REGISTRY)


@needs_monitoring
@pytest.mark.parametrize(
    "imports",
    ["import importlib; m = importlib.import_module('late')", "import runpy; runpy.run_path('late.py')"],
)
def test_a_file_that_ran_in_a_body_is_verified_without_importing_it(program, tmp_path, imports):
    (tmp_path / "deeper.py").write_text("RATE = 2\n")
    (tmp_path / "late.py").write_text("from deeper import RATE\ndef scale(x): return x\nscale(1)\n")
    module = program(f"def f():\n    {imports}\n")
    try:
        found = reached(module.f)
    finally:
        for name in ("late", "deeper"):
            sys.modules.pop(name, None)
    assert set(names(found)) & {"module late", "file late.py"}
    assert verify(found, REGISTRY)
    assert "late" not in sys.modules
    (tmp_path / "deeper.py").write_text("RATE = 3\n")
    linecache.clearcache()
    assert not verify(found, REGISTRY)
    (tmp_path / "deeper.py").write_text("RATE = 2 # as it was\n")
    linecache.clearcache()
    assert verify(found, REGISTRY)
    (tmp_path / "late.py").unlink()
    linecache.clearcache()
    assert not verify(found, REGISTRY)


@needs_monitoring
def test_a_file_loaded_by_its_path(program, tmp_path):
    (tmp_path / "plug.py").write_text("def scale(x): return x * 2\n")
    module = program(
        """
        import importlib.util
        spec = importlib.util.spec_from_file_location("plug_in", "plug.py")
        plug = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(plug)
        TABLE = [plug.scale]
        def f(): return eval("TABLE")[0](1)
        """
    )
    found = reached(module.f)
    assert names(found) == ["file plug.py"]
    assert verify(found, REGISTRY)
    (tmp_path / "plug.py").write_text("def scale(x): return x * 3\n")
    assert not verify(found, REGISTRY)


@needs_monitoring
def test_a_module_edited_after_its_import_lends_no_new_text(program, tmp_path):
    module = program("TABLE = [lambda: 1]\ndef f(): eval('TABLE')[0]()")
    (tmp_path / "traced.py").write_text("TABLE = [lambda: 2]\ndef f(): eval('TABLE')[0]()")
    linecache.clearcache()
    found = reached(module.f)
    program("TABLE = [lambda: 2]\ndef f(): eval('TABLE')[0]()")
    assert not verify(found, REGISTRY)


@needs_monitoring
def test_a_function_that_was_put_in_the_place_of_another(program):
    module = program("def hidden(): return 1\ndef patched(): return 2\ndef f(): return globals()['hidden']()")
    module.hidden = module.patched
    found = reached(module.f)
    assert names(found) == ["traced.patched"]
    again = program("def hidden(): return 1\ndef patched(): return 3\ndef f(): return globals()['hidden']()")
    assert not verify(found, REGISTRY)
    assert names(reached(again.f)) == ["traced.hidden"]


@needs_monitoring
def test_a_reloaded_module_is_reached_anew(program, tmp_path):
    source = "def hidden(): return 1\ndef f(): return globals()['hidden']()"
    module = program(source)
    first = reached(module.f, code="reloaded", run="1")
    importlib.reload(module)
    assert names(reached(module.f, code="reloaded", run="2")) == ["code traced.hidden", "traced.hidden"]
    (tmp_path / "traced.py").write_text(source.replace("1", "2"))
    importlib.reload(module)
    assert not verify(first, REGISTRY)
    second = reached(module.f, code="reloaded", run="3")
    assert names(second) == ["traced.hidden"]
    assert verify(second, REGISTRY)


@pytest.mark.parametrize(
    "name",
    [
        "json.dumps",
        "valuestore.hashing.hash_bytes",
        "valuestore.values.code.members.verify",
        "code json.<lambda>",
        "code valuestore.hashing.<lambda>",
        "module json",
        "module valuestore.hashing",
        "module ../../secret",
        "module this",
        "file /dev/zero",
        "file /etc/passwd/",
        "file nowhere.py",
        "file ",
        "made f",
        "",
        " ",
        ".",
        "nowhere.f",
        "traced.nothing",
        "traced.f.__globals__",
        f"file {trace.__file__}",
        f"file {os.__file__}",
    ],
)
def test_no_name_in_a_row_leads_to_a_library_or_out_of_the_program(program, name):
    program("def f(): pass")
    before = set(sys.modules)
    digest = REGISTRY.hash("anything")
    assert not verify([Dependency(name, digest, None)], REGISTRY)
    assert not verify([Dependency(name, "", None)], REGISTRY)
    assert set(sys.modules) == before


# --- threads ------------------------------------------------------------------------------------


def missed_in_stress(module, bodies, seed):
    """How much of what bodies called is not in their traces, of ``bodies`` in 8 threads."""
    dice = random.Random(seed)
    static = walked(module.f, REGISTRY).codes

    def body(_):
        chosen = [f"h{dice.randrange(40)}" for _ in range(3)]
        reach = Reach(static)
        with nobodys(), reach:
            module.f(chosen, dice.choice([1, 5, 400, 1500]))
        called = [getattr(module, name) for each in chosen for name in (each, f"inner_{each}")]
        return len({id(function.__code__) for function in called} - reach.codes.keys())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            return sum(pool.map(body, range(bodies)))
    finally:
        sys.setswitchinterval(before)


HELPERS = "\n".join(
    f"def inner_h{i}(): return {i}\ndef h{i}(n): return sum(inner_h{i}() for _ in range(n))"
    for i in range(40)
)


@needs_monitoring
@pytest.mark.parametrize(
    ("bodies", "seed"), [(200, 0), *(pytest.param(1200, seed, marks=pytest.mark.thorough) for seed in (1, 2))]
)
def test_nothing_is_missed_by_many_threads(program, bodies, seed):
    module = program(HELPERS + "\ndef f(names, n):\n    return [globals()[name](n) for name in names]\n")
    assert missed_in_stress(module, bodies, seed) == 0


# --- random programs ----------------------------------------------------------------------------

KINDS = ("function", "lambda", "class", "generator")
CALLS = ("named", "looked up", "mapped", "thread")


@st.composite
def programs(draw):
    """Units that call later ones: by unit its kind, and its calls as (unit, how, whether it is made)."""
    count = draw(st.integers(2, 7))
    kinds = [draw(st.sampled_from(KINDS)) for _ in range(count)]
    calls = []
    for unit in range(count):
        later = list(range(unit + 1, count))
        chosen = draw(st.lists(st.sampled_from(later), unique=True, max_size=3)) if later else []
        calls.append([(other, draw(st.sampled_from(CALLS)), draw(st.booleans())) for other in chosen])
    kinds[0] = "function"
    return kinds, calls, draw(st.integers(0, count - 1))


def written(kinds, calls, edited=None):
    """The program; each unit that runs says so in ``out``, and an edited one says something else."""
    lines = ["import threading", "TABLE = {}", "def in_thread(work):"]
    lines += ["    thread = threading.Thread(target=work)", "    thread.start(), thread.join()"]
    for unit, kind in enumerate(kinds):
        parts = [f"out.append(({unit}, {unit == edited:d}))"]
        for other, how, is_made in calls[unit]:
            target = {
                "lambda": f"u0.__globals__['TABLE'][{other}]",
                "class": f"u0.__globals__['u{other}']().run",
                "function": f"u0.__globals__['u{other}']",
                "generator": f"u0.__globals__['u{other}']",
            }[kinds[other]]
            if how == "named" and kinds[other] != "lambda":
                target = target.replace(f"u0.__globals__['u{other}']", f"u{other}")
            call = f"{target}(out)"
            if how == "mapped":
                call = f"list(map({target}, [out]))"
            elif how == "thread":
                call = f"in_thread(lambda: list({target}(out) or ()))"
            if kinds[other] == "generator" and how in ("named", "looked up"):
                call = f"list({call})"
            elif kinds[other] == "generator" and how == "mapped":
                call = f"[list(each) for each in {call}]"
            parts.append(f"{is_made:d} and {call}")
        line = f"({', '.join(parts)},)"
        if kind == "lambda":
            lines.append(f"TABLE[{unit}] = lambda out: ({', '.join(parts)}, None)[-1]")
        elif kind == "class":
            lines += [f"class u{unit}:", "    def run(self, out):", f"        {line}"]
        elif kind == "generator":
            lines += [f"def u{unit}(out):", f"    {line}", "    yield"]
        else:
            lines += [f"def u{unit}(out):", f"    {line}"]
    return "\n".join([*lines, "def f(out):", "    u0(out)"])


def counting(kinds, calls, ran):
    """The units that count: what ran, with what it names; of lambdas, which have one name, all or none."""
    pending, counted = [0, *ran], set()
    while pending:
        unit = pending.pop()
        if unit in counted:
            continue
        counted.add(unit)
        pending += [other for other, how, _ in calls[unit] if how == "named" and kinds[other] != "lambda"]
        if kinds[unit] == "lambda":
            pending += [other for other, kind in enumerate(kinds) if kind == "lambda"]
    return counted


@needs_monitoring
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs())
def test_a_rerun_equals_a_fresh_run(program, drawn):
    kinds, calls, edited = drawn
    first, second = written(kinds, calls), written(kinds, calls, edited)
    module, out = program(first), []
    identity = code_identity(module.f, REGISTRY)
    found = reached(module.f, out)
    ran = {unit for unit, _ in out}
    again, fresh = program(second), []
    again.f(fresh)
    is_hit = code_identity(again.f, REGISTRY) == identity and verify(found, REGISTRY)
    assert not (is_hit and fresh != out)
    assert is_hit == (edited not in counting(kinds, calls, ran))
