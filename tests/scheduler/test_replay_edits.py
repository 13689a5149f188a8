"""Edits that the code of no task below tells: a replay gives what a walk gives, in processes of their own."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.scripts import Scripts


class Edit(NamedTuple):
    """A program, and what is put in the place of what in it; ``before`` and ``after`` are what it prints."""

    program: str
    old: str
    new: str
    before: str
    after: str


HEAD = """
import enum, functools, os, pathlib, sys, warnings
from dataclasses import dataclass
from valuestore import File, Scheduler, Value, catch, cond, map_, task, throw
from valuestore.values import register_type
warnings.simplefilter("ignore")
here = sys.modules["__main__"]
"""
TAIL = """
if __name__ == "__main__":
    with Scheduler(".") as scheduler:
        print(scheduler.run({}))
"""

EDITS = {
    "an attribute of an own class that an operator reads": Edit(
        """
class M: total = 1
@task
def make(n): return getattr(here, "M")()
@task
def root(n): return make(n).total
""",
        "total = 1",
        "total = 100",
        "1",
        "100",
    ),
    "an operator of an own class, with versions": Edit(
        """
@dataclass
class M:
    w: int
    def __add__(self, x): return self.w + x
@task(version="1")
def make(n): return M(n)
@task(version="1")
def root(n): return [make(n) + 1, make(n + 1) + 1]
""",
        "self.w + x",
        "self.w + x + 100",
        "[2, 3]",
        "[102, 103]",
    ),
    "a module in what a body returned": Edit(
        """
import helpers
@task
def apply(m, x): return m.K + x
@task
def root(n): return [apply(sys.modules["helpers"], n)]
""",
        "K = 1",
        "K = 100",
        "[2]",
        "[101]",
    ),
    "a task as an argument": Edit(
        """
@task
def leaf(x): return x + 1
@task
def apply(t, x): return t.func(x)
@task
def root(n): return [apply(leaf, n)]
""",
        "x + 1",
        "x + 100",
        "[2]",
        "[101]",
    ),
    "a function with a memory as an argument": Edit(
        """
@functools.lru_cache
def f(x): return x + 1
@task
def apply(g, x): return g(x)
@task(version="1")
def root(n): return [apply(f, n)]
""",
        "x + 1",
        "x + 100",
        "[2]",
        "[101]",
    ),
    "a function that a body below gave": Edit(
        """
def f(x): return x + 1
@task
def make(n): return [getattr(here, "f")]
@task
def apply(g, x): return g[0](x)
@task
def root(n): return [apply(make(0), n)]
""",
        "x + 1",
        "x + 100",
        "[2]",
        "[101]",
    ),
    "the parameters of a task with a version": Edit(
        """
@task(version="1")
def child(x): return x
@task(version="1")
def root(n): return [child(n)]
""",
        "def child(x): return x",
        "def child(x, y=5): return x + y",
        "[1]",
        "[6]",
    ),
    "the name of a parameter": Edit(
        """
@task(version="1")
def child(x): return x
@task(version="1")
def root(n): return [child(n)]
""",
        "def child(x): return x",
        "def child(z): return 100",
        "[1]",
        "[100]",
    ),
    "the default of a call that two bodies share": Edit(
        """
@task(version="1")
def leaf(x=1): return x
SHARED = [leaf()]
@task(version="1")
def first(n): return [leaf(1)]
@task(version="1")
def holder(n, dep=None): return [SHARED[0]]
@task(version="1")
def root(n): return [first(1), holder(1, first(1)), holder(2, holder(1, first(1)))]
""",
        "leaf(x=1)",
        "leaf(x=2)",
        "[[1], [1], [1]]",
        "[[1], [2], [2]]",
    ),
    "the fields of an own class, with versions": Edit(
        """
@dataclass
class M:
    w: int
@task(version="1")
def make(n): return M(n)
@task(version="1")
def use(m): return repr(m)
@task(version="1")
def root(n): return [use(make(n)), use(M(n))]
""",
        "    w: int\n",
        "    w: int\n    z: int = 7\n",
        "['M(w=1)', 'M(w=1)']",
        "['M(w=1, z=7)', 'M(w=1, z=7)']",
    ),
    "the members of an enum, with versions": Edit(
        """
class E(enum.Enum): A = 1
@task(version="1")
def make(n): return E.A
@task(version="1")
def use(e): return repr(e)
@task(version="1")
def root(n): return [use(make(n))]
""",
        "A = 1",
        "A = 2",
        "['<E.A: 1>']",
        "['<E.A: 2>']",
    ),
    "a type that says whether it is valid": Edit(
        """
class Conn:
    def __init__(self, p): self.p = p
@register_type(Conn)
class Rule:
    identity = staticmethod(lambda one: one.p)
    from_state = staticmethod(lambda state: Conn(state))
    is_valid = staticmethod(lambda one: os.path.exists("1") == (one.p == 1))
@task(version="1")
def make(n): return [Conn(int(os.path.exists("1")))]
@task(version="1")
def use(found): return found[0].p
@task(version="1")
def root(n): return [use(make(n))]
""",
        "",
        "1",
        "[0]",
        "[1]",
    ),
    "a value that says whether it is valid, where it raises": Edit(
        """
class V(Value):
    def __init__(self, w): self.w = w
    def is_valid(self):
        if os.path.exists("1") and self.w == 0: raise RuntimeError("asked")
        return True
@task(version="1")
def make(n): return V(0)
@task(version="1")
def root(n): return [make(n)]
""",
        "",
        "1",
        "V",
        "RuntimeError: asked",
    ),
    "a time limit that made a caught call fail": Edit(
        """
import time
@task(timeout_seconds=0.05)
def slow(n): time.sleep(0.3); return n
@task
def told(error): return type(error).__name__
@task
def root(n): return catch(slow(n), TimeoutError, told)
""",
        "timeout_seconds=0.05",
        "timeout_seconds=9",
        "TaskTimeout",
        "1",
    ),
    "the default of a caught call that never began": Edit(
        """
@task
def bad(): raise ValueError("no")
@task
def good(): return 5
@task
def f(x=bad()): return x
@task
def told(error): return "recovered"
@task
def root(n): return [catch(f(), ValueError, told)]
""",
        "x=bad()",
        "x=good()",
        "recovered",
        "5",
    ),
    "an operator of an own class that a branch is chosen by": Edit(
        """
class Mine:
    def __init__(self, n): self.n = n
    def __radd__(self, other): return other + self.n
@task
def one(n): return n
@task
def root(n): return cond(one(n) + Mine(1) > 3, "yes", "no")
""",
        "other + self.n",
        "other + self.n + 10",
        "no",
        "yes",
    ),
    "what an own class does when it is called": Edit(
        """
@dataclass
class Add:
    n: int
    def __call__(self, x): return x + self.n
@task
def root(n): return map_(Add(3), [n])
""",
        "x + self.n",
        "x + self.n + 100",
        "[4]",
        "[104]",
    ),
    "how many parts a result has": Edit(
        """
@task(nout=2)
def two(n): return [n, n]
@task
def root(n): return len(list(two(n)))
""",
        "nout=2",
        "nout=3",
        "2",
        "3",
    ),
    "the base of a thrown error": Edit(
        """
class B(Exception): pass
class E(B): pass
@task(version="1")
def first(error): return "first"
@task(version="1")
def other(error): return "other"
@task
def root(n): return catch(throw(E(n)), B, first, Exception, other)
""",
        "class E(B)",
        "class E(Exception)",
        "first",
        "other",
    ),
    "the parameters of a mapped task that did not fit": Edit(
        """
@task(version="1")
def pair(a, b): return [a]
@task(version="1")
def told(error): return "does not fit"
@task
def root(n): return catch(map_(pair, [n]), TypeError, told)
""",
        "pair(a, b)",
        "pair(a)",
        "does not fit",
        "[[1]]",
    ),
}


def edit(folder: Path, how: Edit) -> None:
    if not how.old:
        (folder / how.new).touch()
    for name in ("program.py", "helpers.py"):
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace(how.old, how.new) if how.old else text)


@pytest.mark.parametrize("name", EDITS)
def test_a_replay_gives_what_a_walk_gives_after(name: str, tmp_path: Path, scripts: Scripts) -> None:
    how = EDITS[name]
    folder = tmp_path / "replayed"
    folder.mkdir()
    (folder / "program.py").write_text(HEAD + how.program + TAIL.format("root(1)"))
    (folder / "helpers.py").write_text("K = 1\n")
    first = scripts.run(folder / "program.py")
    assert how.before in first.out, first.err
    assert scripts.run(folder / "program.py").out == first.out or how.before == "V"
    walked = tmp_path / "walked"
    shutil.copytree(folder, walked)
    with closing(sqlite3.connect(walked / ".valuestore" / "valuestore.db")) as connection, connection:
        connection.execute("UPDATE call_node SET checksum = NULL")
    for one in (folder, walked):
        edit(one, how)
    for one in (walked, folder):
        found = scripts.run(one / "program.py")
        assert how.after in found.out + found.err, (one.name, found)


def test_the_newest_finished_call_counts(tmp_path: Path, scripts: Scripts) -> None:
    """What came before and comes back is the newest again."""
    program = """
@task(version="1")
def child():
    open("flag", "w").close()
    return [File("flag", identity="path"), pathlib.Path("in").read_text()]
@task(version="1")
def root(): return [child()]
"""
    (tmp_path / "program.py").write_text(HEAD + program + TAIL.format("root()") + "")
    for content in ("1", "2", "1"):
        (tmp_path / "in").write_text(content)
        (tmp_path / "flag").unlink(missing_ok=True)
        assert f"'{content}'" in scripts.run(tmp_path / "program.py").out
    assert "'1'" in scripts.run(tmp_path / "program.py").out


def test_without_the_key_of_the_steps_below_it_is_walked(
    tmp_path: Path, scripts: Scripts, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = """
@task(version="1")
def part(n): return n
@task(version="1")
def root(n):
    print("ran")
    return [part(n)]
"""
    (tmp_path / "program.py").write_text(HEAD + program + TAIL.format("root(1)"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "one"))
    assert scripts.run(tmp_path / "program.py").out.split("\n")[0] == "ran"
    assert scripts.run(tmp_path / "program.py").out == "[1]\n"
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "other"))
    assert scripts.run(tmp_path / "program.py").out.split("\n")[0] == "ran"


def test_tags_of_tasks_below_are_recorded(tmp_path: Path, scripts: Scripts) -> None:
    program = """
@task(version="1", tags={"owner": "a"})
def part(n): return n
@task(version="1")
def root(n): return [part(n)]
"""
    path = tmp_path / "program.py"
    path.write_text(HEAD + program + TAIL.format("root(1)"))
    scripts.run(path)
    path.write_text(path.read_text().replace('"a"', '"b"'))
    scripts.run(path)
    with closing(sqlite3.connect(tmp_path / ".valuestore" / "valuestore.db")) as connection:
        tags = connection.execute("SELECT value FROM tags WHERE key = 'owner' ORDER BY value").fetchall()
    assert ('"b"',) in tags
