"""Objects that say where their content is are refused; paths, and what holds its content, are values."""

from __future__ import annotations

import io
import os
import pathlib
import shelve
import sqlite3
import tarfile
import tempfile
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from valuestore.errors import NotHashableError
from valuestore.values.registry import TypeRegistry


class Opened:
    """A library's object, as pickle sees it."""

    def __init__(self, *parts):
        self.parts = parts

    def __reduce__(self):
        return Opened, self.parts


class PathOfALibrary(Opened):
    def __fspath__(self):
        return self.parts[0]


@pytest.fixture
def files(here):
    pq.write_table(pa.table({"a": [1]}), "p.parquet")
    with zipfile.ZipFile("z.zip", "w") as archive:
        archive.writestr("a", "b")
    with tarfile.open("t.tar", "w") as tar:
        tar.add("z.zip")
    return here


OPENED = {
    "text": lambda: open("p.parquet", encoding="utf-8"),  # noqa: SIM115  # the argument itself
    "bytes": lambda: open("p.parquet", "rb"),  # noqa: SIM115  # the argument itself
    "raw": lambda: open("p.parquet", "rb", buffering=0),  # noqa: SIM115  # the argument itself
    "named temporary file": tempfile.NamedTemporaryFile,
    "temporary folder": tempfile.TemporaryDirectory,
    "sqlite3": lambda: sqlite3.connect("x.db"),
    "zip": lambda: zipfile.ZipFile("z.zip"),
    "path in a zip": lambda: zipfile.Path("z.zip"),
    "tar": lambda: tarfile.open("t.tar"),  # noqa: SIM115  # the argument itself
    "shelve": lambda: shelve.open("shelf"),  # noqa: SIM115  # the argument itself
    "dataset": lambda: ds.dataset("p.parquet"),
    "fragment": lambda: next(ds.dataset("p.parquet").get_fragments()),
    "parquet dataset": lambda: pq.ParquetDataset("p.parquet"),
    "parquet file": lambda: pq.ParquetFile("p.parquet"),
    "memory map": lambda: pa.memory_map("p.parquet"),
    "absolute path in a reduction": lambda: Opened(1, {"of": [os.path.abspath("p.parquet")]}),
    "URL in a reduction": lambda: Opened(pathlib.Path("p.parquet").absolute().as_uri()),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("name", OPENED)
def test_what_stands_for_files_is_refused(files, name):
    opened = OPENED[name]()
    with pytest.raises(NotHashableError, match="stands for .*pass a File or Dir, or what is read from it"):
        TypeRegistry().hash([opened])
    if hasattr(opened, "close"):
        opened.close()


@pytest.mark.parametrize(
    "make",
    [
        lambda: pathlib.Path("p.parquet").absolute(),
        lambda: os.path.abspath("p.parquet"),
        lambda: PathOfALibrary(os.path.abspath("p.parquet")),
        lambda: Opened("/no/such/file", "file:///nor/this", "p.parquet", "\0"),
        lambda: io.BytesIO(b"x"),
        lambda: np.memmap("m.bin", dtype="f8", mode="w+", shape=(3,)),
    ],
)
def test_paths_and_content_are_values(files, make):
    assert TypeRegistry().hash(make()) == TypeRegistry().hash(make())
