"""What is not installed is told by the error of whoever asks for it, with what to install."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

SCRIPT = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in "redis obstore botocore gcsfs adlfs aiohttp backports".split():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from valuestore import stores
from valuestore.errors import ValuestoreError
from valuestore.stores import wrappers

try:
    print(eval(sys.argv[1]))
except ValuestoreError as error:
    print(type(error).__name__, error)
"""

ZSTD = pytest.mark.skipif(sys.version_info >= (3, 14), reason="zstd comes with Python")


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("stores.open_store('redis://h/0')", "BadReference .* install valuestore\\[redis]"),
        ("stores.open_store('s3://bucket')", "BadReference .* install valuestore\\[s3]"),
        ("stores.S3Store", "ConfigError .* install valuestore\\[s3]"),
        ("stores.open_store('gs://bucket')", "BadReference .*gcsfs.* valuestore\\[fsspec]"),
        ("stores.open_store('az://bucket')", "BadReference .*adlfs.* valuestore\\[fsspec]"),
        ("stores.open_store('https://host/')", "BadReference .*aiohttp.* valuestore\\[fsspec]"),
        pytest.param("wrappers.Compressed", "ConfigError .* install valuestore\\[zstd]", marks=ZSTD),
        pytest.param(
            "wrappers.store_from_config({'type': 'memory', 'compress': True})",
            "ConfigError .*'compress'.* install valuestore\\[zstd]",
            marks=ZSTD,
        ),
    ],
)
def test_what_is_not_installed_is_told_with_its_extra(asked, told):
    done = subprocess.run([sys.executable, "-c", SCRIPT, asked], capture_output=True, text=True, check=True)
    assert re.match(told, done.stdout), done.stdout
