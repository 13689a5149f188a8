"""Code identity: comments and formatting do not count; whatever changes behaviour does."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

from valuestore.errors import NotHashableError
from valuestore.values.function import code_identity
from valuestore.values.registry import TypeRegistry
from valuestore.values.source import source_of


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
