"""Programs: where the executable of a server is on this machine. Called by its recipe."""

from __future__ import annotations

import glob
import os
import shutil
import sysconfig
from importlib.util import find_spec


def in_package(package: str, path: str) -> str | None:
    """A file of an installed package, found without importing it."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec is not None else None
    found = (os.path.join(folder, path) for folder in folders or ())
    return next(filter(os.path.exists, found), None)


def on_path(name: str, *patterns: str) -> str | None:
    """The program of that name, of this environment, on the PATH or in a folder that a pattern names."""
    folders = [folder for pattern in patterns for folder in sorted(glob.glob(pattern), reverse=True)]
    path = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath), *folders])
    return shutil.which(name, path=path)
