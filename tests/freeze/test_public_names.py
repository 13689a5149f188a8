"""What users import is there: the names in public_names.txt, plug-ins by kind, and the command."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from valuestore import plugins
from valuestore.stores import open_store

PUBLIC = Path(__file__).with_name("public_names.txt")
WITH_ALL = (
    "valuestore",
    "valuestore.stores",
    "valuestore.stores.base",
    "valuestore.stores.wrappers",
    "valuestore.tables",
    "valuestore.testing",
    "valuestore.values",
)
PLUGINS = {
    "stores": (
        "abfs az file fsspec+file fsspec+memory fsspec+s3 gs http https memory "
        "redis redis+unix rediss s3 unix"
    ),
    "types": "PIL builtins functools numpy operator pandas polars pyarrow scipy torch",
    "executors": "threads",
}


def listed():
    names, module = {}, []
    for line in PUBLIC.read_text().splitlines():
        if line.startswith("    "):
            module.append(line.strip())
        elif line and not line.startswith("#"):
            module = names.setdefault(line, [])
    return names


@pytest.mark.parametrize("module", listed())
def test_every_public_name_can_be_imported(module):
    missing = [name for name in listed()[module] if not hasattr(import_module(module), name)]
    assert missing == []


@pytest.mark.parametrize("module", WITH_ALL)
def test_a_package_exports_at_least_what_it_did(module):
    assert {name for name in listed()[module] if not name.startswith("__")} <= set(
        import_module(module).__all__
    )


@pytest.mark.parametrize("kind", PLUGINS)
def test_built_in_parts_are_found_by_kind_and_name(kind):
    assert set(PLUGINS[kind].split()) <= set(plugins.names(kind))
    for name in PLUGINS[kind].split():
        assert plugins.is_built_in(kind, name)
        if name != "torch":  # no development dependency
            assert plugins.find(kind, name) is not None


def test_a_store_is_opened_by_its_url(tmp_path):
    with open_store("memory://frozen") as memory, open_store(tmp_path.as_uri()) as files:
        memory.put("k", b"v")
        files.put("k", memory.get("k"))
        assert files.get("k") == b"v"


def test_the_command_is_installed():
    (command,) = entry_points(group="console_scripts", name="valuestore")
    program = Path(sys.executable).with_name(command.name)
    ran = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
