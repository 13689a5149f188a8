"""More facts of a catalog, most of them like those of a store: data, ranges, pages, files, events."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from valuestore.catalog import Catalog
from valuestore.errors import AlreadyExists, BadKey, NotFound, SizeMismatch, StoreReadOnly
from valuestore.observe import Event
from valuestore.stores.data import Page
from valuestore.testing import CatalogContract
from valuestore.testing.store_contract.samples import BAD_KEYS, forward_only, pieces


class CatalogFacts(CatalogContract):
    @pytest.mark.parametrize(
        "data",
        [b"", b"bytes", bytearray(b"bytes"), memoryview(b"bytes"), [b"by", b"", b"tes"], (b"by", b"tes")],
        ids=lambda data: f"{type(data).__name__}{len(data)}",
    )
    def test_data_of_any_form(self, catalog: Catalog, data: Any) -> None:
        whole = bytes(data) if not isinstance(data, list | tuple) else b"".join(data)
        assert catalog.put("k", data).size == len(whole)
        assert catalog.get("k") == whole
        assert catalog.put("s", io.BytesIO(b"--" + whole)).size == len(whole) + 2
        assert catalog.put("f", forward_only(whole), size=len(whole)).digest == catalog.stat("k").digest

    def test_ranges_are_clamped_as_slices_are(self, catalog: Catalog) -> None:
        catalog.put("k", b"0123456789")
        for start, end in ((0, 3), (3, None), (8, 99), (-3, None), (5, 2), (99, None)):
            assert catalog.get("k", start, end) == b"0123456789"[start:end]
        with catalog.open("k") as stream:
            stream.seek(4)
            assert (stream.read(2), stream.seek(0), stream.read()) == (b"45", 0, b"0123456789")

    def test_names_keep_the_key_rule(self, catalog: Catalog) -> None:
        for name in BAD_KEYS:
            for ask in (
                catalog.get,
                lambda name: catalog.put(name, b""),
                lambda name: catalog.copy("k", name),
            ):
                with pytest.raises(BadKey):
                    ask(name)

    def test_a_put_that_fails_leaves_what_was(self, catalog: Catalog) -> None:
        def failing() -> Any:
            yield b"some"
            raise OSError("lost")

        entry = catalog.put("k", b"old")
        with pytest.raises(SizeMismatch):
            catalog.put("k", pieces(b"too long", 3), size=3)
        with pytest.raises(OSError, match="lost"):
            catalog.put("k", failing())
        with pytest.raises(AlreadyExists):
            catalog.put("k", b"new", overwrite=False)
        with pytest.raises(TypeError):
            catalog.put("k", "text")  # type: ignore[arg-type]
        assert catalog.stat("k") == entry

    def test_changed_since_includes_that_moment(self, catalog: Catalog) -> None:
        catalog.put("old", b"", attrs={"x": 1})
        entry = catalog.put("new", b"", attrs={"x": 1})
        catalog.put("old", b"again")
        since = catalog.stat("old").modified
        assert since >= entry.modified
        assert "old" in self.found(catalog, changed_since=since)
        assert self.found(catalog, changed_since=since + timedelta(microseconds=1)) == []
        assert self.found(catalog, changed_since=entry.created, x=1) == ["new", "old"]

    def test_names_and_pages_are_in_byte_order(self, catalog: Catalog) -> None:
        names = ["a", "a-b", "a/b", "a/b/c", "a0", "b", "\u00e4", "\U0001f600"]
        catalog.put_many(reversed(names), [b""] * len(names))
        assert list(catalog.names()) == sorted(names, key=str.encode) == names
        assert list(catalog.names("a/")) == ["a/b", "a/b/c"]
        assert list(catalog.names(glob="a*b")) == ["a-b", "a/b"]
        assert list(catalog.names(glob="A*")) == list(catalog.names("x")) == list(catalog.names("a\0")) == []
        assert list(catalog.names("a/", glob="*[bc]")) == ["a/b", "a/b/c"]
        assert catalog.list(limit=2) == Page(["a", "a-b"], "a-b")
        assert catalog.list("a", limit=3, cursor="a-b") == Page(["a/b", "a/b/c", "a0"], None)

    def test_copies_and_moves_take_attributes_along(self, catalog: Catalog) -> None:
        catalog.put("a", b"data", attrs={"x": 1})
        catalog.put("taken", b"other", attrs={"y": 1})
        with pytest.raises(AlreadyExists):
            catalog.copy("a", "taken", overwrite=False)
        copied = catalog.copy("a", "taken")
        assert (copied.version, copied.attrs, catalog.get("taken")) == (2, {"x": 1}, b"data")
        assert self.found(catalog, x=1) == ["a", "taken"]
        assert catalog.move("a", "b").attrs == {"x": 1}
        assert list(catalog.names()) == ["b", "taken"]
        assert catalog.copy("b", "b") == catalog.move("b", "b") == catalog.stat("b")

    def test_many_in_one_transaction(self, catalog: Catalog) -> None:
        names = [f"k{number}" for number in range(10)]
        catalog.put("k3", b"old", attrs={"x": 1})
        entries = catalog.put_many(iter(names), (name.encode() for name in names))
        assert [entry.name for entry in entries] == names
        assert catalog.get_many(reversed(names)) == [name.encode() for name in reversed(names)]
        assert catalog.attrs("k3") == {"x": 1}
        catalog.set_attrs_many(names, [{"n": number} for number in range(10)])
        catalog.update_attrs_many(names[:2], ({"m": 1} for _ in range(2)))
        assert catalog.attrs_many(["k1", "k9"]) == [{"n": 1, "m": 1}, {"n": 9}]
        assert all(self.found(catalog, n=number) == [f"k{number}"] for number in range(10))
        with pytest.raises(NotFound):
            catalog.set_attrs_many(["k1", "missing"], [{}, {}])
        assert catalog.attrs("k1") == {"n": 1, "m": 1}
        assert catalog.delete_many([*names[:3], "missing"]) == set(names[:3])
        assert list(catalog.names()) == names[3:]

    def test_unequal_lengths_store_nothing(self, catalog: Catalog) -> None:
        for names, values, attrs in (
            (["a", "b", "c"], [b"1", b"2"], None),
            (["a"], [b"1", b"2"], None),
            (["a", "b"], [b"1", b"2"], [{}]),
        ):
            with pytest.raises(ValueError, match="nothing was stored"):
                catalog.put_many(names, values, attrs)
        catalog.put("a", b"")
        with pytest.raises(ValueError):
            catalog.set_attrs_many(["a"], [{"x": 1}, {}])
        assert (list(catalog.names()), catalog.attrs("a")) == (["a"], {})

    def test_a_conflict_at_the_end_takes_all_back(self, catalog: Catalog) -> None:
        with pytest.raises(NotFound), catalog.batch():
            catalog.put("k", b"")
            catalog.put("other", b"")
            with pytest.raises(NotFound):
                catalog.set_attrs_many(["other", "missing"], [{"x": 1}, {}])
            assert catalog.attrs("other") == {}
            catalog.delete("missing")
        assert list(catalog.names()) == []

    def test_operations_are_told_step_by_step(self, catalog: Catalog) -> None:
        events: list[Any] = []

        def failing(_event: Any) -> None:
            raise RuntimeError("an observer")

        watched = catalog.observed(failing, events.append, changes=[failing, events.append])
        watched.put("k", pieces(b"x" * 3_000_000, 1_000_000))
        steps = [event.bytes_done for event in events if isinstance(event, Event) and event.phase == "step"]
        assert steps == sorted(steps)
        assert steps[-1] == 3_000_000
        assert [event.phase for event in events[:1]] == ["start"]
        assert (events[-2].phase, events[-2].error, events[-1].kind) == ("end", None, "set")
        events.clear()
        assert len(watched.get("k")) == 3_000_000
        assert [(event.operation, event.phase) for event in events] == [
            ("get", phase) for phase in ("start", "step", "end")
        ]
        events.clear()
        with pytest.raises(SizeMismatch):
            watched.put("k", pieces(b"123", 1), size=1)
        assert isinstance(events[-1].error, SizeMismatch)
        assert {event.operation for event in events} == {"put"}

    def test_read_only_refuses_every_change(self, catalog: Catalog) -> None:
        entry = catalog.put("k", b"1")
        view = catalog.read_only()
        changes: list[Any] = [
            lambda: view.put("k", b""),
            lambda: view.delete("k"),
            lambda: view.copy("k", "m"),
        ]
        changes += [lambda: view.move("k", "m"), lambda: view.set_attrs("k", {}), lambda: view.revert("k", 1)]
        changes += [lambda: view.put_many(["m"], [b""]), lambda: view.delete_many(["k"])]
        changes += [lambda: view.update_attrs("k", {}), lambda: view.observed().put("k", b"")]
        for change in changes:
            with pytest.raises(StoreReadOnly):
                change()
        assert (view.stat("k"), list(catalog.names())) == (entry, ["k"])

    def test_files(self, catalog: Catalog, tmp_path: Path) -> None:
        tmp_path = tmp_path / "files"
        tmp_path.mkdir()
        (tmp_path / "in").write_bytes(b"data")
        assert catalog.from_file("k", tmp_path / "in", attrs={"x": 1}).size == 4
        catalog.to_file("k", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"data"
        with pytest.raises(NotFound):
            catalog.to_file("missing", tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"data"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]
