"""Code identity: comments and formatting do not count; whatever changes behaviour does."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
import threading
import types

import pytest

from valuestore.errors import NotHashableError
from valuestore.values.code.function import code_identity
from valuestore.values.code.ownership import is_own
from valuestore.values.code.source import source_of
from valuestore.values.registry import TypeRegistry


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Code identity of ``f`` in a module of the given source, written anew each time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    modules = []

    def parts(source, helpers=None, name="f"):
        for module in ("codemod", "codehelpers"):
            sys.modules.pop(module, None)
        (tmp_path / "codehelpers.py").write_text(textwrap.dedent(helpers or ""))
        (tmp_path / "codemod.py").write_text(textwrap.dedent(source))
        importlib.invalidate_caches()
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            module = importlib.import_module("codemod")
        finally:
            sys.dont_write_bytecode = before
        modules.append(module)
        return code_identity(getattr(module, name), TypeRegistry())

    yield parts
    for module in ("codemod", "codehelpers"):
        sys.modules.pop(module, None)


BASE = """
LIMIT = 3
def helper(x):
    return x + LIMIT
def f(x):
    return helper(x) * 2
"""


def test_comments_and_formatting_do_not_count(parts):
    assert parts(BASE) == parts(
        """
        # a comment
        LIMIT = (3)

        def helper( x ):  # another
            return (x
                    + LIMIT)


        def f(x):

            return helper(x)*2
        """
    )


def test_unrelated_code_does_not_count(parts):
    assert parts(BASE) == parts(BASE + "\nOTHER = 5\ndef g():\n    return OTHER\n")


@pytest.mark.parametrize(
    ("old", "new"),
    [("* 2", "* 3"), ("x + LIMIT", "x - LIMIT"), ("LIMIT = 3", "LIMIT = 4"), ("LIMIT = 3", "LIMIT = 3.0")],
)
def test_change_of_body_helper_or_constant_counts(parts, old, new):
    assert parts(BASE) != parts(BASE.replace(old, new))


@pytest.mark.parametrize(
    "source",
    [
        "import codehelpers\ndef f(x):\n    return codehelpers.scale(x)\n",
        "from codehelpers import scale\ndef f(x):\n    return scale(x)\n",
        "def f(x):\n    from codehelpers import scale\n    return scale(x)\n",
        "import codehelpers\ndef f(xs):\n    return [codehelpers.scale(x) for x in xs]\n",
        "from codehelpers import scale\nf = lambda x: scale(x)\n",
        "import functools\nfrom codehelpers import scale\nf = functools.partial(scale, 1)\n",
        "import functools\nfrom codehelpers import scale\n"
        "@functools.lru_cache\ndef g(x):\n    return scale(x)\n"
        "def f(x):\n    return g(x)\n",
    ],
)
def test_helper_in_another_module_counts(parts, source):
    one = parts(source, "def scale(x):\n    return 2 * x\n")
    two = parts(source, "def scale(x):\n    return 3 * x\n")
    assert one != two


def test_method_of_a_class_that_is_used_counts(parts):
    source = """
    class Base:
        def twice(self, x):
            return {twice}
    class Tool(Base):
        def run(self, x):
            return self.twice(x)
    def f(x):
        return Tool().run(x)
    """
    assert parts(source.format(twice="2 * x")) != parts(source.format(twice="x + x"))


def test_closure_counts(parts):
    source = """
    def make(n):
        def f(x):
            return x + n
        return f
    f = make({n})
    """
    assert parts(source.format(n=1)) != parts(source.format(n=2))
    assert parts(source.format(n=1)) == parts(source.format(n=1))


def test_user_decorator_counts(parts):
    source = """
    import functools
    def double(g):
        @functools.wraps(g)
        def wrapper(x):
            return {factor} * g(x)
        return wrapper
    @double
    def f(x):
        return x
    """
    assert parts(source.format(factor=2)) != parts(source.format(factor=3))


def test_docstring_counts_since_code_can_read_it(parts):
    assert parts('def f(x):\n    "one"\n    return x\n') != parts('def f(x):\n    "two"\n    return x\n')


def test_mutual_recursion_ends(parts):
    assert parts("def f(x):\n    return g(x)\ndef g(x):\n    return f(x)\n")


def test_library_objects_count_by_name_alone(parts):
    assert parts("import logging\nlog = logging.getLogger('x')\ndef f(x):\n    log.info(x)\n")


def test_own_object_without_identity_is_refused_and_named(parts):
    source = "import threading\nclass Box:\n    def __init__(self):\n        self.lock = threading.Lock()\n"
    source += "box = Box()\ndef f(x):\n    return box\n"
    with pytest.raises(NotHashableError, match="box.*version"):
        parts(source)


def test_two_lambdas_on_one_line_differ(parts):
    source = "f, g = (lambda x: x + 1), (lambda x: x + 2)\n"
    assert parts(source, name="f") != parts(source, name="g")


def test_file_edited_after_import_does_not_lend_its_new_text(parts, tmp_path):
    before = parts(BASE)
    (tmp_path / "codemod.py").write_text(BASE.replace("* 2", "* 3"))
    running = code_identity(sys.modules["codemod"].f, TypeRegistry())
    edited = parts(BASE.replace("* 2", "* 3"))
    assert running["codemod.f"] != edited["codemod.f"]
    assert before["codemod.f"] != edited["codemod.f"]


def test_function_without_a_file_is_identified_by_its_byte_code():
    def made(text):
        namespace = {"__name__": "nowhere"}
        exec(text, namespace)
        return code_identity(namespace["f"], TypeRegistry())

    assert made("def f(x): return x + 1") == made("def f(x):\n    return x + 1")
    assert made("def f(x): return x + 1") != made("def f(x): return x + 2")


def test_source_is_kept_for_reading(parts):
    parts(BASE)
    assert source_of(sys.modules["codemod"].f).startswith("def f(x):")


def test_two_products_of_one_factory_both_count(parts):
    source = """
    def make(n):
        def g(x):
            return x + n
        return g
    one, two = make({one}), make({two})
    def f(x):
        return one(x) + two(x)
    """
    variants = [parts(source.format(one=a, two=b)) for a, b in ((1, 2), (3, 2), (1, 3), (2, 1))]
    assert all(one != two for i, one in enumerate(variants) for two in variants[:i])


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("import re\nC = re.compile(r'\\d')\n", "d'", "w'"),
        ("import collections\nC = collections.deque([1, 2])\n", "2", "3"),
        ("class Box:\n    def __init__(self, x):\n        self.x = x\nC = Box([1, {2}])\n", "2", "3"),
        ("import threading\nC = threading.Semaphore(2)\n", "2", "3"),
        ("import functools, operator\nC = functools.partial(operator.add, 2)\n", "2", "3"),
        ("import decimal\nC = decimal.Context(prec=2)\n", "2", "3"),
        ("import random\nC = random.Random(2)\n", "2", "3"),
        ("import enum\nclass E(enum.Enum):\n    A = 2\nC = E.A\n", "2", "3"),
        ("import array\nC = array.array('i', [2])\n", "2", "3"),
    ],
)
def test_constant_of_any_class_counts_by_content_or_by_the_code_that_made_it(parts, source, old, new):
    use = "def f(x):\n    return C\n"
    assert parts(source + use) == parts(source + use)
    assert parts(source + use) != parts(source.replace(old, new) + use)


TASKS = """
from valuestore import task
@task(namespace="t")
def inner(x):
    return x + {n}
@task(namespace="t")
def f(x):
    return inner{func}(x)
def plain(x):
    return x
"""


def test_task_that_is_called_counts_by_name_and_one_run_at_once_by_code(parts):
    def code(n, func=""):
        parts(TASKS.format(n=n, func=func), name="plain")
        return sys.modules["codemod"].f.code(TypeRegistry())

    assert code(1) == code(2)
    assert code(1, ".func") != code(2, ".func")


@pytest.mark.parametrize(
    "helper",
    [
        "def h(x, k=K):\n    return x * k\n",
        "h = lambda x, *, k=K: x * k\n",
        "def scale(x):\n    return x * K\ndef h(x, by=scale):\n    return by(x)\n",
    ],
)
def test_default_of_a_helper_counts(parts, helper):
    source = "K = {k}\n" + helper + "def f(x):\n    return h(x)\n"
    assert parts(source.format(k=1)) != parts(source.format(k=2))


def test_signature_counts_in_byte_code():
    def made(text):
        namespace = {"__name__": "nowhere"}
        exec(text, namespace)
        return code_identity(namespace["f"], TypeRegistry())

    variants = [made(f"def f({signature}): return r") for signature in ("r", "*r", "**r", "*, r", "r, /")]
    assert all(one != two for i, one in enumerate(variants) for two in variants[:i])
    one = "def f():\n try: a()\n except E: return 1\n"
    assert made(one) == made(one)


def test_function_of_300_branches_is_identified_by_its_syntax(parts):
    branches = "".join(f"    elif x == {n}:\n        return {n}\n" for n in range(1, 300))
    source = "def f(x):\n    if x == 0:\n        return 0\n" + branches
    one = parts(source)
    assert one == parts(source + "# comment\n") == parts("\n" + source)
    assert one != parts(source.replace("return 299", "return 0"))


@pytest.mark.parametrize(
    "bodies", [("'x', ')'", "'x)'"), ("'Constant'", "None"), ("'['", "[]"), ("'x'", "x")]
)
def test_no_constant_passes_for_syntax(parts, bodies):
    one, two = (parts(f"def f(x):\n    return {body}\n") for body in bodies)
    assert one != two


AREA = """
from dataclasses import dataclass
@dataclass
class P:
    x: int
    def area(self):
        return self.x * {n}
"""


@pytest.mark.parametrize(
    "source",
    [
        "class C:\n    k = 3\nC.k = int('{n}')\ndef f(x):\n    return C.k\n",
        "class C:\n    pass\nC.g = lambda self: {n}\ndef f(x):\n    return C().g()\n",
        "C = type('C', (), dict(k={n}))\ndef f(x):\n    return C.k\n",
        "class C:\n    k = 0\nif True:\n    class C:\n        k = {n}\ndef f(x):\n    return C.k\n",
        "def make(k):\n    class C:\n        def g(self):\n            return k\n    return C\n"
        "C = make({n})\ndef f(x):\n    return C().g()\n",
        "class C:\n    def set(self, v, n={n}):\n        pass\n    p = property(None, set)\n"
        "def f(x):\n    C().p = x\n",
        "def g(x):\n    return {n}\nclass C:\n    def __init__(self, by):\n        self.by = by\n"
        "c = C(g)\ndef f(x):\n    return c.by(x)\n",
    ],
)
def test_class_counts_as_it_is_now(parts, source):
    one = parts(source.replace("{n}", "5"))
    assert one == parts(source.replace("{n}", "5"))
    assert one != parts(source.replace("{n}", "7"))


@pytest.mark.parametrize(
    "use",
    [
        "C = P(2)\ndef f(x):\n    return C.area()\n",
        "C = [{'a': P(2)}]\ndef f(x):\n    return C[0]['a'].area()\n",
        "h = P(2).area\ndef f(x):\n    return h()\n",
        "def make(p):\n    def h(x):\n        return p.area()\n    return h\nf = make(P(2))\n",
        "def f(p: P):\n    return p.area()\n",
        "def f(p: 'list[P]'):\n    return p[0].area()\n",
        "class Q:\n    one = P(2)\ndef f(x):\n    return Q.one.area()\n",
    ],
)
def test_method_of_an_object_or_argument_counts(parts, use):
    assert parts(AREA.format(n=3) + use) != parts(AREA.format(n=5) + use)


@pytest.mark.parametrize(
    "use",
    [
        "T = {'a': g}\ndef f(x):\n    return T['a'](x)\n",
        "T = [(1, {g})]\ndef f(x):\n    return [t(x) for t in T[0][1]]\n",
        "import functools\ndef ap(fn, x):\n    return fn(x)\nf = functools.partial(ap, g)\n",
        "import functools\n@functools.singledispatch\ndef h(x):\n    return 0\n"
        "h.register(int, g)\ndef f(x):\n    return h(x)\n",
        "import contextlib\n@contextlib.contextmanager\ndef h():\n    yield g(1)\n"
        "def f(x):\n    with h() as y:\n        return y\n",
    ],
)
def test_function_inside_another_object_counts(parts, use):
    assert parts("def g(x):\n    return x * 3\n" + use) != parts("def g(x):\n    return x * 5\n" + use)


def test_class_that_decorates_counts(parts):
    source = """
    import functools
    class D:
        def __init__(self, g):
            functools.update_wrapper(self, g)
            self.g = g
        def __call__(self, x):
            return self.g(x) * {n}
    @D
    def h(x):
        return x + {m}
    def f(x):
        return h(x)
    """
    variants = [parts(source.format(n=n, m=m)) for n, m in ((1, 1), (2, 1), (1, 2))]
    assert variants[0] != variants[1]
    assert variants[0] != variants[2]


@pytest.mark.parametrize(
    "source",
    [
        "def f(x):\n    import codehelpers\n    return codehelpers.scale(x)\n",
        "def f(x):\n    import codehelpers as h\n    return h.scale(x)\n",
        "def f(x):\n    from codehelpers import scale as s\n    return s(x)\n",
        "import codehelpers\ndef f(x):\n    m = codehelpers\n    return m.scale(x)\n",
    ],
)
def test_module_imported_in_the_function_or_held_in_a_variable_counts(parts, source):
    assert parts(source, "def scale(x):\n    return 2\n") != parts(source, "def scale(x):\n    return 3\n")


@pytest.mark.parametrize(
    "imported", ["from .helpers import scale", "from . import helpers; scale = helpers.scale"]
)
def test_relative_import_in_the_function_counts(tmp_path, monkeypatch, imported):
    def code(package, n):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        (tmp_path / package / "helpers.py").write_text(f"def scale(x):\n    return {n}\n")
        (tmp_path / package / "tasks.py").write_text(f"def f(x):\n    {imported}\n    return scale(x)\n")
        importlib.invalidate_caches()
        f = importlib.import_module(f"{package}.tasks").f
        return sorted(code_identity(f, TypeRegistry()).values())

    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    try:
        assert code("pkgone", 1) != code("pkgtwo", 2)
        assert code("pkgthree", 1) == code("pkgfour", 1)
    finally:
        for name in set(sys.modules) - before:
            del sys.modules[name]


def test_attribute_of_a_module_does_not_count_all_of_it(parts):
    source = "import codehelpers\ndef f(x):\n    return codehelpers.scale(x)\n"
    helpers = "def scale(x):\n    return 2\n"
    assert parts(source, helpers) == parts(source, helpers + "OTHER = 1\n")


def test_attribute_that_a_module_makes_up_counts(parts):
    source = "import codehelpers\ndef f(x):\n    return codehelpers.k\n"
    helpers = "def __getattr__(name):\n    return {n}\n"
    assert parts(source, helpers.format(n=2)) != parts(source, helpers.format(n=3))


@pytest.mark.parametrize("folder", ["my-site-packages-tools", "lib"])
def test_module_is_installed_by_the_folder_it_is_in_not_by_a_name_like_it(tmp_path, monkeypatch, folder):
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "ownmod.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / folder))
    monkeypatch.delitem(sys.modules, "ownmod", raising=False)
    importlib.import_module("ownmod")
    monkeypatch.setitem(sys.modules, "madeup", types.ModuleType("madeup"))
    assert is_own("ownmod")
    assert is_own("madeup")
    assert not any(map(is_own, ("sys", "json", "pytest", "valuestore.task", "_thread", "zipimport")))


SAMPLE = """
import abc, collections, enum, functools, typing
from dataclasses import dataclass, field
K = 7
NAMES = {"a", "b", "c"}
class E(enum.Enum):
    A = 1
    B = "b"
    def label(self): return f"{self.name:>{K}}"
class Colour(enum.IntFlag):
    RED = 1
    BLUE = 2
@dataclass(frozen=True)
class P:
    x: int
    y: list = field(default_factory=list)
    z: int = K
class N(typing.NamedTuple):
    a: int
    b: int = 2
class Base(abc.ABC):
    @abc.abstractmethod
    def run(self): ...
class C(Base):
    __slots__ = ("v",)
    @property
    def w(self): return self.v
    @w.setter
    def w(self, v): self.v = v
    @staticmethod
    def s(x): return [i for i in x if i]
    @classmethod
    def m(cls): return cls()
    @functools.cached_property
    def c(self): return super().__repr__()
    def run(self): return {k: v for k, v in zip("ab", "cd")}
G = {len, P, E}
def f(x):
    try:
        match x:
            case {"a": [1, *rest], **more}: return rest
            case P(x=1) | None: return E.A
        with open(x) as h: h.read()
    except* ValueError as e:
        raise KeyError(f"{x!r} {K:>{K}}") from e
    return C, N, Colour.RED, NAMES, G, f"{x:>{K}}", lambda *a, **k: (a, k)
"""


def test_code_is_the_same_in_every_process(tmp_path):
    (tmp_path / "samplemod.py").write_text(SAMPLE)
    program = (
        "import samplemod; from valuestore.values.code.function import code_identity as c;"
        "from valuestore.values.registry import TypeRegistry as R; print(c(samplemod.f, R()))"
    )

    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        ).stdout

    assert run("1") == run("2")


@pytest.mark.parametrize(
    ("source", "old", "new"),
    [
        ("from textwrap import dedent as g\ndef f(x):\n    return g(x)\n", "dedent", "indent"),
        ("from operator import add as g\ndef f(x):\n    return g(x, x)\n", "add", "mul"),
        ("import math as m\ndef f(x):\n    return m.sin(x)\n", "math", "cmath"),
    ],
)
def test_which_library_object_a_name_stands_for_counts(parts, source, old, new):
    assert parts(source) != parts(source.replace(old, new))


def test_which_of_two_lambdas_stands_where_counts(parts):
    source = "a = lambda x: 1\nb = lambda x: 2\nT = [a, b, {}]\ndef f(x):\n    return T[2](x)\n"
    assert parts(source.format("a")) != parts(source.format("b"))


@pytest.mark.parametrize("what", ["Own", "SETTINGS"])
def test_what_other_threads_add_to_can_be_walked(parts, what):
    """Python does so to a class when it pickles the first object of it, and bodies that fill a cache."""
    attributes = "\n".join(f"    n{n} = {n}" for n in range(300))
    parts(f"class Own:\n{attributes}\n\nSETTINGS = {{}}\n\ndef f():\n    return Own.n0, SETTINGS")
    module, is_over = sys.modules["codemod"], threading.Event()
    add, remove = (setattr, delattr) if what == "Own" else (dict.__setitem__, dict.__delitem__)

    def change():
        while not is_over.is_set():
            for number in range(20):
                add(getattr(module, what), f"__{number}__", 0)
            for number in range(20):
                remove(getattr(module, what), f"__{number}__")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    changing = threading.Thread(target=change)
    changing.start()
    try:
        found = [code_identity(module.f, TypeRegistry()) for _ in range(40)]
    finally:
        is_over.set()
        sys.setswitchinterval(before)
        changing.join()
    assert all(found)
    assert what == "SETTINGS" or all(one == found[0] for one in found)


@pytest.mark.parametrize(
    "source",
    [
        "import dataclasses\n@dataclasses.dataclass\nclass A:\n"
        "    k: list = dataclasses.field(default_factory=lambda: [3])\ndef f(x):\n    return A\n",
        "import sys, codehelpers\ndef f(x):\n    return getattr(codehelpers, x)\n",
        "import threading\nC = {'lock': threading.Lock(), 'k': 3}\ndef f(x):\n    return C\n",
    ],
)
def test_class_or_module_edited_after_it_was_looked_at_is_what_runs(parts, tmp_path, source):
    before = parts(source, helpers="K = 3\n")
    for name in ("codemod.py", "codehelpers.py"):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text.replace("3", "40"))
    assert code_identity(sys.modules["codemod"].f, TypeRegistry()) == before
    for name in ("codehelpers", "codemod"):
        if name in sys.modules:
            importlib.reload(sys.modules[name])
    assert code_identity(sys.modules["codemod"].f, TypeRegistry()) != before
