"""The frozen repositories, each as what opens it, with the test standing in the folder of its files."""

from __future__ import annotations

import pytest

from tests.freeze import pipeline
from tests.freeze.fixture import lay_out_postgres, lay_out_sqlite
from tests.freeze.make import write_inputs


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Only the files that the values name."""
    write_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def bodies():
    """Names of bodies that ran."""
    pipeline.RAN.names.clear()
    return pipeline.RAN.names


@pytest.fixture(params=["sqlite", "postgresql"])
def frozen(request, tmp_path, monkeypatch):
    """Opens the frozen repository of each kind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    if request.param == "sqlite":
        return lay_out_sqlite(tmp_path)
    return lay_out_postgres(tmp_path, request.getfixturevalue("postgres_url"))
