"""Plug-ins: built-in parts first, entry points second, and a broken one is a warning."""

from __future__ import annotations

import sys
import textwrap

import pytest

from valuestore import plugins
from valuestore.errors import BadReference, ConfigError
from valuestore.stores import FileStore, MemoryStore, open_store


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package with plug-ins, on the path for the length of a test."""
    (tmp_path / "acme_plugins.py").write_text(
        textwrap.dedent(
            """
            from valuestore.stores import MemoryStore
            class AcmeStore(MemoryStore):
                @classmethod
                def from_url(cls, url, **settings):
                    return cls(url)
            """
        )
    )
    (tmp_path / "acme_broken.py").write_text("raise RuntimeError('no engine')")
    folder = tmp_path / "acme-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        textwrap.dedent(
            """
            [valuestore.stores]
            acme = acme_plugins:AcmeStore
            memory = acme_plugins:AcmeStore
            broken = acme_broken:Store
            absent = acme_plugins:Nothing
            """
        )
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(plugins, "_loaded", {})
    plugins._entry_points.cache_clear()
    yield
    plugins._entry_points.cache_clear()
    for name in ("acme_plugins", "acme_broken"):
        sys.modules.pop(name, None)


def test_built_in_parts_need_no_entry_points(monkeypatch):
    monkeypatch.setattr(plugins, "_entry_points", lambda kind: pytest.fail("looked"))
    assert plugins.find("stores", "memory") is MemoryStore
    assert plugins.find("stores", "file") is FileStore


def test_a_plug_in_is_found_by_its_name(installed):
    assert open_store("acme://x").url == "memory://acme://x"
    assert {"acme", "broken", "file", "memory"} <= set(plugins.names("stores"))
    assert plugins.names("stores") == sorted(plugins.names("stores"))


def test_naming_plug_ins_imports_none(installed):
    plugins.names("stores")
    assert "acme_plugins" not in sys.modules


def test_a_plug_in_cannot_take_a_built_in_name(installed):
    assert plugins.find("stores", "memory") is MemoryStore


def test_a_broken_plug_in_is_one_warning_and_then_not_there(installed):
    with (
        pytest.warns(RuntimeWarning, match=r"'broken' \(acme_broken:Store\).*no engine"),
        pytest.raises(ConfigError),
    ):
        plugins.find("stores", "broken")
    with pytest.raises(BadReference, match="broken://x"):  # and no second warning, which would be an error
        open_store("broken://x")


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ConfigError, match="no 'gopher'; there are .*file.*memory"):
        plugins.find("stores", "gopher")


def test_an_unknown_kind_is_refused():
    for use in (plugins.names, lambda kind: plugins.find(kind, "x")):
        with pytest.raises(ConfigError, match="wheels"):
            use("wheels")


def test_a_built_in_part_without_its_package_says_so(monkeypatch):
    monkeypatch.setitem(plugins.BUILTIN["stores"], "gone", "no_such_package_at_all:Store")
    with pytest.raises(ConfigError, match="'no_such_package_at_all', which is not installed"):
        plugins.find("stores", "gone")
