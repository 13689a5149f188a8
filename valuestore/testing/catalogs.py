"""What every catalog keeps: CatalogContract, fact by fact, and CatalogMachine, against a dict.

Subclass both::

    class TestMyCatalog(CatalogContract):
        @pytest.fixture
        def catalog(self, tmp_path):
            with Repository.open(tmp_path) as repository:
                yield repository.catalog

    class MyMachine(CatalogMachine):
        def open_catalog(self):
            return Repository.open(self.place).catalog

    TestMyMachine = MyMachine.TestCase
"""

from __future__ import annotations

import json
import shutil
import tempfile
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from valuestore.catalog import Catalog, Entry
from valuestore.errors import NotFound, VersionConflict
from valuestore.observe import Change
from valuestore.stores.data import Page
from valuestore.testing.store_contract.samples import ATTRS, refuses

EQUAL: list[list[Any]] = [
    [1, 1.0],
    [0, -0.0, 0.0],
    [[1, {"a": 2}], [1.0, {"a": 2.0}]],
    [{"a": 1, "b": 2}, {"b": 2, "a": 1}],
]
UNLIKE: list[Any] = [1, True, "1", [1], None, 0, False, "", [], {}, "null", 1.5, 10**400, {"a": None}]


class CatalogContract:
    """The facts that a catalog rests on. Give it a fixture ``catalog``: an empty one."""

    @pytest.fixture
    def catalog(self) -> Catalog:
        raise NotImplementedError("give a fixture `catalog`")

    def found(self, catalog: Catalog, **asked: Any) -> list[str]:
        return [name for name, _ in catalog.find(**asked)]

    def test_put_tells_what_stat_tells(self, catalog: Catalog) -> None:
        before = datetime.now(UTC)
        entry = catalog.put("k", b"data", attrs=ATTRS)
        assert entry == catalog.stat("k")
        assert (entry.name, entry.version, entry.size, entry.value_hash) == ("k", 1, 4, None)
        assert before <= entry.created <= entry.modified <= datetime.now(UTC)
        assert json.dumps(entry.attrs) == json.dumps(ATTRS)  # which tells 1 from 1.0 from True, and the order
        assert catalog.get("k") == b"data"

    def test_a_put_without_attributes_keeps_those_there(self, catalog: Catalog) -> None:
        assert catalog.put("k", b"1").attrs == {}
        assert catalog.put("k", b"2", attrs={"x": 1}).attrs == {"x": 1}
        assert catalog.put("k", b"3").attrs == catalog.attrs("k") == {"x": 1}
        assert catalog.put("k", b"4", attrs={}).attrs == {}

    def test_attributes_are_replaced_or_merged(self, catalog: Catalog) -> None:
        catalog.put("k", b"data", attrs={"a": 1, "b": 2})
        assert catalog.update_attrs("k", {"b": 3}).attrs == {"a": 1, "b": 3}
        assert catalog.update_attrs("k", {"c": 4}, remove=["a", "missing"]).attrs == {"b": 3, "c": 4}
        assert catalog.set_attrs("k", {"d": None}).attrs == catalog.attrs("k") == {"d": None}
        assert catalog.get("k") == b"data"

    def test_selected_attributes_are_those_there(self, catalog: Catalog) -> None:
        catalog.put("k", b"", attrs={"a_str": "x", "n": 1})
        assert catalog.attrs("k", select=["a_str", "missing"]) == {"a_str": "x"}
        assert catalog.attrs_many(["k", "k"], ["n"]) == [{"n": 1}, {"n": 1}]
        refuses(TypeError, lambda: catalog.attrs("k", select="n"))

    def test_what_is_missing_is_not_found(self, catalog: Catalog) -> None:
        catalog.put("there", b"")
        asks: list[Any] = [catalog.get, catalog.open, catalog.stat, catalog.delete, catalog.attrs]
        asks += [catalog.load, catalog.versions, catalog.ref, catalog.sign]
        asks += [lambda name: catalog.set_attrs(name, {}), lambda name: catalog.update_attrs(name, {"x": 1})]
        asks += [lambda name: catalog.copy(name, "there"), lambda name: catalog.move(name, "there")]
        asks += [lambda name: catalog.revert(name, 1), lambda name: catalog.get_many(["there", name])]
        for ask in asks:
            with pytest.raises(NotFound) as caught:
                ask("missing")
            assert caught.value.args[0] == "missing"
        assert not catalog.exists("missing")
        assert [entry.version for entry in catalog.versions("there")] == [1]

    @pytest.mark.parametrize(
        "bad", [{"x": b"b"}, {"x": (1,)}, {"x": {1}}, {"x": float("nan")}, {1: "a"}, ["x"], {"x": object()}]
    )
    def test_attributes_that_are_not_json_change_nothing(self, catalog: Catalog, bad: Any) -> None:
        entry = catalog.put("k", b"old", attrs={"x": 1})
        refuses(
            TypeError,
            lambda: catalog.put("k", b"new", attrs=bad),
            lambda: catalog.set_attrs("k", bad),
            lambda: catalog.update_attrs("k", bad),
            lambda: catalog.put_many(["k"], [b"new"], [bad]),
        )
        assert catalog.stat("k") == entry

    def test_find_gives_names_in_order_with_what_is_selected(self, catalog: Catalog) -> None:
        for number in (3, 1, 2):
            catalog.put(f"n{number}", b"", attrs={"n": number, "even": number == 2, "s": f"test{number}"})
        assert list(catalog.find(s="test3")) == [("n3", catalog.attrs("n3"))]
        assert list(catalog.find(["n", "missing"], even=False)) == [("n1", {"n": 1}), ("n3", {"n": 3})]
        assert list(catalog.find(s="none")) == []
        assert self.found(catalog) == ["n1", "n2", "n3"]
        assert self.found(catalog, even=False, n=3) == ["n3"]
        assert self.found(catalog, even=False, n=2) == []
        assert self.found(catalog, where={"even": False}, n=1) == ["n1"]
        assert self.found(catalog, limit=2) == ["n1", "n2"]
        assert self.found(catalog, even=False, after="n1", limit=1) == ["n3"]
        assert self.found(catalog, prefix="n1") == ["n1"]
        naive = datetime(2026, 1, 1)
        refuses(ValueError, lambda: catalog.find(limit=0), lambda: catalog.find(changed_since=naive))
        refuses(TypeError, lambda: catalog.find(x=b"bytes"))

    def test_where_is_for_names_that_are_arguments(self, catalog: Catalog) -> None:
        catalog.put("k", b"", attrs={"select": 1, "limit": 2, "where": 3, "self": 4})
        catalog.put("other", b"", attrs={"select": 2})
        for key, value in catalog.attrs("k").items():
            assert self.found(catalog, where={key: value}) == ["k"]
        assert self.found(catalog, where={"select": 2}) == ["other"]

    def test_equality_is_that_of_json(self, catalog: Catalog) -> None:
        for number, value in enumerate(UNLIKE):
            catalog.put(f"{number:02}", b"", attrs={"x": value})
        catalog.put("without", b"", attrs={"y": 1})
        for number, value in enumerate(UNLIKE):
            assert self.found(catalog, x=value) == [f"{number:02}"]
        for values in EQUAL:
            for value in values:
                catalog.put("equal", b"", attrs={"e": value})
                assert all(self.found(catalog, e=other) == ["equal"] for other in values)

    def test_what_was_found_by_is_forgotten(self, catalog: Catalog) -> None:
        catalog.put("k", b"", attrs={"x": 1})
        catalog.set_attrs("k", {"x": 9})
        assert (self.found(catalog, x=1), self.found(catalog, x=9)) == ([], ["k"])
        catalog.update_attrs("k", {}, remove=["x"])
        assert (self.found(catalog, x=9), self.found(catalog, x=None)) == ([], [])
        catalog.set_attrs("k", {"x": None})
        assert self.found(catalog, x=None) == ["k"]
        catalog.delete("k")
        assert self.found(catalog, x=None) == self.found(catalog) == []

    def test_versions_count_on(self, catalog: Catalog) -> None:
        first = catalog.put("k", b"1", attrs={"x": 1})
        second = catalog.set_attrs("k", {"x": 2})
        third = catalog.put("k", b"3")
        assert catalog.versions("k") == [first, second, third]
        assert [entry.version for entry in (first, second, third)] == [1, 2, 3]
        assert {entry.created for entry in (first, second, third)} == {first.created}
        assert (catalog.get("k", version=2), catalog.stat("k", version=1)) == (b"1", first)
        fourth = catalog.revert("k", 1)
        assert (fourth.version, fourth.attrs, fourth.digest) == (4, {"x": 1}, first.digest)
        refuses(NotFound, lambda: catalog.get("k", version=9))

    def test_a_delete_leaves_versions_and_no_attributes(self, catalog: Catalog) -> None:
        catalog.put("k", b"1", attrs={"x": 1})
        catalog.delete("k")
        assert not catalog.exists("k")
        assert catalog.get("k", version=1) == b"1"
        entry = catalog.put("k", b"2", overwrite=False)
        assert (entry.version, entry.attrs) == (2, {})
        catalog.delete("k")
        assert catalog.revert("k", 1).attrs == {"x": 1}

    def test_a_version_that_is_expected(self, catalog: Catalog) -> None:
        entry = catalog.put("k", b"1", if_version=0)
        refuses(
            VersionConflict,
            lambda: catalog.put("k", b"2", if_version=0),
            lambda: catalog.set_attrs("k", {}, if_version=2),
            lambda: catalog.update_attrs("k", {}, if_version=0),
            lambda: catalog.put("new", b"", if_version=1),
        )
        assert (catalog.stat("k"), catalog.exists("new")) == (entry, False)
        refuses(ValueError, lambda: catalog.put("k", b"2", if_version=-1))
        catalog.put("k", b"2", if_version=1)
        assert catalog.update_attrs("k", {"x": 1}, if_version=2).version == 3

    def test_a_batch_is_all_or_nothing_and_sees_itself(self, catalog: Catalog) -> None:
        catalog.put("old", b"old", attrs={"x": 1})
        with pytest.raises(ZeroDivisionError), catalog.batch() as batch:  # what it sees is the point
            batch.put("new", b"new", attrs={"x": 1})
            catalog.put("old", b"changed", attrs={"x": 2})
            assert (catalog.get("old"), catalog.read_only().get("new")) == (b"changed", b"new")
            assert (self.found(catalog, x=1), self.found(catalog, x=2)) == (["new"], ["old"])
            assert catalog.list(limit=1) == Page(["new"], "new")
            assert [entry.version for entry in catalog.versions("old")] == [1, 2]
            catalog.delete("old")
            assert (self.found(catalog), catalog.exists("old")) == (["new"], False)
            refuses(NotFound, lambda: catalog.get("old"))
            raise ZeroDivisionError
        assert (catalog.get("old"), list(catalog.names())) == (b"old", ["old"])
        with catalog.batch():
            catalog.put("new", b"new")
            catalog.update_attrs("old", {"y": 2})
        assert (catalog.get("new"), catalog.attrs("old")) == (b"new", {"x": 1, "y": 2})

    def test_the_outermost_block_commits(self, catalog: Catalog) -> None:
        with pytest.raises(ZeroDivisionError), catalog.batch():
            with catalog.batch():
                catalog.put("inner", b"")
            assert catalog.exists("inner")
            raise ZeroDivisionError
        assert list(catalog.names()) == []
        with catalog.batch():
            catalog.put("outer", b"")
            with pytest.raises(ZeroDivisionError), catalog.batch():
                catalog.put("outer", b"changed")
                catalog.put("inner", b"")
                raise ZeroDivisionError
            assert list(catalog.names()) == ["outer"]
        assert (catalog.get("outer"), list(catalog.names())) == (b"", ["outer"])

    def test_changes_are_told_after_the_commit_in_order(self, catalog: Catalog) -> None:
        told: list[Change] = []
        watched = catalog.observed(changes=[told.append])
        watched.put("k", b"1", attrs={"x": 1})
        watched.update_attrs("k", {"y": 2})
        watched.move("k", "m")
        catalog.put("unseen", b"")
        with watched.batch():
            watched.put("k", b"2")
            watched.delete("m")
            assert len(told) == 4
        with pytest.raises(ZeroDivisionError), watched.batch():
            watched.put("never", b"")
            raise ZeroDivisionError
        kinds = [(change.kind, change.key, change.attrs) for change in told]
        both = {"x": 1, "y": 2}
        assert kinds == [
            *(("set", "k", {"x": 1}), ("update", "k", both), ("set", "m", both), ("delete", "k", both)),
            *(("set", "k", {}), ("delete", "m", both)),
        ]


_NAMES = st.sampled_from(["a", "a/b", "a0", "b", "c/d"])
_DATA = st.binary(max_size=6)
_JSON = st.sampled_from([None, True, False, 0, 1, 1.0, 2, "", "1", [], [1], {"k": 1}])
_ATTRS = st.dictionaries(st.sampled_from(["x", "y", "select"]), _JSON, max_size=2)


def equal(one: Any, other: Any) -> bool:
    """As JSON, by way of nothing that the catalog has."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    return bool(one == other)


class CatalogMachine(RuleBasedStateMachine):
    """Random work, also in batches. Override ``open_catalog``; ``place`` is a fresh folder."""

    catalog: Catalog

    def open_catalog(self) -> Catalog:
        """The catalog of this run: an empty one."""
        raise NotImplementedError("override open_catalog")

    def close_catalog(self) -> None:
        """After the run."""

    @initialize()
    def begin(self) -> None:
        self.place = tempfile.mkdtemp(prefix="catalog-machine-")
        self.expected: dict[str, tuple[bytes, dict[str, Any]]] = {}
        self.counts: dict[str, int] = {}
        self.catalog = self.open_catalog()
        self.open: list[tuple[Any, Any]] = []

    def teardown(self) -> None:
        while self.open:
            self.end(fails=False)
        self.close_catalog()
        shutil.rmtree(self.place)

    def note(self, name: str, data: bytes, attrs: dict[str, Any], entry: Entry) -> None:
        self.expected[name] = data, attrs
        self.counts[name] = self.counts.get(name, 0) + 1
        assert (entry.name, entry.version, entry.attrs) == (name, self.counts[name], attrs)

    @rule(name=_NAMES, data=_DATA, attrs=st.none() | _ATTRS)
    def put(self, name: str, data: bytes, attrs: dict[str, Any] | None) -> None:
        kept = self.expected.get(name, (b"", {}))[1] if attrs is None else attrs
        self.note(name, data, kept, self.catalog.put(name, data, attrs=attrs))

    @rule(name=_NAMES, attrs=_ATTRS, merge=st.booleans())
    def change_attributes(self, name: str, attrs: dict[str, Any], merge: bool) -> None:
        change = self.catalog.update_attrs if merge else self.catalog.set_attrs
        if name not in self.expected:
            refuses(NotFound, lambda: change(name, attrs))
        else:
            data, before = self.expected[name]
            self.note(name, data, before | attrs if merge else attrs, change(name, attrs))

    @rule(name=_NAMES)
    def delete(self, name: str) -> None:
        assert self.catalog.delete_many([name]) == {name} & self.expected.keys()
        self.expected.pop(name, None)

    @rule(source=_NAMES, destination=_NAMES, move=st.booleans())
    def copy_or_move(self, source: str, destination: str, move: bool) -> None:
        change = self.catalog.move if move else self.catalog.copy
        if source not in self.expected:
            refuses(NotFound, lambda: change(source, destination))
        elif source != destination:
            self.note(destination, *self.expected[source], change(source, destination))
            if move:
                del self.expected[source]

    @rule(name=_NAMES, data=st.data())
    def revert(self, name: str, data: Any) -> None:
        if name in self.expected:
            version = data.draw(st.integers(1, self.counts[name]))
            old = self.catalog.stat(name, version=version)
            content = self.catalog.get(name, version=version)
            self.note(name, content, dict(old.attrs), self.catalog.revert(name, version))

    @rule()
    def begin_a_block(self) -> None:
        if len(self.open) < 3:
            block = self.catalog.batch()
            block.__enter__()
            self.open.append((block, (dict(self.expected), dict(self.counts))))

    @rule(fails=st.booleans())
    def end(self, fails: bool) -> None:
        if not self.open:
            return
        block, before = self.open.pop()
        if fails:
            self.expected, self.counts = before
            error = ZeroDivisionError()
            assert not block.__exit__(ZeroDivisionError, error, None)
        else:
            block.__exit__(None, None, None)

    @rule(key=st.sampled_from(["x", "y", "select"]), value=_JSON, prefix=st.sampled_from(["", "a", "a/"]))
    def find(self, key: str, value: Any, prefix: str) -> None:
        wanted = [
            (name, attrs)
            for name, (_, attrs) in sorted(self.expected.items())
            if name.startswith(prefix) and key in attrs and equal(attrs[key], value)
        ]
        assert list(self.catalog.find(where={key: value}, prefix=prefix)) == wanted

    @invariant()
    def holds_what_is_expected(self) -> None:
        if not hasattr(self, "catalog"):
            return
        assert list(self.catalog.names()) == sorted(self.expected)
        assert [tuple(found) for found in self.catalog.find()] == [
            (name, attrs) for name, (_, attrs) in sorted(self.expected.items())
        ]
        for name, (data, _) in self.expected.items():
            assert self.catalog.get(name) == data
