"""What a walk follows beyond names: what objects hold, how they were made, who was put where."""

from __future__ import annotations

import builtins
import colorsys
import fractions
import importlib
import json
import os
import subprocess
import sys

import pytest

from valuestore.values.code.function import code_identity
from valuestore.values.code.ownership import is_own
from valuestore.values.registry import TypeRegistry

G = "def g(*a):\n    return {n}\n"
M = "class M:\n    def score(self):\n        return {n}\n"
LOCK = "import threading\n"
USE = "def f(x):\n    return C\n"

HELD = {
    "numpy.vectorize": G + "import numpy\nC = numpy.vectorize(g)\n",
    "cmp_to_key": G + "import functools\nC = functools.cmp_to_key(g)\n",
    "defaultdict of a function": G + "import collections\nC = collections.defaultdict(g)\n",
    "defaultdict of a class": M + "import collections\nC = collections.defaultdict(M)\n",
    "chain map": G + "import collections\nC = collections.ChainMap({{}}, {{'g': g}})\n",
    "queue": G + "import queue\nC = queue.Queue()\nC.put([g])\n",
    "weak values": M + "import weakref\nm = M()\nC = weakref.WeakValueDictionary(m=m)\n",
    "exit stack": G + "import contextlib\nC = contextlib.ExitStack()\nC.callback(g)\n",
    "thread": G + LOCK + "C = threading.Thread(target=g)\n",
    "map of C": G + "C = map(g, [1])\n",
    "context variable": G + "import contextvars\nC = contextvars.ContextVar('C', default=g)\n",
    "module-less closure": G + "import attrs\nC = attrs.converters.optional(g)\n",
    "list of closures": G + "import attrs\nC = [attrs.converters.pipe(attrs.converters.optional(g))]\n",
    "array of objects": M + "import numpy\nC = numpy.array([M()], dtype=object)\n",
    "joblib.delayed": G + "import joblib\nC = joblib.delayed(g)\n",
    "configparser": G + "import configparser\nC = configparser.ConfigParser(converters={{'g': g}})\n",
    "annotated alias": G + "import typing\nC = typing.Annotated[int, g]\n",
    "object of C that holds a partial": G + "import functools\nC = filter(functools.partial(g, 1), [])\n",
    "template": "import jinja2\nC = jinja2.Template('{n}')\n",
}

MADE = {
    "lock beside": LOCK + "C = {{'lock': threading.Lock(), 'k': {n}}}\n",
    "set later": LOCK + "C = {{'lock': threading.Lock()}}\nC['k'] = {n}\n",
    "updated": LOCK + "C = {{'lock': threading.Lock()}}\nC.update(k={n})\n",
    "by a call": LOCK + "K = {n}\ndef make():\n    return [threading.Lock(), K]\nC = make()\n",
    "named in a call": LOCK + "K = {n}\nC = threading.Semaphore(K)\n",
    "statement that uses it": LOCK + "C = threading.Semaphore()\nC.release({n})\n",
    "generator": "N = {n}\nC = (N for _ in range(3))\n",
    "loop": LOCK + "C = [threading.Lock()]\nfor i in range({n}):\n    C.append(threading.Lock())\n",
    "in a branch": LOCK + "K = {n}\nC = threading.Lock()\nif K > 2:\n    C = threading.RLock()\n",
    "unpacked": LOCK + "K = {n}\nC, D = map(threading.Semaphore, [1, K])\n",
    "handed to a function": LOCK + "def fill(c):\n    c.append({n})\nC = [threading.Lock()]\nfill(C)\n",
    "own object beside a lock": LOCK + "class B:\n    k = 1\nC = [threading.Lock(), B()]\nC[1].k = {n}\n",
    "configparser": "import configparser\nC = configparser.ConfigParser()\nC['a'] = {{'k': '{n}'}}\n",
}

ATTRIBUTES = {
    "function": "def h():\n    return h.k\nh.k = {n}\ndef f(x):\n    return h()\n",
    "dict": "def h():\n    return h.k\nh.k = {{'a': [{n}]}}\ndef f(x):\n    return h()\n",
    "function itself": "def f(x):\n    return f.k\nf.k = {n}\n",
    "method": "class A:\n    def m(self):\n        return 1\nA.m.k = {n}\ndef f(x):\n    return A().m.k\n",
    "cached": "import functools\n@functools.cache\ndef h():\n    return 1\nh.k = {n}\ndef f(x):\n"
    "    return h.k\n",
    "context manager": "import contextlib\n@contextlib.contextmanager\ndef h():\n    yield\nh.k = {n}\n"
    "def f(x):\n    return h.k\n",
    "partial": "import functools\nh = functools.partial(print)\nh.k = {n}\ndef f(x):\n    return h.k\n",
    "function as attribute": G + "def h():\n    return h.by()\nh.by = g\ndef f(x):\n    return h()\n",
    "task": "from valuestore import task\n@task(namespace='', version='1')\ndef h(x):\n"
    "    return 1\nh.k = {n}\n"
    "def f(x):\n    return h.k\n",
    "function of a task": "from valuestore import task\n@task(namespace='', version='1')\n"
    "def h(x):\n    return 1\n"
    "h.func.k = {n}\ndef f(x):\n    return h.func(x)\n",
}

ANNOTATED = {
    "list": "A = list[M]\n",
    "union": "A = M | None\n",
    "optional text": "import typing\nA = typing.Optional['M']\n",
    "list of text": "A = list['M']\n",
    "text": "A = 'list[M]'\n",
    "annotated": "import typing\nA = typing.Annotated[M, 'x']\n",
    "type variable": "import typing\nA = typing.TypeVar('A', bound=M)\n",
    "bound in text": "import typing\nA = typing.TypeVar('A', bound='M')\n",
    "constraints": "import typing\nA = typing.TypeVar('A', int, M)\n",
    "new type": "import typing\nA = typing.NewType('A', M)\n",
    "callable": "import typing\nA = typing.Callable[[int], dict[str, M]]\n",
    "generic": "import typing\nT = typing.TypeVar('T')\nclass Box(typing.Generic[T]):\n    pass\n"
    "A = Box[M]\n",
    "alias of an alias": "B = list[M]\nA = dict[str, B]\n",
}

LOOKED_UP = {
    "subclasses": "class B:\n    pass\nclass S(B):\n    k = {n}\ndef f(x):\n    return B.__subclasses__()\n",
    "subclasses of a subclass": "class B:\n    pass\nclass S(B):\n    pass\nclass T(S):\n    k = {n}\n"
    "def all_of(c):\n    return c.__subclasses__()\ndef f(x):\n    return all_of(B)\n",
    "subclasses in a class method": "class B:\n    @classmethod\n    def all(cls):\n"
    "        return cls.__subclasses__()\n"
    "class S(B):\n    k = {n}\ndef f(x):\n    return B.all()\n",
    "registered": "import abc\nclass B(abc.ABC):\n    pass\nclass S:\n    k = {n}\nB.register(S)\n"
    "def f(x):\n    return isinstance(x, B)\n",
    "registered elsewhere": "import numbers\nclass S:\n    k = {n}\nnumbers.Number.register(S)\n"
    "def f(x):\n    return isinstance(x, numbers.Number)\n",
    "registered or not": "import collections.abc as c\nclass S:\n    pass\n"
    "(c.Sized if {n} == 2 else c.Sequence).register(S)\n"
    "def f(x):\n    return isinstance(S(), c.Sequence)\n",
    "registered with an heir": "import abc\nclass B(abc.ABC):\n    pass\nclass H(B):\n    pass\n"
    "class S:\n    k = {n}\nH.register(S)\ndef f(x):\n    return isinstance(x, B)\n",
    "partial called as what it wraps": "import functools\ndef g(k, x):\n    return k * x\n"
    "C = functools.update_wrapper(functools.partial(g, {n}), g)\n" + USE,
    "alias in a table": "import typing\nT = typing.TypeVar('T')\nclass Box(typing.Generic[T]):\n"
    "    def get(self):\n        return {n}\nC = {{'int': Box[int]}}\n" + USE,
    "wrapt in a list": "import wrapt\ndef times(k):\n    @wrapt.decorator\n    def wrapper(w, i, a, o):\n"
    "        return k\n    return wrapper\ndef g(x):\n    return x\nC = [times({n})(g)]\n" + USE,
    "put into a class": "import fractions\ndef g(self):\n    return {n}\nfractions.Fraction.my_own = g\n"
    "def f(x):\n    return fractions.Fraction(x).my_own()\n",
    "property put into a class": "from fractions import Fraction\n"
    "Fraction.my_own = property(lambda self: {n})\n"
    "def f(x):\n    return Fraction(x).my_own\n",
    "put into a module": "import colorsys\ndef g():\n    return {n}\ncolorsys.my_own = g\n"
    "def f(x):\n    return colorsys.my_own()\n",
    "put into builtins": "import builtins\ndef g():\n    return {n}\nbuiltins.my_own = g\n"
    "def f(x):\n    return my_own()\n",
    "class of a default": "class K:\n    def k(self):\n        return {n}\ndef f(x, k=K()):\n"
    "    return k.k()\n",
    "made by exec": "d = dict(K={n})\nexec('def C():\\n    return K', d)\nC = d['C']\n" + USE,
    "compiled by eval": "C = eval('lambda: {n}', {{}})\n" + USE,
    "method of a text": "C = 'a{n}'.format\n" + USE,
    "method of a dict": "C = {{'a': {n}}}.get\n" + USE,
    "method of an own dict": "class D(dict):\n    pass\nget = D(a={n}).get\ndef f(x):\n    return get(x)\n",
    "method of an own object": "class D:\n    def go(self):\n        return self.k\n"
    "d = D()\nd.k = {n}\ngo = d.go\n"
    "def f(x):\n    return go()\n",
    "method of a class": "class D:\n    @classmethod\n    def go(cls):\n        return {n}\ngo = D.go\n"
    "def f(x):\n    return go()\n",
    "method of a list": "C = [{n}].__getitem__\n" + USE,
    "method of a pattern": "import re\nC = re.compile('{n}').findall\n" + USE,
    "method in a partial": "import functools\nC = functools.partial('{n}'.join)\n" + USE,
    "cycle": "class A:\n    pass\nC = A()\nC.self = [C]\nC.k = {n}\n" + USE,
    "method bound by hand": "import types\nclass A:\n    pass\nC = A()\ndef g(self):\n    return {n}\n"
    "C.go = types.MethodType(g, C)\n" + USE,
    "wrapt": "import wrapt\n@wrapt.decorator\ndef deco(w, i, a, k):\n    return {n}\n@deco\n"
    "def h():\n    return 1\n"
    "def f(x):\n    return h()\n",
    "class body": "import typing\ndef g(x):\n    return {n}\nN = typing.Annotated[int, g]\n"
    "class B:\n    x: N\ndef f(x):\n    return B\n",
}

MADE_CLASSES = {
    "bases": "C = type('C', (int if {n} == 2 else float,), {{}})\n",
    "functional enum": "import enum\nC = (enum.Enum if {n} == 2 else enum.IntEnum)('C', {{'a': 1}})\n",
    "method of Python's own": "C = type('C', (), {{'m': str.upper if {n} == 2 else str.lower}})\n",
    "set later": "class C:\n    pass\nC.m = str.upper if {n} == 2 else str.lower\n",
    "class method or not": "def m(*a):\n    return a\n"
    "C = type('C', (), {{'m': classmethod(m) if {n} == 2 else staticmethod(m)}})\n",
    "make_dataclass": "import dataclasses\nC = dataclasses.make_dataclass('C', ['x'], order={n} == 2)\n",
    "fields of it": "import dataclasses\n"
    "C = dataclasses.make_dataclass('C', 'xy'[:: 1 if {n} == 2 else -1])\n",
    "factory of a field": "import dataclasses as d\n"
    "C = d.make_dataclass('C', [('x', list, d.field(default_factory=lambda: [{n}]))])\n",
    "new_class": "import types\nC = types.new_class('C', (), {{}}, lambda names: names.update(k={n}))\n",
    "member of an enum": "import enum\nclass C(enum.Enum):\n    A = 1\nC.A.k = {n}\n",
    "metaclass of Python": "import abc\nC = abc.ABCMeta('C', (), {{'k': {n}}})\n",
}

P = "import functools, math, random, statistics\nP = statistics.mean if {n} == 2 else statistics.median\n"
BY = "def by(g):\n    return lambda x: g(x)\n"
OF_LIBRARIES = {
    "in a partial": P + "C = functools.partial(P)\n" + USE,
    "in a closure": P + BY + "C = by(P)\n" + USE,
    "of C in a closure": P + BY + "C = by(math.floor if {n} == 2 else math.ceil)\n" + USE,
    "class in a closure": P + BY + "C = by(list if {n} == 2 else tuple)\n" + USE,
    "module in a closure": P + BY + "C = by(math if {n} == 2 else random)\n" + USE,
    "as a default": P + "def C(x, by=P):\n    return by(x)\n" + USE,
    "as a default by name": P + "def C(*, by=P):\n    return by(x)\n" + USE,
    "attribute of a function": P + "def C():\n    return C.by()\nC.by = P\n" + USE,
    "attribute of a class": P + "class C:\n    pass\nC.by = staticmethod(P)\n" + USE,
    "cached": P + "C = functools.lru_cache(P)\n" + USE,
    "under a wrapper of C": "import numpy\nC = numpy.mean if {n} == 2 else numpy.median\n" + USE,
    "of a kind": P + "C = functools.singledispatch(print)\nC.register(int, P)\n" + USE,
    "method": "import random\nr = random.Random(1)\nC = r.randint if {n} == 2 else r.uniform\n" + USE,
    "method of an operator": "import functools\nclass C:\n    def add(self, other, k):\n        return k\n"
    "C.__add__ = functools.partialmethod(C.add, k={n})\n" + USE,
    "curried": G + "import toolz\nC = toolz.curry(g)\n" + USE,
    "curried by a decorator": "import toolz\n@toolz.curry\n" + G + "C = g(1)\n" + USE,
    "descriptor": G + "import fractions\nfrom sqlalchemy.ext.hybrid import hybrid_property\n"
    "fractions.Fraction.my_own = hybrid_property(g)\n"
    "def f(x):\n    return fractions.Fraction(x).my_own\n",
}

FIELDS = {
    "attrs": "import attrs\ndef make(k):\n    @attrs.define\n    class A:\n        x: int = k\n"
    "    return A\nC = make({n})\n",
    "pydantic": "import pydantic\ndef make(k):\n    class A(pydantic.BaseModel):\n        x: int = k\n"
    "    return A\nC = make({n})\n",
    "create_model": "import pydantic\nC = pydantic.create_model('C', x=(int, {n}))\n",
    "annotation": "import pydantic\nC = pydantic.create_model('C', x=({{2: int, 3: str}}[{n}], 1))\n",
}

BY_TEXT = {
    "globals": "def f(x):\n    return globals()[x]\n",
    "eval": "def f(x):\n    return eval('K')\n",
    "sys.modules": "import sys\ndef f(x):\n    return getattr(sys.modules[__name__], x)\n",
    "import_module": "import importlib\ndef f(x):\n    return importlib.import_module('followedmod').K\n",
    "__import__": "def f(x):\n    return __import__('followedmod').K\n",
    "in a helper": "def g(x):\n    return globals()[x]\ndef f(x):\n    return g(x)\n",
}

DICT = "class D(dict):\n    __getattr__ = dict.__getitem__\nD0 = D(a={n})\n"  # raises KeyError
ANSWERING = {
    "global": DICT + "def f(x):\n    return D0.a\n",
    "in a list": DICT + "C = [D0]\n" + USE,
    "in a closure": DICT + "def by(c):\n    return lambda: c.a\nC = by(D(a={n}))\n" + USE,
    "of a function": DICT + "def C():\n    return C.d\nC.d = D(a={n})\n" + USE,
    "default": DICT + "def C(c=D0):\n    return c.a\n" + USE,
    "attribute of a class": DICT + "class C:\n    d = D(a={n})\n" + USE,
    "metaclass": "class K(type):\n    def __getattr__(cls, name):\n        raise KeyError(name)\n"
    "class C(metaclass=K):\n    k = {n}\n" + USE,
}

AROUND = {  # both texts of a line
    "nested": (
        "    @by(2)\n    def g():\n        return x\n",
        "    @by(3)\n    def g():\n        return x\n",
    ),
    "cache": ("@functools.lru_cache(2)\n", "@functools.lru_cache(3)\n"),
    "no cache": ("@functools.lru_cache(2)\n", ""),
    "no context manager": ("@contextlib.contextmanager\n", ""),
    "another": ("@contextlib.contextmanager\n", "@contextlib.asynccontextmanager\n"),
    "static": ("    @staticmethod\n", ""),
    "class method": ("    @staticmethod\n", "    @classmethod\n"),
    "property": ("    @property\n", ""),
    "abstract": ("    @abc.abstractmethod\n", ""),
}
CALLED_AT_ONCE = {
    "in a list": "C = [h]\ndef f(x):\n    return C[0].func(x)\n",
    "by another name": "def f(x):\n    g = h\n    return g.func(x)\n",
    "in a helper": "def call(t, x):\n    return t.__wrapped__(x)\ndef f(x):\n    return call(h, x)\n",
    "through another": "@task(namespace='')\ndef i(x):\n    return h.func(x)\n"
    "def f(x):\n    return [t.func(x) for t in (i,)]\n",
}

PROGRAMS = {
    **{f"made class: {name}": source + USE for name, source in MADE_CLASSES.items()},
    **{
        f"called at once: {name}": "from valuestore import task\n@task(namespace='')\n"
        "def h(x):\n    return {n}\n" + source
        for name, source in CALLED_AT_ONCE.items()
    },
    **{f"held: {name}": source + USE for name, source in HELD.items()},
    **{f"made: {name}": source + USE for name, source in MADE.items()},
    **{f"attribute: {name}": source for name, source in ATTRIBUTES.items()},
    **{
        f"annotation: {name}": M + source + "def f(m: A):\n    return 1\n"
        for name, source in ANNOTATED.items()
    },
    **LOOKED_UP,
    **{f"of a library: {name}": source for name, source in OF_LIBRARIES.items()},
    **{f"raises for what it has not: {name}": source for name, source in ANSWERING.items()},
    **{f"fields: {name}": source + USE for name, source in FIELDS.items()},
    **{f"by text: {name}": "K = {n}\n" + source for name, source in BY_TEXT.items()},
}


@pytest.fixture
def parts(tmp_path, monkeypatch):
    """Code identity of ``f`` in modules of the given sources, the last one's, written anew each time."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    made = set()

    def parts(source, **others):
        made.update({*others, "followedmod"})
        for name, text in {**others, "followedmod": source}.items():
            sys.modules.pop(name, None)
            (tmp_path / f"{name}.py").write_text(text)
        importlib.invalidate_caches()
        return code_identity(importlib.import_module("followedmod").f, TypeRegistry())

    yield parts
    for name in made:
        sys.modules.pop(name, None)
    for owner in (builtins, colorsys, fractions.Fraction):  # into which programs put something of their own
        if "my_own" in vars(owner):
            del owner.my_own


@pytest.mark.parametrize("name", PROGRAMS)
def test_edit_is_seen(parts, name):
    one = parts(PROGRAMS[name].format(n=2))
    assert one != parts(PROGRAMS[name].format(n=3))
    assert one == parts(PROGRAMS[name].format(n=2))


@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_a_function_counts(parts, name):
    def code(line):
        head = "import abc, contextlib, functools\ndef by(k):\n    return lambda g: k\n"
        if name == "nested":
            return parts(f"{head}def f(x):\n{line}    return g\n")
        if line.startswith("@") or (not line and AROUND[name][0][0] == "@"):
            return parts(f"{head}{line}def h(*a):\n    yield\ndef f(x):\n    return h\n")
        return parts(f"{head}class C:\n{line}    def h(*a):\n        return a\ndef f(x):\n    return C\n")

    one, two = AROUND[name]
    assert code(one) != code(two)
    assert code(one) == code(one)


def test_how_a_task_is_declared_does_not_count(parts):
    source = "from valuestore import task\n@task(namespace='', retries={n})\ndef h(x):\n    return 1\n"
    source += "def f(x):\n    return h.func(x)\n"
    assert parts(source.format(n=2)) == parts(source.format(n=3))


def test_code_is_the_same_in_every_process(tmp_path):
    for number, source in enumerate(PROGRAMS.values()):
        (tmp_path / f"followed{number}.py").write_text(source.format(n=2))
    program = (
        "import importlib, json; from valuestore.values.code.function import code_identity as c;"
        "from valuestore.values.registry import TypeRegistry as R;"
        f"mods = [importlib.import_module(f'followed{{n}}') for n in range({len(PROGRAMS)})];"
        "print(json.dumps([list(c(m.f, R()).items()) for m in mods]))"
    )

    def run(seed):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        return dict(zip(PROGRAMS, json.loads(done.stdout), strict=True))

    assert run("1") == run("2")


def test_class_that_only_type_checkers_import_counts(parts):
    source = (
        "from typing import TYPE_CHECKING\nimport followedhelp\nif TYPE_CHECKING:\n"
        "    from followedhelp import M\ndef f(m: 'list[M]'):\n    return 1\n"
    )
    one, two = (parts(source, followedhelp=M.format(n=n)) for n in (2, 3))
    assert one != two


def test_variable_that_was_imported_counts_as_it_was_made(parts):
    helper = "import threading\nK = {n}\ndef make(k):\n    return threading.Semaphore(k)\nC = make(K)\n"
    source = "from followedhelp import C\ndef f(x):\n    return C\n"
    one, two = (parts(source, followedhelp=helper.format(n=n)) for n in (2, 3))
    assert one != two


@pytest.mark.parametrize("name", ["K", "C", "P"])
@pytest.mark.parametrize("imports", ["from followedhelp import {name}\n", "from followedhelp import *\n"])
@pytest.mark.parametrize("use", ["getattr(m, x)", "m.__dict__[x]", "vars(m)[x]"])
def test_data_that_a_module_has_from_another_counts(parts, name, imports, use):
    helper = "import functools\nclass A:\n    pass\nK, C = {n}, A()\nC.k = K\n"
    helper += "P = functools.partial(max, K)\n"
    source = f"import followedmid as m\ndef f(x):\n    return {use}\n"

    def code(n):
        return parts(source, followedhelp=helper.format(n=n), followedmid=imports.format(name=name))

    assert code(2) != code(3)


def test_data_without_identity_in_a_module_is_left_out(parts):
    helper = "import threading\nclass A:\n    pass\nC = A()\nC.lock = threading.Lock()\n"
    source = "import followedmid as m\ndef f(x):\n    return getattr(m, x)\n"
    assert parts(source, followedhelp=helper, followedmid="from followedhelp import C\n")


@pytest.mark.parametrize(
    "imports",
    [
        "    try:\n        from followedone import k\n    except ImportError:\n"
        "        from followedtwo import k\n",
        "    if x:\n        import followedone as m\n    else:\n        import followedtwo as m\n"
        "    k = m.k\n",
    ],
)
@pytest.mark.parametrize("edited", [0, 1])
def test_each_import_of_one_name_counts(parts, imports, edited):
    def code(*numbers):
        one, two = (f"def k():\n    return {n}\n" for n in numbers)
        return parts(f"def f(x):\n{imports}    return k()\n", followedone=one, followedtwo=two)

    assert code(1, 1) != (code(2, 1) if edited == 0 else code(1, 2))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="the syntax is of Python 3.12")
@pytest.mark.parametrize(
    "use", ["type A = list[M]\ndef f(m: A):\n    return 1\n", "def f[T: M](m: T):\n    return 1\n"]
)
def test_class_in_a_type_statement_counts(parts, use):
    assert parts(M.format(n=2) + use) != parts(M.format(n=3) + use)


UNCHANGED = {
    "function beside an object of pydantic": "import pydantic\n@pydantic.validate_call\ndef h(x: int):\n"
    "    return x\ndef other():\n    return {n}\nL = [other]\ndef f(x):\n    return h(x)\n",
    "method that a library hides": "from random import random as C\nimport random\nrandom.seed({n})\n" + USE,
    "Python method that a library hides": "from random import randint as C\nimport random\nrandom.seed({n})\n"
    + USE,
    "method that numpy hides": "from numpy.random import rand as C, seed\nseed({n})\n" + USE,
    "reading a variable": LOCK + "C = threading.Lock()\nother = [C, {n}]\n" + USE,
    "another subclass": "class B:\n    pass\nclass S(B):\n    k = {n}\ndef f(x):\n    return B\n",
    "attribute of another function": "def h():\n    pass\nh.k = {n}\ndef f(x):\n    return 1\n",
    "what a lock is for": LOCK + "# {n}\nC = threading.Lock()\n" + USE,
}


@pytest.mark.parametrize("name", UNCHANGED)
def test_what_does_not_matter_does_not_count(parts, name):
    one, two = (parts(UNCHANGED[name].format(n=n)) for n in (2, 3))
    assert one == two


def test_results_that_a_cached_function_keeps_do_not_count(parts):
    source = "import functools\nclass R:\n    pass\n@functools.cache\ndef C():\n    return R()\n" + USE
    fresh = parts(source)
    module = sys.modules["followedmod"]
    module.C()
    assert code_identity(module.f, TypeRegistry()) == fresh


INSTALLED = "from .util import helper\n{task}def f(x):\n    return helper(x)\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of that name in a folder site-packages, with a module that defines ``f``."""
    folder = tmp_path / "site-packages"
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)

    def installed(package, source, n):
        home = folder.joinpath(*package.split("."))
        home.mkdir(parents=True)
        (home / "__init__.py").write_text("")
        (home / "flow.py").write_text(source)
        (home / "util.py").write_text(f"def helper(x):\n    return {n}\n")
        importlib.invalidate_caches()
        return importlib.import_module(f"{package}.flow").f

    folder.mkdir()
    yield installed
    for name in set(sys.modules) - before:
        del sys.modules[name]


TASK = "from valuestore import task\n@task(namespace='')\n"


def test_package_that_makes_tasks_of_its_own_functions_is_own(installed):
    one, two = (installed(f"adopted{n}", INSTALLED.format(task=TASK), n) for n in (1, 2))
    names = [set(f.code(TypeRegistry())) for f in (one, two)]
    assert names == [{f"adopted{n}.flow.f", f"adopted{n}.util.helper"} for n in (1, 2)]
    assert (
        one.code(TypeRegistry())["adopted1.util.helper"] != two.code(TypeRegistry())["adopted2.util.helper"]
    )


def test_library_whose_function_somebody_makes_a_task_is_not_own(installed):
    from valuestore import task

    function = installed("notadopted", INSTALLED.format(task=""), 1)
    assert not any("util" in name for name in task(function, namespace="").code(TypeRegistry()))
    assert not is_own("notadopted.util")
    assert not is_own(task(json.dumps, namespace="").func.__module__)


def test_package_beside_an_adopted_one_in_one_namespace_is_not_own(installed):
    installed("sharedspace.ours", INSTALLED.format(task=TASK), 1)
    installed("sharedspace.theirs", INSTALLED.format(task=""), 1)
    assert is_own("sharedspace.ours.util")
    assert not is_own("sharedspace.theirs.util")


def test_nested_or_far_away_is_still_told(parts):
    """Objects too deep for recursion, which were refused before."""
    source = (
        "class A:\n    pass\nC = A()\nn = C\nfor i in range(3000):\n    n.next = A()\n"
        "    n = n.next\nn.k = {n}\n"
    )
    assert parts((source + USE).format(n=2)) != parts((source + USE).format(n=3))


def test_sets_in_objects_that_contain_themselves_have_no_order(parts):
    source = "class A:\n    pass\nC = A()\nC.self = C\nC.names = {names}\n" + USE
    one, two = (parts(source.format(names=names)) for names in ("{'a', 'b', (1, 2)}", "{(1, 2), 'b', 'a'}"))
    assert one["followedmod.f:C"] == two["followedmod.f:C"]


@pytest.mark.parametrize(
    "source",
    [
        "import threading\nclass A:\n    def __init__(self):\n        self.l = threading.Lock()\nC = A()\n",
        "import threading\nclass A:\n    pass\nC = A()\nC.self = C\nC.l = [threading.Lock()]\n",
    ],
)
def test_own_object_with_a_part_that_has_no_identity_is_refused(parts, source):
    from valuestore.errors import NotHashableError

    with pytest.raises(NotHashableError, match="C.*version"):
        parts(source + USE)


def test_script_has_the_code_that_it_has_when_it_is_imported(tmp_path):
    program = (
        "import functools, json, sys\n"
        "from valuestore.values.code.function import code_identity\n"
        "from valuestore.values.registry import TypeRegistry\n"
        "class A:\n    def m(self):\n        return 1\n    @classmethod\n    def c(cls):\n        return 1\n"
        "def g(x):\n    return x\n"
        "C = {'l': lambda x: x, 'g': [g], 'm': (A.m, A().m, A.c), 's': {g, A, len},\n"
        "     'p': functools.partial(g, 1),\n"
        "     'n': functools.lru_cache(g), 'M': sys.modules[__name__]}\n"
        "def f(x):\n    return C\n"
        "print(json.dumps(list(code_identity(f, TypeRegistry()).items())))\n"
    )
    (tmp_path / "followedscript.py").write_text(program)
    found = {
        subprocess.run(
            [sys.executable, *how],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in (["followedscript.py"], ["-m", "followedscript"], ["-c", "import followedscript"])
    }
    assert len(found) == 1
