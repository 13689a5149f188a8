"""Rules for foreign classes: by subclassing, by decorator, by entry point; and where a rule is looked up."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from tests.values.conftest import resigned
from valuestore.errors import ConfigError, DecodeError, NotHashableError
from valuestore.values import ForeignType, TypeRegistry, TypeRule, get_type_registry, register_type


class Point:
    """A class of somebody else: what it holds is no attribute."""

    __slots__ = ("_hidden", "_lock")

    def __init__(self, x, y):
        self._hidden = lambda: (x, y)

    @property
    def xy(self):
        return self._hidden()

    def __reduce__(self):
        raise TypeError("not by pickle")


class Point3(Point):
    pass


class Box:
    def __init__(self, content):
        self.content = content


class BoxOfBoxes(Box):
    pass


def test_a_class_without_rule_says_how_to_give_it_one(registry):
    with pytest.raises(NotHashableError, match=r"test_registry\.Point.*not by pickle.*TypeRule"):
        registry.hash(Point(1, 2))


def test_a_rule_by_subclassing(registry):
    class PointRule(ForeignType, type=Point, type_name="geo.Point", registry=registry):
        @staticmethod
        def identity(point):
            return list(point.xy)

        @staticmethod
        def from_state(state):
            return Point(*state)

    payload = registry.dump(Point(1, 2))
    assert payload.type_name == "geo.Point"
    assert registry.load(payload).xy == (1, 2)
    assert registry.hash(Point(1, 2)) == registry.hash(Point(1, 2)) != registry.hash(Point(2, 1))
    assert PointRule.rule.type is Point
    with pytest.raises(NotHashableError):
        registry.hash(Point3(1, 2))


def test_a_rule_by_decorator_with_aliases_for_subclasses_and_with_validity(registry):
    valid = []

    @register_type(Point, type_name="geo.Point", aliases=("old.Point",), subclasses=True, registry=registry)
    class _Rule:
        @staticmethod
        def identity(point):
            return [type(point).__name__, *point.xy]

        @staticmethod
        def from_state(state):
            name, *xy = state
            return {"Point": Point, "Point3": Point3}[name](*xy)

        @staticmethod
        def is_valid(point):
            valid.append(point.xy)
            return point.xy != (0, 0)

    assert registry.load(registry.dump([Point3(1, 2)]))[0].xy == (1, 2)
    assert registry.hash(Point3(1, 2)) != registry.hash(Point(1, 2))
    old = resigned(registry, {"p": Point(1, 2)}, b"\x09\0\0\0geo.", b"\x09\0\0\0old.")
    assert registry.load(old)["p"].xy == (1, 2)
    assert registry.is_valid([Point(1, 2)])
    assert not registry.is_valid({"p": (Point(0, 0),)})


def test_a_rule_without_what_it_needs_is_refused(registry):
    with pytest.raises(ConfigError, match="from_state"):

        class _Rule(ForeignType, type=Point, registry=registry):
            identity = str

    with pytest.raises(ConfigError, match="identity"):
        register_type(Point, registry=registry)(type("Rule", (), {"from_state": str}))


def test_the_own_rule_comes_before_that_of_a_parent(registry):
    registry.register(
        TypeRule(Box, "Box", lambda box: ["box", box.content], lambda s: Box(s[1]), subclasses=True)
    )
    assert registry.load(registry.dump(BoxOfBoxes(1))).content == 1
    assert registry.rule_for(BoxOfBoxes).type_name == "Box"
    registry.register(TypeRule(BoxOfBoxes, "BoxOfBoxes", vars, lambda s: BoxOfBoxes(**s)))
    assert type(registry.load(registry.dump(BoxOfBoxes(1)))) is BoxOfBoxes


def test_what_a_moved_class_was_stored_as_comes_back(registry):
    name = f"{__name__}.Box".encode()
    name = len(name).to_bytes(4, "little") + name
    old = resigned(registry, Box([1]), name, b"\x07\0\0\0old.Box", "old.Box")
    with pytest.raises(DecodeError, match=r"old\.Box.*not imported"):
        registry.load(old)
    registry.alias("old.Box", Box)
    assert registry.load(old).content == [1]


def test_rules_of_the_process_reach_repositories_opened_before(tmp_path):
    from valuestore import Repository

    with Repository.open(tmp_path) as repository:
        register_type(Point, type_name="geo.Late")(
            type("Rule", (), {"identity": lambda p: list(p.xy), "from_state": lambda s: Point(*s)})
        )
        try:
            assert repository.get(repository.put(Point(1, 2)).value_hash).xy == (1, 2)
        finally:
            del get_type_registry()._rules[Point]


# --- rules that an installed package brings ----------------------------------------------------------


@pytest.fixture
def site(tmp_path):
    """A folder with a library and the package that brings rules for it, as an installer leaves them."""
    folder = tmp_path / "site"
    metadata = folder / "toyrules-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: toyrules\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[valuestore.types]\ntoylib = toyrules:RULES\n")
    (folder / "toylib").mkdir()
    (folder / "toylib" / "__init__.py").write_text("from toylib.inner import Matrix")
    (folder / "toylib" / "inner.py").write_text(
        "class Matrix:\n    def __init__(self, rows): self.rows = rows\n"
    )
    (folder / "toyrules.py").write_text(
        "from toylib import Matrix\nfrom valuestore.values import TypeRule\n"
        "RULES = [TypeRule(Matrix, 'toylib.Matrix', lambda m: m.rows, Matrix)]\n"
    )
    return folder


def run(site, code):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()


def test_an_entry_point_brings_rules_when_such_an_object_is_met(site):
    code = (
        "import sys; from valuestore.values import TypeRegistry; registry = TypeRegistry()\n"
        "registry.hash([{1, 2}]); print('toyrules' in sys.modules)\n"
        "import toylib; payload = registry.dump(toylib.Matrix([1, 2])); print('toyrules' in sys.modules)\n"
        "print(payload.type_name, registry.load(payload).rows == [1, 2])"
    )
    assert run(site, code) == ["False", "True", "toylib.Matrix", "True"]


def test_a_stored_object_brings_the_rules_of_its_library(site):
    code = (
        "from valuestore.values import TypeRegistry; import toylib\n"
        "payload = TypeRegistry().dump([toylib.Matrix([1])])\n"
        "print(TypeRegistry().load(payload)[0].rows[0])"
    )
    assert run(site, code) == ["1"]


def test_a_library_met_by_many_threads_at_once_has_one_identity(monkeypatch):
    import decimal  # stands for a library whose rules come in on first use

    entered, hashed = Event(), Event()

    def slow_find(kind, name):
        entered.set()
        hashed.wait(0.2)  # whoever does not wait for the rules is done by then
        return [TypeRule(decimal.Context, "decimal.Context", lambda c: c.prec, lambda s: decimal.Context(s))]

    monkeypatch.setattr("valuestore.values.identity.rulebook.names", lambda kind: ["decimal"])
    monkeypatch.setattr("valuestore.values.identity.rulebook.find", slow_find)
    registry = TypeRegistry()

    def hash_late():
        entered.wait(5)
        try:
            return registry.hash(decimal.Context(5))
        finally:
            hashed.set()

    with ThreadPoolExecutor(2) as pool:
        late = pool.submit(hash_late)
        assert registry.hash(decimal.Context(5)) == late.result()
    assert registry.rule_for(decimal.Context).codec is None
